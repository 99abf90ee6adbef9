//! Resource limits, checked before a pass is begun: a process that runs out of file descriptors later could leave a pass alive.

use std::{io, os::fd::AsFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Code, Failure, words};

/// How many file descriptors `run` needs for its command, pipes, signals and connections, with some to spare.
const OF_RUN: u64 = 48;

/// How many the other verbs need.
const OF_OTHERS: u64 = 24;

/// Makes sure that enough file descriptors can be opened.
///
/// # Errors
/// When there are too few. Nothing has been done by then.
pub(crate) fn check(of_run: bool) -> Result<(), Failure> {
    let needed = if of_run { OF_RUN } else { OF_OTHERS };
    if held(needed).is_ok() {
        return Ok(());
    }
    // Not for `run`: its command would inherit the raised limit.
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

/// Opens so many descriptors and closes them again.
fn held(needed: u64) -> io::Result<()> {
    let stdin = io::stdin();
    (0..needed).map(|_| stdin.as_fd().try_clone_to_owned()).collect::<io::Result<Vec<_>>>().map(drop)
}
