//! The command as a process: its group, its signals, its end, and the end of what it leaves behind.
#![expect(clippy::disallowed_methods, reason = "this is the one door to the job's own command")]

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, wait, waitpid};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use super::pipes::Ends;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

/// The command while it runs.
pub(super) struct Child {
    pid: Pid,
    /// Whether it has a process group of its own. On a terminal it has ours, so that it may read from it.
    grouped: bool,
    /// Whether orphans of the whole container become ours.
    is_init: bool,
    changed: tokio::signal::unix::Signal,
    status: Option<Status>,
}

impl Child {
    pub(super) fn start(
        program: &Path,
        arguments: &[OsString],
        hidden: &[String],
        variables: Vec<(String, OsString)>,
        ends: Ends,
    ) -> io::Result<Self> {
        // Before it can end.
        let changed = signal(SignalKind::child())?;
        let grouped = !io::stdin().is_terminal();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::inherit()).stdout(ends.stdout).stderr(ends.stderr);
        for name in hidden {
            command.env_remove(name);
        }
        command.envs(variables);
        if grouped {
            command.process_group(0);
        }
        let started = command.spawn()?;
        let is_init = rustix::process::getpid().is_init();
        Ok(Self { pid: Pid::from_child(&started), grouped, is_init, changed, status: None })
    }

    /// Waits for its end.
    pub(super) async fn exited(&mut self) -> Status {
        loop {
            self.reap();
            if let Some(status) = self.status {
                return status;
            }
            self.changed.recv().await;
        }
    }

    /// Takes notice of every process of ours that has ended; as process 1 that is every orphan.
    fn reap(&mut self) {
        loop {
            let ended = if self.is_init {
                wait(WaitOptions::NOHANG)
            } else if self.status.is_some() {
                return;
            } else {
                waitpid(Some(self.pid), WaitOptions::NOHANG)
            };
            let Ok(Some((pid, status))) = ended else { return };
            if pid == self.pid {
                self.status = status.exit_status().map(Status::Exited).or(status.terminating_signal().map(Status::Killed));
            }
        }
    }

    /// Passes a signal on, once, to all processes of the command.
    pub(super) fn forward(&self, signal: Signal) {
        // A terminal has sent these to its whole foreground group already.
        let by_terminal = [Signal::INT, Signal::QUIT].contains(&signal);
        let _ = match (self.grouped, by_terminal) {
            (true, _) => kill_process_group(self.pid, signal),
            (false, true) => Ok(()),
            (false, false) => kill_process(self.pid, signal),
        };
    }

    /// Ends it at once, with all its processes.
    pub(super) fn kill(&self) {
        let _ = if self.grouped { kill_process_group(self.pid, Signal::KILL) } else { kill_process(self.pid, Signal::KILL) };
    }

    /// Ends what the command has left behind in its group.
    pub(super) async fn end_the_rest(&mut self, patience: Duration) {
        if !self.grouped {
            return;
        }
        let end = Instant::now() + patience;
        let _ = kill_process_group(self.pid, if patience.is_zero() { Signal::KILL } else { Signal::TERM });
        while test_kill_process_group(self.pid).is_ok() && Instant::now() < end {
            self.reap();
            sleep(Duration::from_millis(10)).await;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.reap();
    }
}
