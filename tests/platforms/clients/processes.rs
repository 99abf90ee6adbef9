//! What runs for the test: the server that shortens tokens, two `jobpass hold`, and the clients. It all ends with [`Clients`].
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

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{
    LEEWAY, LIFE, MODES, WATCH,
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

/// All clients with all forms of the kubeconfig, and what they need. In the order in which it is to end.
pub(crate) struct Clients {
    programs: Vec<Group>,
    holds: Vec<Group>,
    _server: Group,
    answers: Answers,
    directory: TempDir,
}

impl Clients {
    /// Starts it all.
    pub(crate) fn start(world: &World, cluster: &ControlPlane) -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        doors::make_directory(&at("bin"));
        let jobpass = env!("CARGO_BIN_EXE_jobpass");
        symlink(jobpass, at("bin/jobpass")).unwrap();
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

        let answers = Answers::default();
        let (mut holds, mut clients) = (Vec::new(), Vec::new());
        for mode in MODES {
            let mut hold = doors::program(jobpass);
            hold.args(["hold", "--platform", "local", "--kubeconfig-mode", mode, "--service-account", &world.account(), "--server", &url]);
            hold.arg("--dir")
                .arg(at(mode))
                .arg("--certificate-authority")
                .arg(at("ca.crt"))
                .arg("--identity-token-file")
                .arg(at("identity"));
            holds.push(Group::start(hold.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(&at(&format!("hold-{mode}.log"))))));
            doors::tool(jobpass).arg("wait").arg("--dir").arg(at(mode)).assert().success();
        }
        for mode in MODES {
            for (name, mut client) in programs() {
                client.env("PATH", format!("{}:{}:{}", at("bin").display(), shared::tools(&["node"]).display(), shared::machine()));
                client.env("HOME", directory.path()).env("KUBECONFIG", at(mode).join("kubeconfig")).env("NAMESPACE", world.namespace());
                // Not by the name that `jobpass credential` reads: the kubeconfig has to tell it.
                client.env("TOKEN_FILE", at(mode).join("token"));
                client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log(&at(&format!("{name}-{mode}.log"))));
                let mut client = Group::start(&mut client);
                let (lines, answers) = (client.lines(), answers.clone());
                thread::spawn(move || keep(mode, lines, &answers));
                clients.push(client);
            }
        }
        Self { programs: clients, holds, _server: server, answers, directory }
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

    /// Ends the clients, then the passes.
    pub(crate) fn end(mut self) {
        self.programs.clear();
        for hold in &mut self.holds {
            kill_process(Pid::from_child(&hold.0), Signal::TERM).unwrap();
            let mut status = None;
            within(Duration::from_secs(30), "hold ends", || {
                status = hold.0.try_wait().unwrap();
                status.is_some()
            });
            assert!(status.is_some_and(|status| status.success()), "hold has ended with {status:?}");
        }
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
fn programs() -> [(&'static str, Command); 8] {
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
