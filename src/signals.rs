//! The signals by which a runner or a person ends jobpass, or tells the command of `run` something.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::processes::ignored;

mod pidfd;

pub use pidfd::Pidfd;

/// Handlers for this process's signals, which then no longer kill it; and watches on the processes whose death means the same.
pub struct Signals {
    caught: Vec<(Signal, tokio::signal::unix::Signal)>,
    /// The watches; each is removed when it has fired.
    deaths: Vec<(Notice, Death)>,
}

/// Completes when another process ends.
type Death = Pin<Box<dyn Future<Output = ()>>>;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A signal.
    Signal(Signal),
    /// The process that started us is dead: treated like TERM.
    Orphaned,
    /// The leader of our session is dead: treated like TERM, too. It is all we see of a gitlab-runner that starts its shells
    /// through `su`, as that kills no other process.
    Leaderless,
}

impl Notice {
    /// The signal that came, or that it is treated as.
    #[must_use]
    pub fn signal(self) -> Signal {
        match self {
            Self::Signal(signal) => signal,
            Self::Orphaned | Self::Leaderless => Signal::TERM,
        }
    }

    /// Whether it means that the job is over.
    #[must_use]
    pub fn ends_the_job(self) -> bool {
        [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&self.signal())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Orphaned => "the death of the process that started jobpass",
            Self::Leaderless => "the death of the process that leads its session",
            Self::Signal(Signal::TERM) => "SIGTERM",
            Self::Signal(Signal::INT) => "SIGINT",
            Self::Signal(Signal::HUP) => "SIGHUP",
            Self::Signal(Signal::QUIT) => "SIGQUIT",
            Self::Signal(_) => "a signal",
        })
    }
}

/// The signals that end a verb without a command.
const ENDING: [(SignalKind, Signal); 3] =
    [(SignalKind::terminate(), Signal::TERM), (SignalKind::interrupt(), Signal::INT), (SignalKind::hangup(), Signal::HUP)];

/// Further signals, which a command may want to receive.
const OTHERS: [(SignalKind, Signal); 3] =
    [(SignalKind::quit(), Signal::QUIT), (SignalKind::user_defined1(), Signal::USR1), (SignalKind::user_defined2(), Signal::USR2)];

impl Signals {
    /// Handles TERM, INT and HUP. Before that a signal simply kills us, which is no harm: the lease is saved, and `revoke` finds
    /// it.
    #[must_use]
    pub fn ending() -> Option<Self> {
        let ignored = ignored(None).unwrap_or_default();
        Self::take(&ENDING, 0).map(|signals| signals.and_deaths(ignored))
    }

    /// Handles all signals that are passed on to a command.
    #[must_use]
    pub fn all() -> Option<Self> {
        // A signal that our parent has set to be ignored, as `nohup` does, stays ignored for us and the command.
        let ignored = ignored(None).unwrap_or_default();
        Self::take(&[ENDING, OTHERS].concat(), ignored).map(|signals| signals.and_deaths(ignored))
    }

    fn and_deaths(mut self, ignored: u64) -> Self {
        self.deaths.push((Notice::Orphaned, Box::pin(pidfd::orphaned())));
        if let Some(death) = pidfd::leaderless(ignored) {
            self.deaths.push((Notice::Leaderless, Box::pin(death)));
        }
        self
    }

    fn take(kinds: &[(SignalKind, Signal)], ignored: u64) -> Option<Self> {
        kinds
            .iter()
            .filter(|(_, which)| ignored & (1 << (which.as_raw() - 1)) == 0)
            .map(|(kind, which)| Some((*which, signal(*kind).ok()?)))
            .collect::<Option<_>>()
            .map(|caught| Self { caught, deaths: Vec::new() })
    }

    /// Waits for the next signal or death.
    pub async fn next(&mut self) -> Notice {
        poll_fn(|context| self.poll(context)).await
    }

    /// Waits for the next one that ends the job.
    pub async fn ending_one(&mut self) -> Notice {
        loop {
            let notice = self.next().await;
            if notice.ends_the_job() {
                return notice;
            }
        }
    }

    /// One that ends the job, if it has come already.
    pub fn ending_so_far(&mut self) -> Option<Notice> {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(notice) = self.poll(&mut context) {
            if notice.ends_the_job() {
                return Some(notice);
            }
        }
        None
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Notice> {
        for (which, caught) in &mut self.caught {
            if caught.poll_recv(context).is_ready() {
                return Poll::Ready(Notice::Signal(*which));
            }
        }
        let mut deaths = self.deaths.iter_mut();
        let Some(at) = deaths.position(|(_, death)| death.as_mut().poll(context).is_ready()) else { return Poll::Pending };
        Poll::Ready(self.deaths.swap_remove(at).0)
    }
}

/// Makes exceeding the file size limit (XFSZ) an error of the write. By default the signal would kill us and leave the pass alive.
pub fn outlive_limits() {
    // The handler stays when the listener is dropped; a command gets the default action again.
    let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

/// Waits until a second ending signal comes. Revoking is nearly done, so the first one only calls `heard`, and the work goes on.
///
/// The death of our parent or session leader does not count: nobody may be waiting for our answer, but the pass must be revoked
/// nevertheless.
pub async fn repeated(heard: impl Fn(Notice)) -> Notice {
    match Signals::take(&ENDING, 0) {
        Some(mut signals) => {
            heard(signals.next().await);
            signals.next().await
        }
        None => std::future::pending().await,
    }
}
