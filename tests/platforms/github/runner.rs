//! A small runner for GitHub Actions, as far as an action can tell: one job of node actions and run steps, for what act is not.
//!
//! Written from what actions/runner's `ProcessInvoker.cs`, `ActionCommand.cs`, `FileCommandManager.cs` and `ValueEncoders.cs` do. A
//! step's whole output is one batch, the worst that the real one can do: within a batch stderr overtakes stdout.
#![expect(clippy::disallowed_methods, reason = "a variable names the tools of `.ci/run`")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use words::{Command, command, declared, encodings, mask, records};

use crate::harness::{End, PATIENCE, doors, eventually, oidc, random};

mod words;

type Variables = BTreeMap<String, String>;

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");
const FILE_COMMANDS: [&str; 5] = ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"];
/// One job.
pub(crate) struct Runner {
    directory: TempDir,
    variables: Variables,
    path: Vec<String>,
    masks: Vec<String>,
    /// What the user sees of the whole job: the log, annotations and summaries, masked.
    pub(crate) log: String,
    /// The uses of actions whose main step has begun, each with its inputs and its state.
    pub(crate) uses: Vec<(Variables, Variables)>,
    /// How each step can have an OIDC token, if the job has `id-token: write`.
    permission: Variables,
    /// The file command that it does not have.
    pub(crate) lacks: &'static str,
    shut_down: bool,
}

/// A step that runs. Dropped before its end it is stopped.
pub(crate) struct Live {
    child: Option<Child>,
    pipes: Vec<Pipe>,
    files: Variables,
    begun: Instant,
    of_use: Option<usize>,
    /// The signals of a cancellation that it took.
    sent: Vec<Signal>,
}

type Pipe = (Arc<Mutex<Vec<u8>>>, std::thread::JoinHandle<()>);

/// A step that has ended.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) end: End,
    /// Its part of the stored log.
    pub(crate) log: String,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) summary: String,
    pub(crate) outputs: Variables,
    pub(crate) took: Duration,
    pub(crate) sent: Vec<Signal>,
    /// Its files, which stay until the job ends.
    pub(crate) files: Variables,
    /// What it did that the runner does not take.
    pub(crate) refused: Vec<String>,
}

impl Step {
    pub(crate) fn is_success(&self) -> bool {
        self.end == End::Code(0) && self.refused.is_empty()
    }

    pub(crate) fn succeeded(self) -> Self {
        assert!(self.is_success(), "{self:#?}");
        self
    }
}

impl Runner {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let tree = directory.path().join("tree");
        for name in ["work", "home", "temp/_runner_file_commands", "tree/github", "tree/target/release"] {
            doors::make_directory(&directory.path().join(name));
        }
        for name in ["action.yml", "github/main.js", "github/post.js", "github/shim.js"] {
            fs::copy(Path::new(SOURCE).join(name), tree.join(name)).expect("the action is there");
        }
        symlink(env!("CARGO_BIN_EXE_jobpass"), tree.join("target/release/jobpass")).expect("a link");
        let text = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let given = [
            ("CI", "true".to_owned()),
            ("HOME", text("home")),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_REPOSITORY", "acme/app".to_owned()),
            ("GITHUB_RUN_ID", "9876543210".to_owned()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_JOB", "deploy".to_owned()),
            ("GITHUB_SHA", "0f1e2d3c".to_owned()),
            ("GITHUB_ACTOR", "octocat".to_owned()),
            ("GITHUB_WORKSPACE", text("work")),
            ("RUNNER_TEMP", text("temp")),
        ];
        let variables = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // It knows none of the repository's secrets, so that nothing is masked but by us.
        let (path, masks, log, uses) = (Vec::new(), Vec::new(), String::new(), Vec::new());
        Self { directory, variables, path, masks, log, uses, permission: Variables::new(), lacks: "", shut_down: false }
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// Where passes are kept, and the runner's own files.
    pub(crate) fn temp(&self) -> PathBuf {
        self.directory.path().join("temp")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// A variable of the job, as by `env:`.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// The job has `id-token: write`: node actions, in all their phases, and run steps get these two, whatever the job itself has set
    /// (`NodeScriptActionHandler.cs`, `ScriptHandler.cs`). GitHub knows their value for a secret of its own.
    pub(crate) fn permit(&mut self, job: &oidc::Job) {
        let [url, token] = ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"].map(str::to_owned);
        self.permission = [(url, job.request_url.clone()), (token, job.request_token.clone())].into();
        self.masks.extend(encodings(&job.request_token));
    }

    /// As for a pull request from a fork.
    pub(crate) fn withdraw(&mut self) {
        self.permission.clear();
    }

    /// What the steps of the job have set for those after them, and what they have put out.
    pub(crate) fn exported(&self) -> impl Iterator<Item = &String> {
        self.variables.values().chain(self.uses.iter().flat_map(|(_, state)| state.values()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&String> {
        self.variables.get(name)
    }

    /// `uses:` with these inputs: its main step.
    pub(crate) fn start_use(&mut self, with: &[(&str, &str)]) -> Live {
        let mut inputs = declared(&fs::read_to_string(self.tree().join("action.yml")).expect("the action is there"));
        for (name, value) in with {
            assert!(inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(), "action.yml declares no {name}");
        }
        self.uses.push((inputs, Variables::new()));
        self.action("main.js", self.uses.len() - 1)
    }

    pub(crate) fn uses(&mut self, with: &[(&str, &str)]) -> Step {
        let live = self.start_use(with);
        live.end(self)
    }

    /// The post step of one use.
    pub(crate) fn post(&mut self, of_use: usize) -> Step {
        let live = self.action("post.js", of_use);
        live.end(self)
    }

    /// The end of the job: the post steps, the last use first. After a shutdown nothing runs.
    pub(crate) fn posts(&mut self) -> Vec<Step> {
        let uses = if self.shut_down { 0 } else { self.uses.len() };
        (0..uses).rev().map(|of_use| self.post(of_use)).collect()
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
    }

    /// `run:` under this shell, in which `{0}` is the script's path.
    pub(crate) fn start_run(&mut self, shell: &str, script: &str) -> Live {
        let path = self.temp().join(format!("{}.sh", random()));
        doors::write(&path, script);
        let words: Vec<_> = shell.split(' ').map(|word| word.replace("{0}", &path.to_string_lossy())).collect();
        self.start(&words, &Variables::new(), None)
    }

    pub(crate) fn run(&mut self, script: &str) -> Step {
        let live = self.start_run("bash -euo pipefail {0}", script);
        live.end(self)
    }

    fn action(&self, file: &str, of_use: usize) -> Live {
        let (inputs, state) = &self.uses[of_use];
        let named = |(name, value): (&String, &String)| (format!("INPUT_{}", name.to_uppercase().replace(' ', "_")), value.clone());
        let mut more: Variables = inputs.iter().map(named).collect();
        more.extend(state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        self.start(&["node".to_owned(), self.tree().join("github").join(file).to_string_lossy().into_owned()], &more, Some(of_use))
    }

    fn start(&self, words: &[String], more: &Variables, of_use: Option<usize>) -> Live {
        let tools = std::env::var_os("JOBPASS_TEST_TOOLS").expect("JOBPASS_TEST_TOOLS names the directory that holds node");
        let known = self.path.iter().rev().cloned().chain([tools.to_string_lossy().into_owned(), "/usr/bin".into(), "/bin".into()]);
        let path: Vec<_> = known.collect();
        let mut files = Variables::new();
        for name in FILE_COMMANDS.into_iter().filter(|name| *name != self.lacks) {
            let file = self.temp().join("_runner_file_commands").join(format!("{}_{}", name.to_lowercase(), random()));
            doors::write(&file, "");
            doors::set_mode(&file, 0o644);
            files.insert(name.to_owned(), file.to_string_lossy().into_owned());
        }
        let program = path.iter().map(|directory| Path::new(directory).join(&words[0])).find(|program| program.exists());
        let mut command = doors::program(program.unwrap_or_else(|| panic!("there is no {} in {path:?}", words[0])));
        command.args(&words[1..]).envs(&self.variables).envs(more).envs(&files).envs(&self.permission).env("PATH", path.join(":"));
        command.current_dir(self.workspace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let pipes = vec![drain(child.stderr.take().expect("piped")), drain(child.stdout.take().expect("piped"))];
        Live { child: Some(child), pipes, files, begun: Instant::now(), of_use, sent: Vec::new() }
    }

    /// Reads what a step has written, after its end.
    fn read(&mut self, live: &Live, end: End, streams: [&str; 2]) -> Step {
        let (sent, took, files) = (live.sent.clone(), live.begun.elapsed(), live.files.clone());
        let [log, summary] = [String::new(), String::new()];
        let mut step =
            Step { end, log, annotations: Vec::new(), summary, outputs: Variables::new(), took, sent, files, refused: Vec::new() };
        let mut stopped = None;
        for line in streams.into_iter().flat_map(str::lines) {
            self.line(line, live.of_use, &mut stopped, &mut step);
        }
        let text = |name: &str| live.files.get(name).map(|path| fs::read_to_string(path).expect("the runner made it")).unwrap_or_default();
        let mut records = |name: &str| records(&text(name)).map_err(|why| step.refused.push(format!("{name}: {why}"))).unwrap_or_default();
        let (variables, outputs, state) = (records("GITHUB_ENV"), records("GITHUB_OUTPUT"), records("GITHUB_STATE"));
        for (name, value) in variables {
            match name.as_str() {
                "NODE_OPTIONS" => step.annotations.push(("error".to_owned(), "NODE_OPTIONS".to_owned())),
                // It is taken, and written over for the steps after it.
                _ if name.starts_with("GITHUB_") || name.starts_with("RUNNER_") => {}
                _ => drop(self.variables.insert(name, value)),
            }
        }
        step.outputs.extend(outputs);
        if let Some(of_use) = live.of_use {
            self.uses[of_use].1.extend(state);
        }
        self.path.extend(text("GITHUB_PATH").lines().map(str::to_owned));
        step.summary = self.masked(&text("GITHUB_STEP_SUMMARY"));
        self.log += &(step.log.clone() + &step.summary);
        step
    }

    fn line(&mut self, line: &str, of_use: Option<usize>, stopped: &mut Option<String>, step: &mut Step) {
        let token = stopped.as_ref().map(|token| format!("::{token}::"));
        let command = command(line).filter(|_| stopped.is_none());
        if token.is_some_and(|token| line.trim_start() == token) {
            *stopped = None;
            return;
        }
        let Some(Command { name, properties, data }) = command else {
            step.log += &(self.masked(line) + "\n");
            return;
        };
        let key = properties.get("name").cloned().unwrap_or_default();
        match name.as_str() {
            "add-mask" => {
                for value in [data.as_str()].into_iter().chain(data.lines().map(str::trim)).filter(|value| !value.trim().is_empty()) {
                    self.masks.extend(encodings(value));
                }
            }
            "set-output" => drop(step.outputs.insert(key, data)),
            "save-state" => drop(of_use.map(|of_use| self.uses[of_use].1.insert(key, data))),
            "set-env" | "add-path" => step.refused.push(name),
            "stop-commands" => *stopped = Some(data),
            "error" | "warning" | "notice" | "debug" => {
                let text = self.masked(&data);
                step.log += &["##[", &name, "]", &text, "\n"].concat();
                step.annotations.extend((name != "debug").then_some((name, text)));
            }
            _ => {}
        }
    }

    fn masked(&self, text: &str) -> String {
        text.split('\n').map(|line| mask(line, &self.masks)).collect::<Vec<_>>().join("\n")
    }
}

impl Live {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("not ended")), signal).expect("our own child can be signalled");
    }

    /// Kills what the entry process has started, and itself, as the end of a container does.
    pub(crate) fn kill_all(&self) {
        let entry = self.child.as_ref().expect("not ended").id();
        // It must not see its child end and follow it by itself.
        self.signal(Signal::STOP);
        let children = fs::read_to_string(format!("/proc/{entry}/task/{entry}/children")).expect("it runs");
        for child in children.split_whitespace() {
            let child = Pid::from_raw(child.parse().expect("a number")).expect("a process");
            kill_process(child, Signal::KILL).expect("it is ours");
        }
        self.signal(Signal::KILL);
    }

    /// Waits until it has said this.
    pub(crate) fn said(&self, words: &str) {
        eventually(words, || self.pipes.iter().any(|(bytes, _)| String::from_utf8_lossy(&bytes.lock().expect("sound")).contains(words)));
    }

    /// The cancellation of a step: INT, TERM after 7.5 s, KILL after 2.5 s more, all of them to the entry process alone.
    pub(crate) fn cancel(mut self, runner: &mut Runner) -> Step {
        for (signal, patience) in [(Signal::INT, 7500), (Signal::TERM, 2500), (Signal::KILL, 10_000)] {
            self.signal(signal);
            self.sent.push(signal);
            if let Some(status) = self.wait(Duration::from_millis(patience)) {
                return self.finish(runner, status);
            }
        }
        panic!("it outlived KILL");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self, runner: &mut Runner) -> Step {
        let status = self.wait(PATIENCE).unwrap_or_else(|| panic!("it did not end within {PATIENCE:?}"));
        self.finish(runner, status)
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        let child = self.child.as_mut().expect("not ended");
        loop {
            match child.try_wait().expect("our own child can be waited for") {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
                status => return status,
            }
        }
    }

    fn finish(mut self, runner: &mut Runner, status: ExitStatus) -> Step {
        self.child = None;
        // What a child of the entry still holds open is read for five seconds more.
        let end = Instant::now() + Duration::from_secs(5);
        while self.pipes.iter().any(|(_, reader)| !reader.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let [err, out] = [0, 1].map(|pipe: usize| String::from_utf8_lossy(&self.pipes[pipe].0.lock().expect("sound")).into_owned());
        let how = status.code().map_or_else(|| End::Signal(status.signal().unwrap_or_default()), End::Code);
        runner.read(&self, how, [&err, &out])
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        // The scenario has failed. By TERM, which is passed on; by KILL what does not listen.
        self.signal(Signal::TERM);
        if self.wait(Duration::from_secs(3)).is_none() {
            self.signal(Signal::KILL);
            self.wait(Duration::from_secs(3));
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> Pipe {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let read = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            read.lock().expect("sound").extend_from_slice(&buffer[..length]);
        }
    });
    (bytes, reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_overtakes_stdout() {
        let mut runner = Runner::new();
        let step = runner.run("echo ::add-mask::hunter2; echo hunter2 >&2; echo hunter2; echo ::stop-commands::xyzzy >&2; echo ::xyzzy::");
        assert_eq!(step.log, "hunter2\n::add-mask::hunter2\nhunter2\n");
    }
}
