//! The action as a runner runs it: by act, and by a runner of our own for what act does not do.
//!
//! `.ci/run` runs these: `JOBPASS_TEST_TOOLS` names the directory that `tests/platforms/tools` has filled. They play on the sandbox,
//! or on the real control plane that `JOBPASS_TEST_CLUSTER` names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod act;
mod emulated;
mod issued;
mod runner;
#[path = "../shared.rs"]
mod shared;

use jobpass_harness as harness;
