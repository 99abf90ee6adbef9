//! A client certificate and its key: whether they can be used, and what is wrong with them in words.

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{key, tls};

/// The chain of a client certificate, and its key.
pub type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What is wrong, and what to do now.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words.
    pub cause: String,
    /// One imperative sentence.
    pub hint: &'static str,
}

const NOT_PEM: &str = "give PEM text; what is binary becomes that by `openssl x509 -inform DER`, or `openssl pkey -inform DER` for the key";

/// A client certificate and its key from their PEM texts.
///
/// # Errors
/// When one of them cannot be used, or they do not belong together.
pub fn pair(certificate: &[u8], key: &[u8]) -> Result<Pair, Fault> {
    let fault = |cause: &str, hint| Fault { cause: cause.to_owned(), hint };
    let chain = chain(certificate)?;
    let key = private_key(key)?;
    let public = chain.first().and_then(|leaf| key::of_certificate(leaf));
    let public = public.ok_or_else(|| fault("its client certificate cannot be read", "have it made anew"))?;
    let another = "have the client certificate made anew with a key of another kind, or hand over a token instead";
    if let Some(kind) = key::unusable(public) {
        return Err(Fault {
            cause: format!("the key of its client certificate is {kind}; jobpass can use {}", key::USABLE),
            hint: another,
        });
    }
    let signing = tls::provider().key_provider.load_private_key(key.clone_key()).map_err(|_| Fault {
        cause: format!("the key of its client certificate is none that jobpass can use: it can use {}", key::USABLE),
        hint: another,
    })?;
    if signing.public_key().is_some_and(|own| own.as_ref() != public) {
        return Err(fault(
            "the key does not belong to its client certificate",
            "take both from the same place: one of them was renewed alone",
        ));
    }
    Ok((chain, key))
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let fault = |cause: &str, hint| Err(Fault { cause: cause.to_owned(), hint });
    let has = |part| contains(text, part);
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) if has("PRIVATE KEY-----") => fault("a key stands in the place of its client certificate", "exchange the two"),
        Ok(_) if has("-----BEGIN") => fault("its client certificate is PEM of something else", "give the block that is a certificate"),
        Ok(_) => fault("its client certificate is not PEM", NOT_PEM),
        Err(_) => fault("the PEM text of its client certificate cannot be read", "hand it over as it is, with all of its line breaks"),
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let fault = |cause: &str, hint| Err(Fault { cause: cause.to_owned(), hint });
    let has = |part| contains(text, part);
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        return fault(
            "the key of its client certificate is encrypted, and nobody in a job can be asked for its password",
            "take the password off before it is stored as a secret: `openssl pkey -in KEY -out PLAIN`",
        );
    }
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if has("-----BEGIN OPENSSH PRIVATE KEY-----") => {
            fault("the key of its client certificate is one of OpenSSH", "give it as PKCS #8: `ssh-keygen -p -m PKCS8 -f KEY`")
        }
        Err(pem::Error::NoItemsFound) if has("-----BEGIN DSA PRIVATE KEY-----") => {
            fault("the key of its client certificate is DSA, which no API server takes", "have the client certificate made anew")
        }
        Err(pem::Error::NoItemsFound) if has("-----BEGIN CERTIFICATE-----") => {
            fault("a certificate stands in the place of the key of its client certificate", "exchange the two")
        }
        Err(pem::Error::NoItemsFound) if has("-----BEGIN") => {
            fault("the key of its client certificate is PEM of something else", "give the block that is a private key")
        }
        Err(pem::Error::NoItemsFound) => fault("the key of its client certificate is not PEM", NOT_PEM),
        Err(_) => {
            fault("the PEM text of the key of its client certificate cannot be read", "hand it over as it is, with all of its line breaks")
        }
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{super::key::tests::P521, *};

    fn wrong(certificate: &[u8], key: &[u8]) -> String {
        pair(certificate, key).expect_err("something is wrong").cause
    }

    /// A text that is a key for whoever looks at its first line only. No real one is needed here.
    fn block(label: &str, body: &str) -> Vec<u8> {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    }

    #[test]
    fn each_fault_of_a_certificate_is_told_from_the_others() {
        assert_eq!(wrong(b"\x30\x82", b""), "its client certificate is not PEM");
        assert_eq!(wrong(&block("PRIVATE KEY", "AAAA"), b""), "a key stands in the place of its client certificate");
        assert_eq!(wrong(&block("CERTIFICATE REQUEST", "AAAA"), b""), "its client certificate is PEM of something else");
        assert_eq!(wrong(&block("CERTIFICATE", "A!A"), b""), "the PEM text of its client certificate cannot be read");
        assert_eq!(wrong(&block("CERTIFICATE", "AAAA"), &block("PRIVATE KEY", "AAAA")), "its client certificate cannot be read");
    }

    #[test]
    fn each_fault_of_a_key_is_told_from_the_others() {
        for (key, part) in [
            (b"\x30\x82".to_vec(), "is not PEM"),
            (block("ENCRYPTED PRIVATE KEY", "AAAA"), "is encrypted"),
            (block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA"), "is encrypted"),
            (block("OPENSSH PRIVATE KEY", "AAAA"), "one of OpenSSH"),
            (block("DSA PRIVATE KEY", "AAAA"), "is DSA"),
            (P521.to_vec(), "a certificate stands in the place"),
            (block("EC PARAMETERS", "AAAA"), "PEM of something else"),
            (block("PRIVATE KEY", "A!A"), "cannot be read"),
            (block("PRIVATE KEY", "AAAA"), "is P-521; jobpass can use RSA"),
        ] {
            let cause = wrong(P521, &key);
            assert!(cause.contains(part), "{part}: {cause}");
        }
    }

    /// One element of DER.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82][..], &length, &content].concat()
    }

    /// A certificate of version 1, as `openssl x509 -req -signkey` makes it, with this key.
    fn of_version_1(key: &[u8]) -> Vec<u8> {
        let way = der(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let name = der(0x30, &[]);
        let times = der(0x30, &[&der(0x17, &[b"260101000000Z"]), &der(0x17, &[b"360101000000Z"])]);
        let signed = der(0x30, &[&[2, 1, 7], &way, &name, &times, &name, key]);
        der(0x30, &[&signed, &way, &der(3, &[&[0; 65]])])
    }

    fn pem(label: &str, der: &[u8]) -> Vec<u8> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        block(label, &STANDARD.encode(der))
    }

    #[test]
    fn a_certificate_of_version_1_is_as_good_as_any_with_its_own_key_only() {
        use ring::{rand::SystemRandom, signature};
        let made = || {
            let random = SystemRandom::new();
            signature::EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("randomness")
        };
        let [own, other] = [made(), made()];
        let key = PrivateKeyDer::from_pem_slice(&pem("PRIVATE KEY", own.as_ref())).expect("a key");
        let signing = tls::provider().key_provider.load_private_key(key).expect("of ring's");
        let certificate = pem("CERTIFICATE", &of_version_1(&signing.public_key().expect("it has one")));
        assert!(pair(&certificate, &pem("PRIVATE KEY", own.as_ref())).is_ok());
        assert_eq!(wrong(&certificate, &pem("PRIVATE KEY", other.as_ref())), "the key does not belong to its client certificate");
    }
}
