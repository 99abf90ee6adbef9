//! Our GitHub action: which of its steps the shim has started us for, and those of its inputs that are no setting of a verb.

use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// The flag by which the action's shim says which step this is. It is a flag and no variable because any step of the job can set a
/// variable for the steps after it, but none can change the shim's arguments.
pub const FLAG: &str = "action";

/// A step of the action. Inputs (`INPUT_*`) count only in such a step, as the runner leaves the inputs of one action in the
/// environment of everything that the action starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The step that the workflow names.
    Main,
    /// The step that the runner adds at the end of the job.
    Post,
}

impl Phase {
    /// The values of the flag `--action`.
    pub const NAMES: [&str; 2] = ["main", "post"];

    /// The step with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "main" => Some(Self::Main),
            "post" => Some(Self::Post),
            _ => None,
        }
    }
}

/// What the post step does with the pass: the value of the input `revoke`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// End the pass; a failure is a warning.
    Yes,
    /// Leave the pass as it is.
    No,
    /// End the pass; a failure fails the job.
    Strict,
}

/// Reads the input `revoke`; not set means [`Revoke::Yes`].
///
/// # Errors
/// When it is none of `true`, `false` and `strict`.
pub fn revoke(env: &Env) -> Result<Revoke, Failure> {
    match env.get("INPUT_REVOKE").map(str::trim) {
        None | Some("" | "true") => Ok(Revoke::Yes),
        Some("false") => Ok(Revoke::No),
        Some("strict") => Ok(Revoke::Strict),
        Some(_) => Err(Failure::new(Code::UsageValue, "input `revoke` is none of `true`, `false` and `strict`")),
    }
}

/// Reads the input `export`: whether the main step requests a token at all.
///
/// # Errors
/// When the input `export` is neither `true` nor `false`.
pub fn exports(env: &Env) -> Result<bool, Failure> {
    match env.get("INPUT_EXPORT").map(str::trim) {
        None | Some("" | "true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(Failure::new(Code::UsageValue, "input `export` is neither `true` nor `false`")),
    }
}

/// Whether debug logging is switched on for this job.
///
/// See <https://docs.github.com/en/actions/how-tos/monitor-workflows/enable-debug-logging>.
#[must_use]
pub fn is_debugged(env: &Env) -> bool {
    env.is_true("GITHUB_ACTIONS") && env.get("RUNNER_DEBUG") == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_empty_is_its_default() {
        for text in ["", " ", "true"] {
            let env = [("INPUT_REVOKE", text), ("INPUT_EXPORT", text)].into_iter().collect();
            assert_eq!((revoke(&env).expect("good"), exports(&env).expect("good")), (Revoke::Yes, true), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_by_the_inputs_name() {
        let env = [("INPUT_REVOKE", "no"), ("INPUT_EXPORT", "no")].into_iter().collect();
        assert!(revoke(&env).expect_err("none").to_string().contains("input `revoke`"));
        assert!(exports(&env).expect_err("none").to_string().contains("input `export`"));
    }
}
