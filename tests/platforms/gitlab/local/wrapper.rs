//! `.jobpass-run`, the wrapper, and the ways of the binary into a job.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};

use super::{web::Web, *};

#[test]
fn the_command_has_the_pass_and_its_output_is_scrubbed() {
    let world = World::new();
    let project = Project::with(&world, "wrapper");
    let pipeline = project.succeed(&["PASS deploy", "PASS untouched"]);
    pipeline.assert_says("> kubectl says ***");
    pipeline.assert_says("> exit status 7");
    // after_script is run, asks nobody and says nothing.
    pipeline.assert_says("Running after script...");
    assert!(!pipeline.log.contains("nothing to revoke"), "{}", pipeline.log);
    // The lease has its name from the job.
    assert_eq!(project.requests(), [UNUSED; 2].concat());
    project.assert_revoked(1);
}

#[test]
fn a_job_that_has_not_asked_has_nothing_of_it() {
    let world = World::new();
    let project = Project::with(&world, "wrapper");
    project.succeed(&["PASS deploy", "PASS untouched"]);
    let environment = project.kept("environment");
    let ours = environment.lines().find(|line| ["JOBPASS_", "KUBECONFIG", "OPENSHIFT"].iter().any(|name| line.starts_with(name)));
    assert_eq!(ours, None);
    assert!(environment.contains("CI_JOB_NAME=untouched"), "{environment}");
    assert!(project.kept("temporary").contains("No such file"), "{}", project.kept("temporary"));
}

#[test]
fn a_command_that_fails_fails_the_job_and_its_pass_ends() {
    let world = World::new();
    let project = Project::with(&world, "wrapper-fails");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("FAIL 7");
    assert!(!project.has_kept("never"));
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn after_script_ends_the_pass_of_a_jobpass_that_was_killed() {
    let world = World::new();
    let project = Project::with(&world, "wrapper-killed");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("FAIL 137");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn a_refusal_fails_the_job_before_the_command() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let project = Project::with(&world, "wrapper-fails");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("FAIL 125");
    let requests = [CREATE, "POST serviceaccounts/deploy-bot/token -> 403", "DELETE secrets/LEASE-1 -> 200"];
    assert_eq!(project.requests(), requests);
    project.assert_revoked(0);
}

#[test]
fn an_unprotected_branch_which_gets_no_variable_is_told_so() {
    let world = World::new();
    let mut project = Project::with(&world, "wrapper-fails");
    project.variables.retain(|(name, _)| *name != "JOBPASS_KUBECONFIG");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("> error: ");
    assert_eq!(project.requests(), [""; 0]);
    project.assert_revoked(0);
}

#[test]
fn the_identity_is_a_masked_variable_in_base64() {
    let world = World::new();
    let mut project = Project::with(&world, "wrapper");
    project.variables.retain(|(name, _)| *name != "JOBPASS_KUBECONFIG");
    project.variables.push(("JOBPASS_IDENTITY_KUBECONFIG", STANDARD.encode(world.kubeconfig())));
    // Nobody prints a variable of the settings, and here nothing would mask it.
    let pipeline = project.run(&["deploy"]);
    pipeline.assert(0, &["PASS deploy"]);
    project.assert_revoked(1);
}

#[test]
fn the_binary_is_an_artifact_of_a_job_that_the_job_needs() {
    let world = World::new();
    let project = Project::with_text(&world, &fixture("hop")).with_cargo();
    project.program("kubectl", KUBECTL);
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["PASS jobpass", "PASS deploy", "WARN forgetful after_script", "FAIL forgetful"]);
    let place = project.kept("place");
    assert!(place.contains("/deploy.tmp/jobpass-bin-") && place.ends_with("/jobpass\n"), "{place}");
    assert!(!project.has_kept("never"));
    pipeline.assert_says("error: there is no jobpass in this job");
    pipeline.assert_says("hint: have it in the image, or name in `needs` a job that extends `.jobpass-binary`, or set");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn the_binary_is_fetched_and_removed_again() {
    let world = World::new();
    let mut project = Project::with_text(&world, &fixture("fetched"));
    let web = serve_binary(&mut project);
    project.variables.push(("JOBPASS_URL", web.url("/jobpass")));
    project.succeed(&["PASS deploy"]);
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn what_is_not_the_binary_is_not_run() {
    refuses_to_fetch("/other", "error: jobpass does not have the SHA-256 of `JOBPASS_SHA256`");
}

#[test]
fn what_cannot_be_fetched_is_said() {
    refuses_to_fetch("/missing", "error: cannot fetch jobpass from `JOBPASS_URL`");
}

fn refuses_to_fetch(path: &str, words: &str) {
    let world = World::new();
    let mut project = Project::with_text(&world, &fixture("fetched"));
    let web = serve_binary(&mut project);
    project.variables.push(("JOBPASS_URL", web.url(path)));
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["WARN deploy after_script", "FAIL deploy"]);
    pipeline.assert_says(words);
    assert!(!project.has_kept("ran"));
    assert_eq!(project.requests(), [""; 0]);
    project.assert_revoked(0);
}

/// The binary by a URL, its sum in the settings, and something else that would say so if it was run.
fn serve_binary(project: &mut Project<'_>) -> Web {
    let binary = fs::read(env!("CARGO_BIN_EXE_jobpass")).expect("it is built");
    let sum = jobpass::name::hex(digest(&SHA256, &binary).as_ref());
    project.variables.push(("JOBPASS_SHA256", sum));
    Web::start(vec![("/jobpass", binary), ("/other", b"#!/bin/sh\ntouch \"$KEPT/ran\"\n".to_vec())])
}
