//! `curl -K "$JOBPASS_CURL"`: the configuration that a pass makes for curl, read by the real curl where the machine has it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use insta::assert_snapshot;

use crate::harness::{Job, World, doors};

/// Prints the status of an answer.
const ASK: &str = "curl -sS -o /dev/null -w '%{http_code}\\n' -K \"$JOBPASS_CURL\" \"$JOBPASS_PASS_SERVER/version\"";

/// `.ci/run` installs it; `cargo test` alone needs nothing.
fn has_curl() -> bool {
    Path::new("/usr/bin/curl").exists()
}

#[test]
fn curl_asks_as_the_pass_on_every_platform_until_its_end() {
    let world = World::new();
    for job in Job::all(&world) {
        job.enter(&job.request().succeed());
        let [config, authority] = ["JOBPASS_CURL", "JOBPASS_PASS_CA_FILE"].map(|name| job.get(name).expect("exported"));
        assert_eq!(fs::metadata(&config).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&authority).expect("there").trim(), world.ca_pem().trim());
        assert_eq!(job.get("KUBE_CONFIG_PATH"), job.get("KUBECONFIG"));
        let text = fs::read_to_string(&config).expect("there");
        assert!(text.contains(&format!("header = \"Authorization: Bearer {}\"\n", job.token())));
        assert!(text.contains(&format!("cacert = \"{authority}\"\n")));
        if has_curl() {
            assert_eq!(job.shell("sh", ASK).succeed().stdout, "200\n");
            let run = job.run_with(["--job-key", "other"], &format!("{ASK}; cat \"$JOBPASS_CURL\"")).succeed();
            assert!(run.stdout.starts_with("200\n") && run.stdout.contains("\nheader = \"Authorization: Bearer ***\"\n"), "{}", run.stdout);
        }
        job.revoke().succeed();
        assert!(!Path::new(&config).exists() && !Path::new(&authority).exists());
        if has_curl() {
            let after = job.shell("sh", ASK).run();
            assert!(!after.is_success() && !after.stdout.contains("200"), "{}", after.transcript());
        }
        job.assert_nothing_left();
    }
}

#[test]
fn it_has_the_next_token_at_once_and_a_command_that_has_changed_it_keeps_its_own() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    let job = Job::local(&world);
    let script = "set -eu
until_true() { n=0; until \"$@\"; do n=$((n+1)); [ $n -lt 500 ]; sleep 0.02; done; }
is_renewed() { [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" != \"$former\" ]; }
has_token() { grep -qF \"$(cat \"$JOBPASS_TOKEN_FILE\")\" \"$JOBPASS_CURL\"; }
echo 'max-time = 10' >>\"$JOBPASS_CURL\"
for _ in 1 2; do former=$(cat \"$JOBPASS_TOKEN_FILE\"); until_true is_renewed; until_true has_token; done
grep -cF max-time \"$JOBPASS_CURL\"; stat -c %a \"$JOBPASS_CURL\"; rm \"$JOBPASS_CURL\"
former=$(cat \"$JOBPASS_TOKEN_FILE\"); until_true is_renewed; [ ! -e \"$JOBPASS_CURL\" ]";
    let ran = job.run(script).succeed();
    assert_eq!(ran.stdout, "1\n600\n");
    assert!(!ran.stderr.contains("the renewed token is not"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn one_that_holds_no_token_of_the_pass_any_more_is_left_as_it_is_and_told() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(2);
    let job = Job::local(&world);
    let script = "former=$(cat \"$JOBPASS_TOKEN_FILE\"); echo mine >\"$JOBPASS_CURL\"; n=0
until grep -qF 'is not in the curl' err || [ $((n+=1)) -gt 500 ]; do sleep 0.02; done; cat \"$JOBPASS_CURL\"";
    doors::write(&job.workspace().join("script"), script);
    let call = format!("jobpass run -s {} -- sh script 2>err; cat err >&2", world.account());
    let ran = job.shell("sh", &call).succeed();
    assert_eq!(ran.stdout, "mine\n");
    let said = ran.stderr.lines().find(|line| line.contains("curl")).expect("it is said");
    assert_snapshot!(world.plain(said));
    job.assert_nothing_left();
}

#[test]
fn what_curl_is_told_is_what_kubectl_is_told() {
    if !has_curl() {
        return;
    }
    let world = World::new();
    let job = Job::local(&world);
    let authority = world.relay().authority();
    let asked = |change: &dyn Fn(String) -> String, script: &str| {
        doors::write(&job.identity_file(), &change(world.kubeconfig()));
        // A proxy that nobody listens at: what goes by it fails.
        job.run(script).env("http_proxy", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1,localhost").run().stdout
    };
    assert_eq!(asked(&|text| text, &format!("HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY= {ASK}")), "200\n", "as the pass went, without one");
    // The proxy of the kubeconfig, whatever `NO_PROXY` says: this one is no proxy, and says so.
    let server = format!("server: {}", world.url());
    let proxied = |text: String| text.replace(&server, &format!("{server}\n    proxy-url: http://{authority}"));
    assert_eq!(asked(&proxied, ASK), "");
    // Never in the clear: the token would go to whoever answers.
    let plain = "curl -sS -K \"$JOBPASS_CURL\" http://127.0.0.1:9/ 2>&1 | grep -c 'rotocol'";
    assert_eq!(asked(&|text| text, plain), "1\n");
}

#[test]
fn a_path_with_anything_in_it_is_one_word() {
    let world = World::new();
    let job = Job::local(&world);
    let base = job.directory().join("a \"b\\ c\n'd");
    doors::make_directory(&base);
    job.set("XDG_RUNTIME_DIR", &base);
    let script = if has_curl() { ASK } else { "echo 200" };
    assert_eq!(job.run(script).succeed().stdout, "200\n");
}
