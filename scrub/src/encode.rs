//! The encodings in which a secret is recognised; every copy is overwritten on drop.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
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
/// There is one result for each of the three alignments and each of the two alphabets. A character whose six bits come partly from
/// a neighbouring byte is left out: at each end up to four bits of the secret are therefore not searched for.
pub(super) fn base64(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    (0..3).flat_map(move |before| {
        let mut aligned = Zeroizing::new(Vec::with_capacity(before + bytes.len()));
        aligned.resize(before, 0);
        aligned.extend_from_slice(bytes);
        // A base64 character holds six bits. `core` is the range of characters whose bits all come from the secret.
        let core = (before * 8).div_ceil(6)..aligned.len() * 8 / 6;
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| {
            let text = Zeroizing::new(engine.encode(&*aligned));
            Zeroizing::new(text.as_bytes().get(core.clone()).unwrap_or_default().to_vec())
        })
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
                for (alphabet, engine) in [STANDARD, URL_SAFE].iter().enumerate() {
                    let encoded = engine.encode(&around);
                    let core = text(&cores[before % 3 * 2 + alphabet]);
                    let at = encoded.find(core).unwrap_or_else(|| panic!("{encoded} does not hold {core}"));
                    // The characters left out at each end hold less than one character's worth (six bits) of the secret.
                    assert!(at * 6 - before * 8 < 6 && (before + secret.len()) * 8 - (at + core.len()) * 6 < 6, "{encoded} {core}");
                }
            }
        }
        assert!(base64(b"").all(|core| core.is_empty()));
    }
}
