//! Where we run, resolved once and handed to every verb: environment, settings, platform, the job's directory and key, the user.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    action::Phase,
    env::Env,
    failure::{Code, Failure},
    files::{self, lies_in},
    options::{self as o, Flags, Options, Setting},
    platform::{Base, Platform, markers::Markers, tekton},
};

/// The shortest and the longest `--timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// What stdout is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// What jobpass itself hands over, as JSON where that is asked for.
    Data,
    /// The output of a command, passed through.
    Bytes,
}

/// The job that we run in, as all verbs see it.
#[derive(Clone)]
pub struct Context {
    /// The process's environment, read once.
    pub env: Env,
    /// The settings, merged from flags, inputs, variables and the configuration file.
    pub options: Options,
    /// The CI system that we run on.
    pub platform: Platform,
    /// Other platforms on which the pass may have been requested; only `revoke` looks at them.
    pub others: Vec<Platform>,
    /// The directory under which the stores of passes are.
    pub base: Result<Base, Failure>,
    /// The job key: what names this job uniquely, including `--job-key`; none on a plain shell, where there is no job.
    pub job_key: Result<Option<String>, Failure>,
    /// The job key that the platform alone gives, without `--job-key`.
    pub own_job_key: Result<Option<String>, Failure>,
    /// The directory whose files may end up in artifacts, caches and commits.
    pub workspace: Option<PathBuf>,
    /// The effective user id.
    pub user: u32,
    /// What stdout is used for.
    pub stdout: Stdout,
    /// When the process was started: the time limit for beginning a pass counts from here.
    pub started: Instant,
}

impl Context {
    /// The context of a verb that begins a pass or uses one.
    ///
    /// # Errors
    /// When a setting that all verbs share is not valid.
    pub fn resolve(options: Options, env: Env, stdout: Stdout) -> Result<Self, Failure> {
        let platform = Platform::detect(&options, &env, in_tekton)?;
        is_json(&options)?;
        Ok(Self { stdout, ..Self::on(platform, options, env) })
    }

    /// The context for ending a pass, which no invalid variable or input may prevent. Those that were ignored are returned as well.
    ///
    /// # Errors
    /// When a flag is not valid.
    pub fn tolerant(options: Options, flags: &Flags, env: Env) -> Result<(Self, Vec<Failure>), Failure> {
        let markers = match options.phase() {
            Some(_) => Markers { platform: Platform::Github, others: Vec::new(), passed_over: None },
            None => Platform::markers(&options, &env, in_tekton)?,
        };
        let (_, no_output) = options.tolerated(&[&o::OUTPUT], is_json(&options))?;
        let passed_over = options.passed_over(flags).cloned().chain(markers.passed_over).chain(no_output).collect();
        Ok((Self { others: markers.others, ..Self::on(markers.platform, options, env) }, passed_over))
    }

    /// The context of a verb that only looks at what another jobpass has left: on a CI system that is not known, too.
    #[must_use]
    pub fn anywhere(options: Options, env: Env) -> Self {
        let platform = Platform::detect(&options, &env, in_tekton).unwrap_or(Platform::Local);
        Self::on(platform, options, env)
    }

    /// The context on a platform that is known.
    #[must_use]
    pub fn on(platform: Platform, options: Options, env: Env) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self {
            base: platform.base(&env, options.text(&o::DIR), user),
            job_key: platform.job_key(&env, options.text(&o::JOB_KEY)),
            own_job_key: platform.job_key(&env, None),
            workspace: platform.workspace(&env),
            platform,
            others: Vec::new(),
            stdout: Stdout::Data,
            user,
            started: Instant::now(),
            env,
            options,
        }
    }

    /// The same job as it would look on another platform.
    #[must_use]
    pub fn elsewhere(&self, platform: Platform) -> Self {
        Self { stdout: self.stdout, started: self.started, ..Self::on(platform, self.options.clone(), self.env.clone()) }
    }

    /// The same context without some settings.
    #[must_use]
    pub fn without(&self, settings: &[&Setting]) -> Self {
        let options = self.options.without(settings);
        Self {
            others: self.others.clone(),
            stdout: self.stdout,
            started: self.started,
            ..Self::on(self.platform, options, self.env.clone())
        }
    }

    /// The step of our GitHub action, if its shim has started us.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.options.phase()
    }

    /// Whether this is the post step of our action: it fails only if the revocation itself fails.
    #[must_use]
    pub fn is_post(&self) -> bool {
        self.options.is_post()
    }

    /// Whether stdout carries JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.stdout == Stdout::Data && is_json(&self.options).unwrap_or_default()
    }

    /// The job key that the platform itself gives, if it gives one.
    #[must_use]
    pub fn job(&self) -> Option<String> {
        self.own_job_key.clone().ok().flatten()
    }

    /// Whether a path lies in the workspace, from where artifacts, caches and commits may take it.
    #[must_use]
    pub fn is_in_workspace(&self, path: &Path) -> bool {
        self.workspace.as_ref().is_some_and(|workspace| lies_in(path, workspace))
    }

    /// How long the job may run, where the platform says so.
    #[must_use]
    pub fn job_timeout(&self) -> Option<Duration> {
        self.platform.job_timeout(&self.env)
    }

    /// The time limit that `--timeout` sets for the verb, if it is set.
    ///
    /// # Errors
    /// When it is no length of time, or out of bounds.
    pub fn timeout(&self) -> Result<Option<Duration>, Failure> {
        self.options.duration(&o::TIMEOUT, TIMEOUT)
    }

    /// What is left of a time limit that counts from our start; at least a second.
    #[must_use]
    pub fn left_of(&self, timeout: Duration) -> Duration {
        (self.started + timeout).saturating_duration_since(Instant::now()).max(TIMEOUT.0)
    }

    /// The directories in which this platform keeps stores: the one of now, and the one of before, where a variable was set later
    /// in the job.
    ///
    /// # Errors
    /// When the platform does not say where its temporary directory is.
    pub fn own_bases(&self) -> Result<Vec<Base>, Failure> {
        let Self { env, platform, user, .. } = self;
        let base = platform.base(env, None, *user)?;
        let later = match platform {
            Platform::Gitlab => Some("RUNNER_TEMP_PROJECT_DIR"),
            Platform::Local => Some("XDG_RUNTIME_DIR"),
            Platform::Github | Platform::Tekton => None,
        };
        let other = later.filter(|name| env.get(name).is_some()).and_then(|name| platform.base(&env.without(name), None, *user).ok());
        Ok([base].into_iter().chain(other).collect())
    }
}

/// Whether `--output` asks for JSON.
fn is_json(options: &Options) -> Result<bool, Failure> {
    match options.get(&o::OUTPUT) {
        Some(given) if !matches!(given.text.as_str(), "text" | "json") => {
            Err(Failure::new(Code::UsageValue, format!("{} is neither `text` nor `json`", given.source)))
        }
        given => Ok(given.is_some_and(|given| given.text == "json")),
    }
}

/// Whether this is a Tekton step. Tekton sets no variable of its own; its entrypoint is process 1.
fn in_tekton() -> bool {
    let first = files::read_text("/proc/1/comm".as_ref()).is_ok_and(|name| name.trim() == "entrypoint");
    first && Path::new(tekton::ENTRYPOINT).exists()
}

/// A context for unit tests, on the given platform.
#[cfg(test)]
pub fn context(platform: Platform, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Context, Failure> {
    let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect();
    let env: Env = env.iter().copied().collect();
    Ok(Context::on(platform, Options::resolve(&flags, &env)?, env))
}
