//! Jobs with nothing stored: what GitHub issues to each step, and what becomes of it when the job is cancelled.

use serde_json::json;

use crate::{
    harness::{World, doors, leak, oidc, oidc::Answer},
    runner::{Runner, Step},
};

/// What GitHub says to a job that is over: `JobRunner.cs` of actions/runner speaks of it.
const OVER: &str = r#"{"message": "Server won't issue ID_TOKEN for non-inprogress job"}"#;

/// A job with `id-token: write`, as GitHub knows it.
fn permitted(world: &World) -> (Runner, oidc::Job) {
    let mut runner = Runner::new();
    let roots = runner.temp().join("roots.pem");
    doors::write(&roots, world.github().ca_pem());
    runner.set("SSL_CERT_FILE", &roots.to_string_lossy());
    let job = world.github_job(&json!({}));
    runner.permit(&job);
    (runner, job)
}

/// The action's main step, with no secret among its inputs.
fn main_step(world: &World, runner: &mut Runner) -> Step {
    let (account, server, authority) = (world.account(), world.url(), world.ca_pem());
    runner.uses(&[("service-account", &account), ("server", &server), ("certificate-authority", &authority)])
}

/// The token of the pass, as the steps after the action have it.
fn token(world: &World, runner: &Runner) -> String {
    let token = runner.get("OPENSHIFT_TOKEN").expect("exported").clone();
    world.secret(&token);
    token
}

/// Nothing that was issued is in the log, or in what later steps get.
fn assert_nothing_leaks(world: &World, runner: &Runner, job: &oidc::Job) {
    let mut secrets = world.tokens_of_passes();
    secrets.extend(job.issued().into_iter().chain([job.request_token.clone()]));
    assert_eq!(leak::find(&runner.log, &secrets), None, "in the log:\n{}", runner.log);
    let issued = job.issued();
    let is_exported = |token: &String| runner.exported().any(|value| value.contains(token.as_str()));
    assert!(!issued.iter().any(is_exported), "it is exported");
}

fn levels(step: &Step) -> Vec<&str> {
    step.annotations.iter().map(|(level, _)| level.as_str()).collect()
}

#[test]
fn a_job_with_nothing_stored_has_a_pass_and_ends_it_by_a_fresh_token() {
    let world = World::trusting();
    let (mut runner, job) = permitted(&world);
    let main = main_step(&world, &mut runner).succeeded();
    assert_eq!(levels(&main), [""; 0], "{main:#?}");
    let pass = token(&world, &runner);
    // What every step of the job may do.
    runner.run("test -n \"$ACTIONS_ID_TOKEN_REQUEST_URL\" && echo \"t $ACTIONS_ID_TOKEN_REQUEST_TOKEN $OPENSHIFT_TOKEN\"").succeeded();
    let post = runner.posts().remove(0).succeeded();
    assert_eq!((levels(&post), job.asked()), (vec![], 2), "{post:#?}");
    assert_ne!(job.issued()[0], job.issued()[1]);
    world.assert_dies(&pass);
    assert_eq!(world.secrets(), [""; 0]);
    assert_nothing_leaks(&world, &runner, &job);
}

#[test]
fn a_cancelled_job_that_is_issued_none_says_until_when_its_token_lives() {
    let world = World::trusting();
    let (mut runner, job) = permitted(&world);
    main_step(&world, &mut runner).succeeded();
    let pass = token(&world, &runner);
    job.set_answer(Answer::Status(403, OVER.to_owned()));
    let post = runner.posts().remove(0).succeeded();
    let [(level, text)] = post.annotations.as_slice() else { panic!("one annotation: {post:#?}") };
    assert_eq!(level, "warning");
    for said in [
        "403 Forbidden: Server won't issue ID_TOKEN for non-inprogress job",
        "the pass's own token may not end it either",
        "stays valid until",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(world.is_live(&pass));
    assert_nothing_leaks(&world, &runner, &job);
}

#[test]
fn a_cancelled_step_whose_command_has_the_pass_alone_ends_it_while_the_job_lives() {
    let world = World::trusting();
    let (mut runner, job) = permitted(&world);
    runner.set("JOBPASS_SERVICE_ACCOUNT", &world.account());
    runner.set("JOBPASS_SERVER", &world.url());
    runner.set("JOBPASS_CERTIFICATE_AUTHORITY", &world.ca_pem());
    let binary = runner.tree().join("target/release/jobpass");
    let shell = format!("{} run -- bash -euo pipefail {{0}}", binary.display());
    let script = "echo \"u ${ACTIONS_ID_TOKEN_REQUEST_URL-none} ${ACTIONS_ID_TOKEN_REQUEST_TOKEN-none}\"; echo ready >&2; sleep 30";
    let live = runner.start_run(&shell, script);
    live.said("ready");
    let step = live.cancel(&mut runner);
    assert!(step.log.contains("u none none\n"), "{step:#?}");
    assert!(step.log.contains("dead: the API server answers 401") || step.log.contains("revoked the pass"), "{step:#?}");
    assert_eq!(world.secrets(), [""; 0]);
    assert_nothing_leaks(&world, &runner, &job);
}

#[test]
fn a_job_whose_permission_is_withdrawn_is_told_of_all_three_reasons() {
    let world = World::trusting();
    let (mut runner, job) = permitted(&world);
    runner.withdraw();
    let main = main_step(&world, &mut runner);
    assert!(!main.is_success(), "{main:#?}");
    let [(level, text)] = main.annotations.as_slice() else { panic!("one annotation: {main:#?}") };
    assert_eq!(level, "error");
    for reason in ["`permissions: id-token: write`", "a reusable workflow needs it in the calling job", "from a fork"] {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    assert_eq!((job.asked(), world.relay().connections()), (0, 0));
    assert_eq!(levels(&runner.posts().remove(0).succeeded()), [""; 0]);
}
