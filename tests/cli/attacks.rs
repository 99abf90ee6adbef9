//! What a stolen CI identity can do with the rights of `deploy/rights.manifest`, without `deploy/policy.yaml` and with it.
//!
//! Each attack succeeds where nobody has applied the policies: that is why they are needed, and why `deploy/apply` gives the rights last.

use serde_json::{Value, json};

use crate::harness::{Job, World, eventually};

/// The attacker has the CI identity's token and a client of his own.
fn attack(world: &World, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let answer = world.ask(world.identity_token(), method, &world.path(path), body);
    (answer.status, answer.json())
}

fn is_denied((status, answer): &(u16, Value), policy: &str) -> bool {
    *status == 403 && answer["message"].as_str().is_some_and(|text| text.contains(&format!("ValidatingAdmissionPolicy '{policy}'")))
}

/// A lease of the CI identity.
fn lease(world: &World, name: &str) -> Value {
    let notes = json!({"jobpass.dev/identity": world.user(), "jobpass.dev/lifetime": "3600"});
    json!({"metadata": {"name": name, "annotations": notes}, "type": "jobpass.dev/lease"})
}

/// A Secret that the token controller fills with a token of any service account of the namespace, which never expires.
fn eternal() -> Value {
    json!({
        "metadata": {"name": "jobpass-eternal", "annotations": {"kubernetes.io/service-account.name": "deploy-bot"}},
        "type": "kubernetes.io/service-account-token",
    })
}

#[test]
fn without_the_policies_an_eternal_token_is_made_and_read() {
    let world = World::unwatched();
    let made = attack(&world, "POST", "secrets", Some(&eternal()));
    if world.is_sandbox() {
        // It has no controller that would fill the Secret, and does not say yes to what it cannot do.
        assert_eq!(made.0, 501);
        return;
    }
    assert_eq!(made.0, 201, "{}", made.1["message"]);
    let read = "secrets/jobpass-eternal?dryRun=All&propagationPolicy=Foreground";
    let mut token = None;
    eventually("the controller fills the Secret", || {
        let (_, secret) = attack(&world, "DELETE", read, None);
        token = secret["data"]["token"].as_str().map(str::to_owned);
        token.is_some()
    });
    let token = decoded(&token.expect("read"));
    assert!(world.accepts(&token), "a token without an end, of a service account that was never asked for");
}

#[test]
fn with_the_policies_no_eternal_token_is_made() {
    let world = World::new();
    let denied = attack(&world, "POST", "secrets", Some(&eternal()));
    assert!(is_denied(&denied, "jobpass-lease-secrets"), "{denied:?}");
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn without_the_policies_delete_reads_any_secret_and_leaves_it() {
    let world = World::unwatched();
    world.put_secret("db-password", "Opaque", &[("password", "hunter2")]);
    let (status, secret) = attack(&world, "DELETE", "secrets/db-password?dryRun=All&propagationPolicy=Foreground", None);
    assert_eq!((status, decoded(secret["data"]["password"].as_str().unwrap_or_default()).as_str()), (200, "hunter2"));
    assert_eq!(world.secrets(), ["db-password"], "nobody notices");
}

#[test]
fn with_the_policies_delete_reads_nothing() {
    let world = World::new();
    world.put_secret("db-password", "Opaque", &[("password", "hunter2")]);
    // A name that starts as a lease's does not help: its type counts.
    world.put_secret("jobpass-db-password", "Opaque", &[("password", "hunter2")]);
    for name in ["db-password", "jobpass-db-password"] {
        for query in ["", "?dryRun=All", "?dryRun=All&propagationPolicy=Foreground", "?dryRun=All&propagationPolicy=Orphan"] {
            let denied = attack(&world, "DELETE", &format!("secrets/{name}{query}"), None);
            assert!(is_denied(&denied, "jobpass-lease-secrets"), "{name}{query}: {denied:?}");
        }
    }
    assert_eq!(world.secrets(), ["db-password", "jobpass-db-password"]);
}

#[test]
fn with_the_policies_a_lease_is_an_empty_handle() {
    let world = World::new();
    let lease = |change: &dyn Fn(&mut Value)| {
        let mut secret = lease(&world, "jobpass-x");
        change(&mut secret);
        attack(&world, "POST", "secrets", Some(&secret))
    };
    for change in [
        &(|secret: &mut Value| secret["data"] = json!({"a": "Yg=="})) as &dyn Fn(&mut Value),
        &|secret| secret["stringData"] = json!({"a": "b"}),
        &|secret| secret["metadata"]["finalizers"] = json!(["example.com/x"]),
        &|secret| secret["type"] = json!("Opaque"),
        &|secret| secret["metadata"]["name"] = json!("other"),
        &|secret| secret["metadata"]["annotations"]["jobpass.dev/identity"] = json!("somebody"),
        &|secret| secret["metadata"]["annotations"]["jobpass.dev/lifetime"] = json!("315360000"),
        &|secret| secret["metadata"]["annotations"]["jobpass.dev/note"] = json!("a".repeat(1 << 14)),
        &|secret| secret["metadata"]["annotations"]["example.com/x"] = json!("y"),
        &|secret| secret["metadata"]["labels"] = json!({"example.com/x": "y"}),
        &|secret| secret["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "x", "uid": "y"}]),
        &|secret| drop(secret["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations"))),
    ] {
        let denied = lease(change);
        assert!(is_denied(&denied, "jobpass-lease-secrets"), "{denied:?}");
    }
    assert_eq!(lease(&|_| {}).0, 201);
    let foreground = attack(&world, "DELETE", "secrets/jobpass-x?propagationPolicy=Foreground", None);
    assert!(is_denied(&foreground, "jobpass-lease-secrets"), "{foreground:?}");
    assert_eq!(attack(&world, "DELETE", "secrets/jobpass-x", None).0, 200);
}

#[test]
fn a_token_that_cannot_be_revoked_is_granted_only_without_the_policies() {
    let path = "serviceaccounts/deploy-bot/token";
    let requests =
        [("unbound", json!({"spec": {"expirationSeconds": 3600}})), ("for ten years", json!({"spec": {"expirationSeconds": 315_360_000}}))];
    let open = World::unwatched();
    for (what, request) in &requests {
        assert_eq!(attack(&open, "POST", path, Some(request)).0, 201, "{what}");
    }
    let world = World::new();
    for (what, request) in &requests {
        let denied = attack(&world, "POST", path, Some(request));
        assert!(is_denied(&denied, "jobpass-tokens"), "{what}: {denied:?}");
    }
    let made = attack(&world, "POST", "secrets", Some(&lease(&world, "jobpass-x")));
    assert_eq!(made.0, 201);
    let bound = |seconds: i64| json!({"spec": {"expirationSeconds": seconds, "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "jobpass-x"}}});
    assert!(is_denied(&attack(&world, "POST", path, Some(&bound(7200))), "jobpass-tokens"));
    assert_eq!(attack(&world, "POST", path, Some(&bound(3600))).0, 201);
}

/// Projects with CI identities of their own in one cluster, and one of them knows the name of another's lease.
#[test]
fn nobody_ends_a_lease_of_another_ci_identity_but_an_operator() {
    let world = World::new();
    let other = world.another_identity();
    let job = Job::local(&world);
    job.request().succeed();
    let (name, token) = (job.lease(), job.token());
    let foreign = |method: &str, path: &str, body: Option<&Value>| {
        let answer = world.ask(&other, method, &world.path(path), body);
        (answer.status, answer.json())
    };
    for query in ["", "?propagationPolicy=Background", "?dryRun=All"] {
        let denied = foreign("DELETE", &format!("secrets/{name}{query}"), None);
        assert!(is_denied(&denied, "jobpass-lease-secrets"), "{query}: {denied:?}");
    }
    // Nor can it make one in the name of this one, which this one would then take for its own.
    let denied = foreign("POST", "secrets", Some(&lease(&world, &format!("jobpass-{:032x}", 1))));
    assert!(is_denied(&denied, "jobpass-lease-secrets"), "{denied:?}");
    assert!(world.accepts(&token));
    world.delete_secret(&name);
    world.assert_dies(&token);
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_lease_of_an_older_jobpass_can_be_ended_by_all() {
    let world = World::new();
    world.put_secret("jobpass-old", "jobpass.dev/lease", &[]);
    let other = world.another_identity();
    assert_eq!(world.ask(&other, "DELETE", &world.path("secrets/jobpass-old"), None).status, 200);
    assert_eq!(world.secrets(), [""; 0]);
}

/// What another run of the same repository, or another job of the same project, does with a lease of this one: delete it, or make one
/// that says it is this one's. Each is the status and the message of the server.
fn by_another_run(world: &World, mine: &str, theirs: &str, run: &str) -> [(u16, String); 2] {
    let (name, squatted) = (format!("jobpass-{:032x}", 1), format!("jobpass-{:032x}", 2));
    let me = world.ask(mine, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", Some(&whoami())).json();
    let lease = |name: &str| {
        let notes = json!({"jobpass.dev/identity": me["status"]["userInfo"]["username"], "jobpass.dev/lifetime": "3600"});
        json!({"metadata": {"name": name, "annotations": notes, "labels": {"jobpass.dev/run-id": run}}, "type": "jobpass.dev/lease"})
    };
    let said = |token: &str, method: &str, path: &str, body: Option<&Value>| {
        let answer = world.ask(token, method, &world.path(path), body);
        (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(said(mine, "POST", "secrets", Some(&lease(&name))).0, 201);
    let made = said(theirs, "POST", "secrets", Some(&lease(&squatted)));
    let ended = said(theirs, "DELETE", &format!("secrets/{name}"), None);
    for name in world.secrets() {
        assert_eq!(said(mine, "DELETE", &format!("secrets/{name}"), None).0, 200, "one's own");
    }
    [made, ended]
}

fn whoami() -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
}

/// The tokens of two runs at GitHub, and of two jobs at GitLab, and what is told of the first one.
fn two_runs(world: &World) -> [(String, String, &'static str); 2] {
    [
        (world.github_token(&json!({})), world.github_token(&json!({"run_id": "9876543211"})), "9876543210"),
        (world.gitlab_token(&json!({})), world.gitlab_token(&json!({"job_id": "4712"})), "4711"),
    ]
}

#[test]
fn with_the_policies_no_run_ends_the_lease_of_another_one_or_makes_one_in_its_name() {
    let world = World::trusting();
    for (mine, theirs, run) in two_runs(&world) {
        let [made, ended] = by_another_run(&world, &mine, &theirs, run);
        for ((status, message), why) in [(made, "must say which run makes it"), (ended, "only the run that made a lease may delete it")] {
            assert!(status == 403 && message.contains("jobpass policy: ") && message.contains(why), "{status} {message}");
        }
    }
}

#[test]
fn without_the_policies_each_run_ends_the_leases_of_all_others() {
    let world = World::trusting_unwatched();
    for (mine, theirs, run) in two_runs(&world) {
        assert_eq!(by_another_run(&world, &mine, &theirs, run).map(|(status, _)| status), [201, 200]);
    }
}

#[test]
fn a_lease_without_a_run_is_nobodys_whose_run_is_known() {
    let world = World::trusting();
    world.put_secret("jobpass-old", "jobpass.dev/lease", &[]);
    for (mine, _, _) in two_runs(&world) {
        assert_eq!(world.ask(&mine, "DELETE", &world.path("secrets/jobpass-old"), None).status, 403);
    }
    // A CI identity that is one account for all runs ends it, as before.
    assert_eq!(attack(&world, "DELETE", "secrets/jobpass-old", None).0, 200);
}

#[test]
fn the_rights_are_no_more_than_they_say() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let lease = job.lease();
    for path in ["secrets".to_owned(), format!("secrets/{lease}")] {
        assert_eq!(attack(&world, "GET", &path, None).0, 403, "{path}");
    }
    job.revoke().succeed();
}

#[test]
fn other_users_are_left_alone_by_the_policies() {
    let other = World::unwatched();
    let made = attack(&other, "POST", "secrets", Some(&json!({"metadata": {"name": "db-password"}, "stringData": {"password": "x"}})));
    assert_eq!(made.0, 201, "{}", made.1["message"]);
}

fn decoded(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("UTF-8")
}
