//! The second search: for patterns that are broken into lines, as `base64`, `openssl` and `fold` do it.
//!
//! Lines are joined and searched only where a line is long enough and the characters on both sides of its line break may belong to
//! a pattern. All other text costs only the search for line breaks and a look at each of them.

use std::{ops::Range, sync::Arc};

use memchr::{memchr_iter, memrchr};
use zeroize::Zeroizing;

use super::{
    grams::Grams,
    matcher::{Matcher, Pattern, Tail},
};

/// In columns: a line break after fewer characters is never looked through. No tool wraps so narrowly, and ordinary words would be
/// joined.
pub(super) const NARROWEST: usize = 20;

/// When a text ends with a line break, it waits for the next line only if at least this many characters before the break are the
/// beginning of a pattern.
///
/// One character is such a beginning in every fourth line, and it shows less than a byte of a secret.
pub(super) const AT_BREAK: usize = 2;

/// In bytes: the size of the grams that are tested around a line break.
const GRAM: usize = 4;

/// The characters of hex, of both base64 alphabets, and of tokens.
const JOINABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'.' | b'~');
        byte += 1;
    }
    table
};

/// Whether a line may be joined with the next one after this character.
pub(super) fn joinable(byte: u8) -> bool {
    JOINABLE[usize::from(byte)]
}

/// How many bytes lie between the beginning of the line and `end`, counted up to [`NARROWEST`].
///
/// `before` is the same figure for the beginning of the text.
pub(super) fn column(text: &[u8], end: usize, before: usize) -> usize {
    let near = &text[end.saturating_sub(NARROWEST)..end];
    match memrchr(b'\n', near) {
        Some(line_break) => near.len() - line_break - 1,
        None => NARROWEST.min(near.len() + before),
    }
}

/// What comes after the joinable characters of a line.
enum After {
    /// A line break; the next line begins at this index.
    Line(usize),
    /// The end of the text so far, or the first half of a CRLF at its end.
    End,
    /// Another character: the line is not joined with the next one.
    Other,
}

fn after(text: &[u8], end: usize) -> After {
    match text[end..] {
        [] | [b'\r'] => After::End,
        [b'\n', ..] => After::Line(end + 1),
        [b'\r', b'\n', ..] => After::Line(end + 2),
        _ => After::Other,
    }
}

/// The patterns that are looked for in joined lines.
pub(super) struct Wrapped {
    matcher: Matcher,
    grams: Grams<GRAM>,
    joined: Joined,
    /// What was found in the joined lines; a field so that its memory is used again.
    found: Vec<Range<usize>>,
}

impl Wrapped {
    /// Prepares the patterns.
    pub(super) fn new(patterns: impl Iterator<Item = Arc<Pattern>>) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let grams = Grams::new(patterns.iter().map(|pattern| pattern.bytes.as_slice()));
        Self { matcher: Matcher::new(patterns.into_iter()), grams, joined: Joined::default(), found: Vec::new() }
    }

    /// Adds every occurrence that crosses a line break to `found`, and returns what the end of the text may become.
    ///
    /// `before` is the [`column`] at which the text begins.
    pub(super) fn scan(&mut self, text: &[u8], before: usize, found: &mut Vec<Range<usize>>) -> Tail {
        let mut tail = Tail::none(text.len());
        if self.matcher.is_empty() {
            return tail;
        }
        let mut next = 0;
        // The line at the beginning of the text may have begun earlier: `before` columns of it are already gone.
        let mut columns = before;
        let mut begin = 0;
        // The checks come in order of their cost. This first one is all that most lines cost.
        for line in memchr_iter(b'\n', text) {
            let end = if text[..line].ends_with(b"\r") { line - 1 } else { line };
            columns += end - begin;
            let wide = columns >= NARROWEST && line >= next;
            let goes_on = text.get(line + 1).is_none_or(|byte| joinable(*byte));
            if wide && goes_on && text[..end].last().is_some_and(|byte| joinable(*byte)) && self.crosses(text, end, line + 1) {
                next = self.block(text, end, found, &mut tail);
            }
            (columns, begin) = (0, line + 1);
        }
        if next < text.len() && text.ends_with(b"\r") && column(text, text.len() - 1, before) >= NARROWEST {
            self.block(text, text.len() - 1, found, &mut tail);
        }
        tail
    }

    /// Whether a pattern may cross the line break between `end` and `start`.
    ///
    /// If one does, a whole gram of it is among the nearest characters on both sides. Where those have not all arrived yet, the
    /// answer is yes.
    fn crosses(&self, text: &[u8], end: usize, start: usize) -> bool {
        const NEAR: usize = GRAM - 1;
        let before = &text[end.saturating_sub(NEAR)..end];
        let Some(after) = text.get(start..start + NEAR) else { return true };
        let mut near = [0; 2 * NEAR];
        near[NEAR - before.len()..NEAR].copy_from_slice(before);
        near[NEAR..].copy_from_slice(after);
        self.grams.any(&near[NEAR - before.len()..])
    }

    /// Joins the lines around the line break at `end` and searches them; returns where the last joined line ends.
    fn block(&mut self, text: &[u8], end: usize, found: &mut Vec<Range<usize>>, tail: &mut Tail) -> usize {
        let reach = text[..end].iter().rev().take(self.matcher.longest()).take_while(|byte| joinable(**byte)).count();
        let mut line = end - reach..end;
        let mut wide = true;
        self.joined.clear();
        let open = loop {
            self.joined.push(text, &line);
            match after(text, line.end) {
                After::Line(start) if wide => {
                    let length = text[start..].iter().take_while(|byte| joinable(**byte)).count();
                    line = start..start + length;
                    wide = length >= NARROWEST;
                }
                After::End => break wide || line.end == text.len(),
                After::Line(_) | After::Other => break false,
            }
        };
        self.found.clear();
        let mut end = self.matcher.scan(&self.joined.text, &mut self.found);
        if text.ends_with(b"\n") || text.ends_with(b"\r") {
            let length = self.joined.text.len();
            end.hold = if length - end.hold < AT_BREAK { length } else { end.hold };
        }
        found.extend(self.found.iter().map(|range| self.joined.place(range.start)..self.joined.place(range.end - 1) + 1));
        if open {
            let place = |at| if at == self.joined.text.len() { text.len() } else { self.joined.place(at) };
            *tail = tail.and(Tail { context: place(end.context), hold: place(end.hold) });
            return text.len();
        }
        line.end
    }
}

/// Lines without their line breaks, and where each of them was in the original text.
#[derive(Default)]
struct Joined {
    text: Zeroizing<Vec<u8>>,
    /// Where each line begins: in the joined text, and in the original.
    lines: Vec<(usize, usize)>,
}

impl Joined {
    fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn push(&mut self, original: &[u8], line: &Range<usize>) {
        self.lines.push((self.text.len(), line.start));
        self.text.extend_from_slice(&original[line.clone()]);
    }

    /// The index in the original of the character at index `at` of the joined text.
    fn place(&self, at: usize) -> usize {
        let (here, original) = self.lines[self.lines.partition_point(|(here, _)| *here <= at) - 1];
        original + (at - here)
    }
}
