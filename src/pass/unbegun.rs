//! Why a pass has not begun: what an interruption found it waiting for.

use crate::{
    failure::{Code, Failure},
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
