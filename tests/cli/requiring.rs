//! `require`: whether the job has a pass, told from what is there, with no request.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use insta::assert_snapshot;

use crate::harness::{End, Job, Ran, World, doors};

fn require(job: &Job<'_>) -> Ran {
    let ran = job.jobpass().arg("require").run();
    assert_eq!(ran.requests, [""; 0], "it asks nobody");
    assert_eq!(ran.stdout.lines().filter(|line| line.contains("eyJ")).count(), 0);
    ran
}

fn refused(job: &Job<'_>) -> String {
    let ran = require(job);
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    ran.said()
}

/// A token as a pass has it, with the end of somebody's choice and a signature that is none.
fn token(exp: i64) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(
        r#"{{"sub":"system:serviceaccount:ci:deploy-bot","exp":{exp},"kubernetes.io":{{"namespace":"ci","secret":{{"name":"jobpass-{:032x}"}}}}}}"#,
        7
    );
    format!("{}.{}.none", part(r#"{"alg":"ES256"}"#.into()), part(claims))
}

#[test]
fn a_job_that_has_none_is_told_how_it_gets_one() {
    let world = World::new();
    let said: Vec<_> = Job::all(&world).iter().map(refused).collect();
    assert_snapshot!(said.join("\n---\n"));
}

#[test]
fn a_job_that_has_one_goes_on() {
    let world = World::new();
    for job in Job::all(&world) {
        let request = job.request().succeed();
        job.enter(&request);
        let ran = require(&job);
        assert!(ran.is_success(), "{}", ran.transcript());
        let said = ran.said();
        assert!(said.starts_with("this job has a pass for service account `NS/deploy-bot` until TIME, lease `SHORT-"), "{said}");
        job.revoke().succeed();
        // The variables of a shell stay; on GitHub those of the steps that follow.
        let over = refused(&job);
        assert!(over.starts_with("error: the pass of this job is over"), "{over}");
    }
}

#[test]
fn the_command_of_run_has_one() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.run("jobpass require").succeed();
    assert!(ran.said().contains("this job has a pass for service account"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_a_trace_has_taken_the_variables_of_counts() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("CI_DEBUG_TRACE", "true");
    let request = job.request().succeed();
    job.enter(&request);
    assert_eq!(job.get("JOBPASS_TOKEN_FILE"), None);
    assert!(require(&job).is_success());
    job.revoke().succeed();
    // With the kubeconfig elsewhere, the token is not beside it.
    job.unset("KUBECONFIG");
    let config = job.directory().join("home/out.kubeconfig").to_string_lossy().into_owned();
    let request = job.request().args(["--kubeconfig-out", &config]).succeed();
    job.enter(&request);
    let ran = require(&job);
    assert!(ran.is_success(), "{}", ran.transcript());
    job.revoke().succeed();
}

#[test]
fn a_pass_for_another_service_account_is_none() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    job.set("JOBPASS_SERVICE_ACCOUNT", "ci/another");
    assert_snapshot!(refused(&job), @"
    error: the pass of this job is for service account `NS/deploy-bot`, not for `ci/another`

    hint: request one for `ci/another` in this job
    ");
    job.unset("JOBPASS_SERVICE_ACCOUNT");
    job.revoke().succeed();
}

#[test]
fn a_pass_that_has_expired_is_told_from_none() {
    let world = World::sandbox("no server waits ten minutes for a test");
    let job = Job::local(&world);
    let path = job.directory().join("token");
    job.set("JOBPASS_TOKEN_FILE", &path);
    doors::write(&path, &token(1_700_000_000));
    assert_snapshot!(refused(&job), @"
    error: the pass `SHORT-1` has expired
      caused by: its token was valid until TIME, which is over by this machine's clock

    hint: request it with a longer `--ttl`, or run the command by `jobpass run`, which renews the token
    ");
    doors::write(&path, &token(32_503_680_000));
    assert!(require(&job).is_success());
}

#[test]
fn what_is_no_token_is_no_pass() {
    let world = World::sandbox("nothing is asked");
    let job = Job::local(&world);
    let path = job.directory().join("token");
    job.set("JOBPASS_TOKEN_FILE", &path);
    for text in ["", "hunter2", "a.b.c", "eyJ9.e30.x"] {
        doors::write(&path, text);
        assert_eq!(refused(&job), "error: cannot tell whether this job has a pass\n  caused by: its token file holds no token of a pass");
    }
}

#[test]
fn a_pass_that_kubectl_would_not_use_is_no_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let request = job.request().succeed();
    job.enter(&request);
    job.set("KUBECONFIG", job.identity_file());
    let other = refused(&job);
    job.unset("KUBECONFIG");
    assert_snapshot!([other, refused(&job)].join("\n---\n"));
    job.revoke().succeed();
    // Where none was wanted, another one is no mistake.
    let request = job.request().arg("--no-kubeconfig").succeed();
    job.enter(&request);
    job.set("KUBECONFIG", job.identity_file());
    assert!(require(&job).is_success());
    job.revoke().succeed();
}

#[test]
fn a_pass_that_is_over_is_known_by_its_kubeconfig_too() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("CI_DEBUG_TRACE", "true");
    let request = job.request().succeed();
    job.enter(&request);
    job.revoke().succeed();
    assert!(refused(&job).starts_with("error: the pass of this job is over"));
}
