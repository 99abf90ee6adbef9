//! What the system leaves to this process: looked at before anything is begun, as what runs out later could leave a pass alive.

use std::{io, os::fd::AsFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Code, Failure, words};

/// Files that a command of ours, its pipes, its signals and the connections take, with some to spare.
const OF_RUN: u64 = 48;

/// The same without a command.
const OF_OTHERS: u64 = 24;

/// Makes sure that there are enough files to be opened.
///
/// # Errors
/// When there are too few. Nothing has been done by then.
pub(crate) fn check(of_run: bool) -> Result<(), Failure> {
    let needed = if of_run { OF_RUN } else { OF_OTHERS };
    if held(needed).is_ok() {
        return Ok(());
    }
    // A command would inherit another limit than its job has set.
    if !of_run {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    held(needed).map_err(|error| {
        let limit = getrlimit(Resource::Nofile).current.map_or_else(String::new, |limit| format!(", of which {limit} are allowed"));
        Failure::new(Code::SystemLimits, "cannot open enough files to begin")
            .cause(format!("{needed} more are needed{limit}: {}", words(error)))
            .hint("raise the limit: `ulimit -n 256`")
    })
}

/// Opens so many, and lets them go again.
fn held(needed: u64) -> io::Result<()> {
    let stdin = io::stdin();
    (0..needed).map(|_| stdin.as_fd().try_clone_to_owned()).collect::<io::Result<Vec<_>>>().map(drop)
}
