//! `doctor`: each finding, by a scenario that raises it and one that does not; and that the pass it tries never stays.

use std::time::Duration;

use insta::assert_snapshot;
use jobpass_sandbox::{Fault, Gate};
use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Command, Desk, End, Job, Ran, World, doors, pages::example};

/// `jobpass doctor` for this world's service account.
fn doctor<'j>(job: &'j Job<'_>) -> Command<'j> {
    job.jobpass().args(["doctor", "--service-account", &job.world.account()])
}

/// How it ends where nothing is found, and where the worst is low, medium or high.
const WELL: i32 = 0;
const LOW: i32 = 11;
const MEDIUM: i32 = 12;
const HIGH: i32 = 13;

/// Runs it as JSON; the checks that are findings, by name, each with its text and what to do. It leaves nothing behind.
fn findings(command: Command<'_>, world: &World, code: i32) -> Vec<(String, String)> {
    let ran = command.args(["--output", "json"]).run();
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
    assert_eq!(leases(world), [""; 0], "{}", ran.transcript());
    let document: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!((&document["apiVersion"], &document["kind"]), (&"jobpass.dev/v1".into(), &"Diagnosis".into()));
    assert!(!ran.stderr.contains("next:"), "{}", ran.transcript());
    let text = |check: &Value, field: &str| world.plain(check[field].as_str().unwrap_or_default());
    let checks = document["checks"].as_array().expect("a list").iter();
    let found = checks.filter(|check| !check["severity"].is_null());
    found.map(|check| (text(check, "id"), format!("{}\n  fix: {}", text(check, "text"), text(check, "fix")))).collect()
}

/// The leases that are left in the namespace.
fn leases(world: &World) -> Vec<String> {
    world.secrets().into_iter().filter(|name| name.starts_with("jobpass-")).collect()
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(id, _)| id.as_str()).collect()
}

/// What a person sees, with words for what differs between servers and runs.
fn seen(ran: &Ran) -> String {
    let mut text = ran.said();
    for (pattern, word) in [
        (r"\d+ ms\b", "N ms"),
        (r"\d+\.\d s\b", "N s"),
        (r"Kubernetes v[0-9.]+", "Kubernetes VERSION"),
        (r"issued by `[^`]*`", "issued by `ISSUER`"),
        (r"ends in \d+ (days|h|min)", "ends in TIME"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, word).into_owned();
    }
    text
}

#[test]
fn a_job_that_is_well_is_told_so_on_every_platform() {
    let world = World::new();
    let mut told = Vec::new();
    for job in Job::all(&world) {
        let ran = doctor(&job).succeed();
        told.push(seen(&ran));
        assert_eq!(world.secrets(), [""; 0]);
        assert!(ran.requests.iter().any(|request| request.ends_with("selfsubjectreviews -> 401")), "{}", ran.transcript());
        job.assert_nothing_left();
    }
    assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_job_with_nothing_stored_is_well_too() {
    let world = World::trusting();
    let (github, _known) = Job::github_with_nothing_stored(&world, &json!({}));
    for job in [github, Job::gitlab_with_nothing_stored(&world, &json!({}))] {
        let ran = doctor(&job).succeed();
        assert!(ran.stdout.contains("its token ends in"), "{}", ran.transcript());
        assert_eq!(world.secrets(), [""; 0]);
    }
}

#[test]
fn the_pass_of_the_job_itself_is_spared() {
    let world = World::new();
    for job in [Job::gitlab(&world), Job::tekton(&world)] {
        let request = job.request().succeed();
        job.enter(&request);
        let token = job.token();
        assert_eq!(doctor(&job).run().end, End::Code(WELL));
        assert!(world.is_live(&token));
        job.revoke().succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn a_program_gets_the_same_as_one_document() {
    let world = World::new();
    let job = Job::local(&world);
    let ran = doctor(&job).args(["-o", "json"]).succeed();
    let document: Value = serde_json::from_str(&ran.stdout).expect("one document");
    let checks = document["checks"].as_array().expect("a list");
    let shown: Vec<_> = checks
        .iter()
        .map(|check| [&check["id"], &check["area"], &check["state"]].map(|part| part.as_str().unwrap_or("?")).join(" "))
        .collect();
    assert_snapshot!(format!("{}\n{}", shown.join("\n"), document["summary"]));
    // One list behind both.
    let table = doctor(&job).succeed();
    assert_eq!(table.stdout.lines().filter(|line| line.starts_with("  ok")).count(), checks.len());
    assert_eq!(doctor(&job).args(["-o", "name"]).succeed().stdout, "");
}

#[test]
fn the_call_itself_can_be_wrong() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let ran = job.jobpass().arg("doctor").run();
    assert_eq!(ran.end, End::Code(2));
    let other = job.jobpass().args(["doctor", "-s", "ci/x", "--timeout", "soon"]).run();
    assert_eq!(other.end, End::Code(2));
    let third = job.jobpass().args(["doctor", "--as-admin", "-n", "../x"]).run();
    assert_eq!(third.end, End::Code(2));
    assert_snapshot!([ran.said(), other.said(), third.said()].join("\n---\n"));
}

#[test]
fn a_server_that_is_not_there_is_no_finding_but_a_failure() {
    let world = World::new();
    let job = Job::local(&world);
    let told: Vec<_> = [
        world.kubeconfig().replace(&world.url(), "https://127.0.0.1:1"),
        world.kubeconfig().replace(&world.url(), &format!("{}/some/path", world.url())),
    ]
    .iter()
    .map(|text| {
        doors::write(&job.identity_file(), text);
        let ran = doctor(&job).args(["--timeout", "3s"]).run();
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        seen(&ran)
    })
    .collect();
    assert_snapshot!(told.join("\n---\n"));
}

#[test]
fn a_credential_that_is_not_taken_is_told_from_a_server_that_is_not_there() {
    let world = World::new();
    let job = Job::local(&world);
    doors::write(&job.identity_file(), &world.kubeconfig_of("nobodys"));
    let ran = doctor(&job).run();
    assert_eq!(ran.end, End::Code(1));
    assert_snapshot!(seen(&ran));
}

#[test]
fn a_certificate_that_is_not_checked_is_found() {
    let world = World::new();
    let job = Job::local(&world);
    let mut config: Value = serde_saphyr::from_str(&world.kubeconfig()).expect("YAML");
    config["clusters"][0]["cluster"] = json!({"server": world.url(), "insecure-skip-tls-verify": true});
    doors::write(&job.identity_file(), &config.to_string());
    let found = findings(doctor(&job), &world, HIGH);
    assert_eq!(names(&found), ["trust-unchecked"]);
    assert_snapshot!(found[0].1);
    assert_eq!(doctor(&job).arg("--exit-zero").run().end, End::Code(WELL));
}

#[test]
fn clocks_that_are_apart_are_found() {
    for world in [World::ahead(Duration::from_mins(5)), World::behind(Duration::from_mins(5))] {
        let found = findings(doctor(&Job::local(&world)), &world, MEDIUM);
        assert_eq!(names(&found), ["clock-skew"]);
    }
}

#[test]
fn an_identity_that_nobody_watches_is_found_with_what_it_could_do() {
    let world = World::unwatched();
    let found = findings(doctor(&Job::local(&world)), &world, HIGH);
    assert_eq!(names(&found), ["identity-unwatched", "policy-missing", "policy-missing", "policy-missing", "policy-missing"]);
    let told: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    assert_snapshot!(told.join("\n"));
}

#[test]
fn an_identity_that_is_the_service_account_itself_is_the_worst() {
    let world = World::new();
    let job = Job::local(&world);
    doors::write(&job.identity_file(), &world.kubeconfig_of(&world.own_token()));
    let found = findings(doctor(&job), &world, HIGH);
    let all = names(&found);
    for id in ["identity-unwatched", "policy-missing", "rights-mint", "rights-secrets"] {
        assert!(all.contains(&id), "{id} in {all:?}");
    }
    // The sandbox has neither token Secrets nor the role `edit`.
    if !world.is_sandbox() {
        for id in ["credential-eternal", "identity-secrets", "identity-mints", "identity-powers", "rights-impersonate", "rights-exec"] {
            assert!(all.contains(&id), "{id} in {all:?}");
        }
        let of = |id: &str| found.iter().find(|(known, _)| known == id).map(|(_, text)| text.clone()).unwrap_or_default();
        assert_snapshot!(
            "the_rights_of_edit",
            ["credential-eternal", "identity-secrets", "identity-mints", "rights-mint"].map(of).join("\n")
        );
    }
}

#[test]
fn a_pass_with_rights_that_outlive_it_is_found() {
    let world = World::new();
    world.own_token();
    let job = Job::local(&world);
    let found = findings(doctor(&job), &world, HIGH);
    let all = names(&found);
    assert!(all.contains(&"rights-mint") && all.contains(&"rights-secrets"), "{all:?}");
    assert!(all.iter().all(|id| id.starts_with("rights-")), "{all:?}");
    let mint = &found.iter().find(|(id, _)| id == "rights-mint").expect("found").1;
    assert!(mint.contains("RoleBinding NS/") && mint.contains("kubectl delete rolebinding"), "{mint}");
    let ran = doctor(&job).args(["-o", "wide"]).run();
    assert!(ran.stdout.contains("RESOURCE") && ran.stdout.contains("serviceaccounts/token"), "{}", ran.transcript());
}

#[test]
fn an_identity_that_may_more_than_it_needs_is_found() {
    let world = World::sandbox("rights are given one by one");
    let job = Job::local(&world);
    for (verb, resource, id) in [
        ("get", "secrets", "identity-secrets"),
        ("create", "serviceaccounts/token", "identity-mints"),
        ("create", "pods", "identity-powers"),
    ] {
        world.on_sandbox().allow(&world.user(), world.namespace(), verb, resource, &[]);
        let found = findings(doctor(&job).arg("--no-pass"), &world, HIGH);
        assert!(names(&found).contains(&id), "{id}");
    }
}

#[test]
fn the_rights_in_another_namespace_are_looked_at_where_it_is_named() {
    let world = World::sandbox("rights are given one by one");
    let pass = format!("system:serviceaccount:{}:deploy-bot", world.namespace());
    world.on_sandbox().allow(&pass, "shop-prod", "create", "pods/exec", &[]);
    let job = Job::local(&world);
    assert_eq!(doctor(&job).run().end, End::Code(WELL));
    let found = findings(doctor(&job).args(["--target-namespace", "shop-prod"]), &world, MEDIUM);
    assert_eq!(names(&found), ["rights-exec"]);
    assert_snapshot!(found[0].1);
}

#[test]
fn what_the_runner_says_of_itself_is_shown() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("CI_JOB_TIMEOUT", "900");
    job.set("CI_RUNNER_VERSION", "18.6.0");
    let ran = doctor(&job).succeed();
    for part in ["the job may take 15m; ", "gitlab-runner 18.6.0", "a pass is granted for 15m"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.transcript());
    }
}

#[test]
fn leases_that_are_left_over_are_found() {
    let age = Duration::from_hours(9 * 24);
    let world = World::behind(age);
    world.put_secret("jobpass-00000000000000000000000000000000", "jobpass.dev/lease", &[]);
    world.on_sandbox().advance(age);
    let desk = Desk::new(&world);
    let ran = desk.jobpass().args(["doctor", "--as-admin", "-n", world.namespace(), "-o", "name"]).run();
    assert_eq!((ran.end, ran.stdout.as_str()), (End::Code(LOW), "leases-left-over\n"), "{}", ran.transcript());
}

#[test]
fn a_right_that_is_missing_is_found_and_no_pass_is_begun() {
    let world = World::new();
    world.take_away("delete", "secrets");
    let job = Job::local(&world);
    let found = findings(doctor(&job), &world, HIGH);
    assert_eq!(names(&found), ["permission-missing"]);
    assert_snapshot!(found[0].1);
}

#[test]
fn a_name_with_a_typing_mistake_is_told_the_right_one() {
    let world = World::new();
    let job = Job::local(&world);
    let typed = || job.jobpass().args(["doctor", "-s", &format!("{}/deploy-bto", world.namespace())]);
    let found = findings(typed(), &world, HIGH);
    assert_eq!(names(&found), ["permission-missing", "account-not-granted"]);
    assert_snapshot!(found[1].1);
    let found = findings(job.jobpass().args(["doctor", "-s", &format!("{}/another-thing", world.namespace())]), &world, HIGH);
    assert!(!found[1].1.contains("did you mean"), "{}", found[1].1);
}

#[test]
fn rights_that_cannot_be_listed_are_not_claimed() {
    let world = World::sandbox("its authorizer lists its rules in part");
    world.on_sandbox().list_rules_in_part();
    let job = Job::local(&world);
    let found = findings(job.jobpass().args(["doctor", "-s", &format!("{}/deploy-bto", world.namespace())]), &world, HIGH);
    assert!(!found[1].1.contains("deploy-bot"), "{}", found[1].1);
    let ran = doctor(&job).succeed();
    assert!(ran.stdout.contains("does not list its rules"), "{}", ran.transcript());
}

#[test]
fn a_service_account_that_is_not_there_is_found() {
    let world = World::new();
    world.delete_service_account();
    let found = findings(doctor(&Job::local(&world)), &world, HIGH);
    assert_eq!(names(&found), ["account-missing"]);
    assert_snapshot!(found[0].1);
}

#[test]
fn a_ttl_that_is_shortened_is_found() {
    let world = World::sandbox("it shortens to ten minutes");
    world.on_sandbox().max_token_expiration(600);
    let found = findings(doctor(&Job::local(&world)), &world, LOW);
    assert_eq!(names(&found), ["ttl-shortened"]);
    assert_snapshot!(found[0].1);
}

#[test]
fn a_pass_that_cannot_be_had_is_found_and_leaves_nothing() {
    let world = World::new();
    // The policy grants an hour at most.
    let found = findings(doctor(&Job::local(&world)).args(["--ttl", "2h"]), &world, HIGH);
    assert_eq!(names(&found), ["pass-failed"]);
    assert_snapshot!(found[0].1);
}

#[test]
fn without_a_pass_nothing_is_made() {
    let world = World::new();
    let job = Job::local(&world);
    let ran = doctor(&job).arg("--no-pass").succeed();
    let made = ran.requests.iter().filter(|request| request.ends_with("-> 201") && !request.contains("/selfsubject")).count();
    assert_eq!(made, 0, "{}", ran.transcript());
    assert!(ran.stdout.contains("no pass was begun: `--no-pass`"), "{}", ran.transcript());
}

#[test]
fn a_job_whose_platform_gives_it_too_little_is_found() {
    let world = World::new();
    let job = Job::github(&world);
    job.unset("GITHUB_ENV");
    job.set("JOBPASS_DIR", job.workspace().join("passes"));
    let found = findings(doctor(&job), &world, HIGH);
    assert_eq!(names(&found), ["job-unfit", "job-unfit"]);
    let told: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    assert_snapshot!(told.join("\n"));
}

#[test]
fn a_question_without_an_answer_does_not_keep_the_pass_alive() {
    let world = World::sandbox("it does not answer");
    world.on_sandbox().fault(Fault::on("POST", "selfsubjectrulesreviews").hang().always());
    let job = Job::local(&world);
    let ran = doctor(&job).args(["--timeout", "6s"]).run();
    assert_eq!(ran.end, End::Code(WELL), "{}", ran.transcript());
    assert!(ran.stdout.contains("-   rights "), "{}", ran.transcript());
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_pass_that_cannot_be_ended_is_found() {
    let world = World::sandbox("a webhook refuses its end");
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets/").webhook_denied("not today").always());
    let job = Job::local(&world);
    let ran = doctor(&job).run();
    assert_eq!(ran.end, End::Code(HIGH), "{}", ran.transcript());
    assert_snapshot!(seen(&ran).lines().filter(|line| line.contains("high") || line.contains("fix")).collect::<Vec<_>>().join("\n"));
    // What it says ends the pass when the webhook has gone.
    world.on_sandbox().clear_faults();
    let next = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("fix: ")).expect("what to do");
    job.shell("sh", next).succeed();
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_signal_in_the_middle_ends_the_pass_first() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::sandbox("it stops in the middle");
        let job = Job::local(&world);
        let gate = Gate::new();
        world.on_sandbox().fault(Fault::on("POST", "selfsubjectrulesreviews").pause_before(&gate));
        let running = doctor(&job).start();
        world.on_sandbox().wait_for(&gate);
        running.signal(signal);
        let ran = running.wait();
        gate.release();
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        assert_eq!(world.secrets(), [""; 0]);
        job.assert_nothing_left();
    }
}

#[test]
fn a_signal_before_there_is_a_pass_ends_it_at_once() {
    let world = World::sandbox("it stops before the pass");
    let job = Job::local(&world);
    let gate = Gate::new();
    world.on_sandbox().fault(Fault::on("POST", "selfsubjectaccessreviews").pause_before(&gate));
    let running = doctor(&job).start();
    world.on_sandbox().wait_for(&gate);
    running.signal(Signal::TERM);
    let ran = running.wait();
    gate.release();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert_snapshot!(ran.said());
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn the_next_command_can_be_typed() {
    let world = World::new();
    let job = Job::local(&world);
    let file = job.directory().join("identity.with 'quotes'");
    doors::write(&file, &world.kubeconfig());
    job.unset("KUBECONFIG");
    let ran = doctor(&job).args(["--kubeconfig", &file.to_string_lossy()]).succeed();
    let next = ran.stderr.lines().find_map(|line| line.strip_prefix("next:  ")).expect("a next line");
    // What the command does with its pass is its own affair.
    let script = next.replace("kubectl auth whoami", "sh -c 'test -s \"$KUBECONFIG\"'");
    job.shell("sh", &script).succeed();
    let found = doctor(&job).args(["--kubeconfig", &file.to_string_lossy(), "--ttl", "2h"]).run();
    let next = found.stderr.lines().find_map(|line| line.strip_prefix("next:  ")).expect("a next line").to_owned();
    let again = job.shell("sh", &next).succeed();
    assert!(again.stdout.contains("\"kind\": \"Diagnosis\""), "{}", again.transcript());
}

/// Runs a block of the page with this world's names.
fn block(job: &Job<'_>, name: &str) -> Ran {
    let text =
        example("doctor", name).replace("ci/deploy-bot", &job.world.account()).replace("-n ci", &format!("-n {}", job.world.namespace()));
    job.shell("sh", &text).succeed()
}

#[test]
fn the_page_can_be_followed() {
    let world = World::new();
    assert!(block(&Job::local(&world), "check").stdout.contains("ok  account"));
    if doors::control_plane().is_some() {
        assert!(block(&Desk::new(&world), "admin").stdout.contains("ok  policies"));
    }
}

#[test]
fn on_a_real_cluster_an_admin_sees_who_else_has_rights() {
    let Some(_) = doors::control_plane() else { return };
    let world = World::new();
    let desk = Desk::new(&world);
    desk.has_kubectl();
    let admin = || desk.jobpass().args(["doctor", "--as-admin", "--namespace", world.namespace()]);
    let ran = admin().run();
    assert_eq!(ran.end, End::Code(WELL), "{}", ran.transcript());
    assert_snapshot!("a_cluster_that_is_well", seen(&ran));
    // With a service account named, a pass is tried as well.
    let ran = doctor(&desk).arg("--as-admin").succeed();
    assert!(ran.stdout.contains("used, revoked, refused"), "{}", ran.transcript());
    assert_eq!(world.secrets(), [""; 0]);
    // Guides make such accounts.
    world.own_token();
    world.put_secret("database", "Opaque", &[("password", "hunter2-hunter2")]);
    let binding = format!("kubectl create rolebinding passers-by --role=jobpass --user=mallory -n {}", world.namespace());
    desk.shell("sh", &binding).succeed();
    let found = findings(admin(), &world, HIGH);
    assert_eq!(names(&found), ["bound-unwatched", "others-write-secrets", "eternal-tokens", "namespace-shared"]);
    let told: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    assert_snapshot!(told.join("\n"));
}
