//! The action run by act, the judge of its wiring: inputs, state, outputs, the order of post steps, masks of whole values.
//!
//! act gives a step no grace, masks no encodings and keeps nothing from a later job; that is for the runner of our own.
#![expect(clippy::disallowed_methods, reason = "the scenarios play who runs act")]

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{World, doors, leak, oidc, pages, within},
    shared,
};

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// A run of act that lasts longer hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// The directory of `act`, `node` and the others.
fn tools() -> PathBuf {
    shared::tools(&["act", "node"])
}

/// The search path of everything: the tools first, then the machine's own.
fn path() -> String {
    format!("{}:{}", tools().display(), shared::machine())
}

/// A repository with a workflow and the action, and what act is to know.
struct Repository<'w> {
    world: &'w World,
    directory: TempDir,
    workflow: String,
    /// The label of the machine that the workflow asks for.
    label: &'static str,
    service_account: String,
    /// The input `revoke`; empty as in a repository that has no such variable.
    revoke: &'static str,
    /// The job as GitHub knows it, if it has `id-token: write`. act asks GitHub for no token.
    permitted: Option<oidc::Job>,
}

impl<'w> Repository<'w> {
    /// A repository that has nothing yet.
    fn empty(world: &'w World, workflow: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let workflow = format!("{workflow}.yml");
        let repository =
            Self { world, directory, workflow, label: "ubuntu-latest", service_account: world.account(), revoke: "", permitted: None };
        for name in ["repository/.github/workflows", "repository/target/release", "bin", "kept", "cache", "config"] {
            doors::make_directory(&repository.at(name));
        }
        repository
    }

    /// The same with `id-token: write`, in a cluster that trusts the jobs of this repository.
    fn permitted(mut self) -> Self {
        // act's own number of a run.
        self.permitted = Some(self.world.github_job(&json!({"run_id": "1"})));
        doors::write(&self.at("roots.pem"), self.world.github().ca_pem());
        self
    }

    /// The tree of jobpass itself, with a workflow of the tests.
    fn with(world: &'w World, workflow: &str) -> Self {
        let repository = Self::empty(world, workflow);
        let name = repository.workflow.clone();
        repository.copy("action.yml", "action.yml");
        repository.copy(&format!("tests/platforms/github/{name}"), &format!(".github/workflows/{name}"));
        repository.copy("tests/platforms/github/called.yml", ".github/workflows/called.yml");
        repository.copy("tests/platforms/github/deploy/action.yml", "tests/platforms/github/deploy/action.yml");
        repository.copy_shim("github");
        // A built binary is no part of the tree; checkout brings it as act copies what is not committed, too.
        repository.commit();
        symlink(env!("CARGO_BIN_EXE_jobpass"), repository.at("repository/target/release/jobpass")).expect("a link can be made");
        repository.keep_secrets(&["CI_KUBECONFIG"]);
        repository
    }

    fn copy_shim(&self, to: &str) {
        for name in ["main.js", "post.js", "shim.js"] {
            self.copy(&format!("github/{name}"), &format!("{to}/{name}"));
        }
    }

    fn commit(&self) {
        self.git(&["init", "--quiet", "--initial-branch", "main"]);
        self.git(&["add", "."]);
        self.git(&["-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", "test"]);
    }

    /// The CI identity's kubeconfig under these names, each one value of many lines, as people paste it.
    fn keep_secrets(&self, names: &[&str]) {
        let kubeconfig = self.world.kubeconfig().replace('"', "\\\"").replace('\n', "\\n");
        let lines: Vec<_> = names.iter().map(|name| format!("{name}=\"{kubeconfig}\"\n")).collect();
        doors::write(&self.at("secrets"), &lines.concat());
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn copy(&self, from: &str, to: &str) {
        let to = self.at("repository").join(to);
        doors::make_directory(to.parent().expect("it is in the repository"));
        fs::copy(Path::new(SOURCE).join(from), to).expect("the file is there");
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = doors::tool("git");
        git.args(arguments).env("PATH", path()).env("HOME", self.directory.path()).current_dir(self.at("repository"));
        git.assert().success();
    }

    /// Starts act.
    fn start(&self) -> Running<'_> {
        self.start_by(doors::program(tools().join("act")), &[])
    }

    /// Starts act by a command that ends in it, with variables for every step.
    fn start_by(&self, mut act: process::Command, variables: &[(&str, &str)]) -> Running<'_> {
        let log = fs::File::create(self.at("log")).expect("a file can be made");
        act.args(["push", "--json", "-P", &format!("{}=-self-hosted", self.label), "--no-cache-server"]);
        act.arg("-W").arg(format!(".github/workflows/{}", self.workflow));
        // Neither is a secret, and the kubeconfig comes in a file.
        act.arg("--var").arg(format!("SERVICE_ACCOUNT={}", self.service_account));
        act.arg("--var").arg(format!("REVOKE={}", self.revoke));
        for cluster in ["CLUSTER", "STAGING"] {
            act.arg("--var").arg(format!("{cluster}_SERVER={}", self.world.url()));
            act.arg("--var").arg(format!("{cluster}_CA={}", STANDARD.encode(self.world.ca_pem())));
        }
        if let Some(job) = &self.permitted {
            act.arg("--env").arg(format!("ACTIONS_ID_TOKEN_REQUEST_URL={}", job.request_url));
            act.arg("--env").arg(format!("ACTIONS_ID_TOKEN_REQUEST_TOKEN={}", job.request_token));
            act.arg("--env").arg(format!("SSL_CERT_FILE={}", self.at("roots.pem").display()));
        }
        act.arg("--env").arg(format!("KEPT={}", self.at("kept").display()));
        act.arg("--secret-file").arg(self.at("secrets"));
        for (name, value) in variables {
            act.arg("--env").arg(format!("{name}={value}"));
        }
        act.env("PATH", format!("{}:{}", self.at("bin").display(), path()))
            .env("HOME", self.directory.path())
            .env("TMPDIR", self.at("cache"));
        act.env("XDG_CACHE_HOME", self.at("cache")).env("XDG_CONFIG_HOME", self.at("config"));
        act.current_dir(self.at("repository")).stdin(Stdio::null());
        act.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        // What a terminal sends to the tests is for them to pass on.
        act.process_group(0);
        Running { repository: self, child: Some(act.spawn().expect("act is there")) }
    }

    /// Runs act to its end.
    fn run(&self) -> Acted {
        self.start().wait()
    }

    /// A file that a step has left for us.
    fn kept(&self, name: &str) -> String {
        fs::read_to_string(self.at("kept").join(name)).unwrap_or_else(|error| panic!("no step has kept {name}: {error}"))
    }

    fn has_kept(&self, name: &str) -> bool {
        self.at("kept").join(name).exists()
    }

    /// The tokens that steps have kept, though they should not.
    fn tokens(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("kept")).expect("it is there").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("token")).collect();
        names.sort();
        names.iter().map(|name| self.kept(name)).collect()
    }

    /// Every token is dead, though a step kept it, and nothing is left of the passes.
    fn assert_revoked(&self, passes: usize) {
        let tokens = self.tokens();
        assert_eq!(tokens.len(), passes, "so many passes are a step's");
        assert!(tokens.iter().all(|token| token.starts_with("eyJ")), "a step keeps tokens");
        assert!(tokens.iter().enumerate().all(|(number, token)| !tokens[..number].contains(token)), "every pass has its own token");
        assert_eq!(self.world.secrets(), [""; 0], "a lease is left");
        for token in tokens {
            self.world.assert_dies(&token);
        }
    }

    /// What was asked of the API server.
    fn requests(&self) -> Vec<String> {
        shared::requests(self.world)
    }
}

/// A run of act that has begun. Dropped before its end it is stopped.
struct Running<'r> {
    repository: &'r Repository<'r>,
    child: Option<Child>,
}

impl Running<'_> {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("not waited for")), signal).expect("our own child can be signalled");
    }

    fn log(&self) -> String {
        String::from_utf8(fs::read(self.repository.at("log")).expect("act has one")).expect("act writes UTF-8")
    }

    fn wait(mut self) -> Acted {
        let mut code = None;
        let child = self.child.as_mut().expect("not waited for");
        within(LIMIT, "act ends", || {
            let status = child.try_wait().expect("our own child can be waited for");
            code = status.map(|status| status.code().expect("act ends by itself"));
            code.is_some()
        });
        self.child = None;
        let acted = Acted::of(code.expect("it has ended"), &self.log());
        acted.sweep(self.repository);
        acted
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The scenario has failed. By INT, so that act ends its steps; by KILL what does not listen.
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        for _ in 0..1000 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What came of a run of act.
struct Acted {
    code: i32,
    /// What a reader of the log sees, a line each.
    log: String,
    /// Stage, name and result of every step but checkout, in the order of their ends; act reports no step that it skips.
    steps: Vec<String>,
    jobs: Vec<String>,
}

impl Acted {
    fn of(code: i32, output: &str) -> Self {
        let mut acted = Self { code, log: String::new(), steps: Vec::new(), jobs: Vec::new() };
        for line in output.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                acted.log.extend([line, "\n"]);
                continue;
            };
            let text = |name: &str| event[name].as_str().unwrap_or_default();
            acted.log.extend([text("msg").trim_end(), "\n"]);
            let is_named = event["stage"].is_string() && !text("step").starts_with("actions/checkout@");
            if event["stepResult"].is_string() && is_named {
                acted.steps.push(format!("{} {}: {}", text("stage"), text("step"), text("stepResult")));
            }
            if event["jobResult"].is_string() {
                acted.jobs.push(text("jobResult").to_owned());
            }
        }
        acted
    }

    /// How it ended: the exit code of act, the results of the jobs and of the steps.
    fn assert(&self, code: i32, jobs: &[&str], steps: &[&str]) {
        assert_eq!(self.steps, steps, "{}", self.log);
        assert_eq!(self.jobs, jobs, "{}", self.log);
        assert_eq!(self.code, code, "{}", self.log);
    }

    /// One annotation, of this level. act does not wait for the last words of a step that fails, so an error may be missing.
    fn assert_annotates(&self, level: &str) {
        let count = |level: &str| self.log.matches(level).count();
        assert_eq!(count("::warning"), usize::from(level == "::warning"), "{}", self.log);
        assert!(count("::error") <= usize::from(level == "::error"), "{}", self.log);
    }

    fn assert_says(&self, words: &str) {
        assert!(self.log.contains(words), "it does not say `{words}`:\n{}", self.log);
    }

    /// No secret is in the log or in a file that is left behind.
    fn sweep(&self, repository: &Repository<'_>) {
        let mut secrets = vec![repository.world.identity_token().to_owned()];
        secrets.extend(repository.world.tokens_of_passes().into_iter().chain(repository.tokens()));
        secrets.extend(repository.permitted.iter().flat_map(|job| job.issued().into_iter().chain([job.request_token.clone()])));
        assert_eq!(leak::find(&self.log, &secrets), None, "a secret in the log:\n{}", self.log);
        for name in ["repository", "cache", "config"] {
            sweep(&repository.at(name), &secrets);
        }
    }
}

fn sweep(path: &Path, secrets: &[String]) {
    let kind = fs::symlink_metadata(path).expect("it is there").file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            sweep(&entry.expect("an entry").path(), secrets);
        }
    } else if kind.is_file() {
        let content = fs::read(path).expect("it can be read");
        assert_eq!(leak::find(&String::from_utf8_lossy(&content), secrets), None, "a secret in {}", path.display());
    }
}

mod readme;
mod released;

/// The requests of a pass that nobody has used: the proof's question finds its token dead.
const UNUSED: [&str; 4] = [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "POST selfsubjectreviews -> 401"];
const CREATE: &str = "POST secrets -> 201";
const TOKEN: &str = "POST serviceaccounts/deploy-bot/token -> 201";

#[test]
fn a_later_step_uses_the_pass_and_the_post_step_ends_it() {
    let world = World::new();
    let repository = Repository::with(&world, "use");
    let acted = repository.run();
    acted.assert(0, &["success"], &["Main ./: success", "Main use it: success", "Main ask the API server: success", "Post ./: success"]);
    let user = format!("system:serviceaccount:{}", world.account().replace('/', ":"));
    assert!(repository.kept("whoami").contains(&user), "{}", repository.kept("whoami"));
    acted.assert_says("printed by a careless step: ***, ***");
    acted.assert_says("in other words: ***");
    // The step has used the token, so that the server's cache takes it a little longer, and the receipt says so.
    acted.assert_says("at the latest: the lease is deleted");
    assert_eq!(repository.requests(), [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "POST selfsubjectreviews -> 201"]);
    repository.assert_revoked(1);
}

#[test]
fn a_later_step_that_fails_does_not_keep_the_token_alive() {
    let world = World::new();
    let repository = Repository::with(&world, "later-failure");
    let acted = repository.run();
    acted.assert(1, &["failure"], &["Main ./: success", "Main fail: failure", "Post ./: success"]);
    assert!(!repository.has_kept("never"));
    acted.assert_says("dead: the API server answers 401 to the token");
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}

/// A main step that fails has undone what it did; its post step says so, and is no second failure.
fn assert_refused(repository: &Repository<'_>, requests: &[&str]) {
    let acted = repository.run();
    acted.assert(1, &["failure"], &["Main ./: failure", "Post ./: success"]);
    assert!(!repository.has_kept("never"));
    acted.assert_annotates("::error");
    acted.assert_says("\nnothing to revoke\n");
    assert_eq!(repository.requests(), requests);
    repository.assert_revoked(0);
}

#[test]
fn a_request_that_is_refused_fails_the_job_once() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let requests = [CREATE, "POST serviceaccounts/deploy-bot/token -> 403", "DELETE secrets/LEASE-1 -> 200"];
    assert_refused(&Repository::with(&world, "refused"), &requests);
}

#[test]
fn a_service_account_that_the_identity_may_not_take_fails_the_job_once() {
    let world = World::new();
    let mut repository = Repository::with(&world, "refused");
    repository.service_account = format!("{}/nobody", world.namespace());
    assert_refused(&repository, &[CREATE, "POST serviceaccounts/nobody/token -> 403", "DELETE secrets/LEASE-1 -> 200"]);
}

#[test]
fn a_fork_which_gets_no_secret_is_told_so_before_anything_is_sent() {
    let world = World::new();
    let repository = Repository::with(&world, "refused");
    doors::write(&repository.at("secrets"), "");
    assert_refused(&repository, &[]);
}

#[test]
fn a_revocation_that_fails_fails_the_job_only_where_it_is_strict() {
    for (revoke, code, job, post, level) in [("", 0, "success", "success", "::warning"), ("strict", 1, "failure", "failure", "::error")] {
        let world = World::new();
        world.take_away("delete", "secrets");
        let mut repository = Repository::with(&world, "revoke");
        repository.revoke = revoke;
        let acted = repository.run();
        acted.assert(code, &[job], &["Main ./: success", "Main keep it: success", &format!("Post ./: {post}")]);
        acted.assert_annotates(level);
        assert_eq!(repository.requests(), [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 403"]);
        assert_eq!(world.secrets().len(), 1);
        assert!(world.accepts(&repository.tokens()[0]));
    }
}

#[test]
fn a_pass_that_is_to_stay_stays() {
    let world = World::new();
    let mut repository = Repository::with(&world, "revoke");
    repository.revoke = "false";
    let acted = repository.run();
    acted.assert(0, &["success"], &["Main ./: success", "Main keep it: success", "Post ./: success"]);
    acted.assert_says("stays, as `revoke: false` asks");
    assert_eq!(repository.requests(), [CREATE, TOKEN]);
    assert!(world.accepts(&repository.tokens()[0]));
}

#[test]
fn a_job_that_is_cancelled_ends_its_pass() {
    let world = World::new();
    let repository = Repository::with(&world, "cancelled");
    let running = repository.start();
    within(LIMIT, "the step works", || {
        assert!(!running.log().contains("jobResult"), "{}", running.log());
        repository.has_kept("working")
    });
    running.signal(Signal::INT);
    let acted = running.wait();
    acted.assert(1, &["failure"], &["Main ./: success", "Main work: failure", "Post ./: success"]);
    assert!(!repository.has_kept("never"));
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}

#[test]
fn a_job_that_is_cancelled_while_the_token_is_under_way_leaves_nothing() {
    let world = World::new();
    let repository = Repository::with(&world, "refused");
    world.relay().hold_answer(2);
    let running = repository.start();
    world.relay().wait_held();
    world.wait_for_request("/token -> 201");
    running.signal(Signal::INT);
    // act kills the shim at once; the binary ends by that, and the post step knows the lease from the state.
    within(LIMIT, "the post step begins", || running.log().contains("Run Post ./"));
    world.relay().cut();
    let acted = running.wait();
    acted.assert(1, &["failure"], &["Main ./: failure", "Post ./: success"]);
    assert!(!repository.has_kept("never"));
    within(LIMIT, "the lease is gone", || world.secrets().is_empty());
    for token in world.tokens_of_passes() {
        world.assert_dies(&token);
    }
    // Whichever of the two comes first, one deletes the lease, and the other finds it gone.
    let requests = repository.requests();
    let (begin, end) = requests.split_at(2);
    assert_eq!(begin, [CREATE, TOKEN]);
    assert!(end.iter().all(|request| request.starts_with("DELETE secrets/LEASE-1 -> ")), "{requests:?}");
    assert_eq!(end.iter().filter(|request| request.ends_with("200")).count(), 1, "{requests:?}");
}

#[test]
fn two_passes_of_one_job_end_last_in_first_out() {
    let world = World::new();
    let repository = Repository::with(&world, "two-passes");
    let acted = repository.run();
    let steps = ["Main ./: success", "Main ./: success", "Main use both: success", "Post ./: success", "Post ./: success"];
    acted.assert(0, &["success"], &steps);
    let leases = repository.kept("leases");
    let leases: Vec<_> = leases.lines().map(|lease| lease.rsplit_once('/').expect("NAMESPACE/NAME").1).collect();
    assert_eq!(leases.len(), 2);
    for (lease, word) in leases.into_iter().zip(["FIRST", "SECOND"]) {
        world.names_exact(lease, word);
    }
    let ends =
        ["DELETE secrets/SECOND -> 200", "POST selfsubjectreviews -> 401", "DELETE secrets/FIRST -> 200", "POST selfsubjectreviews -> 401"];
    assert_eq!(repository.requests(), [[CREATE, TOKEN, CREATE, TOKEN], ends].concat());
    repository.assert_revoked(2);
}

#[test]
fn two_jobs_of_a_matrix_have_a_pass_each() {
    let world = World::new();
    let repository = Repository::with(&world, "matrix");
    let acted = repository.run();
    // Side by side, so that only each job's own order is known.
    let mut steps: Vec<_> = acted.steps.iter().map(String::as_str).collect();
    steps.sort_unstable();
    let expected = ["Main ./: success", "Main use it: success", "Post ./: success"];
    assert_eq!(steps, expected.iter().flat_map(|step| [*step; 2]).collect::<Vec<_>>(), "{}", acted.log);
    assert_eq!((acted.code, acted.jobs.len()), (0, 2), "{}", acted.log);
    let requests = repository.requests();
    for line in [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "DELETE secrets/LEASE-2 -> 200"] {
        let count = if line.starts_with("POST") { 2 } else { 1 };
        assert_eq!(requests.iter().filter(|request| *request == line).count(), count, "{requests:?}");
    }
    assert_eq!(requests.len(), 8, "{requests:?}");
    repository.assert_revoked(2);
}

#[test]
fn a_later_step_gets_every_output() {
    let world = World::new();
    let repository = Repository::with(&world, "outputs");
    let acted = repository.run();
    let steps = ["Main ./: success", "Main keep them: success", "Post ./: success", "Main see what is over: success"];
    acted.assert(0, &["success", "success"], &steps);
    let outputs = repository.kept("outputs");
    let [expires_at, server, namespace, service_account, lease, jti] = outputs.lines().collect::<Vec<_>>()[..] else {
        panic!("six outputs, none of many lines: {outputs}");
    };
    assert_eq!((server, namespace), (world.url().as_str(), "elsewhere"));
    assert_eq!(service_account, world.account());
    let token = &repository.tokens()[0];
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a JWT")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    assert_eq!(claims["jti"], jti);
    assert_eq!(format!("{}/{}", world.namespace(), claims["kubernetes.io"]["secret"]["name"].as_str().expect("bound")), lease);
    let ends: jiff::Timestamp = expires_at.parse().expect("RFC 3339");
    assert_eq!(claims["exp"], ends.as_second());
    assert_eq!(repository.kept("modes"), "600\n600\n");
    // A job that comes later may know which lease it was, but has nothing of it.
    assert_eq!(repository.kept("lease-of-the-job-before").trim_end(), lease);
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}

#[test]
fn without_export_only_the_steps_that_ask_by_their_shell_have_a_token() {
    let world = World::new();
    let repository = Repository::with(&world, "shell");
    let acted = repository.run();
    let steps = [
        "Main ./: success",
        "Main has none: success",
        "Main has one: success",
        "Main has none any more: success",
        "Main fails as its script does: failure",
        "Post ./: success",
    ];
    acted.assert(1, &["failure"], &steps);
    acted.assert_says("printed by a careless step: ***");
    acted.assert_says("in other words: ***");
    acted.assert_says("exit status 7");
    acted.assert_says("\nnothing to revoke\n");
    // The second pass begins when the first is over.
    let second = UNUSED.map(|request| request.replace("LEASE-1", "LEASE-2"));
    assert_eq!(repository.requests(), [UNUSED.map(str::to_owned), second].concat());
    repository.assert_revoked(2);
}

#[test]
fn a_reusable_workflow_has_a_pass_of_its_own() {
    let world = World::new();
    let repository = Repository::with(&world, "reusable");
    let acted = repository.run();
    assert_eq!(acted.code, 0, "{}", acted.log);
    assert_eq!(acted.steps, ["Main ./: success", "Main use it: success", "Post ./: success"], "{}", acted.log);
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}

#[test]
fn the_post_step_of_a_composite_actions_step_ends_the_pass() {
    let world = World::new();
    let repository = Repository::with(&world, "composite");
    let acted = repository.run();
    // act names every step of a composite action by the action; the last line of each stage is the action's own.
    let [main, post] = ["Main", "Post"].map(|stage| format!("{stage} ./tests/platforms/github/deploy: success"));
    acted.assert(0, &["success"], &[&main, &main, &main, "Main use it: success", &post, &post]);
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}
