//! What runs are, by a definition that is as simple as it is slow: each place of the text against each place of each form.

use super::super::{
    runs::NEAR,
    words::{Form, Kind},
};

/// A part of a text that is the same as a part of a form, and cannot be made longer on either side.
pub(super) struct Same {
    form: usize,
    /// Where it begins, in the text and in the form.
    start: usize,
    place: usize,
    length: usize,
}

/// Every such part that may matter.
pub(super) fn same(text: &[u8], forms: &[Form]) -> Vec<Same> {
    let mut all = Vec::new();
    for (form, Form { bytes, kind, .. }) in forms.iter().enumerate().filter(|(_, form)| form.runs) {
        for (start, place) in (0..text.len()).flat_map(|start| (0..bytes.len()).map(move |place| (start, place))) {
            if text[start] == bytes[place] && (start == 0 || place == 0 || text[start - 1] != bytes[place - 1]) {
                let length = length(&text[start..], &bytes[place..]);
                if length >= kind.hold {
                    all.push(Same { form, start, place, length });
                }
            }
        }
    }
    all
}

fn length(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Marks what is hidden of the text so far.
pub(super) fn hide(text: &[u8], same: &[Same], forms: &[Form], hidden: &mut [bool]) {
    // What is expected: a place of a form, from a place of the text on.
    let mut expected = Vec::new();
    for Same { form, start, place, length } in so_far(same, text.len()) {
        let Form { kind, echo, .. } = &forms[form];
        let end = start + length;
        if length >= kind.least {
            hidden[start..end].fill(true);
            if end < text.len() {
                expected.push((form, place + length, end));
                expected.extend(echo.map(|echo| (echo.form, echo.from(place), end)));
            }
        }
    }
    let mut number = 0;
    while let Some((form, place, from)) = expected.get(number).copied() {
        number += 1;
        let Form { bytes, kind, .. } = &forms[form];
        let Some(next) = bytes.get(place..place + kind.again) else { continue };
        let Some(start) = (from..=from + NEAR).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(next))) else { continue };
        let length = length(&text[start..], &bytes[place..]);
        hidden[start..start + length].fill(true);
        let then = (form, place + length, start + length);
        if start + length < text.len() && !expected.contains(&then) {
            expected.push(then);
        }
    }
}

/// From where the end of the text so far must be held back.
pub(super) fn held(seen: usize, same: &[Same], forms: &[Form]) -> usize {
    let may_become = |same: &Same| {
        let Form { bytes, kind: Kind { least, hold, .. }, .. } = &forms[same.form];
        let left = bytes.len() - same.place - same.length;
        same.start + same.length == seen && (*hold..*least).contains(&same.length) && left > 0 && same.length + left >= *least
    };
    so_far(same, seen).filter(may_become).map(|same| same.start).min().unwrap_or(seen)
}

/// The same parts, as far as they stand in so many first bytes of the text.
fn so_far(same: &[Same], seen: usize) -> impl Iterator<Item = Same> {
    let begun = same.iter().filter(move |same| same.start < seen);
    begun.map(move |same| Same { length: same.length.min(seen - same.start), ..*same })
}
