//! The signals by which a runner or a person ends us, or tells the job's command something.

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

/// Signals of this process, from the first look on they no longer kill it; and the death of those it depends on.
pub struct Signals {
    caught: Vec<(Signal, tokio::signal::unix::Signal)>,
    /// Each until it has come.
    deaths: Vec<(Notice, Death)>,
}

/// The end of another process.
type Death = Pin<Box<dyn Future<Output = ()>>>;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A signal.
    Signal(Signal),
    /// Whoever has started us is dead: that means what TERM does.
    Orphaned,
    /// The leader of our session is dead, which means the same. A gitlab-runner that starts its shells by `su` ends no other process.
    Leaderless,
}

impl Notice {
    /// The signal that it is, or that it means.
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

/// What ends a verb that has no command of its own.
const ENDING: [(SignalKind, Signal); 3] =
    [(SignalKind::terminate(), Signal::TERM), (SignalKind::interrupt(), Signal::INT), (SignalKind::hangup(), Signal::HUP)];

/// What a command may want to hear besides.
const OTHERS: [(SignalKind, Signal); 3] =
    [(SignalKind::quit(), Signal::QUIT), (SignalKind::user_defined1(), Signal::USR1), (SignalKind::user_defined2(), Signal::USR2)];

impl Signals {
    /// Takes TERM, INT and HUP over. Without handlers a signal kills us as it kills anybody: the state is saved, `revoke` finds it.
    #[must_use]
    pub fn ending() -> Option<Self> {
        let ignored = ignored(None).unwrap_or_default();
        Self::take(&ENDING, 0).map(|signals| signals.and_deaths(ignored))
    }

    /// Takes over all that a command is to be told of.
    #[must_use]
    pub fn all() -> Option<Self> {
        // What whoever started us has told us to ignore, as `nohup` does, stays ignored for us and the command.
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

    /// Waits for the next one.
    pub async fn next(&mut self) -> Notice {
        poll_fn(|context| self.poll(context)).await
    }

    /// Waits for one that means that the job is over.
    pub async fn ending_one(&mut self) -> Notice {
        loop {
            let notice = self.next().await;
            if notice.ends_the_job() {
                return notice;
            }
        }
    }

    /// One that means that the job is over and has come already.
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

/// A file that may not grow any more is an error where it is written, not the end of this process with its pass alive.
pub fn outlive_limits() {
    // The handler stays when what listens to it is gone; a command has the default again.
    let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

/// Waits for a signal that is repeated: what is nearly done is done in spite of the first one, which `heard` is told of.
///
/// Nobody's death is among them: whoever waits for no answer any more wants no less that it is done.
pub async fn repeated(heard: impl Fn(Notice)) -> Notice {
    match Signals::take(&ENDING, 0) {
        Some(mut signals) => {
            heard(signals.next().await);
            signals.next().await
        }
        None => std::future::pending().await,
    }
}
