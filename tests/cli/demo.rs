//! The demo, as a newcomer runs it: what its screen shows, that it needs nothing and leaves nothing, and that it fails where jobpass
//! does not do what it says.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::OnceLock,
};

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{doors, eventually, pages::example};

/// The program, which cargo builds for no test by itself.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = doors::cargo();
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["build", "--workspace", "--locked", "--offline", "--example", "demo", "--message-format", "json-render-diagnostics"]);
        let output = cargo.assert().success().get_output().stdout.clone();
        let messages = String::from_utf8(output).expect("UTF-8");
        let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let demo = messages.find(|message| message["target"]["name"] == "demo" && message["executable"].is_string());
        PathBuf::from(demo.expect("cargo says where it is")["executable"].as_str().expect("a path"))
    })
}

/// The names in a directory.
fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).expect("the directory is there").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// A machine with nothing on it but `sh` and what this test puts beside it.
struct Machine {
    directory: TempDir,
}

impl Machine {
    fn new(tools: &[&str]) -> Self {
        let machine = Self { directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory") };
        for name in ["bin", "home", "tmp"] {
            doors::make_directory(&machine.path(name));
        }
        for tool in ["sh"].iter().chain(tools) {
            let found = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(tool)).into_iter().find(|file| file.exists());
            symlink(found.expect("every system has it"), machine.path("bin").join(tool)).expect("a link can be made");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, jobpass: &Path) -> Child {
        let mut demo = doors::program(program());
        demo.env("PATH", self.path("bin")).env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        demo.env("JOBPASS_TEST_BINARY", jobpass).current_dir(self.directory.path());
        demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }

    /// Waits for its end, after which nothing may be there.
    fn end(&self, demo: Child) -> Output {
        let own = format!("jobpass-demo-{}-", demo.id());
        let output = demo.wait_with_output().expect("it ends");
        for place in ["home", "tmp"] {
            assert_eq!(names(&self.path(place)), [""; 0], "left in {place}");
        }
        let shared = names("/dev/shm".as_ref());
        assert!(!shared.iter().any(|name| name.starts_with(&own)), "left in memory: {shared:?}");
        output
    }

    fn run(&self, jobpass: &Path) -> Output {
        self.end(self.start(jobpass))
    }

    /// A jobpass that does this where its arguments are like that, and else what the real one does.
    fn broken(&self, like: &str, script: &str) -> PathBuf {
        let path = self.path("broken");
        let real = jobpass().display().to_string();
        doors::write(&path, &format!("#!/bin/sh\nreal={real}\ncase \"$*\" in {like}) {script} ;; esac\nexec $real \"$@\"\n"));
        doors::set_mode(&path, 0o700);
        path
    }
}

fn jobpass() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_jobpass"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A text without what is another in each run: a moment, a lease's name, and where in a line the signature begins.
fn constant(text: &str) -> String {
    let replaced = [
        (r"\d\d:\d\d:\d\dZ", "HH:MM:SSZ"),
        (r"jobpass-[0-9a-f]{32}", "jobpass-LEASE"),
        (r"[0-9a-f]{4}:( [0-9a-f]{2}){1,15} \*\*\*", "00a0: 65 66 ***"),
        (r"[0-9a-f]{4}:( ?\*\*\*)", "00b0:$1"),
        (r"\d+ lines as", "50 lines as"),
    ];
    replaced
        .into_iter()
        .fold(text.to_owned(), |text, (shape, with)| regex::Regex::new(shape).unwrap().replace_all(&text, with).into_owned())
}

/// It brings its own server.
fn is_run_already() -> bool {
    doors::control_plane().is_some()
}

#[test]
fn one_screen_says_why() {
    if is_run_already() {
        return;
    }
    let output = Machine::new(&[]).run(jobpass());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    assert!(stdout.lines().count() <= 40, "it is no screen: {stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "a line is too long: {stdout}");
    assert_snapshot!(constant(&stdout));
    // README may leave lines out, and then has this line for them.
    let (shown, quoted) = (constant(&stdout), constant(&example("demo", "screen")));
    let places: Vec<_> = quoted.split("\n…\n").map(|part| shown.find(&format!("\n{part}\n"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "README quotes another demo than this: {stdout}");
}

#[test]
fn it_fails_where_jobpass_does_not_do_what_it_says() {
    if is_run_already() {
        return;
    }
    let pass = "shift 4; . \"$($real request -s ci/deploy-bot 2>/dev/null)\";";
    let only_digits = "s/^(plain|base64|curl -v): .*/\\1: ***/; s/^([0-9a-f]{4}: .{48}).*/\\1/";
    let cases = [
        ("nothing is hidden", "run*leaky*", format!("{pass} \"$@\"; exec $real revoke")),
        ("no dump's digits are hidden", "run*leaky*", format!("{pass} \"$@\" | sed -E '{only_digits}'; exec $real revoke")),
        ("the pass of a command goes on", "run*leaky*", format!("{pass} \"$@\" | $real scrub --scrub-env OPENSHIFT_TOKEN; exit")),
        ("nothing is handed over", "request*", "exit".to_owned()),
        ("nothing is revoked", "revoke*", "exit".to_owned()),
        ("nobody sees what is left", "leases*", "echo '{\"items\": []}'; exit".to_owned()),
        ("what is left is not ended", "revoke*--all", "exit".to_owned()),
    ];
    let mut all = Vec::new();
    for (what, like, script) in cases {
        let machine = Machine::new(&["sed"]);
        let output = machine.run(&machine.broken(like, &script));
        assert_eq!(output.status.code(), Some(1), "{what}: {}", text(&output.stdout));
        all.push(format!("{what}:\n{}", constant(&text(&output.stderr))));
    }
    assert_snapshot!(all.concat());
}

#[test]
fn an_interrupted_one_leaves_nothing() {
    if is_run_already() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let machine = Machine::new(&["sleep"]);
        let begun = machine.path("begun");
        doors::make_directory(&begun);
        let demo = machine.start(&machine.broken("run*", &format!("echo >{}/$$; exec sleep 600", begun.display())));
        eventually("the commands of both parts run", || names(&begun).len() == 2);
        kill_process(Pid::from_child(&demo), signal).expect("it runs");
        let output = machine.end(demo);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), "the demo was interrupted\n".to_owned()));
        assert!(names(&begun).iter().all(|pid| !doors::is_running(pid)), "a command goes on");
    }
}
