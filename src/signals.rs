//! The signals by which a runner or a person ends us.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first of TERM, INT and HUP and returns its name. From the first call on they no longer kill the process.
pub async fn first() -> &'static str {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        // Without handlers a signal kills us as it kills anybody; the state is saved, and `revoke` finds it.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
        _ = hup.recv() => "SIGHUP",
    }
}
