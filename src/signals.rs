//! The signals by which a runner or a person ends us, or tells the job's command something.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::place;

/// Signals of this process. From the first look on they no longer kill it.
pub struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

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
        Self::take(&ENDING, 0)
    }

    /// Takes over all that a command is to be told of.
    #[must_use]
    pub fn all() -> Option<Self> {
        // What whoever started us has told us to ignore, as `nohup` does, stays ignored for us and the command.
        Self::take(&[ENDING, OTHERS].concat(), ignored())
    }

    fn take(kinds: &[(SignalKind, Signal)], ignored: u64) -> Option<Self> {
        kinds
            .iter()
            .filter(|(_, which)| ignored & (1 << (which.as_raw() - 1)) == 0)
            .map(|(kind, which)| Some((*which, signal(*kind).ok()?)))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| self.poll(context)).await
    }

    /// Waits for one that means that the job is over.
    pub async fn ending_one(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ends_the_job(signal) {
                return signal;
            }
        }
    }

    /// One that means that the job is over and has come already.
    pub fn ending_so_far(&mut self) -> Option<Signal> {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(signal) = self.poll(&mut context) {
            if ends_the_job(signal) {
                return Some(signal);
            }
        }
        None
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        for (which, caught) in &mut self.0 {
            if caught.poll_recv(context).is_ready() {
                return Poll::Ready(*which);
            }
        }
        Poll::Pending
    }
}

/// Its name, as messages say it.
#[must_use]
pub fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        Signal::HUP => "SIGHUP",
        Signal::QUIT => "SIGQUIT",
        _ => "a signal",
    }
}

/// Whether a signal means that the job is over.
#[must_use]
pub fn ends_the_job(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal)
}

/// The signals that are ignored, as the kernel says it: the bit of the first is the lowest.
fn ignored() -> u64 {
    let status = place::read_named("/proc/self/status".as_ref()).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Waits for a signal that is repeated: what is nearly done is done in spite of the first one, which `heard` is told of.
pub async fn repeated(heard: impl Fn(Signal)) -> Signal {
    match Signals::ending() {
        Some(mut signals) => {
            heard(signals.next().await);
            signals.next().await
        }
        None => std::future::pending().await,
    }
}
