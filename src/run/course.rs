//! The course of a command's end: the signal, the grace, KILL, and not waiting for what even that does not end.

use std::time::Duration;

use rustix::process::{Pid, Signal, getppid};
use tokio::time::{Instant, sleep_until};

use super::child::Child;
use crate::signals::ends_the_job;

/// How long the command may take to be gone after KILL. One that became somebody else, as by `sudo`, never is.
const AFTER_KILL: Duration = Duration::from_millis(200);

/// Where the command is on its way to its end.
pub(super) struct Course {
    grace: Duration,
    /// When KILL is due: the job's end has been signalled.
    kill_at: Option<Instant>,
    /// When it is waited for no longer: KILL was sent.
    give_up_at: Option<Instant>,
    /// Who started us; whose death is told by a TERM too, and is no second thought of the runner's.
    parent: Option<Pid>,
    orphaned: bool,
}

impl Course {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, kill_at: None, give_up_at: None, parent: getppid(), orphaned: false }
    }

    /// Whether the job's end has been signalled.
    pub(super) fn is_ending(&self) -> bool {
        self.kill_at.is_some()
    }

    /// A signal came: it is passed on, once. A second INT or TERM means now.
    pub(super) fn heard(&mut self, signal: Signal, child: &Child) {
        let by_death = signal == Signal::TERM && !self.orphaned && getppid() != self.parent;
        self.orphaned |= by_death;
        let is_second = [Signal::TERM, Signal::INT].contains(&signal) && self.is_ending();
        if is_second && !by_death {
            self.kill(child);
        } else if !is_second && child.forward(signal) && ends_the_job(signal) {
            self.kill_at.get_or_insert(Instant::now() + self.grace);
        }
    }

    /// Waits until something is due, which is never as long as nothing was signalled.
    pub(super) async fn due(&self) {
        match self.give_up_at.or(self.kill_at) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Does what is due. Returns whether it is time to give up.
    pub(super) fn step(&mut self, child: &Child) -> bool {
        if self.give_up_at.is_some() {
            return true;
        }
        self.kill(child);
        false
    }

    /// How long what the command leaves behind may take, and whether it still has to be told.
    pub(super) fn patience(&self, unasked: Duration) -> (Duration, bool) {
        match (self.give_up_at, self.kill_at) {
            (Some(_), _) => (Duration::ZERO, false),
            (None, Some(at)) => (at.saturating_duration_since(Instant::now()), false),
            (None, None) => (unasked, true),
        }
    }

    fn kill(&mut self, child: &Child) {
        child.kill();
        self.kill_at.get_or_insert(Instant::now());
        self.give_up_at.get_or_insert(Instant::now() + AFTER_KILL);
    }
}
