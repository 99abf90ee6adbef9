//! The sweep: no form of a secret may be anywhere but in the few places that are made for it.

use super::pattern;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Any JWT, also one that nobody told us of.
pub(crate) const JWT: &str = r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}";

/// The forms in which a secret could leak, each with its name; the secret itself comes first and has none.
///
/// Base64 is looked for at its three alignments: first all the characters that do not depend on what stands around the secret, which is
/// what a runner is told to mask; then the whole quanta of them alone, as less than all is a leak too.
pub(crate) fn forms(secret: &str) -> Vec<(String, String)> {
    let mut forms = vec![(String::new(), secret.to_owned())];
    let parts = [("", Some(secret)), ("signature", signature(secret))];
    for (name, text) in parts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        for skipped in 0..3 {
            let bytes = text.as_bytes().get(skipped..).unwrap_or_default();
            let whole = &bytes[..bytes.len() - bytes.len() % 3];
            let dot = if name.is_empty() { "" } else { "." };
            let padded = [&b"xx"[..(3 - skipped) % 3], text.as_bytes()].concat();
            let core = ((3 - skipped) % 3 * 8).div_ceil(6)..padded.len() * 8 / 6;
            let long = [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)].map(|text| text[core.clone()].to_owned());
            for encoded in long.into_iter().chain([STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole)]) {
                if encoded.len() >= 16 && !forms.iter().any(|(_, known)| *known == encoded) {
                    forms.push((format!("{name}{dot}base64-{skipped}"), encoded));
                }
            }
        }
        let hex = hex(text.as_bytes());
        forms.extend([(format!("{name}-hex"), hex.to_uppercase()), (format!("{name}-hex"), hex)]);
    }
    // After the base64 of the whole, as a part of it would be found in the whole's place.
    if let Some(signature) = signature(secret) {
        forms.push(("signature".to_owned(), signature.to_owned()));
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The last segment of a JWT: with the other two, which are no secret, it is the token.
fn signature(token: &str) -> Option<&str> {
    let (signed, signature) = token.rsplit_once('.')?;
    (signed.contains('.') && signature.len() >= 16).then_some(signature)
}

/// The name of the first secret that is in the text in some form.
pub fn find(text: &str, secrets: &[String]) -> Option<String> {
    // `base64` and the like break their lines: what is in the text without its line breaks leaks too.
    let joined = text.replace(['\r', '\n'], "");
    for (number, secret) in secrets.iter().enumerate() {
        if let Some((form, _)) = forms(secret).iter().find(|(_, form)| text.contains(form.as_str()) || joined.contains(form.as_str())) {
            return Some(format!("secret {number} {form}"));
        }
    }
    pattern(JWT).is_match(text).then(|| "a JWT".to_owned())
}

#[test]
fn the_sweep_finds_every_form() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0x.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";
    let secrets = [token.to_owned()];
    let base64 = |text: &str| STANDARD_NO_PAD.encode(text);
    for leaking in [
        format!("x {token} y"),
        "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg".to_owned(),
        base64(token),
        base64(&format!("a{token}")),
        base64(&format!("ab{token}\n")),
        base64("ab c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"),
        hex(token.as_bytes()),
        base64(token).as_bytes().chunks(20).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\r\n"),
    ] {
        assert!(find(&leaking, &secrets).is_some(), "{leaking}");
    }
    assert!(find("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0x and the like", &secrets).is_none());
    assert!(find(token, &[]).is_some(), "a JWT is a secret though nobody named it");
}
