//! The forms of a token that a platform must mask.

use jobpass_scrub::{base64, signature};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Below this the base64 of a token is too common to be hidden everywhere in a log. In characters.
const SHORTEST: usize = 16;

/// The value itself, the signature of a JWT alone, and what the base64 of any text around it holds of its own: the forms that the
/// scrubber knows too.
///
/// A runner masks base64 only with its padding and of the value alone; what `base64` makes of `TOKEN` followed by a newline is another
/// text.
#[must_use]
pub fn forms(token: &Secret) -> Vec<Secret> {
    let text = token.expose();
    let mut forms = vec![token.clone()];
    let parts = signature(text.as_bytes()).map(<[u8]>::to_vec).map(Zeroizing::new).into_iter();
    let cores = base64(text.as_bytes()).filter(|core| core.len() >= SHORTEST);
    forms.extend(parts.chain(cores).map(|form| Secret::of_parts(&[std::str::from_utf8(&form).unwrap_or_default()])));
    forms
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

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
        // The two alphabets of base64 differ where the `~` is.
        assert_eq!(forms(&Secret::new("sha256~abcdefghijklmnopqrstuvwxyz".into())).len(), 5);
        assert_eq!(forms(&Secret::new("short".into())).len(), 1);
    }
}
