//! The sandbox's clock: real time plus what a test has advanced, because nobody waits an hour for a token to expire.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Real time with an offset.
#[derive(Default)]
pub(crate) struct Clock {
    offset: Mutex<SignedDuration>,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now() + *self.offset.lock().expect("the clock's lock is sound")
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("a duration that a clock can hold");
        *self.offset.lock().expect("the clock's lock is sound") += by;
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("a duration that a clock can hold");
        *self.offset.lock().expect("the clock's lock is sound") -= by;
    }
}

/// The form that Kubernetes gives to times: whole seconds in UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    seconds(time.as_second()).to_string()
}

/// The form that HTTP gives to times (RFC 9110, 5.6.7).
pub(crate) fn http_date(time: Timestamp) -> String {
    seconds(time.as_second()).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A whole second since the epoch; what is out of range is clamped to the far future.
pub(crate) fn seconds(since_epoch: i64) -> Timestamp {
    Timestamp::from_second(since_epoch).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_the_clock_and_nothing_else_does() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(Duration::from_hours(1));
        let moved = clock.now().duration_since(before);
        assert!(moved >= SignedDuration::from_hours(1), "{moved:?}");
        assert!(moved < SignedDuration::from_mins(61), "{moved:?}");
    }

    #[test]
    fn times_are_whole_seconds_in_utc() {
        let time: Timestamp = "2026-03-21T12:00:00.75Z".parse().expect("a timestamp");
        assert_eq!(rfc3339(time), "2026-03-21T12:00:00Z");
        assert_eq!(http_date(time), "Sat, 21 Mar 2026 12:00:00 GMT");
    }
}
