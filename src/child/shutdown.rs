//! How the command is ended: the signal, the grace period, KILL, and giving up on what even KILL does not end.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use super::process::{Child, Rest};
use crate::signals::Notice;

/// How long after KILL we wait for the command's end. A command that runs as another user, as after `sudo`, cannot be killed by us.
const AFTER_KILL: Duration = Duration::from_millis(200);

/// The same signal within this time counts once: `timeout` sends TERM to us, and then to its whole process group.
const AT_ONCE: Duration = Duration::from_millis(250);

/// How far the end of the command has got.
pub(super) struct Shutdown {
    grace: Duration,
    /// When KILL is due; set when a signal has ended the job.
    kill_at: Option<Instant>,
    /// When we stop waiting for the command; set when KILL was sent.
    give_up_at: Option<Instant>,
    /// The last signal, and when it came.
    last: Option<(Notice, Instant)>,
}

impl Shutdown {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, kill_at: None, give_up_at: None, last: None }
    }

    /// Whether a signal has ended the job.
    pub(super) fn is_ending(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Whether KILL was sent.
    pub(super) fn has_killed(&self) -> bool {
        self.give_up_at.is_some()
    }

    /// Handles a signal: it is passed on once. A second INT or TERM kills the command at once. Returns a message for the log.
    pub(super) fn heard(&mut self, notice: Notice, child: &Child) -> Option<String> {
        let now = Instant::now();
        let is_same = self.last.replace((notice, now)).is_some_and(|(last, at)| last == notice && now < at + AT_ONCE);
        match notice {
            // The parent died while the job is ending already: that changes nothing, as the command has had its signal.
            Notice::Orphaned | Notice::Leaderless if self.is_ending() => None,
            Notice::Signal(Signal::TERM | Signal::INT) if self.is_ending() => {
                if is_same || self.has_killed() {
                    return None;
                }
                self.kill(child);
                Some(format!("{notice}: the command is killed at once"))
            }
            Notice::Signal(_) | Notice::Orphaned | Notice::Leaderless => {
                if !child.forward(notice.signal()) || !notice.ends_the_job() || self.is_ending() {
                    return None;
                }
                self.kill_at = Some(now + self.grace);
                let what = match notice {
                    Notice::Signal(_) => "it".to_owned(),
                    Notice::Orphaned | Notice::Leaderless => Notice::Signal(notice.signal()).to_string(),
                };
                Some(format!("{notice}: the command gets {what} and has {}", seconds(self.grace)))
            }
        }
    }

    /// Waits until KILL or giving up is due; for ever while no signal has come.
    pub(super) async fn due(&self) {
        match self.give_up_at.or(self.kill_at) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Sends KILL if that is due, and returns a message for the log. None when it is time to give up.
    pub(super) fn step(&mut self, child: &Child) -> Option<String> {
        if self.has_killed() {
            return None;
        }
        self.kill(child);
        Some(format!("the command did not end within {} and was killed", seconds(self.grace)))
    }

    /// What to do with processes that the command leaves behind; without a signal they have the time `unasked`.
    pub(super) fn rest(&self, unasked: Duration) -> Rest {
        match (self.give_up_at, self.kill_at) {
            (Some(_), _) => Rest::Waited(Duration::ZERO),
            (None, Some(at)) => Rest::Waited(at.saturating_duration_since(Instant::now())),
            (None, None) => Rest::Told(unasked),
        }
    }

    fn kill(&mut self, child: &Child) {
        child.kill();
        self.kill_at.get_or_insert(Instant::now());
        self.give_up_at.get_or_insert(Instant::now() + AFTER_KILL);
    }
}

/// A length of time as messages show it: in seconds, or in milliseconds if it is no whole number of seconds.
fn seconds(length: Duration) -> String {
    if length.subsec_millis() == 0 { format!("{} s", length.as_secs()) } else { format!("{} ms", length.as_millis()) }
}
