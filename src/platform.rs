//! The CI system that we run on: how it is detected, where passes are kept, what the job key is, and how output is rendered for it.
//!
//! All this is pure: it reads a snapshot of the environment and renders text. Other modules do the input and output.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    env::Env,
    failure::{Code, Failure},
    options::{self, Given, Options, Source},
};

pub mod github;
pub mod gitlab;
pub mod key;
pub mod local;
pub mod markers;
pub mod mask;
pub mod shell;
pub mod tekton;

/// The CI system, or a plain shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// A step of a GitHub Actions job.
    Github,
    /// A GitLab CI job.
    Gitlab,
    /// A step of a Tekton task.
    Tekton,
    /// A plain shell.
    Local,
}

/// The directory under which the stores of passes are, and its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The directory that contains `jobpass/LEASE/`.
    pub path: PathBuf,
    /// Whether it must be a file system in memory: on Tekton other volumes outlive the job.
    pub must_be_in_memory: bool,
    /// Whether we create it ourselves, for this user only, inside a directory that everybody may write to.
    pub private: bool,
    /// A directory in memory that belongs to this user and this machine or container only. The command of `run` gets its secret
    /// files there.
    pub memory: Option<PathBuf>,
    /// Whether `XDG_RUNTIME_DIR` of a plain shell names it.
    pub of_session: bool,
}

impl Base {
    /// A directory that the user or the platform has chosen.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, must_be_in_memory: false, private: false, memory: None, of_session: false }
    }
}

/// What hides a token in the log of a job.
#[cfg(feature = "operate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// The runner, which takes masks from a step and reads files that the step writes.
    Masked,
    /// Nothing: what is to be hidden must be scrubbed before it is printed.
    Bare,
    /// There is no log that others read.
    Nobodys,
}

/// Variables that CI systems set. If one of them is set but no platform is detected, we must not assume a plain shell.
const MARKERS_OF_CI: &[&str] = &["CI", "BUILD_ID", "JENKINS_URL", "TEAMCITY_VERSION", "TF_BUILD"];

impl Platform {
    /// All of them, in the order in which their markers are looked for.
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Tekton, Self::Local];

    /// What shows that this is a job of the platform, in words; none where it is not there. A plain shell has no marker.
    fn marker(self, env: &Env, in_tekton: impl Fn() -> bool) -> Option<&'static str> {
        match self {
            Self::Github => env.is_true("GITHUB_ACTIONS").then_some("`GITHUB_ACTIONS` is `true`"),
            Self::Gitlab => env.is_true("GITLAB_CI").then_some("`GITLAB_CI` is `true`"),
            Self::Tekton => in_tekton().then_some("process 1 is Tekton's entrypoint"),
            Self::Local => None,
        }
    }

    /// Takes the platform that was asked for, or detects it by each platform's own marker.
    ///
    /// # Errors
    /// When the name is unknown, when this is a CI system that we do not know, or when several platforms' markers are there: a
    /// command that masks a token on one platform would be printed with the token by another.
    pub fn detect(options: &Options, env: &Env, in_tekton: impl Fn() -> bool) -> Result<Self, Failure> {
        let asked = options.get(&options::PLATFORM);
        let asked = asked.map(|given| Self::named(given).map(|platform| platform.map(|platform| (platform, &given.source)))).transpose()?;
        let asked = asked.flatten();
        if let Some((platform, Source::Flag(_))) = asked {
            return Ok(platform);
        }
        let found = Self::ALL.into_iter().filter_map(|platform| Some((platform, platform.marker(env, &in_tekton)?)));
        let (platforms, signs): (Vec<_>, Vec<_>) = found.unzip();
        if let Some((platform, source)) = asked {
            return if platforms.iter().all(|found| *found == platform) {
                Ok(platform)
            } else {
                Err(Failure::new(Code::PlatformUnclear, format!("{source} says `{platform}`, and this is another CI system"))
                    .cause(signs.join(", and "))
                    .hint("leave it out, or say by the flag `--platform` which one reads what jobpass prints"))
            };
        }
        match *platforms {
            [] => Self::unmarked(env),
            [platform] => Ok(platform),
            _ => Err(Failure::new(Code::PlatformUnclear, "it is not clear which CI system this is")
                .cause(signs.join(", and "))
                .hint("say by the flag `--platform` which one reads what jobpass prints")),
        }
    }

    /// The platform with this name; none for `auto`.
    fn named(given: &Given) -> Result<Option<Self>, Failure> {
        if given.text == "auto" {
            return Ok(None);
        }
        let named = Self::ALL.into_iter().find(|platform| platform.name() == given.text);
        named.map(Some).ok_or_else(|| {
            let quoted = Self::ALL.map(|platform| format!("`{platform}`"));
            let (last, others) = quoted.split_last().unwrap_or((&quoted[0], &[]));
            let hint = format!("write `auto`, {} or {last}", others.join(", "));
            Failure::new(Code::UsageValue, format!("{} names no platform", given.source)).hint(hint)
        })
    }

    /// A plain shell, unless a variable shows that this is some CI system.
    fn unmarked(env: &Env) -> Result<Self, Failure> {
        if tekton::is_named(env) {
            return Ok(Self::Tekton);
        }
        match MARKERS_OF_CI.iter().find(|name| env.get(name).is_some_and(|value| value != "false")) {
            Some(marker) => Err(Failure::new(Code::PlatformUnknown, "this is a CI system that jobpass does not know")
                .cause(format!("`{marker}` is set, but none of `GITHUB_ACTIONS`, `GITLAB_CI` and Tekton's entrypoint is there"))
                .hint("say `--platform local` to use it as a plain shell; then nothing masks the token in the log")),
            None => Ok(Self::Local),
        }
    }

    /// The platform's name, as `--platform` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Tekton => "tekton",
            Self::Local => "local",
        }
    }

    /// The directory under which the stores of passes are; `dir` is the setting `--dir`.
    ///
    /// # Errors
    /// When the platform does not say where its temporary directory is.
    pub fn base(self, env: &Env, dir: Option<&str>, user: u32) -> Result<Base, Failure> {
        if let Some(dir) = dir {
            let path = env.absolute(dir.as_ref());
            return Ok(Base { must_be_in_memory: self == Self::Tekton, ..Base::at(path) });
        }
        match self {
            Self::Github => github::base(env),
            Self::Gitlab => gitlab::base(env, user),
            Self::Tekton => Ok(tekton::base()),
            Self::Local => Ok(local::base(env, user)),
        }
    }

    /// The job key: what names this job uniquely; none on a plain shell, where there is no job. `asked` is `--job-key`: it is the
    /// whole key only if it contains a UUID, else it is added to the platform's.
    ///
    /// # Errors
    /// When the platform should have a key and has none, or `--job-key` is not valid.
    pub fn job_key(self, env: &Env, asked: Option<&str>) -> Result<Option<String>, Failure> {
        let own = match self {
            Self::Github => Ok(github::job_key(env)),
            Self::Gitlab => gitlab::job_key(env).map(Some),
            Self::Tekton => tekton::job_key(env).map(Some),
            Self::Local => Ok(None),
        };
        key::job_key(self, own, asked)
    }

    /// Whether the lease's name is derived from the job key, so that `revoke` needs no saved state.
    #[must_use]
    pub fn derives_names(self) -> bool {
        match self {
            Self::Gitlab | Self::Tekton => true,
            Self::Github | Self::Local => false,
        }
    }

    /// Whether the directory under which passes are kept is for nothing else, so that `hold` can show its pass in it.
    #[must_use]
    pub fn has_a_directory_for_passes(self) -> bool {
        match self {
            Self::Tekton => true,
            Self::Github | Self::Gitlab | Self::Local => false,
        }
    }

    /// Whether this is a pod that nothing names: it would take itself for a plain shell, and nobody would find its leases.
    #[must_use]
    pub fn is_unnamed_pod(self, env: &Env) -> bool {
        match self {
            // kubelet sets it in every container: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
            Self::Local => env.get("KUBERNETES_SERVICE_HOST").is_some(),
            Self::Github | Self::Gitlab | Self::Tekton => false,
        }
    }

    /// Whether a job is not to fail just because its pass could not be revoked.
    #[must_use]
    pub fn tolerates_failed_revocation(self) -> bool {
        match self {
            Self::Github | Self::Gitlab | Self::Tekton => true,
            Self::Local => false,
        }
    }

    /// How long after the first signal the DELETE must be sent, before the platform kills us.
    #[must_use]
    pub fn signal_budget(self) -> Duration {
        match self {
            Self::Gitlab => Duration::from_millis(2500),
            Self::Github | Self::Local => Duration::from_secs(6),
            Self::Tekton => Duration::from_secs(20),
        }
    }

    /// How long a job may run, where the platform says so.
    #[must_use]
    pub fn job_timeout(self, env: &Env) -> Option<Duration> {
        match self {
            Self::Gitlab => gitlab::job_timeout(env),
            Self::Github | Self::Tekton | Self::Local => None,
        }
    }

    /// What gives a job an OIDC token that lives longer: an imperative.
    #[must_use]
    pub fn longer_oidc_token(self) -> &'static str {
        match self {
            // It lives as long as the job's timeout, or 5 minutes: https://docs.gitlab.com/ci/secrets/id_token_authentication/
            Self::Gitlab => "give the job a `timeout`, for which GitLab then issues it",
            Self::Github | Self::Tekton | Self::Local => "have it issued for as long as the job may take",
        }
    }

    /// What hides a token in the log of a job.
    #[cfg(feature = "operate")]
    #[must_use]
    pub fn log(self) -> Log {
        match self {
            Self::Github => Log::Masked,
            Self::Gitlab | Self::Tekton => Log::Bare,
            Self::Local => Log::Nobodys,
        }
    }

    /// Variables that say which version of what runs the job, each with its name.
    #[cfg(feature = "operate")]
    #[must_use]
    pub fn versions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Github => &[("image", "ImageOS"), ("version", "ImageVersion")],
            Self::Gitlab => &[("gitlab-runner", "CI_RUNNER_VERSION"), ("GitLab", "CI_SERVER_VERSION")],
            Self::Tekton | Self::Local => &[],
        }
    }

    /// The directory whose files may end up in artifacts, caches and commits.
    #[must_use]
    pub fn workspace(self, env: &Env) -> Option<PathBuf> {
        match self {
            Self::Github => env.path("GITHUB_WORKSPACE"),
            Self::Gitlab => gitlab::workspace(env),
            Self::Tekton => Some(PathBuf::from("/workspace")),
            Self::Local => None,
        }
    }

    /// Who runs which commit where, for the annotations of the lease Secret and thus for the audit log.
    #[must_use]
    pub fn provenance(self, env: &Env) -> Provenance {
        match self {
            Self::Github => github::provenance(env),
            Self::Gitlab => gitlab::provenance(env),
            Self::Tekton => tekton::provenance(env),
            Self::Local => Provenance::default(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a pass comes from, as far as the platform says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The number of the CI run; it becomes a label of the lease.
    pub run_id: Option<String>,
    /// The source repository, such as `acme/app`.
    pub repository: Option<String>,
    /// The URL of the run's page.
    pub run_url: Option<String>,
    /// The commit's hash.
    pub commit: Option<String>,
    /// The user who started the run.
    pub actor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn env(variables: &[(&str, &str)]) -> Env {
        variables.iter().copied().collect()
    }

    fn detect(asked: Option<&str>, variables: &[(&str, &str)], in_tekton: bool) -> Result<Platform, Failure> {
        let flags = asked.map(|text| ("platform".to_owned(), Some(text.to_owned()))).into_iter().collect();
        let env = env(variables);
        Platform::detect(&Options::resolve(&flags, &env).expect("valid"), &env, || in_tekton)
    }

    #[test]
    fn each_platform_is_found_by_its_own_marker() {
        assert_eq!(detect(None, &[("GITHUB_ACTIONS", "true"), ("CI", "true")], false), Ok(Platform::Github));
        assert_eq!(detect(None, &[("GITLAB_CI", "true"), ("CI", "true")], false), Ok(Platform::Gitlab));
        assert_eq!(detect(None, &[], true), Ok(Platform::Tekton));
        assert_eq!(detect(None, &[], false), Ok(Platform::Local));
        assert_eq!(detect(None, &[("CI", "false")], false), Ok(Platform::Local));
    }

    #[test]
    fn what_was_asked_for_beats_the_marker() {
        assert_eq!(detect(Some("local"), &[("GITHUB_ACTIONS", "true")], false), Ok(Platform::Local));
    }

    #[test]
    fn an_unknown_ci_is_not_guessed() {
        let failure = detect(None, &[("CI", "true")], false).expect_err("unknown");
        assert_eq!(failure.exit().code(), 2);
        assert!(failure.to_string().contains("say `--platform local`"), "{failure}");
    }

    #[test]
    fn an_unknown_name_is_refused_without_repeating_it() {
        let failure = detect(Some("jenkins"), &[], false).expect_err("unknown");
        assert!(failure.to_string().starts_with("error: `--platform` names no platform"), "{failure}");
    }

    #[test]
    fn a_platform_that_is_not_clear_is_said_by_the_flag_only() {
        let both = [("GITHUB_ACTIONS", "true"), ("GITLAB_CI", "true")];
        let against = [("GITLAB_CI", "true"), ("JOBPASS_PLATFORM", "github")];
        let refused = |variables: &[(&str, &str)], in_tekton| detect(None, variables, in_tekton).expect_err("unclear").to_string();
        assert!(refused(&both, false).contains("`GITHUB_ACTIONS` is `true`, and `GITLAB_CI` is `true`"));
        assert!(refused(&both[..1], true).contains("it is not clear"));
        assert!(refused(&against, false).contains("`JOBPASS_PLATFORM` says `github`"));
        assert!(refused(&[("GITLAB_CI", "true"), ("JOBPASS_PLATFORM", "local")], false).contains("says `local`"));
        for variables in [&both, &against] {
            assert_eq!(detect(Some("gitlab"), variables, false), Ok(Platform::Gitlab));
        }
        assert_eq!(detect(None, &[("GITLAB_CI", "true"), ("JOBPASS_PLATFORM", "gitlab")], false), Ok(Platform::Gitlab));
        assert_eq!(detect(None, &[("JOBPASS_PLATFORM", "tekton")], false), Ok(Platform::Tekton));
        assert_eq!(detect(None, &[("CI", "true"), ("JOBPASS_PLATFORM", "local")], false), Ok(Platform::Local));
    }
}
