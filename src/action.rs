//! Our action on GitHub: the step of it that the shim has started us for, and the inputs that are settings of no verb.

use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// The flag by which the shim says its step. Nothing in the environment does: any step of the job can set a variable for all that
/// follow, but no argument of theirs.
pub const FLAG: &str = "action";

/// A step of the action. Only where there is one do inputs count, as the runner leaves one action's inputs in the environment of
/// everything that the action starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The step that the workflow names.
    Main,
    /// What the runner adds at the end of the job.
    Post,
}

impl Phase {
    /// The names by which the shim says them.
    pub const NAMES: [&str; 2] = ["main", "post"];

    /// The step of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "main" => Some(Self::Main),
            "post" => Some(Self::Post),
            _ => None,
        }
    }
}

/// What the post step is to do: the input `revoke`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// End the pass; a failure is a warning.
    Yes,
    /// Leave the pass as it is.
    No,
    /// End the pass; a failure fails the job.
    Strict,
}

/// What the post step is to do.
///
/// # Errors
/// When it is none of the three.
pub fn revoke(env: &Env) -> Result<Revoke, Failure> {
    match env.get("INPUT_REVOKE").map(str::trim) {
        None | Some("" | "true") => Ok(Revoke::Yes),
        Some("false") => Ok(Revoke::No),
        Some("strict") => Ok(Revoke::Strict),
        Some(_) => Err(Failure::new(Code::UsageValue, "input `revoke` is none of `true`, `false` and `strict`")),
    }
}

/// Whether the main step requests a token at all.
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

/// Whether a person has switched the runner's debug logging on for this job.
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
