//! The forms of a token that a platform must mask.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use crate::secret::Secret;

/// In bytes: a shorter part of a token is too common to be masked everywhere in a log.
const SHORTEST: usize = 16;

/// The token itself, the signature of a JWT alone, and the inner part of its base64 at each of the three alignments.
///
/// Runners mask base64 only of the exact value, with its padding. But `echo TOKEN | base64` encodes a newline as well, so only the
/// complete groups of three bytes come out the same. These forms consist of such groups, and so are found in the base64 of any
/// longer text.
#[must_use]
pub fn forms(token: &Secret) -> Vec<Secret> {
    let text = token.expose();
    let mut forms = vec![token.clone()];
    if let Some((signed, signature)) = text.rsplit_once('.')
        && signed.contains('.')
        && signature.len() >= SHORTEST
    {
        forms.push(Secret::new(signature.to_owned()));
    }
    for skipped in 0..3 {
        let bytes = text.as_bytes().get(skipped..).unwrap_or_default();
        let whole = &bytes[..bytes.len() - bytes.len() % 3];
        if whole.len() >= SHORTEST {
            forms.push(Secret::new(STANDARD_NO_PAD.encode(whole)));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";

    #[test]
    fn the_base64_of_any_text_around_the_token_holds_a_core() {
        let forms = forms(&Secret::new(TOKEN.into()));
        for before in ["", "x", "xy", "Authorization: Bearer "] {
            for after in ["", "\n", "ab"] {
                let encoded = STANDARD.encode(format!("{before}{TOKEN}{after}"));
                assert!(forms[2..].iter().any(|core| encoded.contains(core.expose())), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn the_signature_is_masked_alone() {
        assert!(forms(&Secret::new(TOKEN.into())).iter().any(|form| form.expose() == "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"));
    }

    #[test]
    fn an_opaque_token_has_no_signature() {
        assert_eq!(forms(&Secret::new("sha256~abcdefghijklmnopqrstuvwxyz".into())).len(), 4);
        assert_eq!(forms(&Secret::new("short".into())).len(), 1);
    }
}
