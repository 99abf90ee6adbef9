//! The signals by which a runner or a person ends us.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of this process. From the first look on they no longer kill it.
pub struct Signals([Signal; 3]);

impl Signals {
    /// Takes TERM, INT and HUP over. Without handlers a signal kills us as it kills anybody: the state is saved, `revoke` finds it.
    #[must_use]
    pub fn take() -> Option<Self> {
        Some(Self([signal(SignalKind::terminate()).ok()?, signal(SignalKind::interrupt()).ok()?, signal(SignalKind::hangup()).ok()?]))
    }

    /// Waits for the next one and returns its name.
    pub async fn next(&mut self) -> &'static str {
        let [term, int, hup] = &mut self.0;
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            _ = hup.recv() => "SIGHUP",
        }
    }
}

/// Waits for the first signal and returns its name.
pub async fn first() -> &'static str {
    match Signals::take() {
        Some(mut signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for a signal that is repeated: what is nearly done is done in spite of the first one, which `heard` is told of.
pub async fn repeated(heard: impl Fn(&'static str)) -> &'static str {
    match Signals::take() {
        Some(mut signals) => {
            heard(signals.next().await);
            signals.next().await
        }
        None => std::future::pending().await,
    }
}
