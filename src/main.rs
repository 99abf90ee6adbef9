//! Process set-up, then the verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    harden();
    let arguments: Vec<_> = std::env::args_os().collect();
    let runtime = match jobpass::prepared(&arguments) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(jobpass::run(arguments));
    // A credential plugin that hangs must not hold the process.
    runtime.shutdown_background();
    code
}

/// Makes our memory unreadable for all but root, and switches core dumps off, as both contain tokens.
#[cfg(target_os = "linux")]
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

    // Each call is an additional protection: where a sandbox forbids one, the job goes on without it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // The command of `run` inherits this limit, as its memory holds the token, too. A job that needs a core dump can raise it
    // again.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) });
}

#[cfg(not(target_os = "linux"))]
fn harden() {}
