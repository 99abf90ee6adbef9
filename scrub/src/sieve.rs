//! The search for patterns of like length: it looks at some places of the text only, so many that none can be missed.
//!
//! A pattern of `m` bytes that is in the text covers one of any `m - N + 1` grams of `N` bytes that follow each other. So it is
//! enough to ask of one in so many whether any pattern has it. The first that is asked of a pattern is near its beginning: nothing
//! else needs to be known of it, and only the places as far back as the one that was asked before are looked at.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::{grams::Grams, matcher::Pattern, spelling::Spelled};

/// How many first bytes of a pattern the vectorised search looks for.
const HEAD: usize = 8;

/// So many heads are searched for at once: beyond it aho-corasick has no vectorised search, and two are faster than none.
const HEADS: usize = if cfg!(target_arch = "x86_64") { 64 } else { 32 };

/// So many of these searches are no slower than a look at every place; values with many characters that are escaped have more heads.
const SEARCHES: usize = 8;

/// In bytes: what is looked at less often saves little, while the end of each text, which is looked at as a whole, grows.
const STRIDE: usize = 64;

/// In bytes: where the patterns are shorter, so few places are looked at that the vectorised search has no part in it.
const WORTH: usize = 32;

/// Patterns of like length, ready to be searched for by their grams of `N` bytes.
pub(super) struct Sieve<const N: usize> {
    /// By their first byte.
    patterns: Vec<Vec<Arc<Pattern>>>,
    grams: Grams<N>,
    /// One gram in so many is looked at; none where a pattern is shorter than a gram.
    stride: Option<usize>,
    /// What the patterns begin with, if that is searched for; some for each search.
    heads: Vec<AhoCorasick>,
}

impl<const N: usize> Sieve<N> {
    /// Makes the patterns ready, of which there must be one, and none empty.
    ///
    /// # Panics
    /// Never: a few short heads are far from the limits of an automaton.
    pub(super) fn new(all: Vec<Arc<Pattern>>) -> Self {
        let shortest = all.iter().map(|pattern| pattern.bytes.len()).min().unwrap_or(0);
        let stride = (shortest >= N).then(|| (shortest + 1 - N).min(STRIDE));
        let asked = stride.map_or(0, |stride| stride + N - 1);
        let spelled: Vec<_> = spelled(&all).map(|spelled| spelled.windows::<N>(stride.unwrap_or(0))).collect();
        let spelled = spelled.iter().flat_map(|windows| windows.iter()).map(<[u8; N]>::as_slice);
        let grams = Grams::new(all.iter().map(|pattern| &pattern.bytes[..asked]).chain(spelled));
        let heads = if shortest >= WORTH { heads(&all) } else { Vec::new() };
        let mut patterns = vec![Vec::new(); 256];
        for pattern in all {
            let firsts = pattern.spelled.as_ref().map_or_else(|| vec![pattern.bytes[0]], Spelled::firsts);
            for first in firsts {
                patterns[usize::from(first)].push(Arc::clone(&pattern));
            }
        }
        Self { patterns, grams, stride, heads }
    }

    /// Calls `look` with every place at which one of the patterns may begin, and with what may begin there.
    ///
    /// That is also every place from which the rest of the text is the beginning of a pattern.
    pub(super) fn scan(&self, text: &[u8], mut look: impl FnMut(usize, &[Arc<Pattern>])) {
        let Some(stride) = self.stride else { return self.around(text, 0, text.len(), &mut look) };
        // Before it everything has been looked at.
        let mut next = 0;
        let mut at = 0;
        while let Some(gram) = text.get(at..).and_then(<[u8]>::first_chunk) {
            if self.grams.has(gram) {
                self.around(text, next.max((at + 1).saturating_sub(stride)), at + 1, &mut look);
                next = at + 1;
            }
            at += stride;
        }
        // The beginning of a pattern may be too short to cover a gram that was asked for.
        let rest = text.len().saturating_sub(stride + N - 2);
        self.around(text, next.max(rest), text.len(), &mut look);
    }

    /// Looks at the places from `from` to `to`, not included.
    fn around(&self, text: &[u8], from: usize, to: usize, look: &mut impl FnMut(usize, &[Arc<Pattern>])) {
        let mut each = from..to;
        if !self.heads.is_empty() {
            // A whole head begins in all of these but the last.
            let whole = to.min((text.len() + 1).saturating_sub(HEAD));
            for heads in &self.heads {
                let mut from = from;
                while from < whole
                    && let Some(head) = heads.find(Input::new(text).range(from..whole + HEAD - 1))
                {
                    look(head.start(), self.beginning_with(text[head.start()]));
                    from = head.start() + 1;
                }
            }
            each = whole.max(from)..to;
        }
        for at in each {
            look(at, self.beginning_with(text[at]));
        }
    }

    fn beginning_with(&self, byte: u8) -> &[Arc<Pattern>] {
        &self.patterns[usize::from(byte)]
    }
}

fn spelled(all: &[Arc<Pattern>]) -> impl Iterator<Item = &Spelled> {
    all.iter().filter_map(|pattern| pattern.spelled.as_ref())
}

fn heads(all: &[Arc<Pattern>]) -> Vec<AhoCorasick> {
    let spelled: Vec<_> = spelled(all).map(|spelled| spelled.windows::<HEAD>(1)).collect();
    let mut heads: Vec<_> = all.iter().map(|pattern| &pattern.bytes[..HEAD]).collect();
    heads.extend(spelled.iter().flat_map(|windows| windows.iter()).map(<[u8; HEAD]>::as_slice));
    // Tokens of one service account begin alike, in every encoding.
    heads.sort_unstable();
    heads.dedup();
    if heads.len() > SEARCHES * HEADS {
        return Vec::new();
    }
    let automaton = |heads: &[&[u8]]| {
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(heads).expect("a few short heads make an automaton")
    };
    heads.chunks(HEADS).map(automaton).collect()
}
