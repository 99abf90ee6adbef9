//! Waits for the end of another process by a pidfd. Unlike a signal it cannot be blocked or sent by somebody else, and is not tied
//! to a thread.

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

/// How often we look where the kernel has no pidfd.
const LOOK: Duration = Duration::from_millis(250);

/// A process whose end can be waited for.
pub struct Pidfd(Option<AsyncFd<OwnedFd>>);

impl Pidfd {
    /// Watches a running process.
    #[must_use]
    #[expect(deprecated, reason = "its successor is unsafe, as a type may give its descriptor away; an `OwnedFd` does not")]
    pub fn of(pid: Pid) -> Self {
        Self(descriptor(pid).and_then(|descriptor| AsyncFd::try_with_interest(descriptor, Interest::READABLE).ok()))
    }

    /// Waits for its end; for ever where the kernel has no pidfd, as Linux before 5.3.
    pub async fn end(&self) {
        match &self.0 {
            Some(descriptor) => drop(descriptor.readable().await),
            None => std::future::pending().await,
        }
    }

    /// Whether it has ended already; does not wait.
    fn is_over(&self) -> bool {
        let Some(descriptor) = &self.0 else { return false };
        poll(&mut [PollFd::new(descriptor.get_ref(), PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Waits for the end of our parent process; for ever if it is outside our PID namespace.
///
/// `PR_SET_PDEATHSIG` is no substitute: it fires when the *thread* ends that started us, and its signal looks like anybody else's.
pub(super) async fn orphaned() {
    let Some(parent) = getppid() else { return std::future::pending().await };
    let pidfd = Pidfd::of(parent);
    if pidfd.0.is_none() {
        while getppid() == Some(parent) {
            sleep(LOOK).await;
        }
    } else if getppid() == Some(parent) {
        // Otherwise the parent ended before the pidfd was opened, which may then be of another process with the same number.
        pidfd.end().await;
    }
}

/// Waits for the end of our session's leader. None if there is no leader that we can see, if it ended before, or if `nohup` or the
/// like says that we are to outlive it.
///
/// The leader's process id is not reused while its session has a process.
pub(super) fn leaderless(ignored_here: u64) -> Option<impl Future<Output = ()>> {
    let leader = leader()?;
    let pidfd = Pidfd::of(leader);
    // Asked a second time, as the process id may have been reused before the pidfd was opened.
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

/// The leader of our session. None if that is ourselves, or our parent, whose end is waited for anyway.
fn leader() -> Option<Pid> {
    // Read from `/proc`, as rustix's `getsid` does not accept 0, the kernel's answer for a leader in another PID namespace.
    let leader = Process::ourselves()?.session?;
    Some(leader).filter(|leader| *leader != getpid() && Some(*leader) != getppid())
}

fn is_alive(pid: Pid) -> bool {
    // A process of another user, such as root's `su`, answers to signal 0, but its `/proc` entry is not readable everywhere.
    test_kill_process(pid) != Err(Errno::SRCH) && Process::of(pid).is_none_or(|process| !process.is_over)
}

/// Whether somebody in this session wants us to outlive it: HUP is ignored here, but not by the leader.
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
