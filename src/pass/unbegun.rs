//! Why a pass has not begun: what an interruption found it waiting for, and which service account may be meant instead.

use crate::{
    cluster::Cluster,
    failure::{Code, Failure},
    lease::Lease,
    signals::Notice,
};

pub(super) fn interrupted(notice: Notice) -> Failure {
    Failure::new(Code::Interrupted, "cannot request a pass").cause(format!("interrupted by {notice}"))
}

/// Adds to an interruption what we have waited for: whoever interrupts after a long wait learns why it was long.
pub(super) fn waiting(failure: Failure, trouble: Option<String>) -> Failure {
    match (failure.code(), trouble) {
        (Code::Interrupted, Some(trouble)) => failure.cause(trouble),
        _ => failure,
    }
}

/// Adds to a refusal which service account may be meant.
pub(super) async fn explained<T>(result: Result<T, Failure>, cluster: &mut Cluster, lease: &Lease) -> Result<T, Failure> {
    match result {
        Ok(done) => Ok(done),
        Err(failure) => Err(cluster.meant(failure, &lease.service_account).await),
    }
}
