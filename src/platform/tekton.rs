//! Tekton: a directory in memory, and the pod as the job.

use std::path::PathBuf;

use super::{Base, Provenance};
use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// The pod's uid, set by our manifests from the downward API: Tekton sets no variable of its own in a step.
const POD_UID: &str = "JOBPASS_POD_UID";

/// The path of Tekton's entrypoint, which is process 1 of every step.
pub const ENTRYPOINT: &str = "/tekton/bin/entrypoint";

/// A memory volume that our manifests mount. Every other writable directory of a step is on the node's disk or outlives the pod.
pub(super) fn base() -> Base {
    Base { must_be_in_memory: true, ..Base::at(PathBuf::from("/run/jobpass")) }
}

/// The pod's uid: a retry of the task gets a new pod.
pub(super) fn job_key(env: &Env) -> Result<String, Failure> {
    env.get(POD_UID).map(str::to_owned).ok_or_else(|| {
        Failure::new(Code::PlatformIncomplete, format!("`{POD_UID}` is not set, so nothing names this job"))
            .hint("set it from `fieldRef: metadata.uid`, or give `--job-key`")
    })
}

/// Name and uid of the pod that we run in, if our manifests have set them.
#[must_use]
pub fn pod(env: &Env) -> Option<(String, String)> {
    Some((env.get("JOBPASS_POD_NAME")?.to_owned(), env.get(POD_UID)?.to_owned()))
}

pub(super) fn provenance(env: &Env) -> Provenance {
    let text = |name| env.get(name).map(str::to_owned);
    Provenance {
        run_id: text("JOBPASS_RUN_NAME"),
        repository: text("JOBPASS_REPOSITORY"),
        commit: text("JOBPASS_COMMIT"),
        ..Provenance::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::env, *};

    #[test]
    fn the_pod_is_the_job() {
        assert_eq!(job_key(&env(&[(POD_UID, "u-1")])).expect("there"), "u-1");
        assert!(job_key(&env(&[])).expect_err("none").to_string().contains("--job-key"));
    }

    #[test]
    fn an_owner_needs_both_name_and_uid() {
        assert_eq!(pod(&env(&[(POD_UID, "u-1")])), None);
        assert_eq!(pod(&env(&[(POD_UID, "u-1"), ("JOBPASS_POD_NAME", "p")])), Some(("p".into(), "u-1".into())));
    }
}
