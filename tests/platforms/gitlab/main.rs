//! The GitLab template as runners run it: by gitlab-ci-local, and by a runner of our own for what gitlab-ci-local does not do.
//!
//! `.ci/run` runs these: `JOBPASS_TEST_TOOLS` names the directory that `tests/platforms/tools` has filled. They play on the sandbox,
//! or on the real control plane that `JOBPASS_TEST_CLUSTER` names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod image;
mod local;
mod roots;
mod runner;
#[path = "../shared.rs"]
mod shared;
mod stages;

use jobpass_harness as harness;
