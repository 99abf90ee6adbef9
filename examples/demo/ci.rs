//! What each CI system gives a job: directories, an environment, a CI identity, and a shell for its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    careless::{LEAKY, SLOW},
    cluster::{Cluster, TARGET},
    doors,
    processes::{self, Process},
    runner::Runner,
};

/// The variables by which a pass is handed over.
pub(crate) const HANDED: [&str; 10] = [
    "OPENSHIFT_TOKEN",
    "KUBECONFIG",
    "KUBE_CONFIG_PATH",
    "JOBPASS_CURL",
    "JOBPASS_TOKEN_FILE",
    "JOBPASS_PASS_CA_FILE",
    "JOBPASS_EXPIRES_AT",
    "JOBPASS_LEASE",
    "JOBPASS_PASS_SERVER",
    "JOBPASS_PASS_NAMESPACE",
];

/// A CI system, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    Github,
    Gitlab,
    Tekton,
    Local,
}

impl Platform {
    pub(crate) const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Tekton, Self::Local];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Github => "GitHub Actions: the steps of a job",
            Self::Gitlab => "GitLab CI: script and after_script of a job",
            Self::Tekton => "Tekton: the steps of a Task",
            Self::Local => "A plain shell",
        }
    }

    /// Its name in a list.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Github => "GitHub Actions",
            Self::Gitlab => "GitLab CI",
            Self::Tekton => "Tekton",
            Self::Local => "a plain shell",
        }
    }

    /// How the variables come to the steps that follow.
    pub(crate) fn way(self) -> &'static str {
        match self {
            Self::Github => "by $GITHUB_ENV",
            Self::Gitlab | Self::Tekton | Self::Local => "sourced",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Github => "The kubeconfig of the CI identity is a secret of the repository.",
            Self::Gitlab => "The kubeconfig of the CI identity is a CI/CD variable of type file.",
            Self::Tekton => "The CI identity is the service account of the pod; PASS_DIR is in memory.",
            Self::Local => "The CI identity is the user of ~/.kube/config.",
        }
    }

    /// The line of the job that begins the pass.
    pub(crate) fn request(self) -> String {
        match self {
            Self::Github => format!("jobpass request --service-account {TARGET}"),
            Self::Gitlab | Self::Local => format!(". \"$(jobpass request --service-account {TARGET})\""),
            Self::Tekton => ". \"$(jobpass request --platform tekton --dir \"$PASS_DIR\")\"".to_owned(),
        }
    }

    /// The line of the job that ends it.
    pub(crate) fn revoke(self) -> &'static str {
        match self {
            Self::Github | Self::Gitlab | Self::Local => "jobpass revoke",
            Self::Tekton => "jobpass revoke --platform tekton --dir \"$PASS_DIR\"",
        }
    }

    /// Whether what ends the pass sees the variables of what began it: another script and another container do not.
    fn keeps_variables(self) -> bool {
        match self {
            Self::Github | Self::Local => true,
            Self::Gitlab | Self::Tekton => false,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Tekton => "tekton",
            Self::Local => "local",
        })
    }
}

/// One job with the directories that it may write to; they go with it, however it ends.
pub(crate) struct Job {
    platform: Platform,
    root: TempDir,
    variables: BTreeMap<String, String>,
    runner: Option<Runner>,
}

/// What came of one step.
pub(crate) struct Step {
    /// What the job's log shows of it.
    pub(crate) log: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// The variables that it has handed over to the job.
    pub(crate) handed: BTreeMap<String, String>,
}

impl Step {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { log: text(&output.stdout) + &text(&output.stderr), status: output.status, handed: BTreeMap::new() }
    }

    /// Its log, if it has succeeded.
    pub(crate) fn succeeded(self, command: &str) -> Result<String> {
        ensure!(self.status.success(), "`{command}` ended with {}: {}", self.status, self.log.trim());
        Ok(self.log)
    }
}

impl Job {
    /// Makes what the CI system makes before a job begins.
    pub(crate) fn start(platform: Platform, jobpass: &Path, cluster: &Cluster) -> Result<Self> {
        let mut named = tempfile::Builder::new();
        let prefix = format!("jobpass-demo-{}-", std::process::id());
        named.prefix(&prefix);
        let root = match platform {
            Platform::Github | Platform::Gitlab | Platform::Local => named.tempdir(),
            // jobpass looks at the file system: what lies on a node's disk outlives the job.
            Platform::Tekton => named.tempdir_in("/dev/shm"),
        };
        let root = root.context("there is no place for the job's directories (for tekton: in /dev/shm)")?;
        let mut job = Self { platform, root, variables: BTreeMap::new(), runner: None };
        let given = job.variables(cluster).context("cannot make what the CI system makes")?;
        job.variables.extend(given.into_iter().map(|(name, value)| (name.to_owned(), value)));
        job.variables.insert("PATH".to_owned(), job.search_path(jobpass)?);
        job.runner = job.variables.get("RUNNER_TEMP").map(|temporary| Runner::new(temporary.as_ref()));
        Ok(job)
    }

    /// The variables that the CI system sets; the files and directories that they name are made.
    fn variables(&self, cluster: &Cluster) -> io::Result<Vec<(&'static str, String)>> {
        let text = str::to_owned;
        let home = self.directory("home")?;
        let mut variables = vec![("HOME", home.clone())];
        match self.platform {
            Platform::Github => variables.extend([
                ("CI", text("true")),
                ("GITHUB_ACTIONS", text("true")),
                ("GITHUB_SERVER_URL", text("https://github.com")),
                ("GITHUB_REPOSITORY", text("acme/app")),
                ("GITHUB_RUN_ID", text("7000000001")),
                ("GITHUB_RUN_ATTEMPT", text("1")),
                ("GITHUB_JOB", text("deploy")),
                ("GITHUB_WORKSPACE", self.directory("app/app")?),
                ("RUNNER_TEMP", self.directory("_temp")?),
                ("JOBPASS_IDENTITY_KUBECONFIG", cluster.kubeconfig.clone()),
            ]),
            Platform::Gitlab => {
                let project = self.directory("builds/acme/app")?;
                // Where the runner puts variables of type file, and jobpass its passes: outside of what becomes an artifact.
                let kubeconfig = format!("{project}.tmp/KUBECONFIG");
                doors::make_file(kubeconfig.as_ref(), &cluster.kubeconfig)?;
                variables.extend([
                    ("CI", text("true")),
                    ("GITLAB_CI", text("true")),
                    ("CI_SERVER_HOST", text("gitlab.com")),
                    ("CI_PROJECT_ID", text("42")),
                    ("CI_PROJECT_PATH", text("acme/app")),
                    ("CI_JOB_ID", text("900000001")),
                    // Each job of GitLab has one: by it its lease file is known again.
                    ("CI_JOB_TOKEN", jobpass::name::random_hex()),
                    ("CI_PROJECT_DIR", project),
                    ("KUBECONFIG", kubeconfig),
                ]);
            }
            Platform::Tekton => {
                // A projected volume: a plain process cannot have a file where kubelet mounts the token by itself.
                let volume = self.directory("identity")?;
                let (token, authority) = (format!("{volume}/token"), format!("{volume}/ca.crt"));
                doors::make_file(token.as_ref(), &cluster.pod.token)?;
                doors::make_file(authority.as_ref(), &cluster.ca_pem())?;
                variables.extend([
                    ("PASS_DIR", self.directory("pass")?),
                    ("JOBPASS_SERVICE_ACCOUNT", text(TARGET)),
                    ("JOBPASS_SERVER", cluster.url()),
                    ("JOBPASS_CERTIFICATE_AUTHORITY", authority),
                    ("JOBPASS_IDENTITY_TOKEN_FILE", token),
                    ("JOBPASS_POD_NAME", text(cluster.pod.name)),
                    ("JOBPASS_POD_UID", cluster.pod.uid.clone()),
                ]);
            }
            Platform::Local => {
                doors::make_file(format!("{home}/.kube/config").as_ref(), &cluster.kubeconfig)?;
                variables.push(("XDG_RUNTIME_DIR", self.directory("run")?));
            }
        }
        Ok(variables)
    }

    /// Makes a directory of the job.
    fn directory(&self, name: &str) -> io::Result<String> {
        let path = self.root.path().join(name);
        doors::make_directory(&path)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Runs the step that begins the pass. What it hands over comes by the runner's file, or into the shell that sources.
    pub(crate) fn request(&mut self) -> Result<Step> {
        let request = self.platform.request();
        let step = if self.runner.is_some() {
            self.run(&request)?
        } else {
            // The rest of the job's script is what uses the variables: here it tells them to us.
            let values = HANDED.map(|name| format!(" \"${name}\"")).concat();
            let (status, stdout, stderr) = self.shell(&format!("{request}\nprintf '%s\\n'{values}"), &BTreeMap::new())?;
            let handed = HANDED.map(str::to_owned).into_iter().zip(stdout.lines().map(str::to_owned)).collect();
            Step { log: stderr, status, handed }
        };
        if self.platform.keeps_variables() {
            self.variables.extend(step.handed.clone());
        }
        Ok(step)
    }

    /// Runs a step.
    pub(crate) fn run(&mut self, script: &str) -> Result<Step> {
        let files = self.runner.as_mut().map_or_else(|| Ok(BTreeMap::new()), Runner::step)?;
        let (status, stdout, stderr) = self.shell(script, &files)?;
        let output = stdout + &stderr;
        Ok(match &mut self.runner {
            Some(runner) => Step { log: runner.log(&output), status, handed: Runner::exported(&files)? },
            None => Step { log: output, status, handed: BTreeMap::new() },
        })
    }

    /// A variable of the job.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets one.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Gives the job's directory the kubeconfig of an admin, for what the job itself does not do.
    pub(crate) fn add_admin(&self, cluster: &Cluster) -> io::Result<()> {
        drop(cluster.sandbox().admin());
        doors::make_file(&self.path("admin.kubeconfig"), &cluster.sandbox().kubeconfig("admin"))
    }

    /// Fails if there are more files than before.
    pub(crate) fn nothing_is_left(&self, before: &BTreeSet<PathBuf>) -> Result<()> {
        let left: Vec<_> = self.files()?.difference(before).map(|path| path.display().to_string()).collect();
        ensure!(left.is_empty(), "the job has left files: {}", left.join(", "));
        Ok(())
    }

    /// A file or directory of the job.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The place of the CI system under which this file is.
    pub(crate) fn place(&self, file: &str) -> Option<&'static str> {
        let places = [
            ("RUNNER_TEMP", "", "$RUNNER_TEMP"),
            ("CI_PROJECT_DIR", ".tmp", "$CI_PROJECT_DIR.tmp"),
            ("PASS_DIR", "", "$PASS_DIR"),
            ("XDG_RUNTIME_DIR", "", "$XDG_RUNTIME_DIR"),
        ];
        let is_under =
            |name: &str, suffix: &str| self.variable(name).is_some_and(|place| Path::new(file).starts_with(format!("{place}{suffix}")));
        places.into_iter().find(|(name, suffix, _)| is_under(name, suffix)).map(|(_, _, shown)| shown)
    }

    /// Starts what runs beside the steps, or is watched while it runs: a single command.
    pub(crate) fn start_beside(&self, command: &str) -> Result<Process> {
        let mut shell = self.sh(&format!("exec {command}"), &self.variables);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::start(&mut shell).context("`sh` cannot be started")
    }

    /// Runs a step in a container that has neither the CI identity nor its settings.
    pub(crate) fn run_without_identity(&self, script: &str) -> Result<Step> {
        let is_kept = |name: &&String| ["HOME", "PATH", "PASS_DIR"].contains(&name.as_str());
        let variables = self.variables.iter().filter(|(name, _)| is_kept(name));
        Ok(Step::of(&processes::output(&mut self.sh(script, variables)).context("`sh` cannot be started")?))
    }

    /// Runs a script in an environment that holds nothing of the demo's own; returns how it ended, stdout and stderr.
    fn shell(&self, script: &str, more: &BTreeMap<String, String>) -> Result<(ExitStatus, String, String)> {
        let output = processes::output(self.sh(script, &self.variables).envs(more)).context("`sh` cannot be started")?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status, text(&output.stdout), text(&output.stderr)))
    }

    fn sh<'v>(&self, script: &str, variables: impl IntoIterator<Item = (&'v String, &'v String)>) -> Command {
        let mut shell = doors::program("sh");
        shell.args(["-e", "-u", "-c", script]).env_clear().envs(variables).current_dir(self.root.path());
        shell
    }

    /// jobpass comes first on the path, whatever else is installed, and then the commands that the demo has for `run`.
    fn search_path(&self, jobpass: &Path) -> Result<String> {
        let (own, commands) = (self.path("own"), self.path("commands"));
        let demo = crate::binary::own()?;
        for (directory, name, program) in [(&own, "jobpass", jobpass), (&commands, LEAKY, &demo), (&commands, SLOW, &demo)] {
            doors::make_directory(directory)?;
            symlink(program, directory.join(name))?;
        }
        let others = doors::variable("PATH").unwrap_or_default();
        let path = std::env::join_paths([own, commands].into_iter().chain(std::env::split_paths(&others)));
        Ok(path.context("`PATH` cannot be extended")?.to_string_lossy().into_owned())
    }

    /// Every file and directory of the job.
    pub(crate) fn files(&self) -> io::Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.root.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        Ok(found)
    }

    /// The job's steps are over: the CI system takes away what is its own.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.runner.as_ref().map_or(Ok(()), Runner::end)
    }
}
