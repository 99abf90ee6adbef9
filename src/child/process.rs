//! The command as a process: its group, its signals, its end, and the end of what it leaves behind.
#![expect(clippy::disallowed_methods, reason = "this is the one door to the job's own command")]

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, wait, waitpid},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use super::pipes::Ends;
use crate::{fault, identity, signals::Pidfd};

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
    /// Whether what the command leaves behind becomes ours, as process 1 or because we have asked for it.
    adopts: bool,
    changed: tokio::signal::unix::Signal,
    /// Its end is heard of even where whoever started us has blocked the signal that tells of it.
    pidfd: Pidfd,
    status: Option<Status>,
}

/// What becomes of the processes that the command has left behind in its group, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Their end is waited for: they have had the signal of the job's end.
    Waited(Duration),
    /// They get TERM first.
    Told(Duration),
}

impl Child {
    pub(super) fn start(command: &super::Command, variables: &[(String, OsString)], ends: Ends) -> io::Result<Self> {
        // Before it can end.
        let changed = signal(SignalKind::child())?;
        let is_init = rustix::process::getpid().is_init();
        // Where process 1 takes no notice of the dead, they would stay in the command's group, and look as if it went on.
        let is_reaper = adopt_orphans();
        let grouped = !io::stdin().is_terminal();
        let prepared = |program: &Path, name: &OsStr| {
            let mut prepared = Command::new(program);
            prepared.arg0(name);
            for name in &command.hidden {
                prepared.env_remove(name);
            }
            prepared.envs(variables.iter().map(|(name, value)| (name, value)));
            if grouped {
                prepared.process_group(0);
            }
            prepared
        };
        let connected = |mut prepared: Command| -> io::Result<_> {
            let (stdout, stderr) = (ends.stdout.try_clone()?, ends.stderr.try_clone()?);
            prepared.args(&command.arguments).stdin(Stdio::inherit()).stdout(stdout).stderr(stderr).spawn()
        };
        let starting = fault::starting();
        let started = match connected(prepared(&command.program, &command.name)) {
            // A script without its first line: every shell runs it by itself.
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                let mut shell = prepared(Path::new("/bin/sh"), OsStr::new("sh"));
                shell.arg(&command.program);
                connected(shell)?
            }
            started => started?,
        };
        // Or its end would never come.
        drop(ends);
        let pid = Pid::from_child(&started);
        starting.started(pid, grouped);
        Ok(Self { pid, grouped, adopts: is_init || is_reaper, changed, pidfd: Pidfd::of(pid), status: None })
    }

    /// Waits for its end.
    pub(super) async fn exited(&mut self) -> Status {
        let mut is_over = false;
        loop {
            self.reap();
            if let Some(status) = self.status {
                return status;
            }
            tokio::select! {
                _ = self.changed.recv() => {}
                () = self.pidfd.end(), if !is_over => is_over = true,
            }
        }
    }

    /// Takes notice of every process of ours that has ended, orphans too.
    fn reap(&mut self) {
        loop {
            // A credential plugin is waited for by those who have started it.
            let ended = if self.adopts && !identity::is_asking_a_plugin() {
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

    /// Passes a signal on, once, to all processes of the command. False where that is not our business: a terminal sends INT and
    /// QUIT to its whole foreground group, and what they mean there is between it and the command.
    pub(super) fn forward(&self, signal: Signal) -> bool {
        if !self.grouped && [Signal::INT, Signal::QUIT].contains(&signal) {
            return false;
        }
        let _ = if self.grouped { kill_process_group(self.pid, signal) } else { kill_process(self.pid, signal) };
        true
    }

    /// Ends it at once, with all its processes.
    pub(super) fn kill(&self) {
        let _ = if self.grouped { kill_process_group(self.pid, Signal::KILL) } else { kill_process(self.pid, Signal::KILL) };
    }

    /// Waits until what the command has left behind in its group is gone.
    pub(super) async fn end_the_rest(&mut self, rest: Rest) {
        if !self.grouped {
            return;
        }
        let (Rest::Waited(patience) | Rest::Told(patience)) = rest;
        let end = Instant::now() + patience;
        if matches!(rest, Rest::Told(_)) {
            let _ = kill_process_group(self.pid, Signal::TERM);
        }
        while test_kill_process_group(self.pid).is_ok() && Instant::now() < end {
            self.reap();
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it at once. Returns whether there was anything.
    pub(super) fn kill_the_rest(&mut self) -> bool {
        self.reap();
        let is_there = self.grouped && test_kill_process_group(self.pid).is_ok();
        if is_there {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        self.reap();
        fault::spare();
        is_there
    }
}

#[cfg(target_os = "linux")]
fn adopt_orphans() -> bool {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> bool {
    false
}
