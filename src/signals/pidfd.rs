//! The end of another process, as the kernel tells it: neither by a signal, which anybody may send or block, nor to one thread.

use std::{future::Future, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, Signal, getpid, getppid, test_kill_process},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use crate::processes::{Process, ignored};

/// How often is looked where the kernel cannot tell.
const LOOK: Duration = Duration::from_millis(250);

/// A process whose end can be waited for.
pub struct Pidfd(Option<AsyncFd<OwnedFd>>);

impl Pidfd {
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

    /// Whether it is over already, as far as the kernel tells it without a wait.
    fn is_over(&self) -> bool {
        let Some(descriptor) = &self.0 else { return false };
        poll(&mut [PollFd::new(descriptor.get_ref(), PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Waits for the end of whoever has started us; for ever where that is nobody whom we can see.
///
/// The kernel's own signal for it is sent when the *thread* ends that has started us, and cannot be told from anybody else's.
pub(super) async fn orphaned() {
    let Some(parent) = getppid() else { return std::future::pending().await };
    let pidfd = Pidfd::of(parent);
    if pidfd.0.is_none() {
        while getppid() == Some(parent) {
            sleep(LOOK).await;
        }
    } else if getppid() == Some(parent) {
        // Else it has ended meanwhile, and the descriptor may be of another process.
        pidfd.end().await;
    }
}

/// Waits for the end of the leader of our session. None where there is none whom we can see, or where it is over already: then the
/// session goes on without it. So does one of which `nohup` has said so.
///
/// No other process gets its number while anybody is in its session.
pub(super) fn leaderless(ignored_here: u64) -> Option<impl Future<Output = ()>> {
    let leader = leader()?;
    let pidfd = Pidfd::of(leader);
    // Asked for once more: the descriptor may be of another process.
    let counts = !pidfd.is_over() && is_alive(leader) && self::leader() == Some(leader) && !is_told_to_stay(ignored_here, leader);
    counts.then_some(async move {
        if pidfd.0.is_none() {
            while is_alive(leader) {
                sleep(LOOK).await;
            }
        } else {
            pidfd.end().await;
        }
    })
}

/// Who leads our session. Neither ourselves, nor whoever has started us, who is waited for anyhow.
fn leader() -> Option<Pid> {
    // The system call's wrapper takes no 0 for an answer, which is what it says of another PID namespace.
    let leader = Process::ourselves()?.session?;
    Some(leader).filter(|leader| *leader != getpid() && Some(*leader) != getppid())
}

fn is_alive(pid: Pid) -> bool {
    // Another user's, as `su` is root's, may be asked for but not looked at everywhere.
    test_kill_process(pid) != Err(Errno::SRCH) && Process::of(pid).is_none_or(|process| !process.is_over)
}

/// Whether somebody in this session has said that we are to outlive it: HUP is ignored here, and not by its leader already.
fn is_told_to_stay(ignored_here: u64, leader: Pid) -> bool {
    let is_ignored = |signals: u64| signals & (1 << (Signal::HUP.as_raw() - 1)) != 0;
    is_ignored(ignored_here) && ignored(Some(leader)).is_some_and(|there| !is_ignored(there))
}

#[cfg(target_os = "linux")]
fn descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn descriptor(_pid: Pid) -> Option<OwnedFd> {
    None
}
