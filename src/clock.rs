//! The API server's time: read from its answers and grants, never from this machine's clock, which may be hours off.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep, sleep_until};

use crate::out::instant;

/// A moment by the API server's clock. It is a type of its own so that nobody compares it with this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerTime(Timestamp);

impl ServerTime {
    /// A moment that the server itself stated: a timestamp in its grant, or the `Date` of an answer that is surely the API
    /// server's.
    #[must_use]
    pub fn said(at: Timestamp) -> Self {
        Self(at)
    }

    /// The plain timestamp, for files and messages.
    #[must_use]
    pub fn figure(self) -> Timestamp {
        self.0
    }

    /// The moment this much later.
    #[must_use]
    pub fn after(self, length: SignedDuration) -> Self {
        Self(self.0.saturating_add(length).unwrap_or(Timestamp::MAX))
    }

    /// The time of the day alone, in UTC: for a moment that is seconds away.
    #[must_use]
    pub fn time_of_day(self) -> String {
        self.0.strftime("%H:%M:%SZ").to_string()
    }

    /// How long after `then` this moment is; zero if it comes first.
    #[must_use]
    pub fn since(self, then: Self) -> Duration {
        Duration::try_from(self.0.duration_since(then.0)).unwrap_or_default()
    }
}

/// In whole seconds, as in messages: the server tells its time no finer.
impl Serialize for ServerTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ServerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&instant(self.0))
    }
}

/// What we know of the server's clock: its last reading, and when we took it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerClock(Option<(ServerTime, Duration)>);

/// A `Date` further ahead of our clock than this is not believed: either clock is badly wrong, and then neither decides.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);

/// From this difference on, the clock skew is reported.
const TOLD: SignedDuration = SignedDuration::from_secs(60);

impl ServerClock {
    /// Takes a reading that the server itself stated just now.
    pub fn says(&mut self, now: ServerTime) {
        self.0 = Some((now, since_boot()));
    }

    /// Takes a reading from a `Date` header, which any proxy between us and the server can have written: one that goes back or is
    /// far ahead is ignored.
    pub fn shows(&mut self, date: Timestamp) {
        let is_before = self.now(None).is_some_and(|now| now.0.duration_since(date) > TOLD);
        if !is_before && date.duration_since(Timestamp::now()) < BELIEVED {
            self.says(ServerTime(date));
        }
    }

    /// The server's time now, at least: no clock of ours that counts here ever runs ahead. None
    /// without a reading, or where the result is before `earliest`, a time that the server has stated before.
    #[must_use]
    pub fn now(&self, earliest: Option<ServerTime>) -> Option<ServerTime> {
        let (read, at) = self.0?;
        let passed = SignedDuration::try_from(since_boot().saturating_sub(at)).unwrap_or_default();
        Some(read.after(passed)).filter(|now| earliest.is_none_or(|earliest| *now >= earliest))
    }

    /// A text that says how far this machine's clock is off, where that is worth reporting.
    #[must_use]
    pub fn skew(&self) -> Option<String> {
        skew(Timestamp::now(), self.now(None)?.0)
    }
}

/// The time since this machine was started. It goes on while the machine is suspended, and nobody can set it.
#[must_use]
pub fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A moment to come. It also comes in time when the machine was suspended in between, during which the clock of tokio's timers stands
/// still.
#[derive(Clone, Copy, Debug)]
pub struct Alarm {
    at: Instant,
    since_boot: Duration,
}

/// How often we look whether the machine was suspended.
const LOOK: Duration = Duration::from_secs(10);

impl Alarm {
    /// The moment after this time.
    #[must_use]
    pub fn after(length: Duration) -> Self {
        Self { at: Instant::now() + length, since_boot: since_boot() + length }
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_rung(self) -> bool {
        Instant::now() >= self.at || since_boot() >= self.since_boot
    }

    /// The one of two moments that comes first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.since_boot < self.since_boot { other } else { self }
    }

    /// Waits for it.
    pub async fn rings(&self) {
        self.rings_by(since_boot).await;
    }

    async fn rings_by(&self, since_boot: impl Fn() -> Duration) {
        while since_boot() < self.since_boot {
            tokio::select! {
                () = sleep_until(self.at) => return,
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// A text that says how far the two clocks are apart, if it is more than a minute.
#[must_use]
pub fn skew(ours: Timestamp, servers: Timestamp) -> Option<String> {
    let ahead = ours.duration_since(servers);
    let direction = if ahead.is_positive() { "ahead of" } else { "behind" };
    (ahead.abs() > TOLD).then(|| format!("this machine's clock is {} {direction} the API server's", length(ahead.abs())))
}

/// A length of time as messages show it, rounded to one unit: `90 s`, `5 min`, `3 h`, `2 days`.
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
    fn an_alarm_rings_after_its_time_or_when_a_suspended_machine_wakes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let begun = Instant::now();
            let alarm = Alarm::after(Duration::from_mins(48));
            alarm.rings_by(|| Duration::ZERO).await;
            assert_eq!(begun.elapsed().as_secs(), 48 * 60);
            // The machine is suspended for an hour after a minute of work.
            let (begun, boot) = (Instant::now(), since_boot());
            let alarm = Alarm::after(Duration::from_mins(48));
            let suspended = || {
                let awake = begun.elapsed();
                boot + if awake > Duration::from_mins(1) { awake + Duration::from_hours(1) } else { awake }
            };
            alarm.rings_by(suspended).await;
            assert!(begun.elapsed() <= Duration::from_mins(1) + 2 * LOOK, "{:?}", begun.elapsed());
        });
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
