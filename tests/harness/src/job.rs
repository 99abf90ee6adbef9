//! A CI job on one of the platforms: the directories, variables and files that its runner gives it, and what it gets from us.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Command, Ran, World, command::jobpass, doors, random};

/// A CI system, as its jobs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A step of a GitHub Actions job.
    Github,
    /// A GitLab CI job.
    Gitlab,
    /// A step of a Tekton task.
    Tekton,
    /// A plain shell.
    Local,
}

/// The files by which a step of GitHub Actions answers its runner.
pub(super) const FILE_COMMANDS: [&str; 4] = ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"];

/// One job.
pub struct Job<'w> {
    /// Where it asks for its passes.
    pub world: &'w World,
    on: On,
    directory: TempDir,
    /// A Tekton pod's memory volume; on GitLab what a container has in memory of its own.
    memory: Option<TempDir>,
    variables: RefCell<BTreeMap<String, String>>,
}

impl<'w> Job<'w> {
    /// A step of a GitHub Actions job with the CI identity's kubeconfig in a secret.
    pub fn github(world: &'w World) -> Self {
        let job = Self::new(world, On::Github);
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("CI", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/app"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_JOB", "deploy"),
            ("GITHUB_SHA", "0f1e2d3c"),
            ("GITHUB_ACTOR", "octocat"),
        ] {
            job.set(name, value);
        }
        // Every job of a run is one of its own: the worlds share one real server.
        job.set("GITHUB_RUN_ID", "9876543210");
        job.set("GITHUB_WORKSPACE", job.workspace());
        job.set("RUNNER_TEMP", job.base());
        job.set("JOBPASS_IDENTITY_KUBECONFIG", world.kubeconfig());
        job.new_step();
        job
    }

    /// A GitLab CI job with the CI identity's kubeconfig in a file-type variable. It runs with the umask 0 of a container.
    pub fn gitlab(world: &'w World) -> Self {
        let mut job = Self::new(world, On::Gitlab);
        job.new_container();
        for (name, value) in [
            ("GITLAB_CI", "true"),
            ("CI", "true"),
            ("CI_SERVER_HOST", "gitlab.example.com"),
            ("CI_PROJECT_ID", "42"),
            ("CI_PROJECT_PATH", "acme/app"),
            ("CI_JOB_URL", "https://gitlab.example.com/acme/app/-/jobs/7"),
            ("CI_COMMIT_SHA", "0f1e2d3c"),
            ("GITLAB_USER_LOGIN", "tanuki"),
        ] {
            job.set(name, value);
        }
        job.set("CI_JOB_ID", "4711");
        let token = format!("glcbt-64_{}", random());
        world.secret(&token);
        job.set("CI_JOB_TOKEN", token);
        job.set("CI_PROJECT_DIR", job.workspace());
        job.set("JOBPASS_KUBECONFIG", job.identity_file());
        job
    }

    /// A step of a GitHub Actions job with `id-token: write` and nothing stored; its tokens say these things differently. Returns what
    /// GitHub knows of it, too.
    pub fn github_with_nothing_stored(world: &'w World, changes: &Value) -> (Self, jobpass_issuers::Job) {
        let job = Self::github(world);
        let known = world.github_job(changes);
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        job.set("ACTIONS_ID_TOKEN_REQUEST_URL", &known.request_url);
        job.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &known.request_token);
        // GitHub's certificate is one that the system knows.
        let roots = job.directory.path().join("roots.crt");
        doors::write(&roots, world.github().ca_pem());
        job.set("SSL_CERT_FILE", roots);
        job.knows_its_server();
        (job, known)
    }

    /// A GitLab CI job with `id_tokens:` and nothing stored; its token says these things differently.
    pub fn gitlab_with_nothing_stored(world: &'w World, changes: &Value) -> Self {
        let job = Self::gitlab(world);
        job.unset("JOBPASS_KUBECONFIG");
        job.set("JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(changes));
        job.knows_its_server();
        job
    }

    fn knows_its_server(&self) {
        self.set("JOBPASS_SERVER", self.world.url());
        self.set("JOBPASS_CERTIFICATE_AUTHORITY", self.world.ca_pem());
    }

    /// What follows runs in another container of the same GitLab job: of the former one only the build volume is left.
    pub fn new_container(&mut self) {
        let memory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir_in("/dev/shm");
        let memory = memory.expect("a directory in memory");
        self.world.names().exact(&memory.path().to_string_lossy(), "MEMORY");
        self.set("XDG_RUNTIME_DIR", memory.path());
        self.memory = Some(memory);
    }

    /// A step of a Tekton task with a memory volume and the CI identity's token in a file.
    pub fn tekton(world: &'w World) -> Self {
        let mut job = Self::new(world, On::Tekton);
        job.memory = Some(TempDir::new_in("/dev/shm").expect("a directory in memory"));
        job.world.names().exact(&job.base().to_string_lossy(), "BASE");
        for (name, text) in [("token", format!("{}\n", world.identity_token())), ("ca.crt", world.ca_pem())] {
            doors::write(&job.directory.path().join(name), &text);
        }
        job.set("JOBPASS_PLATFORM", "tekton");
        job.set("JOBPASS_DIR", job.base());
        job.set("JOBPASS_POD_UID", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f50");
        job.set("JOBPASS_POD_NAME", "deploy-run-pod");
        job.set("JOBPASS_RUN_NAME", "deploy-run");
        job.set("JOBPASS_SERVER", world.url());
        job.set("JOBPASS_CERTIFICATE_AUTHORITY", job.directory.path().join("ca.crt"));
        job.set("JOBPASS_IDENTITY_TOKEN_FILE", job.directory.path().join("token"));
        job
    }

    /// A plain shell with the CI identity's kubeconfig in `KUBECONFIG`.
    pub fn local(world: &'w World) -> Self {
        let job = Self::new(world, On::Local);
        job.set("XDG_RUNTIME_DIR", job.base());
        job.set("KUBECONFIG", job.identity_file());
        job
    }

    fn new(world: &'w World, on: On) -> Self {
        let directory = TempDir::new().expect("a directory");
        let job = Self { world, on, directory, memory: None, variables: RefCell::default() };
        for name in ["work", "work.tmp", "home", "runner", "tmp"] {
            doors::make_directory(&job.directory.path().join(name));
        }
        doors::write(&job.identity_file(), &world.kubeconfig());
        let mut names = world.names();
        names.exact(&job.base().to_string_lossy(), "BASE");
        names.exact(&job.directory.path().join(format!("tmp/jobpass-{}", rustix::process::geteuid().as_raw())).to_string_lossy(), "TMP");
        names.exact(&job.directory.path().to_string_lossy(), "JOB");
        names.token(world.identity_token(), Some("IDENTITY-TOKEN"));
        drop(names);
        job.set("PATH", format!("{}:/usr/bin:/bin", jobpass().parent().expect("it is in a directory").display()));
        job.set("HOME", job.directory.path().join("home"));
        // Or the job would see what others have left in the machine's.
        job.set("TMPDIR", job.directory.path().join("tmp"));
        job
    }

    /// All platforms, each with a job of its own.
    pub fn all(world: &'w World) -> [Self; 4] {
        [Self::github(world), Self::gitlab(world), Self::tekton(world), Self::local(world)]
    }

    /// The CI system that it runs on.
    pub fn on(&self) -> On {
        self.on
    }

    /// The directory of everything that the job has.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the sources are, and artifacts are taken from.
    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Where passes are kept.
    pub fn base(&self) -> PathBuf {
        match self.on {
            On::Github | On::Local => self.directory.path().join("runner"),
            On::Gitlab => self.directory.path().join("work.tmp"),
            On::Tekton => self.memory.as_ref().map_or_else(|| self.directory.path().join("memory"), |memory| memory.path().to_owned()),
        }
    }

    /// The file with the CI identity's kubeconfig.
    pub fn identity_file(&self) -> PathBuf {
        self.directory.path().join("identity.kubeconfig")
    }

    /// Sets a variable of the job.
    pub fn set(&self, name: &str, value: impl AsRef<std::ffi::OsStr>) {
        let value = value.as_ref().to_str().expect("UTF-8").to_owned();
        self.variables.borrow_mut().insert(name.to_owned(), value);
    }

    /// Takes a variable of the job away.
    pub fn unset(&self, name: &str) {
        self.variables.borrow_mut().remove(name);
    }

    /// Takes away those of these variables that the job has.
    pub fn unset_if_set<const N: usize>(&self, names: [&str; N]) {
        for name in names {
            self.unset(name);
        }
    }

    /// A variable of the job.
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.borrow().get(name).cloned()
    }

    /// The next step of a GitHub Actions job has new, empty files.
    pub fn new_step(&self) {
        for name in FILE_COMMANDS {
            let path = self.directory.path().join(format!("{name}-{}", random()));
            doors::write(&path, "");
            self.set(name, path);
        }
    }

    /// What a file by which the step answers its runner holds.
    pub fn file_command(&self, name: &str) -> String {
        self.get(name).map(|path| fs::read_to_string(path).expect("the runner made it")).unwrap_or_default()
    }

    /// The state that the runner gives to the action's own post step.
    pub fn state(&self) -> Option<String> {
        self.file_command("GITHUB_STATE").lines().filter_map(|line| line.strip_prefix("lease=")).next_back().map(str::to_owned)
    }

    /// `jobpass` with nothing yet; on GitLab under the umask of its containers.
    pub fn jobpass(&self) -> Command<'_> {
        let variables = self.variables.borrow().clone();
        match self.on {
            On::Gitlab => Command::new(self, "/bin/sh", variables).before(&["-c", "umask 0; exec jobpass \"$@\"", "sh"]),
            On::Github | On::Tekton | On::Local => Command::new(self, jobpass(), variables),
        }
    }

    /// The same, with a fault of its own as soon as somebody has written to the pipe.
    pub fn faulty(&self, pipe: &Path, arguments: &[&str]) -> Command<'_> {
        let program = std::env::current_exe().expect("this process has a program");
        let command = Command::new(self, program, self.variables.borrow().clone());
        let command = command.before(&["--exact", "faults::a_jobpass_with_a_fault", "--nocapture"]);
        command.env("FAULT_PIPE", pipe).env("FAULT_ARGUMENTS", arguments.join("\n"))
    }

    /// The same in a pod that has this service-account token mounted, as its only identity. It takes a mount namespace, and so root.
    pub fn in_pod(&self, token: &str) -> Command<'_> {
        let mounted = self.directory.path().join("identity.mount");
        doors::make_directory(&mounted);
        for (name, text) in [("token", token), ("ca.crt", &self.world.ca_pem()), ("namespace", self.world.home())] {
            doors::write(&mounted.join(name), text);
        }
        let script = "mount -t tmpfs pod /run && mkdir -p /run/secrets/kubernetes.io && cp -r \"$1\" /run/secrets/kubernetes.io/serviceaccount && \
                      shift && exec jobpass \"$@\"";
        let server = self.world.url();
        let (host, port) = server.trim_start_matches("https://").split_once(':').expect("a port");
        let mut variables = self.variables.borrow().clone();
        for name in ["JOBPASS_IDENTITY_TOKEN_FILE", "JOBPASS_SERVER", "JOBPASS_CERTIFICATE_AUTHORITY"] {
            variables.remove(name);
        }
        let before = ["--mount", "sh", "-c", script, "sh", &mounted.to_string_lossy()];
        let command = Command::new(self, "unshare", variables).before(&before);
        command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port)
    }

    /// `jobpass request` for this world's service account.
    pub fn request(&self) -> Command<'_> {
        self.jobpass().args(["request", "--service-account", &self.world.account()])
    }

    /// `jobpass run` for this world's service account, with a script as its command.
    pub fn run(&self, script: &str) -> Command<'_> {
        self.run_with([], script)
    }

    /// The same with flags.
    pub fn run_with<const N: usize>(&self, flags: [&str; N], script: &str) -> Command<'_> {
        self.jobpass().args(["run", "--service-account", &self.world.account()]).args(flags).args(["--", "sh", "-c", script])
    }

    /// `jobpass revoke`.
    pub fn revoke(&self) -> Command<'_> {
        self.jobpass().arg("revoke")
    }

    /// The post step of the action whose main step has just run.
    pub fn post(&self) -> Command<'_> {
        let post = self.revoke().args(["--action", "post"]);
        match self.state() {
            Some(state) => post.env("STATE_lease", state),
            None => post,
        }
    }

    /// A script in one of the job's shells.
    pub fn shell(&self, shell: &str, script: &str) -> Command<'_> {
        let first: &[&str] = if shell == "busybox" { &["sh", "-c"] } else { &["-c"] };
        let shown = format!("{shell} <<'SCRIPT'\n{script}\nSCRIPT");
        Command::new(self, shell, self.variables.borrow().clone()).before(first).arg(script).shown(&shown)
    }

    /// Hands a pass to the job's next commands as the platform does: by the runner's file, or by sourcing the env file.
    pub fn enter(&self, request: &Ran) {
        assert!(request.is_success(), "{}", request.transcript());
        if self.on == On::Github {
            for (name, value) in records(&self.file_command("GITHUB_ENV")) {
                self.set(&name, value);
            }
            self.new_step();
            return;
        }
        let env_file = request.stdout.strip_suffix('\n').expect("one line");
        let mut shell = doors::tool("/bin/sh");
        let sourced = shell.args(["-ec", ". \"$1\"; env", "sh", env_file]).envs(&*self.variables.borrow()).assert().success();
        let text = String::from_utf8_lossy(&sourced.get_output().stdout);
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !matches!(name, "_" | "PWD" | "OLDPWD" | "SHLVL") {
                self.set(name, value);
            }
        }
    }

    /// The places of passes that are left here.
    pub fn places(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.base().join("jobpass")).into_iter().flatten().flatten();
        let mut places: Vec<_> = entries.map(|entry| entry.path()).collect();
        places.sort();
        places
    }

    /// The place of the only pass that is here.
    pub fn place(&self) -> PathBuf {
        let places = self.places();
        assert_eq!(places.len(), 1, "{places:?}");
        places[0].clone()
    }

    /// Nothing is left of any pass: no Secret on the server, no file here.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.world.secrets(), [""; 0], "Secrets are left");
        assert!(self.places().is_empty(), "files are left: {:?}", self.places());
        assert!(self.apart().is_none(), "files are left: {:?}", self.apart());
        let entries = fs::read_dir(self.base()).into_iter().flatten().flatten().map(|entry| entry.path());
        let marks: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "mark")).collect();
        assert!(marks.is_empty(), "marks are left: {marks:?}");
    }

    /// Where the files of `run` are that hold a token, if they are apart from the lease.
    pub fn apart(&self) -> Option<PathBuf> {
        let memory = self.memory.as_ref().filter(|_| self.on == On::Gitlab)?.path().join("jobpass");
        fs::read_dir(memory).into_iter().flatten().flatten().map(|entry| entry.path()).next()
    }

    /// The token of the only pass that is here.
    pub fn token(&self) -> String {
        fs::read_to_string(self.apart().unwrap_or_else(|| self.place()).join("token")).expect("the pass has a token")
    }

    /// The name of the lease of the only pass that is here.
    pub fn lease(&self) -> String {
        self.place().file_name().expect("named").to_string_lossy().into_owned()
    }

    /// Whether the runner listens for masks on this platform without our asking: GitLab's experimental `proxy_exec`.
    pub(super) fn may_mask(&self) -> bool {
        self.get("RUNNER_TEMP_PROJECT_DIR").is_some_and(|path| Path::new(&path).join("masking.db").is_file())
    }

    /// All files of the job, in the order of their paths, except what the harness itself made.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for root in [Some(self.directory.path()), self.memory.as_ref().map(TempDir::path)].into_iter().flatten() {
            walk(root, &mut files);
        }
        files.sort();
        files
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// The records of a file command, by the runner's grammar: `NAME=VALUE`, or `NAME<<DELIMITER`, the value's lines, the delimiter.
///
/// `EnvFileKeyValuePairs` in actions/runner's `FileCommandManager.cs`.
pub fn records(text: &str) -> Vec<(String, String)> {
    assert!(text.is_empty() || text.ends_with('\n'), "the next writer's record would begin in the middle of a line");
    let mut records = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let heredoc = line.split_once("<<").filter(|(name, _)| !name.contains('='));
        let (name, value) = match (heredoc, line.split_once('=')) {
            (Some((name, delimiter)), _) => {
                assert!(!delimiter.is_empty());
                let value: Vec<_> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                (name, value.join("\n"))
            }
            (None, Some((name, value))) => (name, value.to_owned()),
            (None, None) => panic!("no record: {line}"),
        };
        assert!(!name.is_empty());
        records.push((name.to_owned(), value));
    }
    records
}
