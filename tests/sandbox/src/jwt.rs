//! ES256 tokens: signing, checking the signature, and reading the claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};

/// The claims of a token as they stand there, with no check at all; `None` when it is no JWT.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let [_, claims, _] = parts(token)?;
    decode(claims)
}

/// One signing key; the API server has one for service accounts, each identity provider others.
pub struct Signer {
    key: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl Signer {
    /// A key that nobody else has.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two of them are alike")]
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("the system has randomness");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("the key was just made");
        let hash = ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref());
        let id = URL_SAFE_NO_PAD.encode(hash);
        Self { key, id, random }
    }

    /// A token with these claims.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id});
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("the system has randomness");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims, if this key signed them.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        verified(token, &self.id, self.key.public_key().as_ref())
    }

    /// The public key, as an issuer serves it (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..65]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id, "use": "sig", "alg": "ES256"})
    }
}

/// The claims, if a key of an issuer signed them, given as it is served.
#[must_use]
pub fn verified_by(key: &Value, token: &str) -> Option<Value> {
    let half = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    let point = [&[4], half("x")?.as_slice(), half("y")?.as_slice()].concat();
    verified(token, key["kid"].as_str()?, &point)
}

fn verified(token: &str, id: &str, point: &[u8]) -> Option<Value> {
    let [header, claims, signature] = parts(token)?;
    let head = decode(header)?;
    if head["alg"] != "ES256" || head["kid"] != id {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = token.get(..header.len() + 1 + claims.len())?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).ok()?;
    decode(claims)
}

/// A random version 4 UUID, the form of every uid and token id.
#[must_use]
pub fn uuid() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An opaque bearer token, long enough that a leak test finds it and nothing else.
#[must_use]
pub fn opaque() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parts(token: &str) -> Option<[&str; 3]> {
    let mut parts = token.split('.');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_verified_by_its_own_key_only() {
        let signer = Signer::new();
        let token = signer.sign(&json!({"sub": "x"}));
        assert_eq!(signer.verify(&token), Some(json!({"sub": "x"})));
        assert_eq!(Signer::new().verify(&token), None);
    }

    #[test]
    fn a_served_key_verifies_what_it_signed() {
        let signer = Signer::new();
        let token = signer.sign(&json!({"sub": "x"}));
        assert_eq!(verified_by(&signer.jwk(), &token), Some(json!({"sub": "x"})));
        assert_eq!(verified_by(&Signer::new().jwk(), &token), None);
    }

    #[test]
    fn a_changed_claim_breaks_the_signature() {
        let signer = Signer::new();
        let token = signer.sign(&json!({"sub": "x"}));
        let [header, _, signature] = parts(&token).expect("three parts");
        let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"y"}"#));
        assert_eq!(claims(&forged), Some(json!({"sub": "y"})));
        assert_eq!(signer.verify(&forged), None);
    }

    #[test]
    fn a_token_without_a_signature_is_not_believed() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#);
        assert_eq!(Signer::new().verify(&format!("{header}.{claims}.")), None);
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for text in ["", "opaque", "a.b", "a.b.c", "a.b.c.d"] {
            assert_eq!(claims(text), None, "{text}");
        }
    }

    #[test]
    fn a_uid_is_a_version_4_uuid() {
        let uid = uuid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert_ne!(uid, uuid());
    }
}
