//! The endpoint from which a job gets its token, broken or hostile: nothing of it leaks, and the pass still ends.

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Job, PATIENCE, World, eventually,
    oidc::{Answer, Gate, GitHub},
};

/// What the endpoint of each case does, and what jobpass says of it.
#[test]
fn whatever_the_endpoint_answers_no_pass_begins_and_nothing_leaks() {
    let world = World::trusting();
    let elsewhere = GitHub::start();
    let foreign = world.github_token(&json!({"aud": "https://api.other.example:6443"}));
    let injected = "::add-mask::x\n::set-output name=token::y".to_owned();
    let cases = [
        ("no permission", Answer::Status(403, json!({"message": "Resource not accessible by integration"}).to_string())),
        ("the job is over", Answer::Status(401, "{}".to_owned())),
        ("it injects commands by an error", Answer::Status(403, json!({"message": injected}).to_string())),
        ("it injects commands by what is no JSON", Answer::Status(400, injected.clone())),
        ("it injects an older command", Answer::Status(403, json!({"message": "##[add-mask]x"}).to_string())),
        ("a page that wants a login", Answer::Page(200)),
        ("a page of an error", Answer::Page(404)),
        ("10 MB", Answer::Huge),
        ("a redirect to another host", Answer::Redirect(format!("{}/steal", elsewhere.url()))),
        ("a redirect to plain HTTP", Answer::Redirect("http://127.0.0.1:9/steal".to_owned())),
        ("a token with line breaks", Answer::Value(format!("{}\n::add-mask::x", world.github_token(&json!({}))))),
        ("a token for another audience", Answer::Value(foreign)),
        ("no token", Answer::Value("hello".to_owned())),
        ("an empty token", Answer::Value(String::new())),
        ("no value", Answer::Status(200, "{}".to_owned())),
    ];
    let mut said = Vec::new();
    for (what, answer) in cases {
        let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
        known.set_answer(answer);
        let refused = job.request().run();
        assert!(!refused.is_success(), "{what}: {}", refused.transcript());
        // The runner takes the older form of a command anywhere in a line.
        let is_command = |line: &str| line.trim_start().starts_with("::set-output") || line.contains("##[");
        assert!(!refused.stderr.lines().any(is_command), "{what}: {}", refused.transcript());
        job.assert_nothing_left();
        said.push(format!("# {what}\n{}\n", refused.said()));
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    assert_snapshot!(world.plain(&said.concat()));
}

#[test]
fn a_trouble_that_passes_is_waited_for() {
    let world = World::trusting();
    for answer in [Answer::Status(503, "{}".to_owned()), Answer::Broken] {
        let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
        known.set_answer(answer);
        let requesting = job.request().start();
        eventually("it asks again", || known.asked() >= 2);
        known.set_answer(Answer::Token);
        requesting.wait().assert().success();
        job.revoke().succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn an_endpoint_that_is_slow_is_waited_for() {
    let world = World::trusting();
    let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
    let gate = Gate::new();
    known.set_answer(Answer::Held(gate.clone()));
    let requesting = job.request().start();
    assert!(gate.wait(PATIENCE), "it asks");
    gate.release();
    requesting.wait().assert().success();
    job.revoke().succeed();
}

#[test]
fn an_endpoint_that_never_answers_costs_no_more_than_the_deadline() {
    let world = World::trusting();
    let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
    known.set_answer(Answer::Held(Gate::new()));
    let refused = job.request().args(["--timeout", "8s"]).run();
    assert!(!refused.is_success() && refused.stderr.contains("GitHub's OIDC provider did not answer within"), "{}", refused.transcript());
    job.assert_nothing_left();
}

#[test]
fn who_interrupts_the_wait_for_a_token_is_told_what_it_was_for() {
    let world = World::trusting();
    for (answer, told) in [
        (Answer::Status(503, "{}".to_owned()), "503 Service Unavailable; trying again"),
        (Answer::Broken, "trying again"),
        (Answer::Held(Gate::new()), "no answer for 4s"),
    ] {
        let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
        known.set_answer(answer);
        let requesting = job.request().start();
        requesting.said(told);
        requesting.signal(Signal::TERM);
        assert_snapshot!(requesting.wait().said());
        job.assert_nothing_left();
    }
}

/// A job that is being cancelled may get no token any more; its pass has one of its own, which may not end it.
#[test]
fn a_pass_whose_job_gets_no_token_any_more_is_told_until_when_it_lives() {
    let world = World::trusting();
    let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
    job.request().succeed();
    let token = job.token();
    known.set_answer(Answer::Status(403, "{}".to_owned()));
    let ended = job.revoke().args(["--timeout", "8s"]).run();
    assert_snapshot!(ended.said());
    assert!(world.accepts(&token), "nothing of ours lets a token end its own lease");
    known.set_answer(Answer::Token);
    assert_eq!(world.secrets().len(), 1);
    let lease = world.secrets().remove(0);
    // What the receipt names, an operator or the next job of the run can end.
    let delete: Option<&Value> = None;
    assert_eq!(world.ask(&world.github_token(&json!({})), "DELETE", &world.path(&format!("secrets/{lease}")), delete).status, 200);
}
