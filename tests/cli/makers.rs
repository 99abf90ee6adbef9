//! Who made a lease: written into it as the API server sees the CI identity, whatever kind of identity it is.

use jobpass_sandbox::Fault;
use serde_json::{Value, json};

use crate::{
    harness::{Job, World, doors},
    usage::replace_user,
};

const REVIEW: &str = "/selfsubjectreviews";

/// A job on a plain shell whose CI identity is this user of a kubeconfig.
fn job<'w>(world: &'w World, user: &str) -> Job<'w> {
    let job = Job::local(world);
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), user));
    job
}

fn maker(world: &World, job: &Job<'_>) -> Value {
    world.metadata(&job.lease())["annotations"]["jobpass.dev/identity"].clone()
}

fn reviews(requests: &[String]) -> usize {
    requests.iter().filter(|request| request.contains(REVIEW)).count()
}

/// A user whom the policies watch, by a token that says nothing of itself.
fn alice(world: &World) -> String {
    let token = world.on_sandbox().add_user("alice@example.com", &["jobpass:ci"]);
    world.on_sandbox().grant_jobpass("alice@example.com", world.namespace(), "deploy-bot");
    world.secret(&token);
    format!("token: {token}")
}

#[test]
fn a_service_account_is_known_by_its_token_and_nothing_is_asked() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    assert_eq!((maker(&world, &job), reviews(&request.requests)), (json!(world.user()), 0), "{}", request.transcript());
    job.revoke().succeed();
}

#[test]
fn anybody_else_asks_once_for_its_name() {
    let world = World::sandbox("users of its own");
    let job = job(&world, &alice(&world));
    let request = job.request().succeed();
    assert_eq!((maker(&world, &job), reviews(&request.requests)), (json!("alice@example.com"), 1), "{}", request.transcript());
    let revoked = job.revoke().succeed();
    assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_server_that_does_not_say_the_name_costs_nobody_the_pass() {
    let world = World::sandbox("users of its own");
    let token = world.on_sandbox().add_user("bob", &[]);
    world.on_sandbox().grant_jobpass("bob", world.namespace(), "deploy-bot");
    world.secret(&token);
    let job = job(&world, &format!("token: {token}"));
    let status = |code: u16| json!({"kind": "Status", "status": "Failure", "code": code, "message": "no"});
    for code in [403, 404, 405, 500, 503] {
        world.on_sandbox().fault(Fault::on("POST", REVIEW).answer(code, status(code)));
        let request = job.request().succeed();
        assert_eq!((maker(&world, &job), reviews(&request.requests)), (Value::Null, 1), "{}", request.transcript());
        job.revoke().succeed();
    }
    for fault in [Fault::on("POST", REVIEW).garbage_2xx("<html>"), Fault::on("POST", REVIEW).cut_body()] {
        world.on_sandbox().fault(fault);
        job.request().succeed();
        assert_eq!(maker(&world, &job), Value::Null);
        job.revoke().succeed();
    }
    job.assert_nothing_left();
}

#[test]
fn a_watched_identity_without_a_name_is_told_what_to_look_at() {
    let world = World::sandbox("users of its own");
    let job = job(&world, &alice(&world));
    world.on_sandbox().fault(Fault::on("POST", REVIEW).answer(403, json!({"kind": "Status", "code": 403})));
    insta::assert_snapshot!(job.request().run().said());
    job.assert_nothing_left();
}
