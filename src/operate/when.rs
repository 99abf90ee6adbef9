//! Times as an operator reads them: how long ago on a terminal, the moment itself where the output is piped; and lengths of time in flags.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::table::Screen;
use crate::{
    failure::{Code, Failure},
    out::instant,
};

/// A length of time in one unit, as `24 min`.
#[must_use]
pub fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    match seconds {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) && seconds < 172_800 => format!("{} h", seconds / 3600),
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        172_800..63_072_000 => format!("{} d", seconds / 86_400),
        _ => format!("{} y", seconds / 31_536_000),
    }
}

/// How old something is: on a terminal as a length, else its beginning.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp, screen: Screen) -> String {
    match screen.width {
        None => instant(since),
        Some(_) if since > now => format!("in {}", length(since.duration_since(now))),
        Some(_) => length(now.duration_since(since)),
    }
}

/// When something ends or has ended.
#[must_use]
pub fn end(at: Timestamp, now: Timestamp, screen: Screen) -> String {
    match screen.width {
        None => instant(at),
        Some(_) if at > now => format!("in {}", length(at.duration_since(now))),
        Some(_) => format!("ended {} ago", length(now.duration_since(at))),
    }
}

/// The length of time that a flag gives: as for the other verbs, and in days.
///
/// # Errors
/// When it is none, or longer than that.
pub fn parsed(flag: &str, text: &str, most: Duration) -> Result<Duration, Failure> {
    let hint = "write a length of time such as `30m`, `4h` or `2d`; a bare number is seconds";
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).map(|days| Duration::from_hours(24) * days);
    let seconds = || text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let other = || text.parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    let Some(length) = days.or_else(seconds).or_else(other).filter(|length| length.as_secs() > 0) else {
        return Err(Failure::new(Code::UsageValue, format!("`{flag}` is no length of time")).hint(hint));
    };
    if length > most {
        let most = self::length(SignedDuration::try_from(most).unwrap_or_default());
        return Err(Failure::new(Code::UsageValue, format!("`{flag}` is longer than {most}")));
    }
    Ok(Duration::from_secs(length.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_unit() {
        let of = |seconds| length(SignedDuration::from_secs(seconds));
        assert_eq!(
            [0, 119, 120, 3 * 3600, 86_400 * 3, 86_400 * 1200].map(of),
            ["0 s", "119 s", "2 min", "3 h", "3 d", "3 y"].map(str::to_owned)
        );
        assert_eq!(of(-300), "5 min");
    }

    #[test]
    fn a_terminal_gets_lengths_and_a_pipe_moments() {
        let now = Timestamp::from_second(1_000_000_000).expect("a time");
        let (before, after) = (now - SignedDuration::from_mins(24), now + SignedDuration::from_mins(36));
        let (piped, terminal) = (Screen::default(), Screen { width: Some(80), has_colours: false });
        assert_eq!([age(before, now, terminal), age(after, now, terminal)], ["24 min", "in 36 min"]);
        assert_eq!([end(before, now, terminal), end(after, now, terminal)], ["ended 24 min ago", "in 36 min"]);
        assert_eq!([age(before, now, piped), end(after, now, piped)], ["2001-09-09T01:22:40Z", "2001-09-09T02:22:40Z"]);
    }

    #[test]
    fn flags_take_days_too_and_are_bounded() {
        let of = |text| parsed("--for", text, Duration::from_hours(24 * 30));
        for (text, seconds) in [("90", 90), ("4h", 14_400), ("1h30m", 5400), ("2d", 172_800), ("30d", 2_592_000)] {
            assert_eq!(of(text).expect(text).as_secs(), seconds, "{text}");
        }
        for text in ["", "0", "-1h", "soon", "31d", "99999999999d", "1e30"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
