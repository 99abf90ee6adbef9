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

/// Bounds of `--timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// What stdout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// What we hand over, as JSON where that is asked for.
    Data,
    /// The bytes of a command.
    Bytes,
}

/// The job that we run in, as all verbs see it.
#[derive(Clone)]
pub struct Context {
    /// The environment.
    pub env: Env,
    /// The settings.
    pub options: Options,
    /// The platform.
    pub platform: Platform,
    /// Other platforms that a pass may have been requested on: only the end of one looks at them.
    pub others: Vec<Platform>,
    /// Where passes are kept.
    pub base: Result<Base, Failure>,
    /// What names this job, with what somebody has asked for; none on a plain shell, where there is no job.
    pub job_key: Result<Option<String>, Failure>,
    /// The same as the platform itself says it.
    pub own_job_key: Result<Option<String>, Failure>,
    /// The directory whose files end up in artifacts, caches and commits.
    pub workspace: Option<PathBuf>,
    /// The user, as the system numbers it.
    pub user: u32,
    /// What stdout is for.
    pub stdout: Stdout,
    /// When we were started: the time that beginning a pass may take counts from here.
    pub started: Instant,
}

impl Context {
    /// The context of a verb that begins a pass or uses one.
    ///
    /// # Errors
    /// When a setting that all verbs share is no good.
    pub fn resolve(options: Options, env: Env, stdout: Stdout) -> Result<Self, Failure> {
        let platform = Platform::detect(&options, &env, in_tekton)?;
        is_json(&options)?;
        Ok(Self { stdout, ..Self::on(platform, options, env) })
    }

    /// The same for the end of a pass, which no variable and no input that is no good may stop. With it comes what was passed over.
    ///
    /// # Errors
    /// When a flag is no good.
    pub fn tolerant(options: Options, flags: &Flags, env: Env) -> Result<(Self, Vec<Failure>), Failure> {
        let markers = match options.phase() {
            Some(_) => Markers { platform: Platform::Github, others: Vec::new(), passed_over: None },
            None => Platform::markers(&options, &env, in_tekton)?,
        };
        let (_, no_output) = options.tolerated(&[&o::OUTPUT], is_json(&options))?;
        let passed_over = options.passed_over(flags).cloned().chain(markers.passed_over).chain(no_output).collect();
        Ok((Self { others: markers.others, ..Self::on(markers.platform, options, env) }, passed_over))
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

    /// The context as it would be on another platform.
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

    /// The step of our action that its shim has started us for.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.options.phase()
    }

    /// Whether this is the post step of our action: then nothing but the revocation itself may fail.
    #[must_use]
    pub fn is_post(&self) -> bool {
        self.options.is_post()
    }

    /// Whether stdout carries JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.stdout == Stdout::Data && is_json(&self.options).unwrap_or_default()
    }

    /// The key that the platform itself gives this job, if it gives it one.
    #[must_use]
    pub fn job(&self) -> Option<String> {
        self.own_job_key.clone().ok().flatten()
    }

    /// Whether a path lies where artifacts, caches and commits take it.
    #[must_use]
    pub fn is_in_workspace(&self, path: &Path) -> bool {
        self.workspace.as_ref().is_some_and(|workspace| lies_in(path, workspace))
    }

    /// How long the job may take, where the platform says so.
    #[must_use]
    pub fn job_timeout(&self) -> Option<Duration> {
        self.platform.job_timeout(&self.env)
    }

    /// The most that the verb may take, if somebody says so.
    ///
    /// # Errors
    /// When it is no length of time or out of bounds.
    pub fn timeout(&self) -> Result<Option<Duration>, Failure> {
        self.options.duration(&o::TIMEOUT, TIMEOUT)
    }

    /// What is left of a time that counts from our start, and a second at least.
    #[must_use]
    pub fn left_of(&self, timeout: Duration) -> Duration {
        (self.started + timeout).saturating_duration_since(Instant::now()).max(TIMEOUT.0)
    }

    /// The directories that the platform's own variables name, and that which counts where one of them has come later.
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

/// Whether stdout is to carry JSON.
fn is_json(options: &Options) -> Result<bool, Failure> {
    match options.get(&o::OUTPUT) {
        Some(given) if !matches!(given.text.as_str(), "text" | "json") => {
            Err(Failure::new(Code::UsageValue, format!("{} is neither `text` nor `json`", given.source)))
        }
        given => Ok(given.is_some_and(|given| given.text == "json")),
    }
}

/// Tekton gives a step no variable; its entrypoint is process 1.
fn in_tekton() -> bool {
    let first = files::read_text("/proc/1/comm".as_ref()).is_ok_and(|name| name.trim() == "entrypoint");
    first && Path::new(tekton::ENTRYPOINT).exists()
}

/// A context of a test, on a platform that is given.
#[cfg(test)]
pub fn context(platform: Platform, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Context, Failure> {
    let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect();
    let env: Env = env.iter().copied().collect();
    Ok(Context::on(platform, Options::resolve(&flags, &env)?, env))
}
