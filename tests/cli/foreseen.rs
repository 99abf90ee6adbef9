//! What others could foresee, plant or alter of a job's pass: other jobs of the project on its volume, other containers of its pod,
//! other jobs that ask as the same CI identity.

use std::{fs, os::unix::fs::symlink, path::Path};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    harness::{End, Job, World, doors},
    usage::{exec, plugin, replace_user},
};

const RUN: &str = "6f1c2d3e-4f50-4e0a-9b39-0b5a1c6e7d0f";

/// Changes the lease file of the only pass that is here.
fn alter(job: &Job<'_>, change: impl Fn(&mut Value)) {
    let path = job.place().join("lease.json");
    let mut lease: Value = serde_json::from_str(&fs::read_to_string(&path).expect("saved")).expect("JSON");
    change(&mut lease);
    doors::write(&path, &lease.to_string());
}

/// Nothing of the pass is left but what an outsider had planted.
fn assert_ended(world: &World, token: &str) {
    assert_eq!(world.secrets(), [""; 0]);
    world.assert_dies(token);
}

// The job key.

#[test]
fn two_jobs_with_one_literal_key_have_two_leases() {
    let world = World::new();
    for jobs in [[Job::gitlab(&world), Job::gitlab(&world)], [Job::tekton(&world), Job::tekton(&world)]] {
        let [one, other] = &jobs;
        other.set("CI_JOB_ID", "4712");
        other.set("JOBPASS_POD_UID", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51");
        for job in &jobs {
            job.request().args(["--job-key", "second"]).succeed();
        }
        let tokens = [one.token(), other.token()];
        assert!(tokens.iter().all(|token| world.accepts(token)), "neither has ended the other's");
        // The job's own `revoke` ends it without the key, and another job's does not with it.
        one.revoke().succeed();
        world.assert_dies(&tokens[0]);
        assert!(world.accepts(&tokens[1]));
        other.revoke().args(["--job-key", "second", "-s", &world.account()]).succeed();
        assert_ended(&world, &tokens[1]);
    }
}

#[test]
fn a_key_with_a_uuid_is_the_whole_key_in_every_pod() {
    let world = World::new();
    let (task, finally) = (Job::tekton(&world), Job::tekton(&world));
    finally.set("JOBPASS_POD_UID", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51");
    let key = format!("{RUN}/deploy");
    task.request().args(["--job-key", &key]).succeed();
    let token = task.token();
    let revoked = finally.revoke().args(["--strict", "--job-key", &key, "-s", &world.account()]).succeed();
    assert!(revoked.said().contains("removed: "), "{}", revoked.transcript());
    assert_ended(&world, &token);
    // A retry is a new pod, which finds the lease of the attempt before it.
    task.request().args(["--job-key", &key]).succeed();
    let retry = finally.request().args(["--job-key", &key]).succeed();
    assert_snapshot!(retry.said());
    finally.revoke().succeed();
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_key_that_names_no_job_alone_is_refused_before_anything_is_asked() {
    let world = World::new();
    let job = Job::tekton(&world);
    job.unset("JOBPASS_POD_UID");
    let refused = job.request().args(["--job-key", "deploy"]).run();
    assert_eq!((refused.end, refused.requests.len()), (End::Code(2), 0), "{}", refused.transcript());
    assert_snapshot!(refused.said());
    let whole = format!("{RUN}/deploy");
    job.request().args(["--job-key", &whole]).succeed();
    job.revoke().args(["--job-key", &whole]).succeed();
    job.assert_nothing_left();
}

#[test]
fn a_key_without_a_uuid_never_says_that_another_pods_pass_is_over() {
    let world = World::new();
    let (task, finally) = (Job::tekton(&world), Job::tekton(&world));
    finally.set("JOBPASS_POD_UID", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51");
    task.request().args(["--job-key", "deploy"]).succeed();
    let revoke = || finally.revoke().args(["--job-key", "deploy", "-s", &world.account()]);
    assert_snapshot!(revoke().succeed().said());
    assert_eq!(revoke().arg("--strict").run().end, End::Code(1));
    task.revoke().succeed();
    task.assert_nothing_left();
}

// What an earlier job of the project, or another container of the pod, writes into a lease file.

/// What somebody changes in a lease file.
type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;

/// Every change of the file that others could wish for, each to be of no use.
fn changes<'a>(job: &'a Job<'_>, evil: &'a Path, foreign: &'a Path) -> Vec<Change<'a>> {
    let path = evil.to_string_lossy().into_owned();
    vec![
        Box::new(|lease| lease["server"] = json!("https://127.0.0.1:1")),
        Box::new(|lease| lease["uid"] = json!("00000000-0000-0000-0000-000000000000")),
        Box::new(move |lease| lease["identity"] = json!({"kind": "kubeconfig", "paths": [path], "context": "main"})),
        Box::new(move |lease| lease["identity"] = json!({"kind": "bearer", "tokenFile": job.identity_file()})),
        Box::new(move |lease| lease["kubeconfigOut"] = json!(foreign)),
        Box::new(|lease| lease["place"] = json!("/etc")),
        Box::new(|lease| lease["expiresAt"] = json!("2020-01-01T00:00:00Z")),
        Box::new(|lease| drop(lease.as_object_mut().map(|lease| lease.remove("seal")))),
        Box::new(|lease| lease["seal"] = json!("00".repeat(32))),
    ]
}

#[test]
fn what_is_altered_in_a_lease_file_is_of_no_use() {
    let world = World::new();
    for job in [Job::gitlab(&world), Job::tekton(&world)] {
        let ran = job.directory().join("ran");
        let evil = job.base().join("evil");
        doors::write(&evil, &replace_user(&world.kubeconfig(), &exec(&plugin(&job, &format!("touch '{}'; exit 1", ran.display())), "")));
        // Somebody else's kubeconfig that says of itself that it is this pass.
        let foreign = job.directory().join("foreign");
        for change in changes(&job, &evil, &foreign) {
            job.request().succeed();
            let token = job.token();
            let config: Value = serde_json::from_str(&fs::read_to_string(job.place().join("kubeconfig")).expect("written")).expect("JSON");
            let config = json!({"extensions": config["extensions"]}).to_string();
            doors::write(&foreign, &config);
            alter(&job, change);
            let revoked = job.revoke().args(["--strict", "-s", &world.account()]).succeed();
            assert_eq!(revoked.said().matches("revoked the pass").count(), 1, "{}", revoked.transcript());
            assert_eq!(fs::read_to_string(&foreign).ok(), Some(config), "it was removed");
            assert!(!ran.exists(), "a program was run");
            assert_ended(&world, &token);
        }
        job.request().succeed();
        alter(&job, |lease| lease["server"] = json!("https://127.0.0.1:1"));
        assert_snapshot!(
            format!("{:?} altered", job.on()),
            world.plain(&job.revoke().succeed().said()).replace(&*job.base().to_string_lossy(), "BASE")
        );
    }
}

#[test]
fn what_is_planted_on_a_volume_keeps_no_job_from_its_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // What an earlier job knows of this one is its number: so names came about before they were authenticated.
    let token = job.get("CI_JOB_TOKEN").expect("set");
    job.unset("CI_JOB_TOKEN");
    job.request().succeed();
    let (guessed, text) = (job.place(), fs::read_to_string(job.place().join("lease.json")).expect("saved"));
    job.revoke().succeed();
    job.set("CI_JOB_TOKEN", &token);
    world.put_secret(guessed.file_name().and_then(|name| name.to_str()).expect("a name"), "jobpass.dev/lease", &[]);
    doors::make_directory(guessed.parent().expect("above"));
    doors::set_mode(guessed.parent().expect("above"), 0o700);
    let file = guessed.join("lease.json");
    let plants: [(&str, &dyn Fn()); 6] = [
        ("its file", &|| doors::write(&file, &text)),
        ("without a uid", &|| {
            let mut lease: Value = serde_json::from_str(&text).expect("JSON");
            lease.as_object_mut().expect("an object").remove("uid");
            doors::write(&file, &lease.to_string());
        }),
        ("garbage", &|| doors::write(&file, "garbage")),
        ("10 MB", &|| doors::write(&file, &"x".repeat(10_000_000))),
        ("a directory", &|| doors::make_directory(&file)),
        ("a link", &|| symlink("/etc/passwd", &file).expect("a link")),
    ];
    for (what, plant) in plants {
        doors::make_directory(&guessed);
        doors::set_mode(&guessed, 0o700);
        plant();
        job.request().succeed();
        let own = job.places().into_iter().find(|place| *place != guessed).expect("it has a pass");
        let token = fs::read_to_string(own.join("token")).expect("its token");
        let revoked = job.revoke().args(["--strict", "-s", &world.account()]).succeed();
        assert!(revoked.said().contains("dead: "), "{what}: {}", revoked.transcript());
        world.assert_dies(&token);
        assert_eq!(world.secrets().len(), 1, "{what}: the Secret that was made under the guessed name is not ours to delete");
        assert!(guessed.exists(), "{what}");
        fs::remove_dir_all(&guessed).expect("it is there");
    }
}

#[test]
fn without_its_token_a_job_has_its_pass_and_ends_it_all_the_same() {
    let world = World::new();
    for token in [None, Some("short")] {
        let job = Job::gitlab(&world);
        match token {
            Some(token) => job.set("CI_JOB_TOKEN", token),
            None => job.unset("CI_JOB_TOKEN"),
        }
        job.request().succeed();
        // Of another server, as an earlier job could have foreseen the name.
        alter(&job, |lease| lease["server"] = json!("https://127.0.0.1:1"));
        job.request().succeed();
        let token = job.token();
        assert_snapshot!(job.revoke().arg("--strict").succeed().said());
        assert_ended(&world, &token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_job_token_that_is_another_one_by_now_hides_no_pass() {
    let world = World::new();
    for other in ["", "short", "glcbt-64_of-somebody-else"] {
        let job = Job::gitlab(&world);
        job.request().succeed();
        let token = job.token();
        job.set("CI_JOB_TOKEN", other);
        let revoked = job.revoke().arg("--strict").succeed();
        assert!(revoked.said().contains("is not known for this job's own"), "{}", revoked.transcript());
        assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
        assert_ended(&world, &token);
        job.assert_nothing_left();
    }
    // Then the uid that stands there decides, as the name could be anybody's.
    let job = Job::gitlab(&world);
    job.request().succeed();
    let token = job.token();
    alter(&job, |lease| lease["uid"] = json!("00000000-0000-0000-0000-000000000000"));
    job.set("CI_JOB_TOKEN", "glcbt-64_of-somebody-else");
    let refused = job.revoke().arg("--strict").run();
    assert_eq!(refused.end, End::Code(1), "{}", refused.transcript());
    assert!(world.accepts(&token));
    alter(&job, |lease| drop(lease.as_object_mut().map(|lease| lease.remove("uid"))));
    assert_eq!(job.revoke().arg("--strict").run().end, End::Code(1));
    assert!(world.accepts(&token), "a name alone is no reason to delete");
}
