//! A naive oracle: it looks at the whole input byte by byte, with no automaton, carry or joined line. Tests compare the scrubber
//! with it, and so does a fuzzer (feature `fuzzing`).

use super::{
    Patterns, REPLACEMENT,
    matcher::Pattern,
    words::Form,
    wrapped::{AT_BREAK, NARROWEST},
};

mod runs;

#[cfg(test)]
mod properties;

/// The output that these writes must have, and how many bytes must be held back after each. None where the secrets have more than
/// `most_forms` forms, as the oracle looks for each form at each place.
#[must_use]
pub fn expected(patterns: &Patterns, chunks: &[Vec<u8>], most_forms: usize) -> Option<(Vec<u8>, Vec<usize>)> {
    let ways = |pattern: &Pattern| {
        let parts = pattern.spelled.iter().flat_map(|spelled| &spelled.parts);
        parts.fold(1_usize, |ways, part| ways.saturating_mul(part.len()))
    };
    let words = patterns.runs().forms();
    let patterns: Vec<_> = patterns.iter().map(|pattern| Pattern::clone(pattern)).collect();
    let all = patterns.iter().fold(0_usize, |all, pattern| all.saturating_add(ways(pattern)));
    (all <= most_forms).then(|| oracle(&patterns, &words, chunks))
}

/// What a pattern does at one place of a text.
#[derive(PartialEq)]
enum Fate {
    /// It occurs here, and ends at this index.
    Whole(usize),
    /// The text ends after this many bytes of the pattern.
    Begun(usize),
    Nothing,
}

fn fate(text: &[u8], start: usize, pattern: &Pattern) -> Fate {
    let (mut at, mut matched) = (start, 0);
    while matched < pattern.bytes.len() {
        let looked_through = pattern.wraps && matched > 0 && {
            let columns = text[..at].iter().rev().take_while(|byte| **byte != b'\n').count();
            columns >= NARROWEST
        };
        match text[at..] {
            [] => return Fate::Begun(matched),
            [byte, ..] if byte == pattern.bytes[matched] => (at, matched) = (at + 1, matched + 1),
            [b'\n', ..] | [b'\r'] if looked_through => at += 1,
            [b'\r', b'\n', ..] if looked_through => at += 2,
            _ => return Fate::Nothing,
        }
    }
    Fate::Whole(at)
}

/// How many first bytes of the pattern must stand at the end of a text before they are held back.
fn waits(pattern: &Pattern, text: &[u8]) -> usize {
    if pattern.wraps && matches!(text, [.., b'\n' | b'\r']) { pattern.hold.max(AT_BREAK) } else { pattern.hold }
}

/// Every form of every pattern. Their number explodes, so this works only for small patterns.
fn forms(patterns: &[Pattern]) -> Vec<Pattern> {
    let mut all = Vec::new();
    for pattern in patterns {
        let mut forms = vec![Vec::new()];
        match &pattern.spelled {
            None => forms = vec![pattern.bytes.to_vec()],
            Some(spelled) => {
                for part in &spelled.parts {
                    forms = forms.iter().flat_map(|form| part.iter().map(|way| [form, way.as_slice()].concat())).collect();
                }
            }
        }
        all.extend(forms.into_iter().map(|form| Pattern { bytes: form.into(), spelled: None, ..pattern.clone() }));
    }
    all
}

/// The output that the chunks must have, and how many bytes must be held back after each.
fn oracle(patterns: &[Pattern], words: &[Form], chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let patterns = forms(patterns);
    let text = chunks.concat();
    let same = runs::same(&text, words);
    let mut hidden = vec![false; text.len()];
    let (mut output, mut waiting) = (Vec::new(), Vec::new());
    let (mut seen, mut done) = (0, 0);
    for chunk in chunks.iter().map(Some).chain([None]) {
        seen += chunk.map_or(0, Vec::len);
        let mut hold = seen;
        for (start, pattern) in (0..seen).flat_map(|start| patterns.iter().map(move |pattern| (start, pattern))) {
            match fate(&text[..seen], start, pattern) {
                Fate::Whole(end) => hidden[start..end].fill(true),
                Fate::Begun(matched) if chunk.is_some() && matched >= waits(pattern, &text[..seen]) => hold = hold.min(start),
                Fate::Begun(_) | Fate::Nothing => {}
            }
        }
        runs::hide(&text[..seen], &same, words, &mut hidden);
        if chunk.is_some() {
            hold = hold.min(runs::held(seen, &same, words));
        }
        while done < seen && (done < hold || hidden[done]) {
            if !hidden[done] {
                output.push(text[done]);
            } else if !output.ends_with(b"*") {
                output.extend_from_slice(REPLACEMENT.as_bytes());
            }
            done += 1;
        }
        waiting.push(seen - done);
    }
    waiting.pop();
    (output, waiting)
}
