//! The template run by gitlab-ci-local, the judge of its YAML: include, component, extends, `!reference`, artifacts.
//!
//! It masks nothing, gives no ID token (the scenarios give one by a variable), knows no `timeout`, and ends without `after_script` when it is signalled; that is for the
//! runner of our own.
#![expect(clippy::disallowed_methods, reason = "the scenarios play who runs gitlab-ci-local")]

use std::{
    env, fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{World, doors, leak, pages, within},
    shared,
};

mod component;
mod including;
mod pipelines;
mod readme;
mod template;
mod web;
mod wrapper;

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// A run that lasts longer hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// The requests of a pass that nobody has used: the proof's question finds its token dead.
const UNUSED: [&str; 4] = [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "POST selfsubjectreviews -> 401"];
const CREATE: &str = "POST secrets -> 201";
const TOKEN: &str = "POST serviceaccounts/deploy-bot/token -> 201";

/// What the pages call `kubectl` with; this one keeps the token that it was given.
const KUBECTL: &str = "#!/bin/sh -eu
test \"$*\" = 'apply -f manifests/'
grep -q tokenFile \"$KUBECONFIG\"
cp \"$(dirname \"$KUBECONFIG\")/token\" \"$(mktemp \"$KEPT/token-XXXXXX\")\"
";

/// Shows the token as careless programs do; only the wrapper can hide it, so not where the whole job has it in a variable.
const CARELESS: &str = "[ -n \"${STAGING_TOKEN-}\" ] || echo \"kubectl says $(cat \"$JOBPASS_TOKEN_FILE\")\"\n";

/// What the template calls `cargo` with; this one has the binary already.
const CARGO: &str = "#!/bin/sh -eu
test \"$*\" = 'build --release --locked --no-default-features --manifest-path jobpass/Cargo.toml'
mkdir -p jobpass/target/release
cp \"$BUILT\" jobpass/target/release/jobpass
";

/// The directory of `gitlab-ci-local` and `node`.
fn tools() -> PathBuf {
    shared::tools(&["gitlab-ci-local", "node"])
}

/// A project with a pipeline, and what its settings and its machine are to be.
struct Project<'w> {
    world: &'w World,
    directory: TempDir,
    /// CI/CD variables of the project's settings.
    variables: Vec<(&'static str, String)>,
    /// Whether every job has a copy of the tree of its own, as on GitLab. gitlab-ci-local then loses the artifacts of a job that
    /// has an `after_script`, and takes no job whose name is no file's.
    is_isolated: bool,
}

impl<'w> Project<'w> {
    /// A project that has nothing yet; the CI identity is a variable of type File, and `kubectl` is in the image.
    fn empty(world: &'w World) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut project = Self { world, directory, variables: Vec::new(), is_isolated: true };
        for name in ["project", "bin", "kept", "cache", "home", "mirrors", "settings"] {
            doors::make_directory(&project.at(name));
        }
        doors::write(&project.at("settings/JOBPASS_KUBECONFIG"), &world.kubeconfig());
        // gitlab-ci-local would make such a file itself, but in /tmp, where it leaves the half of them.
        project.variables.push(("JOBPASS_KUBECONFIG", project.text("settings/JOBPASS_KUBECONFIG")));
        project.variables.push(("KEPT", project.text("kept")));
        project.program("kubectl", &format!("{KUBECTL}{CARELESS}"));
        // The mirror of jobpass on that GitLab is a directory here.
        let url = "https://gitlab.example.com/acme/jobpass";
        let git = format!(
            "[user]\n  name = test\n  email = test@example.com\n[url \"file://{}\"]\n  insteadOf = {url}\n",
            project.text("mirrors/acme/jobpass")
        );
        doors::write(&project.at("home/.gitconfig"), &git);
        project
    }

    /// A project with a pipeline of the tests and the template where docs/gitlab.md puts it; jobpass is in the image.
    fn with(world: &'w World, pipeline: &str) -> Self {
        Self::with_text(world, &fixture(pipeline)).with_jobpass()
    }

    /// A project with the template and this pipeline, and with no jobpass in the image.
    fn with_text(world: &'w World, pipeline: &str) -> Self {
        let project = Self::empty(world);
        project.write(".gitlab-ci.yml", &pipeline.replace("ci/deploy-bot", &world.account()));
        project.copy("gitlab/jobpass.yml", "ci/jobpass.yml");
        project
    }

    /// Without copies of the tree: the jobs share one, and what they leave is there.
    fn shared(mut self) -> Self {
        self.is_isolated = false;
        self
    }

    /// With jobpass in the image.
    fn with_jobpass(self) -> Self {
        symlink(env!("CARGO_BIN_EXE_jobpass"), self.at("bin/jobpass")).expect("a link can be made");
        self
    }

    /// With `cargo` and the submodule from which it builds jobpass.
    fn with_cargo(mut self) -> Self {
        self.variables.push(("BUILT", env!("CARGO_BIN_EXE_jobpass").to_owned()));
        self.program("cargo", CARGO);
        self.write("jobpass/Cargo.toml", "");
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        self.at(path).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at("project").join(name);
        doors::make_directory(path.parent().expect("it is in the project"));
        doors::write(&path, text);
    }

    fn copy(&self, from: &str, to: &str) {
        self.write(to, &source(from));
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.at("bin").join(name);
        doors::write_program(&path, script);
    }

    fn path(&self) -> String {
        format!("{}:{}:{}", self.text("bin"), tools().display(), shared::machine())
    }

    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut git = doors::tool("git");
        git.args(arguments).env("PATH", self.path()).env("HOME", self.at("home")).current_dir(self.at(directory));
        let done = git.assert().success();
        String::from_utf8_lossy(&done.get_output().stdout).trim_end().to_owned()
    }

    /// Makes a repository of a directory; returns its commit.
    fn commit(&self, directory: &str) -> String {
        self.git(directory, &["init", "--quiet", "--initial-branch", "main"]);
        self.git(directory, &["add", "."]);
        self.git(directory, &["commit", "--quiet", "--message", "test"]);
        self.git(directory, &["rev-parse", "HEAD"])
    }

    /// A mirror of jobpass on the same GitLab, with these files of this repository; returns its commit.
    fn mirror(&self, files: &[&str]) -> String {
        let mirror = "mirrors/acme/jobpass.git";
        for file in files {
            let to = self.at(mirror).join(file);
            doors::make_directory(to.parent().expect("it is in the mirror"));
            doors::write(&to, &source(file));
        }
        self.commit(mirror)
    }

    /// The settings in the form of gitlab-ci-local. A variable without its type is a file, if it looks like one's path.
    fn settings(&self) -> Value {
        let text = |value: &str| json!({"type": "variable", "values": {"*": value}});
        // For a job with an image that is somewhere else, though no image is used.
        let tree = self.text("project") + if self.is_isolated { "/.gitlab-ci-local/builds/$CI_JOB_NAME" } else { "" };
        let own = [("GITLAB_CI", "true"), ("CI_PROJECT_DIR", tree.as_str())];
        let given = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        json!({"global": own.into_iter().chain(given).map(|(name, value)| (name.to_owned(), text(value))).collect::<serde_json::Map<_, _>>()})
    }

    /// Starts gitlab-ci-local by a command that ends in it.
    fn start_by(&self, mut program: process::Command, arguments: &[&str]) -> Running<'_> {
        if !self.at("project/.git").exists() {
            self.commit("project");
            self.git("project", &["remote", "add", "origin", "https://gitlab.example.com/acme/app.git"]);
            self.git("project", &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
        }
        doors::make_directory(&self.at("home/.gitlab-ci-local"));
        doors::write(&self.at("home/.gitlab-ci-local/variables.yml"), &self.settings().to_string());
        let log = fs::File::create(self.at("log")).expect("a file can be made");
        program.args(["--force-shell-executor", "--no-color", "--no-artifacts-to-source"]);
        let of_scenario = self.variables.iter().map(|(name, _)| *name).filter(|name| name.starts_with("CI_"));
        let ours: Vec<_> = ["GITLAB_CI", "CI_PROJECT_DIR"].into_iter().chain(of_scenario).collect();
        program.arg("--ignore-predefined-vars").arg(ours.join(","));
        if self.is_isolated {
            program.arg("--shell-isolation");
        }
        program.args(arguments);
        program.env("PATH", self.path()).env("HOME", self.at("home")).env("TMPDIR", self.at("cache"));
        program.current_dir(self.at("project")).stdin(Stdio::null());
        program.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        // What a terminal sends to the tests is for them to pass on, and its jobs end with it.
        program.process_group(0);
        Running { project: self, child: Some(program.spawn().expect("gitlab-ci-local is there")) }
    }

    /// Runs the pipeline, or the jobs that the arguments name.
    fn run(&self, arguments: &[&str]) -> Pipeline {
        self.start_by(doors::program(tools().join("gitlab-ci-local")), arguments).wait()
    }

    /// Runs the pipeline; every job must succeed.
    fn succeed(&self, results: &[&str]) -> Pipeline {
        let pipeline = self.run(&[]);
        pipeline.assert(0, results);
        pipeline
    }

    /// A file that a job has left for us.
    fn kept(&self, name: &str) -> String {
        fs::read_to_string(self.at("kept").join(name)).unwrap_or_else(|error| panic!("no job has kept {name}: {error}"))
    }

    fn has_kept(&self, name: &str) -> bool {
        self.at("kept").join(name).exists()
    }

    /// The tokens that jobs have kept, though they should not.
    fn tokens(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("kept")).expect("it is there").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("token")).collect();
        names.sort();
        names.iter().map(|name| self.kept(name)).collect()
    }

    /// Every token is dead, though a job kept it, and nothing is left of the passes.
    fn assert_revoked(&self, passes: usize) {
        let tokens = self.tokens();
        assert_eq!(tokens.len(), passes, "so many passes are a job's");
        assert!(tokens.iter().all(|token| token.starts_with("eyJ")), "a job keeps tokens");
        assert!(tokens.iter().enumerate().all(|(number, token)| !tokens[..number].contains(token)), "every pass has its own token");
        assert_eq!(self.world.secrets(), [""; 0], "a lease is left");
        let left: Vec<_> = walk(self.directory.path()).into_iter().filter(|path| is_of_a_pass(path)).collect();
        assert!(left.is_empty(), "it is left: {left:?}");
        for token in tokens {
            self.world.assert_dies(&token);
        }
    }

    /// What was asked of the API server.
    fn requests(&self) -> Vec<String> {
        shared::requests(self.world)
    }
}

/// A run that has begun. Dropped before its end it is stopped.
struct Running<'p> {
    project: &'p Project<'p>,
    child: Option<Child>,
}

impl Running<'_> {
    fn wait(mut self) -> Pipeline {
        let mut code = None;
        let child = self.child.as_mut().expect("not waited for");
        within(LIMIT, "gitlab-ci-local ends", || {
            let status = child.try_wait().expect("our own child can be waited for");
            code = status.map(|status| status.code().expect("gitlab-ci-local ends by itself"));
            code.is_some()
        });
        self.child = None;
        let log = String::from_utf8(fs::read(self.project.at("log")).expect("it has one")).expect("it writes UTF-8");
        let pipeline = Pipeline::of(code.expect("it has ended"), log);
        pipeline.sweep(self.project);
        pipeline
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The scenario has failed. gitlab-ci-local leaves its jobs running, which are of its group; by KILL what does not listen.
        let group = Pid::from_child(&child);
        let _ = kill_process_group(group, Signal::TERM);
        for _ in 0..500 {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait();
    }
}

/// What came of a pipeline.
struct Pipeline {
    code: i32,
    log: String,
    /// Result and name of every job that ran, those that succeeded first, each in the order of the stages.
    results: Vec<String>,
}

impl Pipeline {
    fn of(code: i32, log: String) -> Self {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        // Every line of a job begins with the job's name.
        let is_result = |line: &&str| {
            line.starts_with(" PASS ") || line.starts_with(" FAIL ") || line.starts_with(" WARN ") && line.ends_with("_script")
        };
        let results = log.lines().filter(is_result).map(words).collect();
        Self { code, log, results }
    }

    /// How it ended: the exit code of gitlab-ci-local and the results of the jobs.
    fn assert(&self, code: i32, results: &[&str]) {
        assert_eq!(self.results, results, "{}", self.log);
        assert_eq!(self.code, code, "{}", self.log);
    }

    fn assert_says(&self, words: &str) {
        assert!(self.log.contains(words), "it does not say `{words}`:\n{}", self.log);
    }

    /// No secret is in the log or in a file that is left behind.
    fn sweep(&self, project: &Project<'_>) {
        let mut secrets = vec![project.world.identity_token().to_owned()];
        secrets.extend(project.world.tokens_of_passes().into_iter().chain(project.tokens()));
        assert_eq!(leak::find(&self.log, &secrets), None, "a secret in the log:\n{}", self.log);
        // A binary that was built has no secret in it, but the words by which the tests would find one.
        let is_read = |path: &PathBuf| path.is_file() && !path.ends_with("jobpass");
        for path in ["project", "cache"].iter().flat_map(|name| walk(&project.at(name))).filter(is_read) {
            let content = fs::read(&path).expect("it can be read");
            assert_eq!(leak::find(&String::from_utf8_lossy(&content), &secrets), None, "a secret in {}", path.display());
        }
    }
}

/// All that is below a directory; of links only they themselves.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it can be read") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("it is there").is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// Whether it is the private directory of a pass, or the one of a binary that was fetched, or is in one.
fn is_of_a_pass(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("jobpass-"))
}

/// A file of this repository.
fn source(name: &str) -> String {
    fs::read_to_string(Path::new(SOURCE).join(name)).expect("the file is there")
}

/// A pipeline of the tests.
fn fixture(name: &str) -> String {
    source(&format!("tests/platforms/gitlab/local/{name}.yml"))
}
