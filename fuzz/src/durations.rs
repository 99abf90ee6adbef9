//! A length of time as somebody writes it: read as what it says, within its bounds, and told as what it is.

use std::{collections::BTreeMap, time::Duration};

use jobpass::{
    env::Env,
    options::{self as o, Options, human},
};

use crate::harmless::assert_harmless;

type Bounds = (Duration, Duration);

const BOUNDS: [Bounds; 2] = [(Duration::from_secs(1), Duration::from_mins(10)), (Duration::from_mins(10), Duration::from_hours(24))];

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for bounds in BOUNDS {
        let said = plain(text.trim());
        match read(text, bounds) {
            Ok(Some(length)) => {
                assert!(bounds.0 <= length && length <= bounds.1, "{length:?} is out of bounds");
                assert_eq!(length.subsec_nanos(), 0, "a part of a second");
                assert!(said.is_none_or(|said| said == length.as_secs()), "{text:?} is not {length:?}");
                assert_eq!(read(&human(length), bounds), Ok(Some(length)), "{text:?} is written as {}", human(length));
            }
            // Nothing is set, or what is set has a form that no value has.
            Ok(None) => {}
            Err(failure) => {
                assert_harmless(&failure);
                let within = |seconds: u64| bounds.0.as_secs() <= seconds && seconds <= bounds.1.as_secs();
                assert!(!said.is_some_and(within), "{text:?} is refused: {failure}");
                // A figure that is said to be out of bounds is that.
                let told = failure.split_once(" is ").and_then(|(_, rest)| rest.split_once(", but must be "));
                if let Some((figure, _)) = told {
                    assert!(!matches!(read(figure, bounds), Ok(Some(_))), "{figure} is within bounds: {failure}");
                }
            }
        }
    }
}

fn read(text: &str, bounds: Bounds) -> Result<Option<Duration>, String> {
    let env: Env = [("JOBPASS_TTL", text)].into_iter().collect();
    let options = Options::resolve(&BTreeMap::new(), &env).map_err(|failure| failure.to_string())?;
    options.duration(&o::TTL, bounds).map_err(|failure| failure.to_string())
}

/// The seconds of what everybody reads in one way: `90`, `1h`, `1h30m`, `5m10s`. None for anything else, and for what is too much.
fn plain(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (mut rest, mut sum, mut is_any) = (text, 0_u64, false);
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let Some(after) = rest[digits..].strip_prefix(unit).filter(|_| digits > 0) {
            sum = sum.checked_add(rest[..digits].parse::<u64>().ok()?.checked_mul(seconds)?)?;
            (rest, is_any) = (after, true);
        }
    }
    (is_any && rest.is_empty()).then_some(sum)
}
