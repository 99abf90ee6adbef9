//! GitLab CI: the directory beside the project, the job's own key, the experimental run-time mask.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{Base, Provenance, local};
use crate::{
    env::Env,
    failure::{Code, Failure},
    secret::Secret,
};

/// What the runner says of the job: <https://docs.gitlab.com/ci/variables/predefined_variables/>. Its token is read by [`job_token`] alone.
#[expect(clippy::struct_field_names, reason = "each is named as the variable is that it comes from")]
#[derive(Default, Deserialize)]
struct Job {
    server_host: Option<String>,
    project_id: Option<String>,
    project_path: Option<String>,
    job_id: Option<String>,
    job_url: Option<String>,
    /// In whole seconds.
    job_timeout: Option<String>,
    commit_sha: Option<String>,
    debug_trace: Option<String>,
}

impl Job {
    fn of(env: &Env) -> Self {
        env.typed("CI_")
    }
}

/// It lies on the build volume but outside the project directory, so artifacts, caches and `git clean` do not take it.
pub(super) fn base(env: &Env, user: u32) -> Result<Base, Failure> {
    // The build volume outlives the container, and the project's next job of any branch can read it. So secret files are in memory
    // where possible.
    let memory = local::session(env).unwrap_or_else(|| PathBuf::from(format!("/dev/shm/jobpass-{user}")));
    Ok(Base { memory: Some(memory), ..Base::at(temporary(env)?) })
}

fn temporary(env: &Env) -> Result<PathBuf, Failure> {
    // The runner's own name for it: https://docs.gitlab.com/ci/variables/predefined_variables/.
    let beside = || Some(PathBuf::from(format!("{}.tmp", env.get("CI_PROJECT_DIR")?.trim_end_matches('/'))));
    let path = env.path("RUNNER_TEMP_PROJECT_DIR").or_else(beside).ok_or_else(|| {
        Failure::new(Code::PlatformIncomplete, "`CI_PROJECT_DIR` is not set, so there is no place for the pass")
            .hint("run it in a job, or give `--dir`")
    })?;
    absolute(env, &path).ok_or_else(|| {
        Failure::new(
            Code::PlatformIncomplete,
            "`CI_PROJECT_DIR` is relative and not where this is called, so there is no place for the pass",
        )
        .hint("call it in the project's directory, or give `--dir`")
    })
}

/// The directory from which artifacts, caches and commits are taken.
pub(super) fn workspace(env: &Env) -> Option<PathBuf> {
    absolute(env, &env.path("CI_PROJECT_DIR")?)
}

/// Makes a path of the runner absolute. The SSH executor gives paths relative to the login directory, while the script runs in the
/// project directory or below it: <https://docs.gitlab.com/runner/executors/ssh/>. None if we run elsewhere.
fn absolute(env: &Env, path: &Path) -> Option<PathBuf> {
    let Some(project) = env.path("CI_PROJECT_DIR").filter(|project| path.is_relative() && project.is_relative()) else {
        return Some(env.absolute(path));
    };
    let project: PathBuf = project.components().filter(|part| *part != Component::CurDir).collect();
    let here = env.absolute(Path::new(""));
    let root = here.ancestors().find(|above| above.ends_with(&project))?.ancestors().nth(project.components().count())?;
    Some(root.join(path).components().collect())
}

/// The runner's database of run-time masks. It exists where a job may add masks (`proxy_exec`, experimental).
///
/// Without a listening runner, `::add-mask::TOKEN` would publish the token. An earlier job or a script may have left such a file,
/// so it is not enough: a runner process that reads our output must also be above us, see [`listens`].
#[must_use]
pub fn masking_database(env: &Env) -> Option<PathBuf> {
    env.path("RUNNER_TEMP_PROJECT_DIR").and_then(|path| absolute(env, &path)).map(|path| path.join("masking.db"))
}

/// Whether this is the command line of the runner's process that reads masks from the output of the job's shell:
/// `commands/helpers/proxy_exec.go` of gitlab-runner.
#[must_use]
pub fn listens(words: &[&str]) -> bool {
    let [program, verb, ..] = words else { return false };
    program.rsplit('/').next().is_some_and(|name| name.starts_with("gitlab-runner")) && *verb == "proxy-exec"
}

/// Whether the runner traces the job's commands into its log (`CI_DEBUG_TRACE`).
#[must_use]
pub fn is_traced(env: &Env) -> bool {
    // What the runner takes for true: Go's `strconv.ParseBool`.
    Job::of(env).debug_trace.is_some_and(|value| matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

pub(super) fn job_timeout(env: &Env) -> Option<Duration> {
    Job::of(env).job_timeout?.parse().ok().map(Duration::from_secs)
}

/// In bytes: a shorter job token could be guessed; real ones are longer.
const SHORTEST_TOKEN: usize = 16;

/// The job's `CI_JOB_TOKEN`, the same in all its stages: <https://docs.gitlab.com/ci/jobs/ci_job_token/>. We use it only as an HMAC
/// key.
///
/// # Errors
/// The reason why there is none.
pub fn job_token(env: &Env) -> Result<Secret, &'static str> {
    let token = env.secret("CI_JOB_TOKEN").ok_or("`CI_JOB_TOKEN` is not set")?.trimmed();
    if token.size() < SHORTEST_TOKEN { Err("`CI_JOB_TOKEN` is too short to be a key") } else { Ok(token) }
}

pub(super) fn job_key(env: &Env) -> Result<String, Failure> {
    let part = |name: &str, value: Option<String>| {
        value.ok_or_else(|| {
            Failure::new(Code::PlatformIncomplete, format!("`{name}` is not set, so nothing names this job"))
                .hint("run it in a job, or give `--job-key`")
        })
    };
    let Job { server_host, project_id, job_id, .. } = Job::of(env);
    let (host, project) = (part("CI_SERVER_HOST", server_host)?, part("CI_PROJECT_ID", project_id)?);
    Ok(format!("{host}/{project}/{}", part("CI_JOB_ID", job_id)?))
}

pub(super) fn provenance(env: &Env) -> Provenance {
    let Job { job_id, project_path, job_url, commit_sha, .. } = Job::of(env);
    let actor = env.get("GITLAB_USER_LOGIN").map(str::to_owned);
    Provenance { run_id: job_id, repository: project_path, run_url: job_url, commit: commit_sha, actor }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::env, *};

    #[test]
    fn the_pass_is_kept_beside_the_project() {
        assert_eq!(temporary(&env(&[("CI_PROJECT_DIR", "/builds/a/b/")])).expect("there"), PathBuf::from("/builds/a/b.tmp"));
        let both = env(&[("CI_PROJECT_DIR", "/builds/a/b"), ("RUNNER_TEMP_PROJECT_DIR", "/t")]);
        assert_eq!(temporary(&both).expect("there"), PathBuf::from("/t"));
    }

    #[test]
    fn a_trace_is_on_whenever_the_runner_takes_it_for_on() {
        for value in ["true", "1", "True"] {
            assert!(is_traced(&env(&[("CI_DEBUG_TRACE", value)])), "{value}");
        }
        assert!(!is_traced(&env(&[("CI_DEBUG_TRACE", "false")])) && !is_traced(&env(&[])));
    }

    #[test]
    fn the_job_key_is_host_project_and_job() {
        let all = [("CI_SERVER_HOST", "gitlab.com"), ("CI_PROJECT_ID", "3"), ("CI_JOB_ID", "9")];
        assert_eq!(job_key(&env(&all)).expect("all there"), "gitlab.com/3/9");
        let failure = job_key(&env(&all[..2])).expect_err("no job");
        assert!(failure.to_string().starts_with("error: `CI_JOB_ID` is not set"), "{failure}");
    }
}
