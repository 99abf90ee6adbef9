//! A secret text: it has no `Display` and no `Serialize`, and its `Debug` shows nothing.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A value that must never reach a log, an argument, a label or a state file.
///
/// The memory is overwritten on drop. The only way to the text is [`Secret::expose`]: the test
/// `secrets_are_exposed_in_these_places_only` in `tests/cli/architecture.rs` lists its callers. Inside is the type
/// in which kube's own types keep a secret: to hand one over, or to take one, nothing is exposed.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a text as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        if text.capacity() == text.len() { Self(text.into_boxed_str().into()) } else { Self::of_parts(&[&Zeroizing::new(text)]) }
    }

    /// A text that is made of several, one of which is secret. The memory for all of it is taken at once: a text that grows leaves
    /// copies of itself behind, which nobody overwrites.
    #[must_use]
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            text.push_str(part);
        }
        // It is as long as its memory, so that nothing is copied.
        Self(text.into_boxed_str().into())
    }

    /// The text itself. Every call is a place where the secret could leak.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The same secret without the white space around it, as files and variables often carry a newline.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        Self::of_parts(&[self.expose().trim()])
    }

    /// Whether there is nothing in it but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.expose().trim().is_empty()
    }

    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.expose().len()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// As kube's types have it.
impl From<SecretString> for Secret {
    fn from(text: SecretString) -> Self {
        Self(text)
    }
}

/// As kube's types want it.
impl From<Secret> for SecretString {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_nothing_of_the_text() {
        let shown = format!("{:?} {:#?}", Secret::new("hunter2".into()), Some(Secret::new("hunter2".into())));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[redacted]"));
    }

    #[test]
    fn a_secret_is_read_from_json_and_trimmed() {
        let secret: Secret = serde_json::from_str(r#"" tok\n""#).expect("a JSON string");
        assert_eq!(secret.trimmed().expose(), "tok");
        assert!(!secret.is_blank());
        assert!(Secret::new(" \n".into()).is_blank());
    }
}
