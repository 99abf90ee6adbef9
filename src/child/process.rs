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
    /// It exited with this code.
    Exited(i32),
    /// A signal of this number killed it.
    Killed(i32),
}

/// The command while it runs.
pub(super) struct Child {
    pid: Pid,
    /// Whether it has a process group of its own. On a terminal it shares ours, so that it may read from the terminal.
    grouped: bool,
    /// Whether orphaned processes become our children: we are process 1, or a subreaper.
    adopts: bool,
    changed: tokio::signal::unix::Signal,
    /// Tells of the command's end even where our parent process has blocked SIGCHLD.
    pidfd: Pidfd,
    status: Option<Status>,
}

/// What to do with processes that the command has left behind in its group, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Only wait for them: they already got the signal that ended the job.
    Waited(Duration),
    /// Send them TERM, then wait.
    Told(Duration),
}

impl Child {
    pub(super) fn start(command: &super::Command, variables: &[(String, OsString)], ends: Ends) -> io::Result<Self> {
        // Registered before the command can end, so that no SIGCHLD is missed.
        let changed = signal(SignalKind::child())?;
        let is_init = rustix::process::getpid().is_init();
        // As a subreaper we reap orphans ourselves. In a container whose process 1 reaps nothing, dead processes would stay in the
        // command's group and look alive.
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
            // A script without a `#!` line: shells run it with `sh`.
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                let mut shell = prepared(Path::new("/bin/sh"), OsStr::new("sh"));
                shell.arg(&command.program);
                connected(shell)?
            }
            started => started?,
        };
        // We must not keep the writing ends open, or the pipes would never end.
        drop(ends);
        let pid = Pid::from_child(&started);
        starting.started(pid, grouped);
        Ok(Self { pid, grouped, adopts: is_init || is_reaper, changed, pidfd: Pidfd::of(pid), status: None })
    }

    /// Waits for the command's end.
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

    /// Reaps every child that has ended, orphans too.
    fn reap(&mut self) {
        loop {
            // While a credential plugin runs, only the command is waited for, so that we do not reap the plugin before the code
            // that started it.
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

    /// Passes a signal on to all processes of the command. Returns false where we must not: a terminal sends INT and QUIT to its
    /// whole foreground group, so the command already has it.
    pub(super) fn forward(&self, signal: Signal) -> bool {
        if !self.grouped && [Signal::INT, Signal::QUIT].contains(&signal) {
            return false;
        }
        let _ = if self.grouped { kill_process_group(self.pid, signal) } else { kill_process(self.pid, signal) };
        true
    }

    /// Kills the command and all processes of its group.
    pub(super) fn kill(&self) {
        let _ = if self.grouped { kill_process_group(self.pid, Signal::KILL) } else { kill_process(self.pid, Signal::KILL) };
    }

    /// Waits until the processes that the command has left behind in its group are gone.
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

    /// Kills what is left in the command's group. Returns whether there was anything.
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
