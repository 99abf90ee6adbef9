//! The verbs of operators on real API servers: several clusters at once, several API servers of one, and as much as a large company has.
//!
//! It has control planes of its own, as many as it needs. `.ci/run` runs it with `--test-threads=1`, as some of what is measured here would
//! be disturbed by the rest: `JOBPASS_TEST_BINARY` names the jobpass that is measured, the release build; `tests/cluster/build` has built the
//! control plane. The figures are printed, and each fails only where it is far off.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures are for whoever wants to know")]

mod calls;
mod clusters;
mod ground;
mod jobs;
mod lost;
mod many;
mod passes;
mod servers;
#[expect(dead_code, reason = "no tools are needed here")]
#[path = "../shared.rs"]
mod shared;
mod teams;

use jobpass_harness as harness;
