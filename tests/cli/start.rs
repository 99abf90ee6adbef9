//! The first moment of a process: who can look into it before it has closed itself.

use crate::harness::{Job, World, doors};

/// A process of the same user looks at `/proc/PID/environ` of a jobpass that is held up before its first line: its loader waits for a
/// pipe. What a file of mode 0711 that is root's makes of it is the kernel's doing (`would_dump` in `fs/exec.c`).
#[test]
fn one_whose_file_its_user_cannot_read_is_closed_from_the_start() {
    if !doors::is_root() {
        // A file that is root's takes root; `.ci/run` is root.
        return;
    }
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let directory = tempfile::tempdir().expect("a directory");
    doors::set_mode(directory.path(), 0o755);
    for (mode, expected) in [(0o755, "seen"), (0o711, "closed")] {
        let program = directory.path().join(format!("jobpass-{mode:o}"));
        doors::copy_program(env!("CARGO_BIN_EXE_jobpass").as_ref(), &program);
        doors::set_mode(&program, mode);
        let pipes = directory.path().join(format!("{mode:o}"));
        doors::make_directory(&pipes);
        doors::set_mode(&pipes, 0o777);
        let script = format!(
            "cd {pipes}; mkfifo hold
JOBPASS_IDENTITY_TOKEN=secret LD_PRELOAD=$PWD/hold {program} --version >said 2>/dev/null & pid=$!
n=0; until [ \"$(cat /proc/$pid/comm)\" = jobpass-{mode:o} ]; do n=$((n+1)); [ $n -lt 500 ] || exit 9; sleep 0.02; done
if tr '\\0' '\\n' </proc/$pid/environ 2>/dev/null | grep -q ^JOBPASS_IDENTITY_TOKEN=; then echo seen; else echo closed; fi
: >hold
wait $pid && cat said",
            pipes = pipes.display(),
            program = program.display()
        );
        let script = format!("setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '{}'", script.replace('\'', "'\\''"));
        let ran = job.shell("sh", &script).succeed();
        assert!(ran.stdout.starts_with(&format!("{expected}\njobpass {} (", env!("CARGO_PKG_VERSION"))), "{}", ran.transcript());
    }
}
