//! The command line of jobpass as a CI system uses it: the same scenarios on the sandbox and on a real control plane.
//!
//! `cargo test --test cli` runs them on the sandbox. With `JOBPASS_TEST_CLUSTER` set to the directory of a running
//! `jobpass-cluster up` they run on that real kube-apiserver, except those that say by `World::sandbox(…)` what they may not
//! assume there. The shells in which the env file is sourced are `sh` and those that `JOBPASS_TEST_SHELLS` lists.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod action;
mod architecture;
mod astray;
mod attacks;
mod bad_day;
mod captured;
mod certificates;
mod chaos;
mod clocks;
mod clusters;
mod colours;
mod crashes;
mod curl;
mod demo;
mod deploying;
mod directories;
mod doctor;
mod endpoint;
mod exchange;
mod exhausted;
mod faults;
mod filtering;
mod foreseen;
mod forms;
mod generated;
mod gitlab;
mod hiding;
mod holding;
mod hostile;
mod identities;
mod issued;
mod kubeconfigs;
mod leases;
mod life;
mod makers;
mod matrix;
mod migrating;
mod misplaced;
mod newcomer;
mod openshift;
mod operators;
mod outputs;
mod pages;
mod pipes;
mod printed;
mod processes;
mod proxies;
mod readme;
mod redirected;
mod registries;
mod requiring;
mod revoking;
mod running;
mod settings;
mod setup;
mod shells;
mod silence;
mod start;
mod trust;
mod two_passes;
mod usage;
mod volume;
mod whose;

use jobpass_harness as harness;
