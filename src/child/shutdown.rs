//! How the command is brought to its end: the signal, the grace, KILL, and not waiting for what even that does not end.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use super::process::{Child, Rest};
use crate::signals::Notice;

/// How long the command may take to be gone after KILL. One that became somebody else, as by `sudo`, never is.
const AFTER_KILL: Duration = Duration::from_millis(200);

/// A signal that comes again so soon is the same one: `timeout` sends TERM to us, and then to its whole group.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Where the command is on its way to its end.
pub(super) struct Shutdown {
    grace: Duration,
    /// When KILL is due: the job's end has been signalled.
    kill_at: Option<Instant>,
    /// When it is waited for no longer: KILL was sent.
    give_up_at: Option<Instant>,
    /// What came last, and when.
    last: Option<(Notice, Instant)>,
}

impl Shutdown {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, kill_at: None, give_up_at: None, last: None }
    }

    /// Whether the job's end has been signalled.
    pub(super) fn is_ending(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Whether it was killed.
    pub(super) fn has_killed(&self) -> bool {
        self.give_up_at.is_some()
    }

    /// A signal came: it is passed on, once. A second INT or TERM means now. Returns what is to be said of that.
    pub(super) fn heard(&mut self, notice: Notice, child: &Child) -> Option<String> {
        let now = Instant::now();
        let is_same = self.last.replace((notice, now)).is_some_and(|(last, at)| last == notice && now < at + AT_ONCE);
        match notice {
            // No second thought of the runner's: what was told before is dead too.
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

    /// Waits until something is due, which is never as long as nothing was signalled.
    pub(super) async fn due(&self) {
        match self.give_up_at.or(self.kill_at) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Does what is due, and returns what is to be said of it. None when it is time to give up.
    pub(super) fn step(&mut self, child: &Child) -> Option<String> {
        if self.has_killed() {
            return None;
        }
        self.kill(child);
        Some(format!("the command did not end within {} and was killed", seconds(self.grace)))
    }

    /// What becomes of what the command leaves behind; `unasked` is its time where nothing was signalled.
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

/// As it is said to a person who waits for it.
fn seconds(length: Duration) -> String {
    if length.subsec_millis() == 0 { format!("{} s", length.as_secs()) } else { format!("{} ms", length.as_millis()) }
}
