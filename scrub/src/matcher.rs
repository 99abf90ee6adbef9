//! One search over one text: where patterns occur in it, and which of its last bytes may still become one.

use std::{ops::Range, sync::Arc};

use zeroize::Zeroizing;

use super::{sieve::Sieve, spelling::Spelled};

/// In bytes: patterns of this length or more are searched for apart from the short ones. The forms of a token are longer, those of
/// most values shorter.
const LONG: usize = 32;

/// In bytes: where all patterns are at least this long, one search for all of them is cheaper than two.
const MEDIUM: usize = 16;

/// A byte string that is to be hidden.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The bytes to hide; never empty.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// In which other ways it may be written, for example escaped for JSON.
    pub(super) spelled: Option<Spelled>,
    /// When a text ends with this many first bytes of the pattern, they are held back until the rest comes; at least 1.
    pub(super) hold: usize,
    /// Whether it is also looked for when it is broken into lines.
    pub(super) wraps: bool,
}

/// How much of the end of a text may still become a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The text from here on may be the beginning of a pattern: it must be kept to recognise the rest.
    pub(super) context: usize,
    /// The text from here on must not be passed on yet; never before `context`.
    pub(super) hold: usize,
}

impl Tail {
    /// No part of a text of this length may become a pattern.
    pub(super) fn none(length: usize) -> Self {
        Self { context: length, hold: length }
    }

    /// Combines two results: keeps what either of them wants kept.
    pub(super) fn and(self, other: Self) -> Self {
        Self { context: self.context.min(other.context), hold: self.hold.min(other.hold) }
    }
}

/// Patterns, prepared for a search.
pub(super) struct Matcher {
    short: Option<Sieve<4>>,
    long: Option<Sieve<8>>,
    longest: usize,
}

impl Matcher {
    /// Prepares the patterns.
    pub(super) fn new(patterns: impl Iterator<Item = Arc<Pattern>>) -> Self {
        let all: Vec<_> = patterns.filter(|pattern| !pattern.bytes.is_empty()).collect();
        let lengths = || all.iter().map(|pattern| pattern.bytes.len());
        let longest = lengths().max().unwrap_or(0);
        let shortest = lengths().min().unwrap_or(0);
        // Short and long patterns are separated because the shortest one decides at how many places a text must be looked at.
        let is_long = |pattern: &Arc<Pattern>| if shortest < MEDIUM { pattern.bytes.len() >= LONG } else { shortest >= LONG };
        let (long, short): (Vec<_>, Vec<_>) = all.into_iter().partition(is_long);
        let short = (!short.is_empty()).then(|| Sieve::new(short));
        let long = (!long.is_empty()).then(|| Sieve::new(long));
        Self { short, long, longest }
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.longest == 0
    }

    /// The length in bytes of the longest pattern in its plain spelling.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Adds every occurrence to `found`, overlapping ones too and in no order, and returns what the end of the text may become.
    ///
    /// Of several occurrences that begin at one place, only the longest needs to be added.
    pub(super) fn scan(&self, text: &[u8], found: &mut Vec<Range<usize>>) -> Tail {
        let mut tail = Tail::none(text.len());
        let mut look = |start, patterns: &[Arc<Pattern>]| compare(text, start, patterns, found, &mut tail);
        if let Some(short) = &self.short {
            short.scan(text, &mut look);
        }
        if let Some(long) = &self.long {
            long.scan(text, &mut look);
        }
        tail
    }
}

/// Compares the text from `start` on with these patterns.
fn compare(text: &[u8], start: usize, patterns: &[Arc<Pattern>], found: &mut Vec<Range<usize>>, tail: &mut Tail) {
    let rest = &text[start..];
    let mut longest = 0;
    for pattern in patterns {
        if let Some(spelled) = &pattern.spelled {
            let fit = spelled.fit(rest);
            longest = longest.max(fit.end.unwrap_or(0));
            if fit.open {
                let hold = if rest.len() >= pattern.hold { start } else { text.len() };
                *tail = tail.and(Tail { context: start, hold });
            }
            continue;
        }
        // The first four bytes rule most patterns out, without the call of `starts_with`, which would cost more than everything
        // else here.
        if let (Some(here), Some(head)) = (rest.first_chunk::<4>(), pattern.bytes.first_chunk::<4>())
            && here != head
        {
            continue;
        }
        if rest.starts_with(&pattern.bytes) {
            longest = longest.max(pattern.bytes.len());
        } else if pattern.bytes.starts_with(rest) {
            let hold = if rest.len() >= pattern.hold { start } else { text.len() };
            *tail = tail.and(Tail { context: start, hold });
        }
    }
    if longest > 0 {
        found.push(start..start + longest);
    }
}
