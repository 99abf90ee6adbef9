//! The encodings in which a secret is recognised; every copy is overwritten on drop.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

type Bytes = Zeroizing<Vec<u8>>;

/// The digits of hex in lower case.
pub(super) const LOWER: &[u8; 16] = b"0123456789abcdef";
pub(super) const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Writes the bytes as hex text with the given digits: lower or upper case.
pub(super) fn hex(bytes: &[u8], digits: &[u8; 16]) -> Bytes {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    for byte in bytes {
        text.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
    text
}

/// The base64 text that always appears where these bytes are part of a longer text that was encoded.
///
/// There is one result for each of the three alignments, and a second one where the two alphabets differ. A character whose six bits come
/// partly from a neighbouring byte is left out: at each end up to four bits of the secret are therefore not searched for.
pub fn base64(bytes: &[u8]) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    [0, 2, 1].into_iter().flat_map(move |before| {
        let mut aligned = Zeroizing::new(Vec::with_capacity(before + bytes.len()));
        aligned.resize(before, 0);
        aligned.extend_from_slice(bytes);
        // A base64 character holds six bits. `core` is the range of characters whose bits all come from the secret.
        let core = (before * 8).div_ceil(6)..aligned.len() * 8 / 6;
        let text = Zeroizing::new(STANDARD_NO_PAD.encode(&*aligned));
        let standard = Zeroizing::new(text.as_bytes().get(core).unwrap_or_default().to_vec());
        // The alphabets differ in two characters, which most texts do not have.
        let url_safe = standard.iter().any(|byte| matches!(byte, b'+' | b'/')).then(|| {
            let mut text = standard.clone();
            text.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b'-');
            text.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
            text
        });
        [Some(standard), url_safe].into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).expect("ASCII")
    }

    #[test]
    fn hex_has_two_digits_for_a_byte() {
        assert_eq!(text(&hex(b"\x00j\xff", LOWER)), "006aff");
        assert_eq!(text(&hex(b"\x00j\xff", UPPER)), "006AFF");
    }

    #[test]
    fn the_base64_of_any_text_around_the_secret_holds_a_core_and_little_else_of_it() {
        let secret = b"p@~?\xff\xfe>word";
        let cores: Vec<_> = base64(secret).collect();
        for before in 0..7 {
            for after in 0..4 {
                let around = [&b"before:"[..before], secret, &b"tail"[..after]].concat();
                for engine in [STANDARD, URL_SAFE] {
                    let encoded = engine.encode(&around);
                    // Less than a character of the secret's bits is before it, and after it.
                    let is_core = |core: &Bytes| {
                        let Some(at) = encoded.find(text(core)) else { return false };
                        let (lost, left) =
                            ((at * 6).checked_sub(before * 8), ((before + secret.len()) * 8).checked_sub((at + core.len()) * 6));
                        lost.is_some_and(|bits| bits < 6) && left.is_some_and(|bits| bits < 6)
                    };
                    assert!(cores.iter().any(is_core), "{encoded} holds no core");
                }
            }
        }
        assert!(base64(b"").all(|core| core.is_empty()));
    }
}
