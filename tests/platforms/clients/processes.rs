//! What runs for the test: the server that shortens tokens, `jobpass run` and `jobpass request`, and the clients. It all ends with [`Clients`].
#![expect(clippy::disallowed_methods, reason = "the test plays who starts them, and keeps what they complain of")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::{
    LEEWAY, LIFE, REQUEST, WATCH,
    harness::{ControlPlane, World, doors, within},
    shared,
};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platforms/clients");

/// How a request of a client was answered: with this status, or with an error that has none.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    pub(crate) status: String,
}

type Answers = Arc<Mutex<BTreeMap<(&'static str, String), Vec<Answer>>>>;

/// A process, and those that it has started: they are killed with it.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be somebody else's.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// What a client is given of a pass.
type Given = BTreeMap<String, String>;

/// The names of it.
const GIVEN: [&str; 4] = ["KUBECONFIG", "JOBPASS_TOKEN_FILE", "JOBPASS_CURL", "JOBPASS_PASS_SERVER"];

/// All clients with all passes, and what they need. In the order in which it is to end.
pub(crate) struct Clients {
    programs: Vec<Group>,
    passes: Vec<Group>,
    _server: Group,
    answers: Answers,
    directory: TempDir,
    url: String,
    account: String,
    namespace: String,
}

impl Clients {
    /// Starts the server before which they all stand.
    pub(crate) fn new(world: &World, cluster: &ControlPlane) -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        doors::make_directory(&at("bin"));
        symlink(env!("CARGO_BIN_EXE_jobpass"), at("bin/jobpass")).unwrap();
        doors::write(&at("real.crt"), &world.ca_pem());
        doors::write(&at("identity"), world.identity_token());

        let mut server = doors::program(installed("client-go"));
        server.args(["shorten", "--upstream", &cluster.url, "--ca"]).arg(at("real.crt")).arg("--ca-out").arg(at("ca.crt"));
        for (flag, time) in [("--life", LIFE), ("--leeway", LEEWAY), ("--watch", WATCH)] {
            server.arg(flag).arg(format!("{}s", time.as_secs()));
        }
        // It ends when nobody holds the other end of this pipe any more, even if the test is killed.
        let mut server = Group::start(server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log(&at("server.log"))));
        let url = server.lines().next().expect("it says where it listens");
        let (account, namespace) = (world.account(), world.namespace().to_owned());
        Self { programs: Vec::new(), passes: Vec::new(), _server: server, answers: Answers::default(), directory, url, account, namespace }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `jobpass`, with the CI identity and a place of its own.
    fn jobpass(&self, place: &str, arguments: &[&str]) -> Command {
        let base = self.at(place);
        if !base.exists() {
            doors::make_directory(&base);
            doors::set_mode(&base, 0o700);
        }
        let mut jobpass = doors::program(env!("CARGO_BIN_EXE_jobpass"));
        jobpass.args(arguments).env("XDG_RUNTIME_DIR", &base).env("PATH", self.path());
        jobpass.env("JOBPASS_PLATFORM", "local").env("JOBPASS_SERVICE_ACCOUNT", &self.account).env("JOBPASS_SERVER", &self.url);
        jobpass.env("JOBPASS_CERTIFICATE_AUTHORITY", self.at("ca.crt")).env("JOBPASS_IDENTITY_TOKEN_FILE", self.at("identity"));
        jobpass.stdin(Stdio::null()).stderr(log(&self.at(&format!("{place}.log"))));
        jobpass
    }

    fn path(&self) -> String {
        format!("{}:{}:{}", self.at("bin").display(), shared::tools(&["node"]).display(), shared::machine())
    }

    /// Begins a pass for the clients by `run`, which renews it, and starts them. The command of `run` only says what it is given, and
    /// waits for the end of its input.
    pub(crate) fn run(&mut self, mode: &'static str) {
        let script = GIVEN.map(|name| format!("echo \"{name}=${name}\"; ")).concat() + "exec cat";
        let mut run = self.jobpass(mode, &["run", "--kubeconfig-mode", mode, "--", "sh", "-c", &script]);
        let mut run = Group::start(run.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let given =
            run.lines().take(GIVEN.len()).filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        let given = given.collect();
        self.passes.push(run);
        self.start(mode, &given);
    }

    /// Begins a pass by `request`, and starts the clients in a shell that has sourced its file.
    pub(crate) fn request(&mut self) {
        let script = ". \"$(jobpass request)\"; ".to_owned() + &GIVEN.map(|name| format!("echo \"{name}=${name}\"; ")).concat();
        let mut shell = self.jobpass(REQUEST, &[]);
        let variables: Vec<_> = shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        shell = doors::program("sh");
        let said = shell.args(["-ec", &script]).envs(variables).stdin(Stdio::null()).stderr(log(&self.at("request.log"))).output().unwrap();
        assert!(said.status.success(), "{}", self.complaints());
        let said = String::from_utf8(said.stdout).unwrap();
        let given = said.lines().filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
        self.start(REQUEST, &given);
    }

    fn start(&mut self, mode: &'static str, given: &Given) {
        assert_eq!(given.len(), GIVEN.len(), "{}", self.complaints());
        for (name, mut client) in programs() {
            client.envs(given).env("PATH", self.path()).env("HOME", self.directory.path()).env("NAMESPACE", &self.namespace);
            // Not by the name that `jobpass credential` reads: the kubeconfig has to tell it.
            client.env_remove("JOBPASS_TOKEN_FILE").env("TOKEN_FILE", &given["JOBPASS_TOKEN_FILE"]);
            client.env("ANSIBLE_COLLECTIONS_PATH", installed("python")).env("ANSIBLE_HOME", self.at("ansible"));
            client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log(&self.at(&format!("{name}-{mode}.log"))));
            let mut client = Group::start(&mut client);
            let (lines, answers) = (client.lines(), self.answers.clone());
            thread::spawn(move || keep(mode, lines, &answers));
            self.programs.push(client);
        }
    }

    /// How the requests of a client were answered so far.
    pub(crate) fn answers(&self, mode: &'static str, client: &str) -> Vec<Answer> {
        self.answers.lock().unwrap().get(&(mode, client.to_owned())).cloned().unwrap_or_default()
    }

    /// What everything that runs has complained of.
    pub(crate) fn complaints(&self) -> String {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        logs.flat_map(|path| [path.display().to_string(), fs::read_to_string(&path).unwrap_or_default()]).collect::<Vec<_>>().join("\n")
    }

    /// Ends the passes of `run`; the clients stay.
    pub(crate) fn end_runs(&mut self) {
        for mut run in self.passes.drain(..) {
            drop(run.0.stdin.take());
            let mut status = None;
            within(Duration::from_secs(30), "run ends", || {
                status = run.0.try_wait().unwrap();
                status.is_some()
            });
            assert!(status.is_some_and(|status| status.success()), "run has ended with {status:?}");
        }
    }

    /// Ends the pass of `request`; the clients stay.
    pub(crate) fn revoke(&mut self) {
        let status = self.jobpass(REQUEST, &["revoke"]).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", self.complaints());
    }

    /// Ends the clients.
    pub(crate) fn stop(&mut self) {
        self.programs.clear();
    }
}

/// Keeps the answers that clients tell of, each in a line with the client's name first.
fn keep(mode: &'static str, lines: impl Iterator<Item = String>, answers: &Answers) {
    for line in lines {
        let (client, status) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = Answer { at: Instant::now(), status: status.to_owned() };
        answers.lock().unwrap().entry((mode, client.to_owned())).or_default().push(answer);
    }
}

/// The programs of the clients; some play several of them.
fn programs() -> [(&'static str, Command); 10] {
    let source = |name: &str| Path::new(SOURCE).join(name);
    let program = |program: &Path, arguments: &[&Path]| {
        let mut command = doors::program(program);
        command.args(arguments);
        command
    };
    let calls = |name: &str, command: &Path| program(&source("calls"), &[Path::new(name), command]);
    let go = |verb: &str| program(&installed("client-go"), &[Path::new(verb)]);
    let mut node = program(Path::new("node"), &[&source("node.mjs")]);
    node.env("PACKAGES", installed("node").join("package.json"));
    let mut java = doors::program("java");
    let classes = installed("java");
    // Small and quick to start: nothing is asked of it.
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp"]);
    java.arg(format!("{0}:{0}/lib/*", classes.display())).arg("Clients");
    [
        ("kubectl", calls("kubectl", ControlPlane::binary())),
        ("kubectl-watch", calls("kubectl-watch", ControlPlane::binary())),
        ("helm", calls("helm", &installed("helm"))),
        ("curl", calls("curl", Path::new("curl"))),
        ("ansible", calls("ansible", &installed("python/bin/ansible"))),
        ("client-go", go("client-go")),
        ("informer", go("informer")),
        ("python", program(&installed("python/bin/python"), &[&source("python.py")])),
        ("node", node),
        ("java", java),
    ]
}

/// What `tests/platforms/tools clients` has installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = shared::tools(&[]).with_file_name("clients").join(name);
    assert!(path.exists(), "{} is not there: run `tests/platforms/tools clients`", path.display());
    path
}

fn log(path: &Path) -> fs::File {
    fs::File::create(path).unwrap()
}
