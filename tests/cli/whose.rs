//! Whose the Secret is that has a lease's name: what `revoke` may take for the end of its pass, and what it must not.

use std::fs;

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{End, Job, Ran, World, doors};

/// What an earlier job of the project could have written into the lease file of the only pass that is here.
fn plant_uid(job: &Job<'_>) {
    let path = job.place().join("lease.json");
    let mut lease: Value = serde_json::from_str(&fs::read_to_string(&path).expect("saved")).expect("JSON");
    lease["uid"] = json!("00000000-0000-0000-0000-000000000000");
    doors::write(&path, &lease.to_string());
}

fn code(ran: &Ran, code: i32) {
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
}

#[test]
fn a_wrong_uid_in_a_lease_file_does_not_hide_the_living_pass_of_a_derived_name() {
    for account in [false, true] {
        let world = World::new();
        let job = if account { Job::tekton(&world) } else { Job::gitlab(&world) };
        job.request().succeed();
        let token = job.token();
        plant_uid(&job);
        let revoke = job.revoke().arg("--strict");
        let ran = if account { revoke.args(["-s", &world.account()]) } else { revoke }.succeed();
        // On GitLab it is said, too, that the file is not what this job has written.
        let said: Vec<_> = ran.said().lines().filter(|line| !line.contains("is not known for this job's own")).map(str::to_owned).collect();
        insta::allow_duplicates!(assert_snapshot!(said.join("\n"), @"
        revoked the pass of service account `NS/deploy-bot`, lease `SHORT-1`; removed: the lease is deleted
        warning: another Secret had the name of the lease `NS/LEASE-1`, which is ours alone: it is deleted
        "));
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn where_the_name_is_a_files_a_wrong_uid_is_a_failure_and_the_file_stays() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let token = job.token();
    plant_uid(&job);
    let ran = job.revoke().run();
    code(&ran, 1);
    assert_snapshot!(ran.said());
    assert!(job.place().join("lease.json").exists());
    assert!(world.is_live(&token));
    // A flag makes it no surer, and neither does the path.
    let lease = format!("{}/{}", world.namespace(), job.lease());
    code(&job.revoke().args(["--lease", &lease]).run(), 1);
    code(&job.revoke().arg("--lease-file").arg(job.place().join("lease.json").to_string_lossy()).run(), 1);
    assert_eq!(world.secrets(), [job.lease()]);
}

#[test]
fn a_secret_that_was_made_anew_goes_with_the_pass_that_this_process_or_the_runner_knows() {
    let world = World::new();
    let job = Job::github(&world);
    job.request().succeed();
    world.put_secret(&job.lease(), "jobpass.dev/lease", &[]);
    let ran = job.post().succeed();
    assert!(ran.said().contains("removed: ") && ran.said().contains("which is ours alone"), "{}", ran.transcript());
    job.assert_nothing_left();

    let running = job.run("echo begun; sleep 50").start();
    running.said("begun");
    world.put_secret(&job.lease(), "jobpass.dev/lease", &[]);
    running.signal(Signal::TERM);
    let ran = running.wait();
    code(&ran, 143);
    assert!(ran.said().contains("removed: ") && ran.said().contains("which is ours alone"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_lease_that_a_flag_names_and_nobody_has_is_an_error() {
    let world = World::new();
    let mistyped = format!("{}/jobpass-{}", world.namespace(), "0".repeat(32));
    for job in [Job::local(&world), Job::gitlab(&world), Job::tekton(&world)] {
        let ran = job.revoke().args(["--lease", &mistyped, "--output", "json"]).run();
        code(&ran, 1);
        insta::allow_duplicates!(assert_snapshot!(ran.said(), @r#"
        {"apiVersion":"jobpass.dev/v1","kind":"Failure","code":"lease.missing","message":"there is no lease `NS/LEASE-1`","causes":["the API server has no Secret of that name in that namespace"],"hint":"check namespace and name; it may have been revoked already"}
        error: there is no lease `NS/LEASE-1`
          caused by: the API server has no Secret of that name in that namespace

        hint: check namespace and name; it may have been revoked already
        "#));
    }
    // Where its own file is here, more is known than what was typed.
    let job = Job::local(&world);
    job.request().succeed();
    world.delete_secret(&job.lease());
    let ran = job.revoke().args(["--lease", &format!("{}/{}", world.namespace(), job.lease())]).succeed();
    assert!(ran.said().contains("absent: "), "{}", ran.transcript());
}

#[test]
fn a_lease_in_a_namespace_that_is_not_there_is_an_error_too() {
    let world = World::sandbox("an identity has no rights in a namespace that is not there");
    world.on_sandbox().allow(&world.user(), "nowhere", "delete", "secrets", &[]);
    let job = Job::local(&world);
    job.request().succeed();
    let ran = job.revoke().args(["--lease", &format!("nowhere/{}", job.lease())]).run();
    code(&ran, 1);
    assert!(ran.said().starts_with("error: there is no lease `nowhere/LEASE-1`"), "{}", ran.said());
    assert_eq!((world.secrets().len(), job.places().len()), (1, 1), "the pass of that name is not touched");
}

#[test]
fn a_lease_file_that_a_flag_names_and_that_is_not_there_is_an_error() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let file = job.place().join("lease.json");
    let revoke = |path: &str| job.revoke().args(["--lease-file", path]).run();
    let ran = revoke("/nowhere/lease.json");
    code(&ran, 1);
    assert_snapshot!(ran.said(), @"
    error: there is no lease file `/nowhere/lease.json`

    hint: check the path; a `revoke` before this one may have ended the pass and removed it
    ");
    code(&revoke(&file.to_string_lossy()), 0);
    code(&revoke(&file.to_string_lossy()), 1);
    // Without a flag it is no error, as often as it is said.
    code(&job.revoke().arg("--strict").run(), 0);
}

#[test]
fn a_404_or_a_yes_of_somebody_who_is_no_api_server_is_no_end_of_a_pass() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::local(&world);
    job.request().succeed();
    let missing = |kind: &str, name: &str| json!({"kind": "Status", "code": 404, "details": {"kind": kind, "name": name}});
    for (status, body) in [
        (404, json!({"error": "not found"})),
        (404, json!({"kind": "Status", "code": 404, "message": "the server could not find the requested resource", "details": {}})),
        (404, missing("secrets", "another")),
        (404, missing("services", &job.lease())),
        (200, json!({"status": "ok"})),
        (200, json!({"kind": "Status", "status": "Success", "details": {"name": job.lease(), "uid": "another"}})),
    ] {
        world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(status, body.clone()));
        let ran = job.revoke().run();
        code(&ran, 1);
        assert!(ran.said().contains("is not revoked"), "{body}: {}", ran.transcript());
        assert_eq!(world.secrets(), [job.lease()]);
    }
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer_text(404, "404 page not found\n"));
    let ran = job.revoke().run();
    code(&ran, 1);
    assert_snapshot!(ran.said());
    job.revoke().succeed();
    job.assert_nothing_left();
}
