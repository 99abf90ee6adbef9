//! One call of a program in a job: how it is started, watched, signalled and waited for.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process};

use super::{Job, PATIENCE, Ran, doors, eventually};

/// The binary under test: what cargo says to the tests that it runs, or what lies beside a test that somebody starts by hand.
pub(crate) fn jobpass() -> PathBuf {
    assert_cmd::cargo::cargo_bin("jobpass")
}

/// A call that is being put together.
#[must_use = "it does nothing before it is started"]
pub struct Command<'j> {
    job: &'j Job<'j>,
    program: OsString,
    /// What makes the program run the arguments; a transcript does not show it.
    before: Vec<String>,
    arguments: Vec<String>,
    variables: BTreeMap<String, OsString>,
    /// What a transcript shows; a script speaks for itself.
    shown: Option<String>,
    full: bool,
}

impl<'j> Command<'j> {
    pub(super) fn new(job: &'j Job<'j>, program: impl Into<OsString>, variables: BTreeMap<String, String>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self { job, program: program.into(), before: Vec::new(), arguments: Vec::new(), variables, shown: None, full: false }
    }

    pub(super) fn before(mut self, arguments: &[&str]) -> Self {
        self.before.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<const N: usize>(self, arguments: [&str; N]) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Adds the words of a line as arguments.
    pub fn words(self, line: &str) -> Self {
        line.split_whitespace().fold(self, Self::arg)
    }

    /// Sets a variable for this call alone.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Takes away a variable, which the job must have.
    pub fn without(mut self, name: &str) -> Self {
        assert!(self.variables.remove(name).is_some(), "{name} is not set");
        self
    }

    /// The call's stdout takes nothing. (That a reader is gone cannot be played for sure: a process that another test is just
    /// starting may hold the pipe for a moment.)
    pub fn full_stdout(mut self) -> Self {
        self.full = true;
        self
    }

    pub(super) fn shown(mut self, text: &str) -> Self {
        self.shown = Some(text.to_owned());
        self
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Ran {
        self.start().wait()
    }

    /// Starts it and waits for its end, which must be the good one.
    pub fn succeed(self) -> Ran {
        let ran = self.run();
        ran.assert().success();
        ran
    }

    /// Starts it. Not by `assert_cmd`, which waits for the end of what it starts, and would kill a call that hangs without the
    /// command of its own.
    pub fn start(self) -> Running<'j> {
        // A secret in an argument is readable for everybody on the machine.
        let shown = self
            .shown
            .clone()
            .unwrap_or_else(|| ["jobpass".to_owned()].into_iter().chain(self.arguments.clone()).collect::<Vec<_>>().join(" "));
        let secrets = self.job.world.secrets_known().clone();
        assert_eq!(super::leak::find(&self.arguments.join(" "), &secrets), None, "a secret in an argument");
        let mut command = doors::program(&self.program);
        command.args(&self.before).args(&self.arguments).envs(&self.variables).current_dir(self.job.workspace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.full {
            command.stdout(doors::full());
        }
        // A runner may do it in a thread that then ends, which is nobody's death.
        let spawned = std::thread::scope(|scope| scope.spawn(|| command.spawn()).join().expect("it does nothing else"));
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let out = child.stdout.take().map(Drain::of);
        let err = child.stderr.take().map(Drain::of);
        Running { job: self.job, child: Some(child), out, err, shown }
    }
}

/// What has come out of a pipe so far.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Drain {
    fn of(mut pipe: impl std::io::Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let read = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                read.lock().expect("sound").extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("sound")).into_owned()
    }

    fn all(self) -> Vec<u8> {
        self.reader.join().expect("a reader ends");
        std::mem::take(&mut *self.bytes.lock().expect("sound"))
    }
}

/// A call that was started. Dropped before its end it is killed.
pub struct Running<'j> {
    job: &'j Job<'j>,
    child: Option<Child>,
    out: Option<Drain>,
    err: Option<Drain>,
    shown: String,
}

impl Running<'_> {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("not waited for");
        kill_process(Pid::from_child(child), signal).expect("our own child can be signalled");
    }

    /// The same, if it has not ended yet.
    pub fn signal_if_there(&self, signal: Signal) {
        let child = self.child.as_ref().expect("not waited for");
        let _ = kill_process(Pid::from_child(child), signal);
    }

    /// Its memory in kB, as far as that is its own: without the program itself.
    pub fn resident(&self) -> u64 {
        let child = self.child.as_ref().expect("not waited for");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel counts it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits until it has said this.
    pub fn said(&self, words: &str) {
        self.until(words, || self.so_far().contains(words));
    }

    /// Waits until it has said this or has ended without it; whether it has.
    pub fn has_said(&self, words: &str) -> bool {
        super::eventually(words, || self.so_far().contains(words) || self.end().is_some() && self.is_all_read());
        self.so_far().contains(words)
    }

    /// Waits until it reads this pipe, and gives the other end.
    pub fn reads(&self, pipe: &Path) -> File {
        let mut writer = None;
        self.until("it reads the pipe", || {
            writer = doors::writer(pipe);
            writer.is_some()
        });
        writer.expect("it is there")
    }

    /// Waits until this is so. If it ends before that, or nothing comes of it, what it said is shown.
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            // Asked before the other look, so that what it did last counts.
            let end = self.end().filter(|_| self.is_all_read());
            if is_so() {
                return;
            }
            let is_late = start.elapsed() > PATIENCE;
            assert!(end.is_none() && !is_late, "{what}: not after {:?}; its end: {end:?}; it said:\n{}", start.elapsed(), self.so_far());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has ended itself, whoever of what it has started still holds its output.
    pub fn is_dead(&self) {
        super::eventually("it is dead", || self.end().is_some());
    }

    /// How it has ended, if it has; it stays a zombie until it is waited for.
    fn end(&self) -> Option<WaitIdStatus> {
        let child = self.child.as_ref().expect("not waited for");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(Pid::from_child(child)), options).expect("our own child can be asked about")
    }

    fn is_all_read(&self) -> bool {
        [&self.out, &self.err].into_iter().flatten().all(|drain| drain.reader.is_finished())
    }

    /// All that it has said by now.
    pub fn so_far(&self) -> String {
        [&self.out, &self.err].into_iter().flatten().map(Drain::so_far).collect()
    }

    /// Waits until nobody holds its output, and only then takes notice of its end: until then it is a zombie.
    pub fn wait_for_output(self) -> Ran {
        eventually("its output ends", || self.is_all_read());
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ran {
        let mut child = self.child.take().expect("not waited for");
        let mut status: Option<ExitStatus> = None;
        eventually("the call ends", || {
            status = child.try_wait().expect("our own child can be waited for");
            status.is_some()
        });
        let status = status.expect("it has ended");
        let bytes = |pipe: Option<Drain>| pipe.map(Drain::all).unwrap_or_default();
        let output = Output { status, stdout: bytes(self.out.take()), stderr: bytes(self.err.take()) };
        Ran::of(self.job, &self.shown, output)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The scenario has failed. By TERM, so that `run` ends its command too; by KILL what does not listen.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        for _ in 0..300 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
