//! The processes that the demo starts: an interruption ends them all, so that the directories they write to can go.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

static STATE: Mutex<State> = Mutex::new(State { is_interrupted: false, groups: Vec::new() });

struct State {
    is_interrupted: bool,
    groups: Vec<Pid>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends whatever runs, and lets nothing start any more.
pub(crate) fn interrupt() {
    let mut state = state();
    state.is_interrupted = true;
    for group in state.groups.drain(..) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Whether that has happened.
pub(crate) fn is_interrupted() -> bool {
    state().is_interrupted
}

/// A process with a group of its own: the terminal's Ctrl-C reaches the demo alone.
pub(crate) struct Process {
    pub(crate) child: Child,
    group: Pid,
    is_over: bool,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut state = state();
        if state.is_interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.process_group(0).spawn()?;
        let group = Pid::from_child(&child);
        state.groups.push(group);
        Ok(Self { child, group, is_over: false })
    }

    /// Waits for its end, and returns what it has printed and nobody has read yet.
    pub(crate) fn output(mut self) -> io::Result<Output> {
        drop(self.child.stdin.take());
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let err = thread::spawn(move || all(err));
        let stdout = all(out)?;
        let stderr = err.join().map_err(|_| io::Error::other("its stderr cannot be read"))??;
        // Its number is its own until somebody has asked how it ended.
        waitid(WaitId::Pid(self.group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        Ok(Output { status: self.over()?, stdout, stderr })
    }

    /// The same, if that takes no longer than this.
    pub(crate) fn output_within(self, limit: Duration) -> io::Result<Output> {
        let begun = Instant::now();
        while waitid(WaitId::Pid(self.group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG)?.is_none() {
            if begun.elapsed() > limit {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.output()
    }

    /// Kills it, so that it can clean nothing up.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.over().map(drop)
    }

    fn over(&mut self) -> io::Result<std::process::ExitStatus> {
        self.is_over = true;
        state().groups.retain(|group| *group != self.group);
        self.child.wait()
    }
}

impl Drop for Process {
    /// Where the demo fails before its end, nothing goes on without it.
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.over();
        }
    }
}

/// Runs it to its end.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?.output()
}

fn all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
