//! One search over one text: where patterns occur in it, and which of its last bytes may still become one.
//!
//! A vectorised search for the first bytes of all patterns finds the few places that are worth a look; there each pattern is
//! compared. So the cost of ordinary text does not depend on how long the patterns are, and that of making a `Matcher` hardly.

use std::{ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use zeroize::Zeroizing;

/// How many first bytes of a pattern the vectorised search looks for.
const HEAD: usize = 8;

/// So many heads are searched for at once: beyond it aho-corasick has no vectorised search, and two are faster than none.
const HEADS: usize = if cfg!(target_arch = "x86_64") { 64 } else { 32 };

/// A byte string that is to be hidden.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What is hidden; never empty.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// A text that ends in so many first bytes of the pattern waits for the rest; at least 1.
    pub(super) hold: usize,
    /// Whether it is also looked for when it is broken into lines.
    pub(super) wraps: bool,
}

/// What the last bytes of a text may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// From here on the text is the beginning of a pattern: it is needed to recognise the rest.
    pub(super) context: usize,
    /// From here on the text must not be passed on; never before `context`.
    pub(super) hold: usize,
}

impl Tail {
    /// Nothing of a text of this length may become anything.
    pub(super) fn none(length: usize) -> Self {
        Self { context: length, hold: length }
    }

    /// Both at once.
    pub(super) fn and(self, other: Self) -> Self {
        Self { context: self.context.min(other.context), hold: self.hold.min(other.hold) }
    }
}

/// Patterns that are ready to be searched for.
pub(super) struct Matcher {
    /// By their first byte.
    patterns: Vec<Vec<Arc<Pattern>>>,
    heads: Vec<AhoCorasick>,
    longest: usize,
}

impl Matcher {
    /// Makes the patterns ready.
    ///
    /// # Panics
    /// Never: a few short heads are far from the limits of an automaton.
    pub(super) fn new(patterns: impl Iterator<Item = Arc<Pattern>>) -> Self {
        let all: Vec<_> = patterns.filter(|pattern| !pattern.bytes.is_empty()).collect();
        let mut heads: Vec<_> = all.iter().map(|pattern| &pattern.bytes[..pattern.bytes.len().min(HEAD)]).collect();
        // Tokens of one service account begin alike, in every encoding.
        heads.sort_unstable();
        heads.dedup();
        let automaton = |heads: &[&[u8]]| {
            AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(heads).expect("a few short heads make an automaton")
        };
        let heads = heads.chunks(HEADS).map(automaton).collect();
        let longest = all.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or(0);
        let mut patterns = vec![Vec::new(); 256];
        for pattern in all {
            patterns[usize::from(pattern.bytes[0])].push(pattern);
        }
        Self { patterns, heads, longest }
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The length of the longest pattern in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Adds every occurrence to `found`, overlapping ones too and in no order, and says what the end of the text may become.
    ///
    /// For each place where one begins only the longest is added, as the shorter ones are within it.
    pub(super) fn scan(&self, text: &[u8], found: &mut Vec<Range<usize>>) -> Tail {
        let mut tail = Tail::none(text.len());
        for heads in &self.heads {
            let mut from = 0;
            while let Some(head) = heads.find(Input::new(text).range(from..)) {
                self.look(text, head.start(), found, &mut tail);
                from = head.start() + 1;
            }
        }
        // Here no whole head fits, but the beginning of one does.
        for start in text.len().saturating_sub(HEAD - 1)..text.len() {
            self.look(text, start, found, &mut tail);
        }
        tail
    }

    /// Compares the text that starts here with every pattern.
    fn look(&self, text: &[u8], start: usize, found: &mut Vec<Range<usize>>, tail: &mut Tail) {
        let rest = &text[start..];
        let mut longest = 0;
        for pattern in &self.patterns[usize::from(rest[0])] {
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
}
