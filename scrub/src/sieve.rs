//! The search for patterns of similar length: it looks only at some places of the text, yet can miss none.
//!
//! A pattern of `m` bytes in the text covers one of any `m - N + 1` consecutive grams of `N` bytes. So it is enough to test every
//! so-many-th gram: does any pattern contain it (see [`Grams`])? Only where one does, the places back to the last tested gram are
//! compared with the patterns. Only the first grams of a pattern are stored, as the first tested gram of an occurrence is always
//! near its beginning.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::{grams::Grams, matcher::Pattern, spelling::Spelled};

/// How many first bytes of a pattern (its head) the vectorised search looks for.
const HEAD: usize = 8;

/// How many heads one search looks for: with more, aho-corasick has no vectorised search, and two vectorised ones are faster than
/// one without.
const HEADS: usize = if cfg!(target_arch = "x86_64") { 64 } else { 32 };

/// Up to this many such searches are no slower than a look at every place. A value with many escaped characters has more heads.
const SEARCHES: usize = 8;

/// In bytes: the largest distance between two tested grams. A larger one saves little, while the end of each text, where every
/// place is looked at, grows.
const STRIDE: usize = 64;

/// In bytes: with shorter patterns the places to look at are so few that a vectorised search does not pay.
const WORTH: usize = 32;

/// Patterns of similar length, prepared for a search by their grams of `N` bytes.
pub(super) struct Sieve<const N: usize> {
    /// The patterns by their first byte.
    patterns: Vec<Vec<Arc<Pattern>>>,
    grams: Grams<N>,
    /// Every so-many-th gram is tested; none where a pattern is shorter than a gram, so that every place must be looked at.
    stride: Option<usize>,
    /// Automata for the heads of the patterns, several heads in each; empty where that search does not pay.
    heads: Vec<AhoCorasick>,
}

impl<const N: usize> Sieve<N> {
    /// Prepares the patterns; there must be at least one, and none may be empty.
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

    /// Calls `look` with every place at which a pattern may begin, and with the patterns that may begin there.
    ///
    /// That includes every place from which the rest of the text is the beginning of a pattern.
    pub(super) fn scan(&self, text: &[u8], mut look: impl FnMut(usize, &[Arc<Pattern>])) {
        let Some(stride) = self.stride else { return self.around(text, 0, text.len(), &mut look) };
        // Everything before `next` has been looked at.
        let mut next = 0;
        let mut at = 0;
        while let Some(gram) = text.get(at..).and_then(<[u8]>::first_chunk) {
            if self.grams.has(gram) {
                self.around(text, next.max((at + 1).saturating_sub(stride)), at + 1, &mut look);
                next = at + 1;
            }
            at += stride;
        }
        // At the end of the text a pattern may have begun without covering a tested gram: there every place is looked at.
        let rest = text.len().saturating_sub(stride + N - 2);
        self.around(text, next.max(rest), text.len(), &mut look);
    }

    /// Looks at the places from `from` up to, but not including, `to`.
    fn around(&self, text: &[u8], from: usize, to: usize, look: &mut impl FnMut(usize, &[Arc<Pattern>])) {
        let mut each = from..to;
        if !self.heads.is_empty() {
            // The places at which a whole head fits in. The last few are looked at one by one.
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
    // Tokens of one service account begin alike in every encoding, so many heads are the same.
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
