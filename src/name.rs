//! The form of a lease's name, by which it is recognised in a directory and in a token.

/// The prefix of every lease name; the admission policies of `deploy/` require it.
pub const PREFIX: &str = "jobpass-";

/// Whether this has the form of our lease names: the prefix and 128 bits in lower-case hex.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// In hex digits: how much of a name a message shows to people.
pub const SHOWN: usize = 6;

/// In hex digits: the shortest beginning of a name that is taken for one.
pub const SHORTEST: usize = 4;

/// What people are shown of a lease's id, with or without its namespace: the first digits of its name. Files, receipts and JSON
/// have the whole of it. What is no name of ours is shown as it is.
#[must_use]
pub fn short(id: &str) -> &str {
    let name = id.rsplit_once('/').map_or(id, |(_, name)| name);
    if is_name(name) { &name[PREFIX.len()..PREFIX.len() + SHOWN] } else { id }
}

/// A lease by the beginning of its name, as messages and lists show it: `7a24c1`, `jobpass-7a24c1` or `ci/7a24c1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The namespace, where it is said.
    pub namespace: Option<&'a str>,
    digits: &'a str,
}

impl<'a> Beginning<'a> {
    /// Reads it; none if it cannot be the beginning of a name.
    #[must_use]
    pub fn of(text: &'a str) -> Option<Self> {
        let (namespace, name) = text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
        let digits = name.strip_prefix(PREFIX).unwrap_or(name);
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (is_hex && (SHORTEST..=32).contains(&digits.len())).then_some(Self { namespace, digits })
    }

    /// Whether a lease's name begins so.
    #[must_use]
    pub fn is_of(&self, namespace: &str, name: &str) -> bool {
        self.namespace.is_none_or(|said| said == namespace)
            && name.strip_prefix(PREFIX).is_some_and(|digits| digits.starts_with(self.digits))
    }
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
    fn people_are_shown_the_first_digits() {
        let name = "jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6";
        assert_eq!([short(name), short(&format!("ci/{name}"))], ["7a24c1", "7a24c1"]);
        assert_eq!(short("ci/legacy-token"), "ci/legacy-token");
        for text in ["7a24", "jobpass-7a24", "ci/7a24c1", "ci/jobpass-7a24c1", name] {
            assert!(Beginning::of(text).expect(text).is_of("ci", name), "{text}");
        }
        for text in ["7a25", "other/7a24", "a24c"] {
            assert!(!Beginning::of(text).expect(text).is_of("ci", name), "{text}");
        }
        for text in ["", "7a2", "7A24", "jobpass-", "ci/", "ci/x/7a24", "7a24c1e09b5d4f38a6c2d1e0f9b8a7c600", "7a24*"] {
            assert_eq!(Beginning::of(text), None, "{text}");
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
