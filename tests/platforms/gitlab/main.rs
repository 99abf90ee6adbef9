//! The GitLab template as runners run it: by gitlab-ci-local, and by a runner of our own for what gitlab-ci-local does not do.
//!
//! `.ci/run` runs these: `JOBPASS_TEST_TOOLS` names the directory that `tests/platforms/tools` has filled. They play on the sandbox,
//! or on the real control plane that `JOBPASS_TEST_CLUSTER` names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../cli/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it is made for the scenarios of the command line")]
mod harness;
mod image;
mod local;
mod runner;
#[path = "../shared.rs"]
mod shared;
mod stages;
