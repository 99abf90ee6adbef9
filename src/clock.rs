//! The API server's time: read off its answers and its grants, and never taken from this machine's clock, which may be hours wrong.

use std::{
    fmt,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::out::instant;

/// A moment by the API server's clock. It compares with its like only, so that nobody compares it with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ServerTime(Timestamp);

impl ServerTime {
    /// What the server itself has said: a figure of its grant, or the `Date` of an answer that is an API server's.
    #[must_use]
    pub fn said(at: Timestamp) -> Self {
        Self(at)
    }

    /// The figure alone, to be written down.
    #[must_use]
    pub fn figure(self) -> Timestamp {
        self.0
    }

    /// So much later.
    #[must_use]
    pub fn after(self, length: SignedDuration) -> Self {
        Self(self.0.saturating_add(length).unwrap_or(Timestamp::MAX))
    }

    /// How long it is from then to this; nothing if it comes first.
    #[must_use]
    pub fn since(self, then: Self) -> Duration {
        Duration::try_from(self.0.duration_since(then.0)).unwrap_or_default()
    }
}

impl fmt::Display for ServerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&instant(self.0))
    }
}

/// The server's clock, as far as it has been seen: its last reading, and how long that is ago.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerClock(Option<(ServerTime, Instant)>);

/// Further ahead of ours than this no clock is believed to be: then its `Date` is nonsense, or ours is, and neither decides.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);

/// From which difference on it is told.
const TOLD: SignedDuration = SignedDuration::from_secs(60);

impl ServerClock {
    /// It has said just now what time it is.
    pub fn says(&mut self, now: ServerTime) {
        self.0 = Some((now, Instant::now()));
    }

    /// The same of a `Date`, which anything between us and the server can have written.
    pub fn shows(&mut self, date: Timestamp) {
        let is_before = self.now(None).is_some_and(|now| now.0.duration_since(date) > TOLD);
        if !is_before && date.duration_since(Timestamp::now()) < BELIEVED {
            self.says(ServerTime(date));
        }
    }

    /// So late it is there now at least: a monotonic clock may stand still while the machine sleeps, but never runs ahead. None if it
    /// has not said, or says what cannot be: a time before `earliest`, which it has said before.
    #[must_use]
    pub fn now(&self, earliest: Option<ServerTime>) -> Option<ServerTime> {
        let (read, at) = self.0?;
        let passed = SignedDuration::try_from(at.elapsed()).unwrap_or_default();
        Some(read.after(passed)).filter(|now| earliest.is_none_or(|earliest| *now >= earliest))
    }

    /// How far this machine's clock is from it, where that is worth telling.
    #[must_use]
    pub fn skew(&self) -> Option<String> {
        skew(Timestamp::now(), self.now(None)?.0)
    }
}

/// How far two clocks are apart, if it is more than a minute.
#[must_use]
pub fn skew(ours: Timestamp, servers: Timestamp) -> Option<String> {
    let ahead = ours.duration_since(servers);
    let direction = if ahead.is_positive() { "ahead of" } else { "behind" };
    (ahead.abs() > TOLD).then(|| format!("this machine's clock is {} {direction} the API server's", length(ahead.abs())))
}

/// A length of time as it is told, to the nearest.
#[must_use]
pub fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let nearest = |unit: i64| (seconds + unit / 2) / unit;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", nearest(60)),
        7200..172_800 => format!("{} h", nearest(3600)),
        _ => format!("{} days", nearest(86400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> ServerTime {
        ServerTime::said(Timestamp::from_second(second).expect("in range"))
    }

    #[test]
    fn a_clock_that_has_said_nothing_knows_nothing() {
        assert_eq!((ServerClock::default().now(None), ServerClock::default().skew()), (None, None));
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let mut clock = ServerClock::default();
        clock.shows(Timestamp::MAX);
        assert_eq!(clock.now(None), None);
        clock.shows(Timestamp::UNIX_EPOCH);
        assert!(clock.now(None).is_some_and(|now| now >= at(0)));
        assert_eq!(clock.now(Some(at(1_700_000_000))), None, "it is before what the server has said");
    }

    #[test]
    fn both_directions_are_told_from_a_minute_on() {
        let told = |ours, servers| skew(at(ours).0, at(servers).0);
        assert_eq!((told(1000, 1060), told(1060, 1000)), (None, None));
        assert_eq!(told(1061, 1000).as_deref(), Some("this machine's clock is 61 s ahead of the API server's"));
        for seconds in [1019, 1020, 1021] {
            assert_eq!(told(0, seconds).as_deref(), Some("this machine's clock is 17 min behind the API server's"));
        }
    }
}
