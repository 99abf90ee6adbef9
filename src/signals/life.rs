//! The end of another process, as the kernel tells it: neither by a signal, which anybody may send or block, nor to one thread.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, getppid};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

/// How often is looked where the kernel cannot tell.
const LOOK: Duration = Duration::from_millis(250);

/// A process whose end can be waited for.
pub struct Life(Option<AsyncFd<OwnedFd>>);

impl Life {
    /// The life of a process that is there.
    #[must_use]
    #[expect(deprecated, reason = "its successor is unsafe, as a type may give its descriptor away; an `OwnedFd` does not")]
    pub fn of(pid: Pid) -> Self {
        Self(descriptor(pid).and_then(|descriptor| AsyncFd::try_with_interest(descriptor, Interest::READABLE).ok()))
    }

    /// Waits for its end; for ever where the kernel has no descriptor for a process, as Linux before 5.3.
    pub async fn end(&self) {
        match &self.0 {
            Some(descriptor) => drop(descriptor.readable().await),
            None => std::future::pending().await,
        }
    }
}

/// Waits for the end of whoever has started us; for ever where that is nobody whom we can see.
///
/// The kernel's own signal for it is sent when the *thread* ends that has started us, and cannot be told from anybody else's.
pub(super) async fn orphaned() {
    let Some(parent) = getppid() else { return std::future::pending().await };
    let life = Life::of(parent);
    if life.0.is_none() {
        while getppid() == Some(parent) {
            sleep(LOOK).await;
        }
    } else if getppid() == Some(parent) {
        // Else it has ended meanwhile, and the descriptor may be of another process.
        life.end().await;
    }
}

#[cfg(target_os = "linux")]
fn descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn descriptor(_pid: Pid) -> Option<OwnedFd> {
    None
}
