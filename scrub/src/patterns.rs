//! What is hidden: the secrets of a job, in every form in which they could be printed.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use zeroize::Zeroizing;

use super::{
    encode::{LOWER, UPPER, base64, hex},
    matcher::Pattern,
    runs::Index,
    spelling::{self, Spelled},
    words::Word,
};

/// In bytes: a shorter value would be found in ordinary text, so it is refused.
pub const SHORTEST_VALUE: usize = 8;

/// In bytes: a shorter last segment is no signature, and is too common to be hidden everywhere.
const SHORTEST_SIGNATURE: usize = 16;

/// In bytes: this much of a token is passed on before the rest is held back. All tokens begin alike, and every text that ends like
/// that beginning would have to wait.
const TOKEN_HOLD: usize = 16;

/// The tokens and values to hide, with their encodings.
///
/// Cloning is cheap, as clones share their memory. The memory is overwritten when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Patterns {
    all: Vec<Arc<Pattern>>,
    words: Vec<Arc<Word>>,
    /// Made once for all clones, when the first of them is used.
    index: Arc<OnceLock<Arc<Index>>>,
}

/// A value that is not hidden because it is so short that it would be found in ordinary text; holds its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort(pub usize);

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of {} bytes is too short to be hidden in all output, it takes {SHORTEST_VALUE}", self.0)
    }
}

impl std::error::Error for TooShort {}

impl Patterns {
    /// Patterns that hide nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Hides a token, the signature of a JWT by itself, and both as hex (lower and upper case) and as base64 (standard and URL
    /// alphabet, also inside a longer encoded text). All of these are hidden also when they are broken into lines of 20 characters
    /// or more. Of the secret part, which is the signature or what follows a prefix such as `sha256~`, each run of 16 characters is
    /// hidden, also in base64 of base64, in UTF-16 and in dumps, and then the shorter pieces that come next in it.
    ///
    /// Tokens begin alike, so a token that is written in pieces is held back only from its 16th byte on, but a signature from its
    /// first. White space around the token is ignored.
    pub fn token(&mut self, token: &str) {
        let bytes = token.trim().as_bytes();
        // Of a short token the 16 bytes would show too much: it is held back from its first byte on.
        let hold = if bytes.len() < 2 * TOKEN_HOLD { 1 } else { TOKEN_HOLD };
        for (text, hold) in [(Some(bytes), hold), (signature(bytes), 1)] {
            let Some(text) = text else { continue };
            self.add(text.to_vec().into(), None, hold, true);
            self.encoded(text, hold);
        }
        self.words(Word::of_token(bytes));
    }

    /// Hides a value that somebody named, from its first byte on: as it is, percent-encoded, escaped for JSON, XML and strings of
    /// programs, quoted as by a shell's `set -x`, and as hex and base64 as for a token. Of a value of 24 bytes or more that is one
    /// word of mixed characters, runs are hidden as of a token. Of a value of several lines each line of 8 bytes or more is also
    /// hidden by itself, even if it is a common text. White space around the value and around its lines is
    /// ignored.
    ///
    /// # Errors
    /// [`TooShort`] below 8 bytes; then nothing of the value is hidden.
    pub fn value(&mut self, value: &str) -> Result<(), TooShort> {
        let text = value.trim();
        let bytes = text.as_bytes();
        if bytes.len() < SHORTEST_VALUE {
            return Err(TooShort(bytes.len()));
        }
        self.text(text, Word::is_one(bytes));
        self.words(Word::of_value(bytes));
        // The lines may be printed singly, with an indentation, or with other line breaks: then only the single line would be
        // recognised.
        for line in text.split(['\n', '\r']).map(str::trim) {
            if line.len() >= SHORTEST_VALUE {
                self.text(line, false);
            }
        }
        Ok(())
    }

    /// The patterns themselves.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.all.iter()
    }

    /// The runs of the secrets that are one word.
    pub(super) fn runs(&self) -> Arc<Index> {
        Arc::clone(self.index.get_or_init(|| Arc::new(Index::new(&self.words))))
    }

    fn words(&mut self, words: impl IntoIterator<Item = Word>) {
        for word in words {
            if !self.words.iter().any(|known| **known == word) {
                self.words.push(Arc::new(word));
                self.index = Arc::default();
            }
        }
    }

    /// `wraps` says whether it is also looked for across line breaks.
    fn text(&mut self, text: &str, wraps: bool) {
        let bytes = text.as_bytes();
        self.add(bytes.to_vec().into(), None, 1, wraps);
        for spelled in spelling::spelled(text) {
            self.add(bytes.to_vec().into(), Some(spelled), 1, false);
        }
        self.encoded(bytes, 1);
    }

    fn encoded(&mut self, bytes: &[u8], hold: usize) {
        let hex = [LOWER, UPPER].map(|digits| hex(bytes, digits));
        for form in hex.into_iter().chain(base64(bytes)) {
            self.add(form, None, hold, true);
        }
    }

    fn add(&mut self, bytes: Zeroizing<Vec<u8>>, spelled: Option<Spelled>, hold: usize, wraps: bool) {
        if bytes.is_empty() {
            return;
        }
        let pattern = Pattern { bytes, spelled, hold, wraps };
        // Sorted, so that duplicates are found fast: a value of many lines has many patterns.
        let at = self.all.partition_point(|known| known.bytes.as_slice() < pattern.bytes.as_slice());
        if !self.all[at..].iter().take_while(|known| known.bytes == pattern.bytes).any(|known| **known == pattern) {
            self.all.insert(at, Arc::new(pattern));
        }
    }
}

/// The last segment of a JWT: what makes of the other two, which are no secret, a token. Below 16 bytes it is too common to be hidden
/// everywhere in a log.
#[must_use]
pub fn signature(token: &[u8]) -> Option<&[u8]> {
    let mut segments = token.rsplitn(3, |byte| *byte == b'.');
    let signature = segments.next()?;
    (segments.count() == 2 && signature.len() >= SHORTEST_SIGNATURE).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";

    fn of_token(text: &str) -> Patterns {
        let mut patterns = Patterns::new();
        patterns.token(text);
        patterns
    }

    fn held(patterns: &Patterns, form: &str) -> Option<usize> {
        patterns.iter().find(|pattern| *pattern.bytes == form.as_bytes()).map(|pattern| pattern.hold)
    }

    #[test]
    fn a_token_is_held_late_and_its_signature_at_once() {
        let patterns = of_token(&format!(" {TOKEN}\n"));
        assert_eq!(held(&patterns, TOKEN), Some(16));
        assert_eq!(held(&patterns, "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"), Some(1));
        // The token: plain, hex in two cases, base64 at three alignments; and the same of its signature. The base64 of a JWT is the
        // same in both alphabets.
        assert_eq!(patterns.iter().count(), 12);
        assert!(patterns.iter().all(|pattern| pattern.wraps));
    }

    #[test]
    fn an_opaque_token_has_no_signature() {
        for text in ["sha256~abcdefghijklmnopqrstuvwxyz0123456789", "a.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg", "a.b.short"] {
            assert!(of_token(text).iter().all(|pattern| pattern.hold == if text.len() < 32 { 1 } else { 16 }), "{text}");
        }
    }

    #[test]
    fn what_was_added_twice_is_there_once() {
        let mut patterns = of_token(TOKEN);
        patterns.token(TOKEN);
        assert_eq!(patterns.iter().count(), 12);
        assert!(of_token(" \n").is_empty());
    }

    #[test]
    fn each_line_of_a_value_is_one_too_but_the_short_ones() {
        let mut patterns = Patterns::new();
        patterns.value("first line\r\n\tsecond=line \nshort\n\n  first line\n").expect("long enough");
        for (line, hidden) in [("first line", true), ("second=line", true), ("short", false), ("", false)] {
            assert_eq!(held(&patterns, line), hidden.then_some(1), "{line}");
        }
        let lines = patterns.iter().filter(|pattern| **pattern.bytes == *b"first line").count();
        assert_eq!(lines, 1 + 5, "as it is, and escaped in each style");
        let mut one = Patterns::new();
        one.value("a single line\n").expect("long enough");
        assert!(one.iter().all(|pattern| pattern.spelled.is_none() || **pattern.bytes == *b"a single line"));
    }

    #[test]
    fn a_short_value_is_refused() {
        let mut patterns = Patterns::new();
        let error = patterns.value("\tpa$$wor\n").expect_err("seven bytes");
        assert_eq!(error.to_string(), "a value of 7 bytes is too short to be hidden in all output, it takes 8");
        assert!(patterns.is_empty());
        patterns.value("pa$$word").expect("eight bytes");
        assert_eq!(held(&patterns, "pa$$word"), Some(1));
    }
}
