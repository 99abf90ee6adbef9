//! `hold`, `wait` and `credential`: a pass that is kept for others, in a sidecar or beside a long script.

use std::{fs, path::Path, time::Duration};

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Command, Desk, Job, Ran, Running, World, doors, eventually};
use jobpass_sandbox::Fault;

/// `jobpass hold` for the world's service account.
pub(crate) fn hold<'j>(job: &'j Job<'_>) -> Command<'j> {
    job.jobpass().args(["hold", "--service-account", &job.world.account(), "--dir", &job.base().to_string_lossy()])
}

/// `jobpass wait` for it.
fn wait<'j>(job: &'j Job<'_>) -> Command<'j> {
    job.jobpass().args(["wait", "--dir", &job.base().to_string_lossy(), "--timeout", "20s"])
}

fn credential<'j>(job: &'j Job<'_>) -> Command<'j> {
    job.jobpass().args(["credential", "--dir", &job.base().to_string_lossy()])
}

/// A pass that is held, and ready.
fn held<'j>(job: &'j Job<'_>) -> Running<'j> {
    let holding = hold(job).start();
    // The mark may be that of one that was killed.
    holding.said("pass for service account");
    holding
}

fn is_ready(job: &Job<'_>) {
    eventually("the pass is ready", || job.base().join("ready").exists());
}

fn ended(job: &Job<'_>, holding: Running<'_>) -> Ran {
    holding.signal(Signal::TERM);
    let ran = holding.wait();
    ran.assert().success();
    job.assert_nothing_left();
    ran
}

fn read(job: &Job<'_>, name: &str) -> String {
    fs::read_to_string(job.base().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names in the directory of `hold`.
fn names(job: &Job<'_>) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(job.base()).expect("there").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // On a plain shell the marks of passes are in the same directory.
    names.retain(|name| Path::new(name).extension().is_none_or(|end| end != "mark"));
    names.sort();
    names
}

#[test]
fn a_pass_is_held_until_term() {
    for on in 0..2 {
        let world = World::new();
        let job = if on == 0 { Job::tekton(&world) } else { Job::local(&world) };
        let holding = held(&job);
        assert_eq!(names(&job), ["ca.crt", "curlrc", "env", "expires-at", "jobpass", "kubeconfig", "ready", "token"]);
        assert_eq!(read(&job, "ready"), format!("ready: lease {}/{}\n", world.namespace(), job.lease()));
        let token = read(&job, "token");
        world.secret(&token);
        assert!(world.accepts(&token));
        let config: Value = serde_json::from_str(&read(&job, "kubeconfig")).expect("JSON");
        assert_eq!(config["users"][0]["user"]["tokenFile"], job.base().join("token").to_string_lossy().as_ref());
        assert_eq!(config["users"][0]["user"]["token"], token.as_str());
        assert_eq!(read(&job, "ca.crt"), world.ca_pem());
        wait(&job).succeed();
        job.jobpass().args(["hold", "--check", "--dir", &job.base().to_string_lossy()]).succeed();
        let ran = ended(&job, holding);
        assert_snapshot!(format!("a_pass_is_held_until_term_{}", ["tekton", "local"][on]), ran.transcript());
        assert_eq!(names(&job), ["receipt.json"]);
        let receipt: Value = serde_json::from_str(&read(&job, "receipt.json")).expect("JSON");
        assert_eq!((&receipt["kind"], receipt["lease"].is_string()), (&json!("Receipt"), true));
        world.assert_dies(&token);
        assert_snapshot!(format!("a_pass_is_held_until_term_over_{}", ["tekton", "local"][on]), wait(&job).run().transcript());
    }
}

#[test]
fn the_env_file_is_sourced_beside_it_and_puts_back_what_was_there() {
    let world = World::new();
    let job = Job::local(&world);
    let holding = held(&job);
    let directory = job.base().to_string_lossy().into_owned();
    let script = format!(
        "set -eu
export KUBECONFIG=/before KUBE_CONFIG_PATH=
unset JOBPASS_TOKEN_FILE
. \"{directory}/env\"
for name in KUBECONFIG KUBE_CONFIG_PATH JOBPASS_TOKEN_FILE JOBPASS_CURL JOBPASS_PASS_CA_FILE; do
  eval \"test -f \\\"\\$$name\\\"\"
  printenv \"$name\"
done
printenv JOBPASS_LEASE JOBPASS_PASS_SERVER JOBPASS_PASS_NAMESPACE
jobpass require -s {account}
jobpass_restore
echo \"$KUBECONFIG|${{KUBE_CONFIG_PATH-gone}}|${{JOBPASS_TOKEN_FILE-gone}}|${{JOBPASS_CURL-gone}}|${{JOBPASS_LEASE-gone}}\"",
        account = world.account(),
    );
    let token = read(&job, "token");
    world.secret(&token);
    for shell in doors::shells() {
        let ran = job.shell(&shell, &script).succeed();
        assert_snapshot!("the_env_file_of_hold_is_sourced", world.plain(&ran.stdout));
    }
    ended(&job, holding);
}

#[test]
fn every_signal_that_ends_a_job_ends_the_pass_and_the_death_of_the_parent_too() {
    let world = World::new();
    let job = Job::local(&world);
    for signal in [Signal::INT, Signal::HUP, Signal::QUIT] {
        let holding = held(&job);
        holding.signal(signal);
        holding.wait().assert().success();
        job.assert_nothing_left();
    }
    let script = format!("jobpass hold -s {} --dir {} & echo $!; read line <pipe", world.account(), job.base().display());
    doors::pipe(&job.workspace().join("pipe"));
    let shell = job.shell("sh", &script).start();
    is_ready(&job);
    shell.signal(Signal::KILL);
    eventually("the lease is gone", || world.secrets().is_empty());
    shell.wait_for_output();
    job.assert_nothing_left();
}

#[test]
fn the_end_of_the_work_ends_the_pass() {
    for ending in ["out", "out.err"] {
        let world = World::new();
        let job = Job::tekton(&world);
        let sign = job.directory().join("out");
        let holding = hold(&job).args(["--until", &sign.to_string_lossy()]).start();
        is_ready(&job);
        doors::write(&job.directory().join(ending), "");
        let ran = holding.wait();
        ran.assert().success();
        job.assert_nothing_left();
        assert!(ran.stderr.contains("the work is over: the pass is ended"), "{}", ran.transcript());
        // As kubelet starts a native sidecar again whose pod goes on.
        let again = hold(&job).args(["--until", &sign.to_string_lossy()]).succeed();
        assert!(again.requests.is_empty(), "{}", again.transcript());
    }
}

#[test]
fn after_the_signal_the_work_may_come_to_its_end() {
    let world = World::new();
    let job = Job::tekton(&world);
    let sign = job.directory().join("out");
    let holding = hold(&job).args(["--until", &sign.to_string_lossy(), "--grace", "15s"]).start();
    is_ready(&job);
    holding.signal(Signal::TERM);
    holding.said("SIGTERM");
    let token = read(&job, "token");
    world.secret(&token);
    assert!(world.accepts(&token), "the clean-up of the step needs it");
    doors::write(&sign, "");
    holding.wait().assert().success();
    job.assert_nothing_left();
}

#[test]
fn a_token_is_renewed_for_others_in_every_form() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(6);
    let job = Job::tekton(&world);
    let holding = held(&job);
    let (first, expiry) = (read(&job, "token"), read(&job, "expires-at"));
    eventually("the token is renewed", || read(&job, "token") != first);
    eventually("the kubeconfig is renewed", || !read(&job, "kubeconfig").contains(&first));
    eventually("its end is told", || read(&job, "expires-at") > expiry);
    wait(&job).succeed();
    job.shell("sh", &format!("jobpass credential --dir {} >out.kubeconfig", job.base().display())).succeed();
    let asked = fs::read_to_string(job.workspace().join("out.kubeconfig")).expect("written");
    assert!(asked.contains("ExecCredential") && !asked.contains(&first));
    ended(&job, holding);
}

#[test]
fn usr1_renews_at_once_and_nothing_grows() {
    let world = World::sandbox("a thousand renewals take a while on a real server");
    let job = Job::tekton(&world);
    let holding = held(&job);
    let grown = |renewals: usize| {
        for _ in 0..renewals {
            let before = read(&job, "token");
            holding.signal(Signal::USR1);
            eventually("the token is renewed", || read(&job, "token") != before);
        }
        holding.resident()
    };
    let (after_ten, after_many) = (grown(10), grown(110));
    assert!(after_many <= after_ten + 512, "{after_ten} kB after 10 renewals, {after_many} kB after 120");
    ended(&job, holding);
}

#[test]
fn whoever_asks_again_gets_the_token_and_its_end() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = hold(&job).args(["--kubeconfig-mode", "exec"]).start();
    is_ready(&job);
    let token = read(&job, "token");
    world.secret(&token);
    let config: Value = serde_json::from_str(&read(&job, "kubeconfig")).expect("JSON");
    let user = &config["users"][0]["user"];
    assert!(user["token"].is_null() && user["tokenFile"].is_null(), "{config}");
    assert_eq!(user["exec"]["command"], "jobpass");
    let file = job.base().join("token").to_string_lossy().into_owned();
    assert_eq!(user["exec"]["env"], json!([{"name": "JOBPASS_TOKEN_FILE", "value": file}]));
    let script = format!("JOBPASS_TOKEN_FILE={file} jobpass credential >out.kubeconfig");
    let before = world.requests().len();
    job.shell("sh", &script).succeed();
    assert_eq!(world.requests().len(), before, "it never asks the API server");
    let credential: Value =
        serde_json::from_str(&fs::read_to_string(job.workspace().join("out.kubeconfig")).expect("written")).expect("JSON");
    assert_eq!((&credential["kind"], &credential["apiVersion"]), (&json!("ExecCredential"), &json!("client.authentication.k8s.io/v1")));
    assert_eq!(credential["status"]["token"], token.as_str());
    let ends: jiff::Timestamp = credential["status"]["expirationTimestamp"].as_str().expect("a time").parse().expect("RFC 3339");
    let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3300..=3601).contains(&left), "{left}");
    // A client that reads the kubeconfig runs it, where there is such a client.
    let copy = job.workspace().join("out.kubeconfig");
    doors::write(&copy, &config.to_string().replace("\"jobpass\"", &format!("{:?}", env!("CARGO_BIN_EXE_jobpass"))));
    if let Some((code, out, err)) = world.kubectl(&copy, &["auth", "whoami"]) {
        assert_eq!(code, 0, "{out}{err}");
    }
    ended(&job, holding);
}

#[test]
fn a_credential_that_there_is_none_of_is_said() {
    let world = World::new();
    let job = Job::tekton(&world);
    assert_snapshot!("credential_without_a_pass", credential(&job).run().transcript());
    doors::write(&job.base().join("token"), "hunter2 is no token");
    assert_snapshot!("credential_of_something_else", credential(&job).run().transcript());
    let local = Job::local(&world);
    assert_snapshot!("credential_of_nowhere", local.jobpass().arg("credential").run().transcript());
    // On a CI system that is not known, too: whoever runs it has no say in its flags.
    local.set("CI", "true");
    assert_eq!(
        local.jobpass().arg("credential").env("JOBPASS_TOKEN_FILE", local.base().join("none")).run().end,
        crate::harness::End::Code(1)
    );
}

#[test]
fn a_hold_that_fails_says_so_to_those_who_wait() {
    let world = World::new();
    let job = Job::tekton(&world);
    world.take_away("create", "serviceaccounts/token");
    let waiting = wait(&job).start();
    let ran = hold(&job).run();
    assert_snapshot!("hold_refused", ran.transcript());
    assert_snapshot!("wait_for_a_hold_that_was_refused", waiting.wait().said());
    job.assert_nothing_left();
    assert_eq!(names(&job), ["error"]);
    // What is wrong with its settings they learn as well.
    job.jobpass().args(["hold", "--dir", &job.base().to_string_lossy()]).run().assert().code(2);
    assert!(read(&job, "error").contains("(or `JOBPASS_SERVICE_ACCOUNT`) is missing"), "{}", read(&job, "error"));
}

#[test]
fn nobody_waits_for_ever() {
    let world = World::new();
    let job = Job::tekton(&world);
    let late = job.jobpass().args(["wait", "--timeout", "1s"]);
    assert_snapshot!("wait_for_nobody", late.run().transcript());
    let elsewhere = job.directory().join("not-mounted").to_string_lossy().into_owned();
    assert_snapshot!("wait_without_a_volume", job.jobpass().args(["wait", "--timeout", "1s", "--dir", &elsewhere]).run().transcript());
    assert_snapshot!("check_without_a_pass", job.jobpass().args(["hold", "--check"]).run().transcript());
    assert_snapshot!("check_by_a_variable", hold(&job).env("JOBPASS_CHECK", "true").run().transcript());
    let local = Job::local(&world);
    assert_snapshot!("wait_nowhere", local.jobpass().arg("wait").run().transcript());
}

#[test]
fn a_lease_that_somebody_deletes_is_noticed_and_told() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = held(&job);
    world.tell_of(&job.lease(), "jobpass", "revoked by alice: the token was in a log");
    world.delete_secret(&job.lease());
    // It is noticed within a minute; or when the next token is due, as now.
    holding.signal(Signal::USR1);
    let ran = holding.wait();
    ran.assert().code(1);
    assert_snapshot!("the_lease_was_deleted", ran.said());
    assert_eq!(names(&job), ["error", "receipt.json"]);
    assert!(read(&job, "error").contains("revoked by alice"), "{}", read(&job, "error"));
    job.assert_nothing_left();
    // Without an Event, or the right to read them, that is all the same.
    let holding = held(&job);
    world.delete_secret(&job.lease());
    holding.signal(Signal::USR1);
    holding.wait().assert().code(1);
    job.assert_nothing_left();
}

#[test]
fn a_service_account_that_is_deleted_is_told() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = held(&job);
    world.delete_service_account();
    holding.signal(Signal::USR1);
    let ran = holding.wait();
    ran.assert().code(1);
    assert_snapshot!("the_service_account_was_deleted", ran.said());
    job.assert_nothing_left();
}

#[test]
fn an_identity_that_expires_meanwhile_is_told_and_the_pass_goes_on_to_its_end() {
    let world = World::sandbox("the answers are scripted");
    // The first refusal comes after four fifths of that, the last one at the end.
    world.on_sandbox().max_token_expiration(10);
    let job = Job::tekton(&world);
    let no = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401});
    world.on_sandbox().fault(Fault::on("POST", "/token").nth(2).answer(401, no).always());
    let ran = hold(&job).run();
    ran.assert().code(1);
    assert_snapshot!("the_identity_has_expired", ran.said());
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_has_lived_as_long_as_it_may_is_ended() {
    let world = World::sandbox("a real server grants no token for seconds");
    let job = Job::tekton(&world);
    world.on_sandbox().max_token_expiration(2);
    let holding = hold(&job).args(["--max-lifetime", "10m"]).start();
    is_ready(&job);
    // Ten minutes pass at once for the server, which says so with the next answer.
    world.on_sandbox().advance(Duration::from_secs(595));
    let ran = holding.wait();
    ran.assert().code(1);
    assert!(ran.stderr.contains("has lived as long as it may"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn whatever_becomes_of_the_files_the_pass_is_ended() {
    type Harm = fn(&Path, &Path);
    let harms: [Harm; 4] = [
        |base, _| fs::remove_dir_all(base.join("jobpass")).expect("removed"),
        |_, place| doors::write(&place.join("lease.json"), "{\"apiVersion\": \"jobpass.dev/v1\"}"),
        |base, _| {
            for name in ["token", "kubeconfig", "ready"] {
                fs::remove_file(base.join(name)).expect("removed");
                doors::make_directory(&base.join(name));
            }
        },
        |_, place| {
            let lease = fs::read_to_string(place.join("lease.json")).expect("there");
            let mut lease: Value = serde_json::from_str(&lease).expect("JSON");
            lease["server"] = json!("https://127.0.0.1:1");
            doors::write(&place.join("lease.json"), &lease.to_string());
        },
    ];
    for harm in harms {
        let world = World::new();
        let job = Job::tekton(&world);
        let holding = held(&job);
        let token = read(&job, "token");
        world.secret(&token);
        harm(&job.base(), &job.place());
        holding.signal(Signal::TERM);
        holding.wait().assert().success();
        assert_eq!(world.secrets(), [""; 0]);
        world.assert_dies(&token);
    }
}

#[test]
fn a_hold_that_was_killed_is_ended_by_revoke_and_taken_over_by_the_next() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = held(&job);
    let first = read(&job, "token");
    world.secret(&first);
    holding.signal(Signal::KILL);
    holding.wait();
    assert_eq!(job.jobpass().args(["hold", "--check"]).run().end, crate::harness::End::Code(1), "nobody keeps it any more");
    // As kubelet does with a native sidecar.
    let holding = held(&job);
    eventually("the pass is another one", || fs::read_to_string(job.base().join("token")).is_ok_and(|token| token != first));
    world.assert_dies(&first);
    let second = read(&job, "token");
    world.secret(&second);
    holding.signal(Signal::KILL);
    holding.wait();
    job.revoke().args(["--service-account", &world.account()]).succeed();
    world.assert_dies(&second);
    job.assert_nothing_left();
    // The links lead nowhere now, and no one takes that for a pass.
    assert_eq!(job.jobpass().args(["hold", "--check"]).run().end, crate::harness::End::Code(1));
    ended(&job, held(&job));
}

#[test]
fn the_end_of_an_earlier_pass_is_not_taken_for_that_of_the_next() {
    let world = World::new();
    let job = Job::tekton(&world);
    ended(&job, held(&job));
    assert_eq!(names(&job), ["receipt.json"]);
    let waiting = wait(&job).start();
    let holding = held(&job);
    waiting.wait().assert().success();
    ended(&job, holding);
}

#[test]
fn a_pass_that_is_lost_in_its_last_minutes_is_noticed() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = hold(&job).args(["--max-lifetime", "10m"]).start();
    holding.said("pass for service account");
    world.delete_secret(&job.lease());
    // Or within a minute. On a real server its cache takes the token for ten seconds more.
    let asked = std::time::Instant::now();
    while job.base().join("ready").exists() {
        assert!(asked.elapsed() < Duration::from_secs(30), "nobody notices");
        holding.signal_if_there(Signal::USR1);
        std::thread::sleep(Duration::from_millis(200));
    }
    let ran = holding.wait();
    ran.assert().code(1);
    assert!(ran.stderr.contains("the API server does not accept the token any more"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_revocation_that_a_lock_hides_is_noticed() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = held(&job);
    let account = world.account();
    let revoke = ["leases", "revoke", "-s", &account, "--reason", "INC-4711", "--lock", "1h", "--yes"];
    Desk::new(&world).jobpass().args(revoke).succeed();
    // A policy refuses the renewal before anybody looks for the lease. On a real server its cache takes the token for ten seconds more.
    let asked = std::time::Instant::now();
    while job.base().join("ready").exists() {
        assert!(asked.elapsed() < Duration::from_secs(30), "nobody notices");
        holding.signal_if_there(Signal::USR1);
        std::thread::sleep(Duration::from_millis(200));
    }
    let ran = holding.wait();
    ran.assert().code(1);
    assert!(ran.stderr.contains("revoked at ") && ran.stderr.contains("\"INC-4711\""), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_second_hold_leaves_what_the_first_one_shows() {
    for on in 0..2 {
        let world = World::new();
        let job = if on == 0 { Job::tekton(&world) } else { Job::local(&world) };
        let holding = held(&job);
        let before = (names(&job), read(&job, "token"));
        world.secret(&before.1);
        let second = hold(&job).run();
        second.assert().code(1);
        assert!(second.stderr.contains("another `jobpass hold` shows its pass"), "{}", second.transcript());
        assert_eq!((names(&job), read(&job, "token")), before);
        wait(&job).succeed();
        ended(&job, holding);
    }
}

#[test]
fn a_clock_that_is_set_forward_ends_no_pass_that_is_held() {
    let world = World::new();
    let job = Job::tekton(&world);
    let holding = held(&job);
    job.shell("sh", &format!("touch -d '2020-01-01' '{}'", job.place().join("token").display())).succeed();
    wait(&job).succeed();
    job.jobpass().args(["hold", "--check"]).succeed();
    job.shell("sh", &format!("jobpass credential --dir {} >out.kubeconfig", job.base().display())).succeed();
    holding.signal(Signal::KILL);
    holding.wait();
    // Nobody vouches for it any more.
    credential(&job).run().assert().code(1);
    job.revoke().args(["--service-account", &world.account()]).succeed();
    job.assert_nothing_left();
}

#[test]
fn names_of_its_own_are_no_signs_and_no_marks() {
    let world = World::new();
    let job = Job::tekton(&world);
    let own = |name: &str| job.base().join(name).to_string_lossy().into_owned();
    for (flag, name) in
        [("--ready", "error"), ("--ready", "token"), ("--ready", "receipt.json"), ("--until", "token"), ("--until", "ready")]
    {
        let ran = hold(&job).args([flag, &own(name)]).run();
        ran.assert().code(2);
        assert!(ran.requests.is_empty() && ran.stderr.contains("`jobpass hold` itself"), "{}", ran.transcript());
        // Who waits learns of it as well.
        assert!(read(&job, "error").contains("`jobpass hold` itself"));
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_nothing_up() {
    let world = World::new();
    let job = Job::tekton(&world);
    let out = job.directory().join("out");
    // A pipe takes 64 KiB, and then not one line of ours.
    let script = format!(
        "{{ head -c 65536 /dev/zero >&2; echo $$ >pid; exec jobpass hold -s {} --until {}; }} 2>&1 >/dev/null | \
         {{ n=0; until test -e over || [ $((n+=1)) -gt 3000 ]; do sleep 0.02; done; tr -d '\\000'; }}",
        world.account(),
        out.display()
    );
    let running = job.shell("sh", &script).start();
    is_ready(&job);
    doors::write(&out, "");
    eventually("the lease is gone", || world.secrets().is_empty());
    eventually("the receipt is there", || job.base().join("receipt.json").exists());
    doors::write(&job.workspace().join("over"), "");
    running.wait();
    job.assert_nothing_left();
}

#[test]
fn somebody_elses_files_are_left_alone() {
    let world = World::new();
    let job = Job::tekton(&world);
    doors::write(&job.base().join("token"), "mine");
    let ran = hold(&job).run();
    assert_snapshot!("the_names_are_taken", ran.transcript());
    assert_eq!((names(&job), read(&job, "token").as_str()), (vec!["token".to_owned()], "mine"));
}

#[test]
fn the_mark_may_be_elsewhere() {
    let world = World::new();
    let job = Job::tekton(&world);
    let ready = job.directory().join("is-ready").to_string_lossy().into_owned();
    let holding = hold(&job).args(["--ready", &ready]).start();
    eventually("the pass is ready", || Path::new(&ready).exists());
    job.jobpass().args(["wait", "--ready", &ready]).succeed();
    job.jobpass().args(["hold", "--check", "--ready", &ready]).succeed();
    assert!(!job.base().join("ready").exists());
    ended(&job, holding);
    assert!(!Path::new(&ready).exists());
}

#[test]
fn others_of_the_group_may_read_what_is_shown_and_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let job = Job::tekton(&world);
    doors::set_mode(&job.base(), 0o2777);
    let holding = hold(&job).args(["--file-mode", "0640"]).start();
    is_ready(&job);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode(&job.place()), mode(job.place().parent().expect("one"))), (0o2750, 0o2750));
    for name in ["token", "kubeconfig", "ca.crt", "curlrc", "env", "expires-at"] {
        assert_eq!(mode(&job.base().join(name)), 0o640, "{name}");
    }
    assert_eq!((mode(&job.base().join("ready")), mode(&job.place().join("lease.json"))), (0o644, 0o600));
    ended(&job, holding);
}

#[test]
fn a_network_that_comes_late_is_waited_for() {
    let world = World::sandbox("the server is there later");
    let job = Job::tekton(&world);
    world.relay().lose_server();
    let holding = hold(&job).start();
    // `request` would have given up: nobody reads what a sidecar says.
    std::thread::sleep(Duration::from_secs(6));
    world.relay().find_server();
    is_ready(&job);
    // At a renewal,
    let before = read(&job, "token");
    world.relay().lose_server();
    holding.signal(Signal::USR1);
    std::thread::sleep(Duration::from_secs(3));
    world.relay().find_server();
    eventually("the token is renewed", || read(&job, "token") != before);
    // and at the end.
    world.relay().lose_server();
    holding.signal(Signal::TERM);
    std::thread::sleep(Duration::from_secs(11));
    world.relay().find_server();
    let ran = holding.wait();
    ran.assert().success();
    job.assert_nothing_left();
}

#[test]
fn a_volume_that_is_not_mounted_is_named() {
    let world = World::new();
    let job = Job::tekton(&world);
    // Nobody makes a directory there: as on a read-only root without the volume.
    job.set("JOBPASS_DIR", "/proc/jobpass");
    assert_snapshot!(
        "a_volume_that_is_not_mounted",
        job.jobpass().args(["hold", "--service-account", &world.account()]).run().transcript()
    );
    let request = job.request().run();
    assert!(request.stderr.contains("hint: mount an `emptyDir` with `medium: Memory` there"), "{}", request.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_clocks_of_pod_and_server_may_differ() {
    for world in [World::behind(Duration::from_hours(3)), World::ahead(Duration::from_hours(3))] {
        let job = Job::tekton(&world);
        // By the clock that the other one has the identity's token would be over, or not valid yet.
        let holding = held(&job);
        wait(&job).succeed();
        job.jobpass().args(["hold", "--check"]).succeed();
        job.shell("sh", &format!("jobpass credential --dir {} >out.kubeconfig", job.base().display())).succeed();
        let asked = fs::read_to_string(job.workspace().join("out.kubeconfig")).expect("written");
        let credential: Value = serde_json::from_str(&asked).expect("JSON");
        let ends: jiff::Timestamp = credential["status"]["expirationTimestamp"].as_str().expect("a time").parse().expect("RFC 3339");
        let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((3300..=3601).contains(&left), "a client compares it with its own clock: {left}");
        let before = read(&job, "token");
        holding.signal(Signal::USR1);
        eventually("the token is renewed", || read(&job, "token") != before);
        ended(&job, holding);
    }
}

#[test]
fn no_reader_ever_sees_half_a_file() {
    let world = World::sandbox("many renewals take a while on a real server");
    let job = Job::tekton(&world);
    let holding = held(&job);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = ["token", "kubeconfig", "expires-at", "ready"]
            .map(|name| {
                let (path, over) = (job.base().join(name), &over);
                scope.spawn(move || {
                    let mut reads = 0;
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let text = fs::read_to_string(&path).expect("it is always there");
                        let is_whole = match name {
                            "token" => text.starts_with("eyJ") && text.matches('.').count() == 2,
                            "kubeconfig" => serde_json::from_str::<Value>(&text).is_ok(),
                            _ => text.ends_with('\n'),
                        };
                        assert!(is_whole, "{name}: {} bytes", text.len());
                        reads += 1;
                    }
                    reads
                })
            })
            .into_iter()
            .collect();
        for _ in 0..50 {
            let before = read(&job, "token");
            holding.signal(Signal::USR1);
            eventually("the token is renewed", || read(&job, "token") != before);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().expect("it has seen whole files only") > 10));
    });
    ended(&job, holding);
}

#[test]
fn a_lock_that_stays_beside_the_kubeconfig_is_told_however_often_the_token_is_renewed() {
    let world = World::sandbox("many renewals take a while on a real server");
    let job = Job::tekton(&world);
    let holding = held(&job);
    doors::write(&job.place().join("kubeconfig.lock"), "");
    // More often than it takes to give up on the lock for one token.
    eventually("it is told", || {
        holding.signal(Signal::USR1);
        std::thread::sleep(Duration::from_millis(100));
        holding.so_far().contains("the renewed token is not in the kubeconfig")
    });
    ended(&job, holding);
}

#[test]
fn a_pod_that_nothing_names_is_refused() {
    let world = World::new();
    let job = Job::local(&world);
    job.set("KUBERNETES_SERVICE_HOST", "10.96.0.1");
    assert_snapshot!("a_pod_that_nothing_names", hold(&job).run().transcript());
    // With its uid it is a sidecar of Tekton's, though nothing here is below Tekton's entrypoint: a directory on disk is refused.
    job.set("JOBPASS_POD_UID", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f50");
    let ran = hold(&job).run();
    assert!(ran.stderr.contains("is not in memory"), "{}", ran.transcript());
}
