//! The kubeconfig of a pass: for clients of every kind, renewed with the token, and whatever the job's tools write into it stays.

use std::{fs, path::Path};

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{Job, Ran, World, doors};

/// A server whose tokens live two seconds. A real one grants none for less than ten minutes.
fn world() -> World {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    world
}

/// The head of a script: what waits for the next token, for a kubeconfig that has it, and for a moment in which these files lie beside
/// it and no others, as between two renewals. Each gives up after ten seconds. What changes the kubeconfig holds its lock meanwhile, as
/// kubectl does: or the machine would decide which of two writers is the last.
const WAITS: &str = "set -eu
token() { cat \"$JOBPASS_TOKEN_FILE\"; }
until_true() { n=0; until \"$@\"; do n=$((n+1)); [ $n -lt 500 ]; sleep 0.02; done; }
is_renewed() { [ \"$(token)\" != \"$former\" ]; }
renewed() { former=$(token); until_true is_renewed; }
has_token() { t=$(token); grep -qF \"$t\" \"$KUBECONFIG\"; }
lists() { [ \"$(ls \"${KUBECONFIG%/*}\" | tr '\\n' ' ')\" = \"$* \" ]; }
lock() { (set -C; : >\"$KUBECONFIG.lock\") 2>/dev/null; }
locked() { until_true lock; \"$@\"; rm \"$KUBECONFIG.lock\"; }
";

fn run<'w>(job: &'w Job<'w>, script: &str) -> Ran {
    job.run(&format!("{WAITS}{script}")).succeed()
}

fn user(path: &Path) -> Value {
    let config: Value = serde_json::from_str(&fs::read_to_string(path).expect("there")).expect("JSON");
    config["users"][0]["user"].clone()
}

#[test]
fn in_every_form_it_holds_the_token_and_the_whole_path_of_its_file() {
    let world = World::new();
    for job in Job::all(&world) {
        let check = |user: &Value, token: &str| {
            let file = user["tokenFile"].as_str().expect("a path");
            assert!(file.starts_with('/'), "{file}");
            assert_eq!(fs::read_to_string(file).expect("there").trim(), token);
            assert_eq!(user["token"], token);
        };
        job.request().succeed();
        check(&user(&job.place().join("kubeconfig")), &job.token());
        job.revoke().arg("--all").succeed();
        let out = job.directory().join("out.kubeconfig");
        job.request().args(["--kubeconfig-out", &out.to_string_lossy()]).succeed();
        check(&user(&out), &job.token());
        job.revoke().arg("--all").succeed();
        let running = job.run("echo ready; while [ ! -e go ]; do sleep 0.02; done").start();
        running.said("ready");
        check(&user(&job.apart().unwrap_or_else(|| job.place()).join("kubeconfig")), &job.token());
        doors::write(&job.workspace().join("go"), "");
        running.wait();
        job.assert_nothing_left();
    }
}

#[test]
fn a_base_that_is_named_from_the_directory_of_the_job_makes_no_difference() {
    let world = World::new();
    let job = Job::local(&world);
    job.set("XDG_RUNTIME_DIR", "../runner");
    let ran = job.run("cd /; cat \"$KUBECONFIG\"; cat \"$JOBPASS_TOKEN_FILE\"").succeed();
    assert!(ran.stdout.contains("\"tokenFile\": \"/"), "{}", ran.transcript());
    assert!(ran.stdout.ends_with("***"), "{}", ran.transcript());
}

#[test]
fn it_is_renewed_with_the_token() {
    let world = world();
    let job = Job::gitlab(&world);
    let script = "renewed; until_true has_token; renewed; until_true has_token
stat -c %a \"$KUBECONFIG\"; until_true lists ca.crt curlrc kubeconfig token";
    let ran = run(&job, script);
    assert_eq!(ran.stdout, "600\n", "{}", ran.transcript());
    assert!(!ran.stderr.contains("the renewed token is not"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn what_the_job_has_written_into_it_stays() {
    let world = world();
    let job = Job::local(&world);
    // As `oc project`, `oc login` and `kubectl config` leave it: in YAML, with contexts and users of their own; and a comment.
    let script = "old=$(token)
cat >before <<END
apiVersion: v1
# a comment
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://127.0.0.1:1
  name: jobpass
contexts:
- context:
    cluster: jobpass
    namespace: shop
    user: jobpass
  name: jobpass
- context:
    cluster: jobpass
    user: other
  name: mine
current-context: mine
extensions:
- extension: {identity: null, lease: ci/x}
  name: jobpass.dev/pass
- extension: {unknown: [1, on, ~]}
  name: example.com/other
kind: Config
preferences: {colors: true}
users:
- name: jobpass
  user:
    token: $old
    tokenFile: $JOBPASS_TOKEN_FILE
- name: other
  user:
    token: sha256~another-token-of-another-user
END
change() { chmod 640 \"$KUBECONFIG\"; cat before >\"$KUBECONFIG\"; }
locked change
is_as_before() { new=$(token); sed \"s/$old/$new/\" before | cmp -s - \"$KUBECONFIG\"; }
renewed; until_true has_token; until_true is_as_before
stat -c %a \"$KUBECONFIG\"
rm before";
    let ran = run(&job, script);
    assert_eq!(ran.stdout, "640\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn what_programs_write_under_its_lock_while_it_is_renewed_is_not_lost() {
    let world = world();
    let job = Job::local(&world);
    // As client-go does it: the lock is made exclusively, the file truncated and written in place. Who finds the lock gives up, and
    // here tries again. Between two changes there is a moment without a lock, as between two programs, and after a renewal as long a one
    // as jobpass needs: a lock that is always there is another test's.
    let script = "i=0; renewals=0; last=$(token)
change() { text=$(cat \"$KUBECONFIG\"); : >\"$KUBECONFIG\"; printf '%s\\n# %s\\n' \"$text\" $i >\"$KUBECONFIG\"; }
while [ $renewals -lt 3 ] && [ $i -lt 3000 ]; do
  i=$((i+1))
  locked change; sleep 0.02
  now=$(token); [ \"$now\" = \"$last\" ] || { until_true has_token; renewals=$((renewals+1)); last=$now; }
done
until_true has_token
j=0; while [ $j -lt $i ]; do j=$((j+1)); grep -qx \"# $j\" \"$KUBECONFIG\" || echo \"lost: $j\"; done
echo \"$renewals\"";
    let ran = run(&job, script);
    assert_eq!(ran.stdout, "3\n", "{}", ran.transcript());
    assert!(!ran.stderr.contains("the renewed token is not"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_token_that_kubectl_wrote_back_is_renewed_again() {
    let world = world();
    let job = Job::local(&world);
    // It had read the user before the renewal, and writes him when it is over.
    let ran = run(
        &job,
        "back() { cat before >\"$KUBECONFIG\"; }
cp \"$KUBECONFIG\" before; renewed; until_true has_token; locked back; rm before; until_true has_token; echo fine",
    );
    assert_eq!(ran.stdout, "fine\n", "{}", ran.transcript());
}

#[test]
fn a_lock_that_stays_is_told_once_and_not_taken_away() {
    let world = world();
    let job = Job::local(&world);
    let script = "until_true lock; former=$(token); until_true is_renewed; first=$(token)
until_true grep -qF 'the renewed token is not in' err; renewed; renewed
if grep -qF \"$first\" \"$KUBECONFIG\"; then exit 3; fi; [ -e \"$KUBECONFIG.lock\" ]
until_true lists ca.crt curlrc kubeconfig kubeconfig.lock lease.json token
rm \"$KUBECONFIG.lock\"; until_true has_token";
    doors::write(&job.workspace().join("script"), &format!("{WAITS}{script}"));
    let ran =
        job.shell("sh", &format!("jobpass run -s {} -- sh script 2>err; code=$?; cat err >&2; exit $code", world.account())).succeed();
    let said: Vec<_> = ran.stderr.lines().filter(|line| line.contains("kubeconfig")).collect();
    assert_snapshot!(world.plain(&said.join("\n")));
    job.assert_nothing_left();
}

#[test]
fn what_is_no_longer_the_passs_is_left_as_it_is_and_told_once() {
    let world = world();
    let changes = [
        "rm \"$KUBECONFIG\"",
        "echo '{\"users\": []}' >\"$KUBECONFIG\"",
        "echo garbage >other; ln -sf \"$PWD/other\" \"$KUBECONFIG\"",
        "rm \"$KUBECONFIG\"; mkfifo \"$KUBECONFIG\"",
    ];
    let mut said = Vec::new();
    for change in changes {
        let job = Job::local(&world);
        let script = format!(
            "change() {{ {change}; ls -l \"$KUBECONFIG\" >before 2>&1 || :; }}\nlocked change\nuntil_true grep -qF 'the renewed token is not in' err; renewed\n\
             ls -l \"$KUBECONFIG\" 2>&1 | cmp - before; rm -f before other"
        );
        doors::write(&job.workspace().join("script"), &format!("{WAITS}{script}"));
        let ran =
            job.shell("sh", &format!("jobpass run -s {} -- sh script 2>err; code=$?; cat err >&2; exit $code", world.account())).succeed();
        said.extend(ran.stderr.lines().filter(|line| line.contains("kubeconfig")).map(|line| world.plain(line)));
        job.assert_nothing_left();
    }
    assert_snapshot!(said.join("\n"));
}
