//! Tekton: a directory in memory, and the pod as the job.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Base, Provenance};
use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// What our own manifests set, as Tekton gives a step no variable of its own: the pod from the downward API, the rest from the run.
#[derive(Default, Deserialize)]
struct Task {
    pod_name: Option<String>,
    pod_uid: Option<String>,
    run_name: Option<String>,
    repository: Option<String>,
    commit: Option<String>,
}

impl Task {
    fn of(env: &Env) -> Self {
        env.typed("JOBPASS_")
    }
}

/// The path of Tekton's entrypoint, which is process 1 of every step.
pub const ENTRYPOINT: &str = "/tekton/bin/entrypoint";

/// A memory volume that our manifests mount. Every other writable directory of a step is on the node's disk or outlives the pod.
pub(super) fn base() -> Base {
    Base { must_be_in_memory: true, ..Base::at(PathBuf::from("/run/jobpass")) }
}

/// The pod's uid: a retry of the task gets a new pod.
pub(super) fn job_key(env: &Env) -> Result<String, Failure> {
    Task::of(env).pod_uid.ok_or_else(|| {
        Failure::new(Code::PlatformIncomplete, "`JOBPASS_POD_UID` is not set, so nothing names this job")
            .hint("set it from `fieldRef: metadata.uid`, or give `--job-key`")
    })
}

/// Name and uid of the pod that we run in, if our manifests have set them.
#[must_use]
pub fn pod(env: &Env) -> Option<(String, String)> {
    let Task { pod_name, pod_uid, .. } = Task::of(env);
    Some((pod_name?, pod_uid?))
}

/// Whether our manifests have said which pod this is. A sidecar of a task is not below Tekton's entrypoint: nothing else shows where it is.
pub(super) fn is_named(env: &Env) -> bool {
    Task::of(env).pod_uid.is_some()
}

pub(super) fn provenance(env: &Env) -> Provenance {
    let Task { run_name, repository, commit, .. } = Task::of(env);
    Provenance { run_id: run_name, repository, commit, ..Provenance::default() }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::env, *};

    #[test]
    fn the_pod_is_the_job() {
        assert_eq!(job_key(&env(&[("JOBPASS_POD_UID", "u-1")])).expect("there"), "u-1");
        assert!(job_key(&env(&[])).expect_err("none").to_string().contains("--job-key"));
    }

    #[test]
    fn an_owner_needs_both_name_and_uid() {
        assert_eq!(pod(&env(&[("JOBPASS_POD_UID", "u-1")])), None);
        assert_eq!(pod(&env(&[("JOBPASS_POD_UID", "u-1"), ("JOBPASS_POD_NAME", "p")])), Some(("p".into(), "u-1".into())));
    }
}
