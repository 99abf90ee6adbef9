//! Process set-up, then the verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    harden();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let code = runtime.block_on(jobpass::run(std::env::args_os()));
    // A credential plugin that hangs must not hold the process.
    runtime.shutdown_background();
    code
}

/// Nobody but root reads our memory, no core is written, and the death of whoever started us ends us.
#[cfg(target_os = "linux")]
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit};

    // Each is an extra fence: where a sandbox forbids one, the job goes on without it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

#[cfg(not(target_os = "linux"))]
fn harden() {}
