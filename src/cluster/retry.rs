//! When a request is sent again: after which failures, after which wait, and until when.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};

use super::answer::{Answer, Refusal};
use crate::net::TransportError;

/// The wait before the first retry; it doubles each time.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait of our own between two tries.
const LONGEST: Duration = Duration::from_secs(5);

/// The longest wait that we accept from a server's `Retry-After`: a pass that must end cannot wait for an hour.
const LONGEST_ASKED: Duration = Duration::from_secs(10);

/// How long we try where no server is reached, as long as there is no pass yet that must be ended.
pub(super) const UNREACHED: Duration = Duration::from_secs(5);

/// The waits between one try and the next.
pub(super) struct Waits {
    next: Duration,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait before the next try; `left` is the time until the deadline. None where another try would come too late.
    pub(super) fn after(&mut self, sent: &Result<Answer, TransportError>, left: Duration) -> Option<Duration> {
        // Half of the wait is random, so that jobs that fail together do not retry together.
        let ours = self.next / 2 + self.next.mul_f64(chance() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        let asked = sent.as_ref().ok().and_then(|answer| answer.retry_after).map(Duration::from_secs).unwrap_or_default();
        let wanted = asked.min(LONGEST_ASKED).max(ours);
        // A wait that is too long for the deadline is shortened, so that there is one more try.
        let pause = if wanted < left { wanted } else { left / 2 };
        (pause >= FIRST / 2).then_some(pause)
    }
}

/// Whether the failure may pass: broken connections, 429, 5xx, and a conflict inside the server (etcd, quota).
pub(super) fn is_passing(sent: &Result<Answer, TransportError>) -> bool {
    match sent {
        Ok(answer) => answer.status == 429 || answer.status >= 500 || answer.refusal() == Refusal::Busy,
        Err(broken) => broken.is_passing(),
    }
}

/// What a `Retry-After` asks for, in seconds: it is a number, or a date that counts by the server's own clock. None if it is
/// neither.
pub(super) fn asked_for(header: &str, server_clock: Option<Timestamp>) -> Option<u64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit means for ever.
        return Some(header.parse().unwrap_or(u64::MAX));
    }
    let then = rfc2822::parse(header).ok()?.timestamp();
    let now = server_clock.unwrap_or_else(Timestamp::now);
    u64::try_from(then.duration_since(now).as_secs()).ok()
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let random: Result<ring::rand::Random<[u8; 2]>, _> = ring::rand::generate(&ring::rand::SystemRandom::new());
    random.map_or(0.5, |random| f64::from(u16::from_be_bytes(random.expose())) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn busy(retry_after: Option<u64>) -> Answer {
        Answer { status: 429, retry_after, date: None, warnings: vec![], after_another: false, body: Zeroizing::default() }
    }

    #[test]
    fn chance_stays_within_its_bounds() {
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }

    #[test]
    fn what_a_server_asks_for_is_capped_and_leaves_time_for_one_more_try() {
        let minute = Duration::from_mins(1);
        for (asked, left, pause) in [
            (Some(7), minute, Some(Duration::from_secs(7))),
            (Some(30), minute, Some(LONGEST_ASKED)),
            (Some(u64::MAX), minute, Some(LONGEST_ASKED)),
            (Some(u64::MAX), Duration::from_secs(3), Some(Duration::from_millis(1500))),
            (Some(u64::MAX), Duration::from_millis(100), None),
            (None, Duration::ZERO, None),
        ] {
            assert_eq!(Waits::new().after(&Ok(busy(asked)), left), pause, "{asked:?} {left:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_bound() {
        let (mut waits, long) = (Waits::new(), Duration::from_secs(1 << 20));
        let seen: Vec<_> = (0..40).map(|_| waits.after(&Ok(busy(None)), long).expect("time is left")).collect();
        assert!(seen[0] <= FIRST && seen[0] >= FIRST / 2, "{seen:?}");
        assert!(seen.iter().all(|wait| *wait <= LONGEST) && seen[39] >= LONGEST / 2, "{seen:?}");
    }

    #[test]
    fn a_retry_after_of_any_form_is_read_or_passed_over() {
        let now = Some("1994-11-06T08:49:37Z".parse().expect("a moment"));
        for (header, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999999999999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", None),
            ("Sun, 06 Nov 2095 08:49:37 GMT", Some(3_187_296_000)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e9", None),
            ("soon", None),
            ("", None),
            ("٣", None),
        ] {
            assert_eq!(asked_for(header, now), seconds, "{header}");
        }
    }
}
