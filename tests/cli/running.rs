//! `run`: the command alone has the pass, its output is scrubbed, its signals and its exit status are its own, and nothing is left.

use std::{fs, time::Duration};

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use rustix::process::Signal;

use crate::harness::{End, Job, Ran, World, doors, eventually};

fn code(ran: &Ran, code: i32) {
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
}

// The pass.

#[test]
fn on_each_platform_the_command_has_the_pass_and_nothing_is_left_of_it() {
    let world = World::new();
    for job in Job::all(&world) {
        let ran = job.run("env | cut -d= -f1 | grep -E '^(JOBPASS_(EXP|LEA|PAS|TOK)|KUBECONFIG|OPENSHIFT)' | sort").run();
        code(&ran, 0);
        assert_snapshot!(format!("run_on_{:?}", job.on()).to_lowercase(), ran.transcript());
        job.assert_nothing_left();
        for token in world.tokens_of_passes() {
            assert!(!world.accepts(&token));
        }
    }
}

#[test]
fn the_commands_token_works_and_dies_with_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let mark = job.directory().join("identity.copy");
    let wait = "while [ ! -e go ]; do sleep 0.05; done";
    let running = job.run(&format!("cat \"$JOBPASS_TOKEN_FILE\" >{}; {wait}", mark.display())).start();
    eventually("the command has begun", || fs::read_to_string(&mark).is_ok_and(|text| text.len() > 100));
    let token = fs::read_to_string(&mark).expect("written");
    world.secret(&token);
    assert!(world.accepts(&token));
    doors::write(&job.workspace().join("go"), "");
    code(&running.wait(), 0);
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn the_ci_identity_is_taken_out_of_the_commands_environment() {
    let world = World::new();
    let job = Job::github(&world);
    job.set("INPUT_IDENTITY-TOKEN", "");
    job.set("DEPLOY_KEY", "hunter2-hunter2");
    let ran = job.run_with(["--hide", "DEPLOY_KEY"], "env | grep -cE 'JOBPASS_IDENTITY|INPUT_IDENTITY|DEPLOY_KEY' || :").succeed();
    assert_eq!(ran.stdout, "0\n");
    let job = Job::gitlab(&world);
    let ran = job.run("echo \"${JOBPASS_KUBECONFIG-none}\"").succeed();
    assert_eq!(ran.stdout, "none\n");
}

#[test]
fn a_receipt_of_a_run() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.workspace().join("out-receipts.jsonl");
    job.run_with(["--receipt", &path.to_string_lossy()], ":").succeed();
    let receipt: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).expect("written")).expect("JSON");
    assert_eq!(receipt["proof"]["state"], "dead", "{receipt}");
}

#[test]
fn a_token_is_renewed_while_the_command_runs() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    let job = Job::local(&world);
    // The new token is hidden too: the sweep knows it, as the sandbox tells what it has given out.
    let script = "first=$(cat \"$JOBPASS_TOKEN_FILE\"); i=0
while [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" = \"$first\" ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done
cat \"$JOBPASS_TOKEN_FILE\"; echo; test \"$(cat \"$JOBPASS_TOKEN_FILE\")\" != \"$first\"";
    let ran = job.run(script).succeed();
    assert_eq!(ran.stdout, "***\n");
    let tokens = ran.requests.iter().filter(|line| line.contains("/token -> 201")).count();
    assert!(tokens >= 2, "{:?}", ran.requests);
    assert_eq!(ran.requests.iter().filter(|line| line.contains("DELETE")).count(), 1, "one DELETE ends them all");
    job.assert_nothing_left();
}

#[test]
fn a_warning_that_nobody_reads_does_not_keep_the_token_alive() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    world.on_sandbox().fault(
        Fault::on("POST", "/token").nth(2).answer(403, serde_json::json!({"kind": "Status", "code": 403, "message": "no"})).always(),
    );
    let job = Job::local(&world);
    // The command fills the pipe that our warnings go to, and its reader begins when the pass is over.
    let script = format!(
        "jobpass run -s {} -- sh -c 'echo $$ >pid; exec yes >&2' 2>&1 >/dev/null | {{ n=0; until test -e over || [ $((n+=1)) -gt 3000 ]; do sleep 0.02; done; wc -c; }}",
        world.account()
    );
    let running = job.shell("sh", &script).start();
    let refused = "/token -> 403";
    let command = doors::line(&job.workspace().join("pid"));
    world.wait_for_request(refused);
    doors::terminate(&doors::parent(&command));
    eventually("the lease is gone", || world.secrets().is_empty());
    doors::write(&job.workspace().join("over"), "");
    running.wait();
    job.assert_nothing_left();
}

#[test]
fn a_reader_who_has_stopped_before_the_command_begins_keeps_nothing_up() {
    let world = World::new();
    let job = Job::local(&world);
    // A pipe takes 64 KiB, and then not one line of ours.
    let script = format!(
        "{{ head -c 65536 /dev/zero >&2; exec jobpass run -s {} -- sh -c 'echo >ran'; }} 2>&1 >/dev/null | {{ n=0; until test -e over || [ $((n+=1)) -gt 3000 ]; do sleep 0.02; done; tr -d '\\000'; }}",
        world.account()
    );
    let running = job.shell("sh", &script).start();
    eventually("the command has run", || job.workspace().join("ran").exists());
    eventually("the lease is gone", || world.secrets().is_empty());
    doors::write(&job.workspace().join("over"), "");
    let ran = running.wait();
    assert!(ran.stdout.contains("pass for service account") && ran.stdout.contains("revoked the pass"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_renewal_that_fails_is_warned_of_once_and_the_command_goes_on() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(1);
    world.on_sandbox().fault(
        Fault::on("POST", "/token").nth(2).answer(403, serde_json::json!({"kind": "Status", "code": 403, "message": "no"})).always(),
    );
    let job = Job::local(&world);
    let running = job.run("until [ -e go ]; do sleep 0.05; done; echo on").start();
    let refused = || world.requests().iter().filter(|line| line.contains("/token -> 403")).count();
    eventually("it is tried again", || refused() >= 3);
    doors::write(&job.workspace().join("go"), "");
    let ran = running.wait();
    assert_eq!(ran.stdout, "on\n");
    assert_eq!(ran.stderr.matches("the token is not renewed").count(), 1, "{}", ran.transcript());
}

#[test]
fn a_lease_that_cannot_be_saved_with_a_renewed_token_is_told_and_the_token_is_there() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    let job = Job::local(&world);
    let script = "place=$(dirname \"$JOBPASS_TOKEN_FILE\"); first=$(cat \"$JOBPASS_TOKEN_FILE\")
until mkdir \"$place/lease.json.new\" 2>/dev/null; do :; done; i=0
until [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" != \"$first\" ] || [ $((i+=1)) -gt 500 ]; do sleep 0.02; done
[ $i -le 500 ]; until grep -qF 'the token is renewed' err || [ $((i+=1)) -gt 1000 ]; do sleep 0.02; done; rmdir \"$place/lease.json.new\"";
    doors::write(&job.workspace().join("script"), &format!("set -eu\n{script}"));
    let ran =
        job.shell("sh", &format!("jobpass run -s {} -- sh script 2>err; code=$?; cat err >&2; exit $code", world.account())).succeed();
    let said: Vec<_> = ran.stderr.lines().filter(|line| line.contains("the token is ")).collect();
    assert_snapshot!(world.plain(said.first().expect("said")));
    assert!(!ran.stderr.contains("the token is not renewed"), "{}", ran.transcript());
    job.assert_nothing_left();
}

// Its output.

#[test]
fn a_transcript_that_tries_hard_leaks_nothing() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // The job's own, which GitLab masks.
    job.unset("CI_JOB_TOKEN");
    let script = "set -x; env; echo $OPENSHIFT_TOKEN | base64; echo $OPENSHIFT_TOKEN | base64 -w 0
printf %s \"$OPENSHIFT_TOKEN\" | od -An -v -tx1 | tr -d ' \\n'; echo
echo \"${OPENSHIFT_TOKEN##*.}\"; cat $JOBPASS_TOKEN_FILE $KUBECONFIG $JOBPASS_CURL >&2";
    let ran = job.run_with(["--variable", "OPENSHIFT_TOKEN"], script).succeed();
    // The sweep has looked at every form; this is that the rest came through.
    assert!(ran.stdout.contains("KUBECONFIG=") && ran.stderr.contains("\"tokenFile\""), "{}", ran.transcript());
    assert!(ran.stdout.matches("***").count() >= 5, "{}", ran.stdout);
}

#[test]
fn a_secret_that_is_written_byte_by_byte_is_hidden() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("DB_PASSWORD", "correct horse battery");
    world.secret("correct horse battery");
    let script =
        "printf 'a:'; for i in $(seq 0 20); do printf %s \"$DB_PASSWORD\" | dd bs=1 skip=$i count=1 2>/dev/null; done; printf ':b\\n'";
    let ran = job.run_with(["--scrub-env", "DB_PASSWORD"], script).succeed();
    assert_eq!(ran.stdout, "a:***:b\n");
}

#[test]
fn what_the_pass_itself_sets_is_not_hidden_but_refused() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    let mut said = Vec::new();
    for name in ["OPENSHIFT_TOKEN", "KUBECONFIG", "JOBPASS_CURL"] {
        let ran = job.run_with(["--variable", "OPENSHIFT_TOKEN"], "env").env("JOBPASS_HIDE", format!("DEPLOY_KEY {name}")).run();
        code(&ran, 125);
        said.push(ran.said());
    }
    assert_snapshot!(said.join("\n\n"));
    assert_eq!(world.relay().connections(), 0);
    // Where the token has another variable, or none, it is one like any other.
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("OPENSHIFT_TOKEN", "an-old-one");
    for flag in ["--no-variable", "--variable=PROD_TOKEN", "--strict"] {
        let ran = job.run_with(["--hide", "OPENSHIFT_TOKEN", flag], "echo \"${OPENSHIFT_TOKEN-none}\"").succeed();
        assert_eq!(ran.stdout, "none\n");
    }
}

#[test]
fn what_cannot_be_hidden_is_said() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("PIN", "1234");
    let ran = job.run_with(["--scrub-env", "PIN", "--scrub-env", "NOT_THERE"], "echo 1234").succeed();
    assert_eq!(ran.stdout, "1234\n");
    assert_snapshot!(ran.said());
    let script = format!("BYTES=$(printf '\\377password') exec jobpass run -s {} --scrub-env BYTES -- true", world.account());
    let ran = job.shell("sh", &script).succeed();
    assert!(ran.stderr.contains("warning: `BYTES` is not UTF-8: nothing of it is hidden"), "{}", ran.transcript());
}

#[test]
fn our_own_words_do_not_say_what_is_hidden() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    job.set("PASSWORD", "correct-horse");
    // A mistake that is made easily: a shell would take the first word for a variable.
    let words = ["run", "-s", &world.account(), "--scrub-env", "PASSWORD", "--", "DB=correct-horse", "./deploy"];
    let ran = job.jobpass().args(words).run();
    code(&ran, 127);
    assert_snapshot!(ran.said());
}

#[test]
fn the_revocation_takes_as_long_as_was_said() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").hang().always());
    let job = Job::local(&world);
    // Enough for the request on any machine: it is the same time.
    let ran = job.run_with(["--timeout", "6s"], "exit 3").run();
    code(&ran, 3);
    assert!(ran.stderr.contains("the API server did not answer within 6s"), "{}", ran.transcript());
    world.on_sandbox().clear_faults();
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn bytes_go_on_as_they_come() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // It ends in what no token has: a signature is held from its first byte on, and any letter may be one.
    let running = job.run("printf 'no newline yet!'; while [ ! -e go ]; do sleep 0.05; done").start();
    running.said("no newline yet!");
    doors::write(&job.workspace().join("go"), "");
    code(&running.wait(), 0);
}

#[test]
fn one_file_for_both_streams_keeps_their_order() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = "i=0; while [ $i -lt 200 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    let ran = job.shell("sh", &format!("jobpass run -s {} -- sh -c '{script}' 2>&1", world.account())).succeed();
    let lines: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("out") || line.starts_with("err")).collect();
    let expected: Vec<_> = (0..200).flat_map(|i| [format!("out{i}"), format!("err{i}")]).collect();
    assert_eq!(lines, expected);
}

#[test]
fn two_files_stay_two() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.run("echo out; echo err >&2").succeed();
    assert_eq!(ran.stdout, "out\n");
    assert!(ran.stderr.lines().any(|line| line == "err"), "{}", ran.transcript());
}

#[test]
fn stdin_is_passed_through() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.shell("sh", &format!("echo hello | jobpass run -s {} -- cat", world.account())).succeed();
    assert_eq!(ran.stdout, "hello\n");
}

#[test]
fn a_reader_that_is_gone_ends_the_command_as_it_would_without_us() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.shell("sh", &format!("jobpass run -s {} -- sh -c 'while echo y; do :; done' | head -n 1", world.account())).succeed();
    assert_eq!(ran.stdout, "y\n");
    job.assert_nothing_left();
}

#[test]
fn a_reader_that_has_stopped_does_not_keep_the_token_alive() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // A full pipe that nobody empties until the pass is over.
    let script = format!(
        "jobpass run -s {} --grace 100ms -- sh -c 'echo $$ >pid; exec yes' 2>err | {{ n=0; until grep -q revoked err || [ $((n+=1)) -gt 3000 ]; do sleep 0.02; done; head -c 4; }}",
        world.account()
    );
    let running = job.shell("sh", &script).start();
    // TERM to jobpass itself, as a runner sends it; it is the command's parent.
    let parent = doors::parent(&doors::line(&job.workspace().join("pid")));
    std::thread::sleep(Duration::from_millis(200));
    doors::terminate(&parent);
    let ran = running.wait();
    assert_eq!(ran.stdout, "y\ny\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_slow_reader_gets_everything() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!("jobpass run -s {} -- head -c 3000000 /dev/zero | {{ sleep 2; wc -c; }}", world.account());
    let ran = job.shell("sh", &script).succeed();
    assert_eq!(ran.stdout.trim(), "3000000");
}

// Its end.

#[test]
fn the_exit_status_is_the_commands() {
    let world = World::new();
    let job = Job::gitlab(&world);
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("exit 125", 125), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        code(&job.run(script).run(), expected);
    }
    job.assert_nothing_left();
}

#[test]
fn failures_of_ours_have_a_code_of_their_own() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let run = |flags: &[&str], command: &[&str]| {
        let call = job.jobpass().args(["run", "-s", &world.account()]);
        flags.iter().chain(["--"].iter()).chain(command).fold(call, |call, word| call.arg(*word)).run()
    };
    code(&run(&[], &["no-such-program"]), 127);
    code(&run(&[], &["/etc/passwd"]), 126);
    code(&run(&["--ttl", "soon"], &["true"]), 125);
    code(&run(&["--no-such-flag"], &["true"]), 125);
    assert_eq!(world.relay().connections(), 0, "all of that is known before anything is asked for");
    assert_snapshot!("run_without_its_program", run(&[], &["no-such-program"]).said());
    assert_snapshot!("run_without_a_command", job.jobpass().args(["run", "-s", "ci/x"]).run().said());
    for (name, command) in [("quoted", "kubectl get pods"), ("builtin", "cd"), ("flag", "--service-account")] {
        assert_snapshot!(format!("run_with_a_{name}_as_its_program"), run(&[], &[command, "x"]).said());
    }
    code(&run(&[], &["-s", "x"]), 125);
    let without_dashes = job.jobpass().args(["run", "-s", "ci/x", "kubectl", "get", "pods"]).run();
    code(&without_dashes, 125);
    assert_snapshot!("run_without_its_dashes", without_dashes.said());
    assert_eq!(world.relay().connections(), 0);
    world.take_away("create", "serviceaccounts/token");
    code(&run(&[], &["true"]), 125);
    job.assert_nothing_left();
}

#[test]
fn a_program_that_the_kernel_refuses_ends_the_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.directory().join("broken");
    doors::write_program(&path, "#!/nowhere/interpreter\n");
    let ran = job.jobpass().args(["run", "-s", &world.account(), "--", &path.to_string_lossy()]).run();
    code(&ran, 127);
    assert_snapshot!(ran.said());
    job.assert_nothing_left();
}

#[test]
fn a_revocation_that_fails_leaves_the_commands_status_unless_strict() {
    let world = World::new();
    world.take_away("delete", "secrets");
    let job = Job::gitlab(&world);
    let ran = job.run("exit 3").run();
    code(&ran, 3);
    assert!(ran.stderr.contains("warning: the pass of service account"), "{}", ran.transcript());
    // The token's end, not that of the lease, which is for those of a day. It is 61 min for its first ten seconds.
    let is_told = |ran: &Ran| ["61", "60"].iter().any(|left| ran.stderr.contains(&format!(" ({left} min)")));
    assert!(is_told(&ran), "{}", ran.transcript());
    let later = job.revoke().run();
    assert!(is_told(&later), "{}", later.transcript());
    job.set("CI_JOB_ID", "4712");
    let strict = job.run_with(["--strict"], "exit 3").run();
    code(&strict, 125);
    // Once, and all that a warning says.
    assert_snapshot!("a_strict_revocation_that_fails", strict.said());
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_does_not_hang_us() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let pid = job.directory().join("pid");
    let ran = job.run(&format!("sleep 300 & echo $! >{}; echo done", pid.display())).succeed();
    assert_eq!(ran.stdout, "done\n");
    let pid = fs::read_to_string(pid).expect("written");
    eventually("it is ended", || !doors::is_running(pid.trim()));
    // One that has gone into a session of its own is not ours to kill, nor to wait for.
    let ran = job.run("setsid sleep 3 & echo done").succeed();
    assert_eq!(ran.stdout, "done\n");
    job.assert_nothing_left();
}

#[test]
fn a_daemon_that_writes_for_ever_does_not_hold_us() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let start = std::time::Instant::now();
    // It dies of the closed pipe; to look through all that it has written takes a while too.
    let ran = job.run("setsid timeout 60 yes & sleep 0.1; exit 4").run();
    code(&ran, 4);
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    job.assert_nothing_left();
}

#[test]
fn two_at_once_of_one_job_do_not_destroy_each_other() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let first = job.run("echo ready; while [ ! -e go ]; do sleep 0.02; done; test -r \"$KUBECONFIG\"").start();
    first.said("ready");
    let second = job.run("echo never").run();
    code(&second, 125);
    assert_snapshot!(second.said());
    let other = job.run_with(["--job-key", "another"], "echo fine").succeed();
    assert_eq!(other.stdout, "fine\n");
    doors::write(&job.workspace().join("go"), "");
    code(&first.wait(), 0);
    job.assert_nothing_left();
}

#[test]
fn a_run_after_a_request_of_the_same_job_says_that_it_replaces_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let token = job.token();
    let ran = job.run(":").succeed();
    assert!(ran.stderr.contains("warning: the former pass of this job"), "{}", ran.transcript());
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.shell("sh", &format!("jobpass run -s {} -- echo lost >/dev/full", world.account())).run();
    assert!(ran.stderr.contains("warning: not all of the command's output was passed on: no space left on device"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn programs_are_started_as_by_a_shell() {
    let world = World::new();
    let job = Job::gitlab(&world);
    assert_eq!(job.run("echo $0").succeed().stdout, "sh\n");
    let path = job.directory().join("no-first-line");
    doors::write_program(&path, "echo run by sh: $1\n");
    let ran = job.jobpass().args(["run", "-s", &world.account(), "--", &path.to_string_lossy(), "x"]).succeed();
    assert_eq!(ran.stdout, "run by sh: x\n");
}

#[test]
fn as_process_1_it_reaps_and_keeps_the_exit_status() {
    let world = World::new();
    if !doors::is_root() {
        // A pid namespace of its own takes root; `.ci/run` is root.
        return;
    }
    let job = Job::gitlab(&world);
    // Three orphans become ours. One that nobody reaps would be a zombie in the list for ever.
    let script = "for i in 1 2 3; do (setsid sh -c 'sleep 0.1; : >gone$0' $i &); done
until [ -e gone1 ] && [ -e gone2 ] && [ -e gone3 ]; do sleep 0.02; done; rm gone1 gone2 gone3
n=0; until z=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l); [ $z = 0 ] || [ $((n+=1)) -gt 500 ]; do sleep 0.02; done
echo $z; exit 9";
    let line = format!("unshare --pid --fork --mount-proc jobpass run -s {} -- sh -c '{}'", world.account(), script.replace('\'', "'\\''"));
    let ran = job.shell("sh", &line).run();
    code(&ran, 9);
    assert_eq!(ran.stdout, "0\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

// Signals.

/// A script that says when it is ready, and then what it was sent.
const LISTENER: &str = "for s in TERM INT HUP QUIT USR1 USR2; do trap \"echo got $s\" $s; done; echo ready; i=0; while [ ! -e go ]; do sleep 0.02; done; exit 5";

#[test]
fn signals_reach_the_command_once() {
    let world = World::new();
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP, Signal::QUIT, Signal::INT, Signal::TERM] {
        let job = Job::github(&world);
        let running = job.run(LISTENER).start();
        running.said("ready");
        running.signal(signal);
        running.said("got ");
        doors::write(&job.workspace().join("go"), "");
        let ran = running.wait();
        code(&ran, 5);
        assert_eq!(ran.stdout.matches("got ").count(), 1, "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn a_command_that_does_not_end_is_killed_in_time() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let running = job.run_with(["--grace", "300ms"], "trap '' TERM; echo ready; while :; do sleep 0.05; done").start();
    running.said("ready");
    // The DELETE, whose answer is another's matter.
    world.relay().hold_request(1);
    let start = std::time::Instant::now();
    running.signal(Signal::TERM);
    world.relay().wait_held();
    assert!(start.elapsed() < Duration::from_millis(2500), "GitLab kills by then: {:?}", start.elapsed());
    world.relay().release();
    let ran = running.wait();
    code(&ran, 137);
    assert!(ran.stderr.contains("revoked the pass"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn grace_is_cut_to_what_the_platform_leaves() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.run_with(["--grace", "1m"], ":").succeed();
    assert!(ran.stderr.contains("warning: `--grace` is cut to 2000 ms"), "{}", ran.transcript());
}

#[test]
fn a_second_signal_kills_at_once_and_the_pass_is_ended_all_the_same() {
    let world = World::new();
    let job = Job::github(&world);
    let running = job.run("trap 'echo got' INT; echo ready; while :; do sleep 0.05; done").start();
    running.said("ready");
    running.signal(Signal::INT);
    running.said("got");
    world.relay().hold_request(1);
    let start = std::time::Instant::now();
    running.signal(Signal::TERM);
    world.relay().wait_held();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    world.relay().release();
    let ran = running.wait();
    code(&ran, 137);
    job.assert_nothing_left();
}

#[test]
fn a_signal_during_the_request_starts_no_command() {
    let world = World::new();
    // What there is by then is undone in the time that the platform leaves: 20 s here.
    let job = Job::tekton(&world);
    world.relay().hold_request(2);
    let running = job.run("echo never").start();
    world.relay().wait_held();
    running.signal(Signal::TERM);
    let ran = running.wait();
    world.relay().release();
    code(&ran, 125);
    assert_eq!(ran.stdout, "");
    job.assert_nothing_left();
}

#[test]
fn killed_itself_it_leaves_what_revoke_needs() {
    let world = World::new();
    for job in Job::all(&world) {
        let running = job.run("echo ready; sleep 50").start();
        running.said("ready");
        let token = job.token();
        running.signal(Signal::KILL);
        let ran = running.wait();
        assert_eq!(ran.end, End::Signal(9));
        job.revoke().succeed();
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_burst_of_signals_loses_no_output() {
    let world = World::new();
    let job = Job::github(&world);
    for _ in 0..5 {
        let running = job.run("for s in TERM INT HUP QUIT USR1 USR2; do trap '' $s; done; echo ready; sleep 0.3; seq 1000; exit 6").start();
        running.said("ready");
        for signal in [Signal::USR1, Signal::USR2, Signal::HUP, Signal::QUIT, Signal::USR1] {
            running.signal(signal);
        }
        let ran = running.wait();
        code(&ran, 6);
        assert!(ran.stdout.ends_with("999\n1000\n"), "{}", ran.transcript());
    }
}

#[test]
fn what_a_shell_has_started_gets_the_grace_too() {
    let world = World::new();
    let job = Job::github(&world);
    // The shell dies of the signal at once; what it waited for cleans up.
    let tool = job.workspace().join("tool");
    doors::write_program(&tool, "#!/bin/sh\ntrap 'sleep 0.4; echo cleaned up; exit' TERM\necho ready\nwhile :; do sleep 0.02; done\n");
    let running = job.run_with(["--grace", "4s"], "./tool && echo next").start();
    running.said("ready");
    running.signal(Signal::TERM);
    let ran = running.wait();
    code(&ran, 143);
    assert!(ran.stdout.contains("cleaned up\n"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_death_of_the_parent_after_its_signal_is_no_second_one() {
    let world = World::new();
    let job = Job::github(&world);
    let script = format!(
        "jobpass run -s {} --grace 4s -- sh -c 'trap \"sleep 0.5; echo cleaned up; exit 3\" TERM; echo $PPID >pid; while :; do sleep 0.02; done' & wait",
        world.account()
    );
    let shell = job.shell("sh", &script).start();
    // As GitLab's docker executor ends a container: the last process first.
    doors::terminate(&doors::line(&job.workspace().join("pid")));
    shell.said("SIGTERM: the command gets it");
    shell.signal(Signal::KILL);
    let ran = shell.wait();
    assert!(ran.stdout.contains("cleaned up\n"), "{}", ran.transcript());
    eventually("the pass is ended", || world.secrets().is_empty());
}

#[test]
fn a_signal_while_a_plugin_is_asked_ends_it_before_anything_exists() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let plugin = crate::usage::plugin(&job, "echo asked >asked; exec sleep 30");
    doors::write(&job.identity_file(), &crate::usage::replace_user(&world.kubeconfig(), &crate::usage::exec(&plugin, "")));
    for verb in ["request", "run"] {
        let call = job.jobpass().args([verb, "-s", &world.account()]);
        let running = if verb == "run" { call.args(["--", "echo", "never"]) } else { call }.start();
        let asked = job.workspace().join("asked");
        eventually("the plugin is asked", || asked.exists());
        running.signal(Signal::TERM);
        let ran = running.wait();
        assert!(ran.said().contains("interrupted by SIGTERM"), "{}", ran.transcript());
        assert_eq!((ran.requests.len(), ran.stdout.as_str()), (0, ""));
        fs::remove_file(asked).expect("there");
    }
    job.assert_nothing_left();
}

#[test]
fn what_was_to_be_ignored_is_ignored() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!("trap '' HUP; exec jobpass run -s {} -- sh -c 'echo ready; sleep 0.4; echo still here'", world.account());
    let running = job.shell("sh", &script).start();
    running.said("ready");
    running.signal(Signal::HUP);
    let ran = running.wait();
    code(&ran, 0);
    assert!(ran.stdout.contains("still here"), "{}", ran.transcript());
}
