//! What a job gets: outputs, variables, files, JSON, and what it is told of a pass that is not as it asked.

use std::{fs, os::unix::fs::PermissionsExt as _};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::Value;

use crate::harness::{Command, End, Job, World, doors, records};

#[test]
fn json_on_every_platform_is_the_pass_without_its_token() {
    let world = World::new();
    for job in Job::all(&world) {
        let request = job.request().args(["--output", "json"]).succeed();
        // On GitHub the masks and the talk are on stderr, which the runner reads too; stdout is JSON alone.
        let pass: Value = serde_json::from_str(&request.stdout).expect("JSON alone");
        assert_eq!((pass["kind"].as_str(), pass["apiVersion"].as_str()), (Some("Pass"), Some("jobpass.dev/v1")));
        assert_eq!(pass["lease"], format!("{}/{}", world.namespace(), job.lease()));
        assert_eq!(pass["tokenFile"], job.place().join("token").to_str().expect("UTF-8"));
        assert_eq!(pass["envFile"], job.place().join("env").to_str().expect("UTF-8"), "{pass}");
        assert!(pass.get("token").is_none());
        job.revoke().succeed();
    }
}

#[test]
fn json_of_a_pass_and_of_its_receipt() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().args(["-o", "json"]).succeed();
    assert_snapshot!("json_of_a_pass", world.plain(&request.stdout));
    let revoke = job.revoke().args(["-o", "json"]).succeed();
    assert_snapshot!("json_of_a_receipt", world.plain(&revoke.stdout));
}

#[test]
fn json_of_a_failure_has_the_code_that_its_cause_has() {
    let world = World::new();
    let other = "https://127.0.0.1:1";
    for (code, exit, flags, variables) in [
        ("usage.value", 2, &["--ttl", "soon"][..], &[][..]),
        ("usage.value", 2, &[][..], &[("JOBPASS_TTL", "soon"), ("JOBPASS_OUTPUT", "json")][..]),
        ("usage.secret", 2, &["--job-key", "sha256~0123456789abcdefghijklmnopqrstuvwxyzABCDEF"][..], &[][..]),
        ("network.unreachable", 1, &["--server", other, "--timeout", "1s", "--insecure-skip-tls-verify"][..], &[][..]),
    ] {
        let job = Job::gitlab(&world);
        let json = if variables.is_empty() { vec!["--output", "json"] } else { vec![] };
        let request = flags.iter().copied().chain(json).fold(job.request(), Command::arg);
        let ran = variables.iter().fold(request, |request, (name, value)| request.env(name, value)).run();
        let failure: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("one line of JSON: {}", ran.transcript()));
        assert_eq!(
            (failure["kind"].as_str(), failure["code"].as_str(), ran.end),
            (Some("Failure"), Some(code), End::Code(exit)),
            "{failure}"
        );
        assert!(ran.stderr.contains(&format!("error: {}\n", failure["message"].as_str().expect("a text"))), "{}", ran.transcript());
    }
}

#[test]
fn json_of_a_right_that_is_missing() {
    let world = World::new();
    world.take_away("create", "secrets");
    let job = Job::gitlab(&world);
    let ran = job.request().args(["--output", "json"]).run();
    assert_snapshot!(world.plain(&ran.stdout));
}

#[test]
fn json_of_a_pass_that_could_not_be_ended_has_the_code_in_the_receipt_alone() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    world.take_away("delete", "secrets");
    let ran = job.revoke().args(["--output", "json", "--strict"]).run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    let receipt: Value = serde_json::from_str(&ran.stdout).expect("one line of JSON");
    assert_eq!((receipt["kind"].as_str(), receipt["proof"]["code"].as_str()), (Some("Receipt"), Some("api.forbidden.rbac")), "{receipt}");
}

#[test]
fn a_receipt_is_appended_to_a_file() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.workspace().join("out-receipts.jsonl");
    for _ in 0..2 {
        job.request().succeed();
        job.revoke().arg("--receipt").arg(path.to_string_lossy()).succeed();
    }
    let receipts = fs::read_to_string(path).expect("written");
    assert_eq!(receipts.lines().count(), 2);
    for line in receipts.lines() {
        let receipt: Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!((receipt["kind"].as_str(), receipt["proof"]["state"].as_str()), (Some("Receipt"), Some("dead")), "{receipt}");
    }
}

#[test]
fn another_variable_or_none() {
    let world = World::new();
    let job = Job::github(&world);
    let named = job.request().args(["--variable", "PROD_TOKEN"]).succeed();
    let exported = records(&job.file_command("GITHUB_ENV"));
    assert_eq!(exported[0], ("PROD_TOKEN".to_owned(), job.token()));
    assert!(!named.transcript().contains("OPENSHIFT_TOKEN"));
    job.revoke().succeed();

    let job = Job::github(&world);
    job.request().arg("--no-variable").succeed();
    assert_eq!(records(&job.file_command("GITHUB_ENV"))[0].0, "KUBECONFIG");
    // It is an output all the same, which only the steps that name it see.
    assert!(records(&job.file_command("GITHUB_OUTPUT")).contains(&("token".to_owned(), job.token())));
    job.revoke().succeed();

    let job = Job::gitlab(&world);
    let request = job.request().arg("--no-variable").succeed();
    job.enter(&request);
    assert_eq!(job.get("OPENSHIFT_TOKEN"), None);
    assert!(job.get("KUBECONFIG").is_some());
    job.revoke().succeed();
}

#[test]
fn no_kubeconfig() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().arg("--no-kubeconfig").succeed();
    job.enter(&request);
    assert_eq!(job.get("KUBECONFIG"), Some(job.identity_file().to_string_lossy().into_owned()), "the job's own stays");
    assert!(!job.place().join("kubeconfig").exists());
    job.revoke().succeed();
}

#[test]
fn a_kubeconfig_where_it_was_asked_for_works_there_and_goes_with_the_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.directory().join("out.kubeconfig");
    let request = job.request().args(["--target-namespace", "prod", "--kubeconfig-out"]).arg(path.to_string_lossy()).succeed();
    let config: Value = serde_json::from_str(&fs::read_to_string(&path).expect("written")).expect("JSON");
    assert_eq!(config["contexts"][0]["context"]["namespace"], "prod");
    // It stands alone, so that it must name the token's file in full.
    assert_eq!(config["users"][0]["user"]["tokenFile"], job.place().join("token").to_str().expect("UTF-8"));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    job.enter(&request);
    assert_eq!(job.get("KUBECONFIG").as_deref(), path.to_str());
    // Asked for again it is replaced: it is one of ours.
    job.request().arg("--kubeconfig-out").arg(path.to_string_lossy()).succeed();
    job.revoke().succeed();
    assert!(!path.exists());
    job.assert_nothing_left();
}

#[test]
fn a_kubeconfig_that_another_program_wrote_meanwhile_stays() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.directory().join("out.kubeconfig");
    job.request().arg("--kubeconfig-out").arg(path.to_string_lossy()).succeed();
    doors::write(&path, "apiVersion: v1\nkind: Config\n");
    job.revoke().succeed();
    assert!(path.exists());
}

#[test]
fn a_group_may_read_where_it_was_asked_for() {
    let world = World::new();
    let job = Job::tekton(&world);
    job.request().args(["--file-mode", "0640"]).succeed();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let place = job.place();
    assert_eq!((mode(&place), mode(place.parent().expect("a base"))), (0o750, 0o750));
    assert_eq!((mode(&place.join("token")), mode(&place.join("kubeconfig"))), (0o640, 0o640));
    assert_eq!(mode(&place.join("lease.json")), 0o600, "what revokes is nobody else's business");
    job.revoke().succeed();
}

#[test]
fn a_lifetime_that_was_asked_for_is_granted() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().args(["--ttl", "20m", "-o", "json"]).succeed();
    let pass: Value = serde_json::from_str(&request.stdout).expect("JSON");
    let ends: jiff::Timestamp = pass["expiresAt"].as_str().expect("a time").parse().expect("RFC 3339");
    let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((1140..=1200).contains(&left), "{left}");
    job.revoke().succeed();
}

#[test]
fn a_token_that_lives_as_long_as_its_lease_is_not_said_to_be_renewed() {
    let world = World::new();
    let job = Job::local(&world);
    let lines = |lifetime| {
        let ran = job.run_with(["--ttl", "10m", "--max-lifetime", lifetime], ":").succeed();
        ran.stderr.lines().filter(|line| line.contains("renewed until")).count()
    };
    assert_eq!((lines("10m"), lines("20m")), (0, 1));
}

#[test]
fn a_lifetime_that_the_server_shortens_is_told_with_both_figures() {
    let world = World::sandbox("the real server's limit is a flag that all scenarios share");
    world.on_sandbox().max_token_expiration(1800);
    let job = Job::local(&world);
    let request = job.request().succeed();
    assert_snapshot!(request.said());
    job.revoke().succeed();
}

#[test]
fn another_audience_is_warned_of() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let request = job.request().args(["--audience", "https://kubernetes.default.svc", "--audience", "vault"]).succeed();
    assert_snapshot!(request.said());
    let claims = jobpass::jwt::Claims::of(&jobpass::secret::Secret::new(job.token())).expect("a JWT");
    assert_eq!(claims.audiences(), ["https://kubernetes.default.svc", "vault"]);
    job.revoke().succeed();
}

#[test]
fn a_list_of_audiences_in_a_variable() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().env("JOBPASS_AUDIENCE", "https://kubernetes.default.svc\nvault registry").succeed();
    let claims = jobpass::jwt::Claims::of(&jobpass::secret::Secret::new(job.token())).expect("a JWT");
    assert_eq!(claims.audiences(), ["https://kubernetes.default.svc", "vault", "registry"]);
    job.revoke().succeed();
}

#[test]
fn on_gitlab_masks_are_printed_only_where_the_runner_takes_them() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("RUNNER_TEMP_PROJECT_DIR", job.base());
    let without = job.request().succeed();
    assert!(!without.stderr.contains("::add-mask::"), "they would publish the token");
    job.revoke().succeed();
    // An earlier job's, or the script's: nobody reads our output.
    doors::write(&job.base().join("masking.db"), "");
    let left = job.request().succeed();
    assert!(!left.stderr.contains("::add-mask::") && left.stderr.contains("nothing masks"), "{}", left.transcript());
    job.revoke().succeed();
    // The runner's own, around every shell; and others that are called by words of it.
    let request = format!("jobpass request -s {}\nexit $?\n", world.account());
    for script in ["proxy-exec", "other"] {
        doors::write(&job.workspace().join(script), &request);
    }
    for helper in ["gitlab-runner-helper", "gitlab-runner", "helper"] {
        std::os::unix::fs::symlink("/bin/sh", job.workspace().join(helper)).expect("a link");
    }
    for call in ["./helper proxy-exec", "./gitlab-runner other", "./gitlab-runner other proxy-exec"] {
        let others = job.shell("sh", &format!("{call}; exit $?")).succeed();
        assert!(!others.stderr.contains("::add-mask::"), "{call} {}", others.transcript());
        job.revoke().succeed();
    }
    for call in ["./gitlab-runner-helper proxy-exec --temp-dir x", "./gitlab-runner proxy-exec"] {
        fs::remove_file(job.base().join("masking.db")).expect("it is there");
        let without = job.shell("sh", &format!("{call}; exit $?")).succeed();
        assert!(!without.stderr.contains("::add-mask::"), "{call} {}", without.transcript());
        job.revoke().succeed();
        doors::write(&job.base().join("masking.db"), "");
        let with = job.shell("sh", &format!("{call}; exit $?")).succeed();
        assert_eq!(with.stderr.lines().filter(|line| line.starts_with("::add-mask::")).count(), 10, "{call} {}", with.transcript());
        assert!(!with.stderr.contains("nothing masks"));
        assert!(!with.stdout.contains("::add-mask::"), "stdout is the env file's path");
        job.revoke().succeed();
    }
}

#[test]
fn help_shows_every_setting_and_no_value() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    job.set("JOBPASS_TTL", "11m");
    let help = job.jobpass().arg("--help").succeed();
    let (_, verbs) = help.stdout.split_once("Commands:\n").expect("a list of the verbs");
    let verbs: Vec<_> = verbs.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md")).expect("it is in the repository");
    assert!(verbs.len() >= 5, "{verbs:?}");
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        assert!(page.contains(&format!("| `{verb}` |")), "docs/commands.md says nothing of {verb}");
        let help = job.jobpass().args([verb, "--help"]).succeed();
        assert!(!help.stdout.contains("11m"));
        assert_snapshot!(format!("help_{verb}"), help.stdout);
    }
    assert_snapshot!("help", help.stdout);
}

#[test]
fn the_version_says_what_was_built_of_what() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let shown = |line: &str| {
        let shown = line.split(' ').fold(job.jobpass(), Command::arg).succeed().stdout;
        // By whom, for which machine and of which commit these tests were built.
        let places = [
            (r"\((source|ci|release), [a-z0-9_-]+(, commit [0-9a-f]{40})?\)", "(BUILT, TARGET, COMMIT)"),
            (r#""built":"(source|ci|release)""#, r#""built":"BUILT""#),
            (r#""target":"[a-z0-9_-]+""#, r#""target":"TARGET""#),
            (r#""commit":("[0-9a-f]{40}"|null)"#, r#""commit":"COMMIT""#),
        ];
        places.iter().fold(shown, |text, (place, word)| Regex::new(place).expect("valid").replace(&text, *word).into_owned())
    };
    assert_snapshot!("version", shown("--version"));
    assert_snapshot!("version_json", shown("--version -o json"));
    for line in ["-V", "version", "--version -o text", "--output=text version"] {
        assert_eq!(shown(line), shown("--version"), "{line}");
    }
    for line in ["-o json --version", "version --output json", "--version -ojson", "-V -o=json"] {
        assert_eq!(shown(line), shown("--version -o json"), "{line}");
    }
    let refused = job.jobpass().args(["--version", "-o", "yaml"]).run();
    assert_eq!(refused.end, End::Code(2));
    assert_snapshot!("version_in_another_format", refused.transcript());
}
