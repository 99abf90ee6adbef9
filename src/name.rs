//! The form of a lease's name, by which it is recognised in a directory and in a token.

/// The prefix of every lease name; the admission policies of `deploy/` require it.
pub const PREFIX: &str = "jobpass-";

/// Whether this has the form of our lease names: the prefix and 128 bits in lower-case hex.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// 128 random bits in hex.
///
/// # Panics
/// When the system has no randomness; then TLS does not work either, and nothing has been sent.
#[must_use]
pub fn random_hex() -> String {
    let random: Result<ring::rand::Random<[u8; 16]>, _> = ring::rand::generate(&ring::rand::SystemRandom::new());
    hex(&random.expect("the system has randomness").expose())
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

/// The bytes that a hex text stands for; none if it is no hex.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_comes_back_as_it_was() {
        assert_eq!(unhex(&hex(&[0, 1, 0x7f, 0xff])), Some(vec![0, 1, 0x7f, 0xff]));
        for text in ["0", "0g", "ää"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }

    #[test]
    fn only_our_own_names_are_known() {
        assert!(is_name(&format!("{PREFIX}{}", random_hex())));
        for text in ["", "jobpass-", "jobpass-0123", "other-0123456789abcdef0123456789abcdef", "jobpass-0123456789ABCDEF0123456789abcdef"] {
            assert!(!is_name(text), "{text}");
        }
    }
}
