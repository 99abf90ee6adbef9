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

/// Nobody but root reads our memory, and no core is written.
#[cfg(target_os = "linux")]
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

    // Each is an extra fence: where a sandbox forbids one, the job goes on without it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A job's command inherits it, as it has the token too; who wants its core raises the limit again.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) });
}

#[cfg(not(target_os = "linux"))]
fn harden() {}
