//! jobpass among other processes: who starts it and how, who of them dies, and what the command leaves behind.

use std::time::{Duration, Instant};

use jobpass_sandbox::Fault;
use rustix::process::Signal;

use crate::harness::{End, Job, World, doors, eventually};

#[test]
fn a_filter_outlives_whoever_started_it() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    job.set("PASSWORD", "correct horse battery");
    // As with `exec > >(jobpass scrub …)` in bash: the script ends, and what it said last is still on its way.
    let script = "mkfifo pipe; jobpass scrub --scrub-env PASSWORD <pipe &
{ : >open; while kill -0 $$ 2>/dev/null; do sleep 0.02; done; echo \"deploying failed: $PASSWORD\"; } >pipe &
until [ -e open ]; do sleep 0.02; done; rm pipe open; exit 3";
    let ran = job.shell("sh", script).run();
    assert_eq!((ran.end, ran.stdout.as_str()), (End::Code(3), "deploying failed: ***\n"));
}

/// The kernel's own notice of a parent's death is of its thread's; the harness starts everything from such a thread.
#[test]
fn a_thread_that_ends_is_no_death() {
    let world = World::new();
    for job in Job::all(&world) {
        let ran = job.run("trap 'echo told; exit 9' TERM; i=0; while [ $i -lt 20 ]; do sleep 0.02; i=$((i+1)); done; echo done").succeed();
        assert_eq!(ran.stdout, "done\n");
    }
}

#[test]
fn the_death_of_whoever_started_a_run_ends_its_command() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!(
        "jobpass run -s {} -- sh -c 'trap \"echo told; exit 3\" TERM; echo ready; while :; do sleep 0.02; done' & wait",
        world.account()
    );
    let shell = job.shell("sh", &script).start();
    shell.said("ready");
    shell.signal(Signal::KILL);
    let ran = shell.wait();
    assert_eq!(ran.stdout, "ready\ntold\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

/// A command of a script that outlives whoever leads their session: as the subshell in which gitlab-runner evaluates a job's lines
/// does where it starts its shells by `su`, which ends the outermost shell alone.
fn in_a_session(job: &Job<'_>, world: &World, command: &str) {
    doors::write(&job.workspace().join("command"), command);
    doors::write(&job.workspace().join("inner"), &format!("jobpass run -s {} -- sh ./command\necho \"over $?\"\n", world.account()));
}

const TOLD: &str = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.02; done";

#[test]
fn the_death_of_the_sessions_leader_ends_the_command() {
    let world = World::new();
    let job = Job::gitlab(&world);
    in_a_session(&job, &world, TOLD);
    // The whole session under `nohup` is one like any other.
    for leader in ["exec setsid sh -c 'sh ./inner; :'", "exec nohup setsid sh -c 'sh ./inner; :'"] {
        let running = job.shell("sh", leader).start();
        running.said("ready");
        running.signal(Signal::KILL);
        let ran = running.wait();
        assert_eq!(ran.stdout, "ready\ntold\nover 3\n", "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn the_death_of_the_sessions_leader_ends_a_request() {
    let world = World::new();
    let job = Job::gitlab(&world);
    doors::write(&job.workspace().join("inner"), &format!("jobpass request -s {}\necho \"over $?\"\n", world.account()));
    world.relay().hold_answer(2);
    let running = job.shell("sh", "exec setsid sh -c 'sh ./inner; :'").start();
    world.relay().wait_held();
    running.signal(Signal::KILL);
    let ran = running.wait();
    assert_eq!(ran.stdout, "over 1\n", "{}", ran.transcript());
    assert!(ran.stderr.contains("interrupted by the death of the process that leads its session"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_runner_that_becomes_another_user_ends_the_command_by_that() {
    let world = World::new();
    let job = Job::gitlab(&world);
    if !doors::is_root() || !job.shell("sh", "su -s /bin/sh -c 'exec jobpass --version' nobody").run().is_success() {
        // Only root may become somebody without a password, who must get at the binary; `.ci/run` is root.
        return;
    }
    in_a_session(&job, &world, TOLD);
    doors::tool("/bin/chown").args(["-R", "nobody"]).arg(job.directory()).assert().success();
    job.unset("XDG_RUNTIME_DIR");
    // `su` sends TERM to its shell, which waits for the job's lines and has a trap, and two seconds later KILL.
    let running = job.shell("sh", "exec su -s /bin/sh -c 'trap \"exit 1\" TERM; sh ./inner; :' nobody").start();
    running.said("ready");
    running.signal(Signal::TERM);
    let ran = running.wait();
    assert_eq!(ran.stdout, "ready\ntold\nover 3\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_session_that_goes_on_without_its_leader_keeps_its_command() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // Nobody waits for the leader before the end, so that it is a zombie.
    in_a_session(&job, &world, "trap 'echo told; exit 9' TERM; i=0; while [ $i -lt 20 ]; do sleep 0.02; i=$((i+1)); done; echo done");
    let gone = "echo $$ >leader; { until grep -q ') Z ' /proc/$(cat leader)/stat; do sleep 0.02; done; exec sh ./inner; } &";
    let ran = job.shell("sh", &format!("exec setsid sh -c {}", jobpass::platform::shell::quoted(gone))).start().wait_for_output();
    assert_eq!(ran.stdout, "done\nover 0\n", "{}", ran.transcript());
    // And one that somebody in it has told to stay.
    in_a_session(
        &job,
        &world,
        "trap 'echo told; exit 9' TERM; echo ready; until grep -q ') Z ' /proc/$(cat leader)/stat; do sleep 0.02; done; sleep 0.3; echo done",
    );
    let running = job.shell("sh", "exec setsid sh -c 'echo $$ >leader; nohup sh ./inner; :'").start();
    running.said("ready");
    running.signal(Signal::KILL);
    let ran = running.wait_for_output();
    assert_eq!(ran.stdout, "ready\ndone\nover 0\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn what_a_cancellation_does_to_the_command_is_said() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let mut said = Vec::new();
    for (signals, command) in [
        ([Signal::TERM].as_slice(), "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done"),
        (&[Signal::INT], "trap '' TERM INT; echo ready; while :; do sleep 0.02; done"),
        (&[Signal::HUP, Signal::TERM, Signal::INT], "trap '' TERM INT HUP; echo ready; while :; do sleep 0.02; done"),
        (&[Signal::TERM], "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.02; done' & wait"),
    ] {
        let running = job.run(command).start();
        running.said("ready");
        // Each is to be heard alone: the second one kills, and the third one then says nothing more.
        for (signal, heard) in signals.iter().zip(["the command gets", "the command is killed", ""]) {
            running.signal_if_there(*signal);
            running.said(heard);
        }
        let ran = running.wait();
        // What a shell says of its own `sleep`, at some moments.
        said.push(format!("{signals:?}\n{}", ran.said().replace("Terminated\n", "")));
        job.assert_nothing_left();
    }
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn revoke_goes_on_when_it_is_told_to_end_and_then_loses_its_parent() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    world.relay().hold_request(1);
    let shell = job.shell("sh", "jobpass revoke & echo $! >pid; wait").start();
    world.relay().wait_held();
    doors::terminate(&doors::line(&job.workspace().join("pid")));
    shell.said("SIGTERM: revoking first");
    shell.signal(Signal::KILL);
    shell.is_dead();
    world.relay().release();
    let ran = shell.wait();
    assert!(ran.stderr.contains("revoked the pass"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_signal_that_is_sent_to_the_process_and_to_its_group_is_one() {
    let world = World::new();
    let job = Job::github(&world);
    let running =
        job.run_with(["--grace", "4s"], "trap 'sleep 0.4; echo cleaned; exit 4' TERM; echo ready; while :; do sleep 0.02; done").start();
    running.said("ready");
    // One after the other: what is heard a quarter of a second later is a second one.
    running.signal(Signal::TERM);
    running.signal(Signal::TERM);
    let ran = running.wait();
    assert_eq!((ran.end, ran.stdout.as_str()), (End::Code(4), "ready\ncleaned\n"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn signals_do_not_keep_a_renewal_from_its_end() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    world.on_sandbox().fault(Fault::on("POST", "/token").nth(2).delay(Duration::from_millis(600)));
    let job = Job::local(&world);
    let script = "trap : USR1; first=$(cat \"$JOBPASS_TOKEN_FILE\"); echo ready; i=0
while [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" = \"$first\" ] && [ $i -lt 400 ]; do sleep 0.02; i=$((i+1)); done
test $i -lt 400 && echo renewed";
    let running = job.run(script).start();
    running.said("ready");
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end && world.requests().iter().filter(|line| line.contains("/token -> 201")).count() < 2 {
        running.signal_if_there(Signal::USR1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let ran = running.wait();
    assert_eq!(ran.stdout, "ready\nrenewed\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_end_of_the_command_is_heard_of_where_its_signal_is_blocked() {
    let world = World::new();
    let job = Job::gitlab(&world);
    if !job.shell("sh", "env --block-signal=CHLD true 2>/dev/null").run().is_success() {
        // Only the GNU tool can start a program like this; `.ci/run` has it.
        return;
    }
    let script = format!("exec env --block-signal=CHLD jobpass run -s {} -- sh -c 'exit 5'", world.account());
    assert_eq!(job.shell("sh", &script).run().end, End::Code(5));
    job.assert_nothing_left();
}

#[test]
fn the_dead_that_nobody_buries_are_not_waited_for() {
    if !doors::is_root() {
        // A pid namespace of its own takes root; `.ci/run` is root.
        return;
    }
    let world = World::new();
    let job = Job::github(&world);
    let inner = format!(
        "jobpass run -s {} --grace 5s -- sh -c 'sleep 60 & echo >began; wait' &
run=$!
until test -e go; do sleep 0.02; done
echo >told
kill -TERM $run
wait $run
echo >over
",
        world.account()
    );
    let file = |name: &str| job.workspace().join(name);
    doors::write(&file("inner"), &inner);
    // Process 1 of many images is `sleep` or `tail`, which takes no notice of orphans.
    let line = "exec unshare --pid --fork --kill-child --mount-proc sh -c 'sh ./inner & exec sleep 60'";
    let running = job.shell("sh", line).start();
    eventually("the command has begun", || file("began").exists());
    // The DELETE, whose answer is another's matter.
    world.relay().hold_request(1);
    doors::write(&file("go"), "");
    eventually("the command is told to end", || file("told").exists());
    let start = Instant::now();
    world.relay().wait_held();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    world.relay().release();
    eventually("jobpass has ended", || file("over").exists());
    drop(running);
    job.assert_nothing_left();
}
