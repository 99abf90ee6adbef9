//! What the two admission policies deny, and what they leave alone.

use serde_json::{Value, json};

use crate::lab::{LEASE, Lab, SECRETS, TOKEN, assert_refused};

/// `alice` as the CI identity that the policies are about.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.alice = lab.sandbox.add_user("alice", &["jobpass:ci"]);
    lab.sandbox.enable_policies();
    lab
}

fn secret(name: &str, type_: &str) -> Value {
    json!({"metadata": {"name": name}, "type": type_})
}

#[test]
fn a_lease_and_a_token_bound_to_it_pass_the_policies() {
    let lab = lab();
    lab.lease("jobpass-1");
    assert_eq!(lab.bound_to("jobpass-1").status, 201);
    let options = json!({"propagationPolicy": "Background"});
    assert_eq!(lab.delete(&format!("{SECRETS}/jobpass-1"), Some(&options)).status, 200);
}

#[test]
fn the_denial_is_403_in_the_words_of_the_policy() {
    let lab = lab();
    let answer = lab.post(SECRETS, &secret("jobpass-1", "Opaque"));
    let why = "ValidatingAdmissionPolicy 'jobpass-lease-secrets' with binding 'jobpass-lease-secrets' denied request: jobpass \
               policy: a CI identity may create and delete only leases; use a Secret of type jobpass.dev/lease";
    assert_refused(&answer, 403, "Forbidden", &format!("secrets \"jobpass-1\" is forbidden: {why}"));
    assert_eq!(answer.json()["details"]["causes"], json!([{"message": why}]));
}

#[test]
fn the_denial_is_422_where_the_policy_gives_no_reason() {
    let lab = lab();
    lab.sandbox.deny_with_invalid();
    let answer = lab.post(SECRETS, &secret("jobpass-1", "Opaque"));
    assert_eq!((answer.status, &answer.json()["reason"]), (422, &json!("Invalid")));
}

#[test]
fn what_is_no_empty_lease_is_not_created() {
    let lab = lab();
    let with = |field: &str, value: Value| {
        let mut secret = secret("jobpass-1", LEASE);
        secret[field] = value;
        secret
    };
    let finalizers = json!({"name": "jobpass-1", "finalizers": ["example.com/hold"]});
    for bad in [
        secret("other", LEASE),
        secret("jobpass-1", "kubernetes.io/service-account-token"),
        json!({"metadata": {"name": "jobpass-1"}}),
        with("data", json!({"k": "djE="})),
        with("stringData", json!({"k": "v1"})),
        with("metadata", finalizers),
    ] {
        assert_eq!(lab.post(SECRETS, &bad).status, 403, "{bad}");
    }
    assert_eq!(lab.sandbox.secrets("ci"), []);
    lab.all_is_implemented();
}

/// A lease of alice with one thing in its metadata that is otherwise.
fn lease_with(change: impl Fn(&mut Value)) -> Value {
    let notes = json!({"jobpass.dev/identity": "alice", "jobpass.dev/lifetime": "604800"});
    let labels = json!({"app.kubernetes.io/managed-by": "jobpass", "jobpass.dev/lease": "true"});
    let mut secret = json!({"metadata": {"name": "jobpass-1", "annotations": notes, "labels": labels}, "type": LEASE});
    change(&mut secret["metadata"]);
    secret
}

#[test]
fn a_lease_says_who_made_it_and_how_long_it_lives_and_little_else() {
    let lab = lab();
    let note = |name: &'static str, text: Value| move |metadata: &mut Value| metadata["annotations"][name] = text.clone();
    let owner = |kind: &'static str| {
        move |metadata: &mut Value| metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": kind, "name": "p", "uid": "u"}])
    };
    for (bad, words) in [
        (lease_with(note("jobpass.dev/identity", json!("bob"))), "must say who makes it"),
        (
            lease_with(|metadata| drop(metadata["annotations"].as_object_mut().map(|notes| notes.remove("jobpass.dev/identity")))),
            "must say who makes it",
        ),
        (lease_with(note("jobpass.dev/lifetime", json!("604801"))), "must say how long"),
        (lease_with(note("jobpass.dev/lifetime", json!("1e3"))), "must say how long"),
        (lease_with(note("jobpass.dev/lifetime", json!(""))), "must say how long"),
        (lease_with(note("jobpass.dev/x", json!("ä".repeat(8192)))), "more than 16 kB"),
        (lease_with(note("example.com/x", json!(""))), "must not have the label or annotation example.com/x; where"),
        (lease_with(|metadata| metadata["labels"]["team"] = json!("a")), "must not have the label or annotation team; where"),
        (lease_with(owner("ConfigMap")), "owned by nothing but a Pod"),
    ] {
        let answer = lab.post(SECRETS, &bad);
        assert!(answer.status == 403 && answer.body.contains(words), "{words}: {}", answer.body);
    }
    assert_eq!(lab.post(SECRETS, &lease_with(|_| {})).status, 201);
    lab.all_is_implemented();
}

#[test]
fn only_who_made_a_lease_deletes_it_but_everybody_an_older_one() {
    let lab = lab();
    let bob = lab.sandbox.add_user("bob", &["jobpass:ci"]);
    lab.sandbox.grant_jobpass("bob", "ci", "deploy-bot");
    let path = format!("{SECRETS}/jobpass-1");
    lab.lease("jobpass-1");
    let foreign = lab.send(Some(&bob), "DELETE", &path, None);
    assert!(foreign.status == 403 && foreign.body.contains("only the CI identity that made a lease"), "{}", foreign.body);
    assert_eq!(lab.delete(&path, None).status, 200);
    lab.sandbox.put_secret("ci", "jobpass-1", LEASE, &[]);
    assert_eq!(lab.send(Some(&bob), "DELETE", &path, None).status, 200);
}

#[test]
fn a_foreign_secret_is_neither_deleted_nor_read() {
    let lab = lab();
    lab.sandbox.put_secret("ci", "foreign", "Opaque", &[("password", "hunter2")]);
    for query in ["", "?dryRun=All", "?dryRun=All&propagationPolicy=Foreground", "?dryRun=All&propagationPolicy=Orphan"] {
        let answer = lab.delete(&format!("{SECRETS}/foreign{query}"), None);
        assert_eq!(answer.status, 403, "{query}");
        assert!(!answer.body.contains("aHVudGVyMg"), "{query}");
    }
    assert_eq!(lab.sandbox.secrets("ci").len(), 1);
}

#[test]
fn a_lease_is_deleted_in_the_background_only() {
    let lab = lab();
    lab.lease("jobpass-1");
    assert_eq!(lab.delete(&format!("{SECRETS}/jobpass-1?propagationPolicy=Foreground"), None).status, 403);
    assert_eq!(lab.delete(&format!("{SECRETS}/jobpass-1"), None).status, 200);
}

#[test]
fn a_missing_secret_is_not_found_before_any_policy() {
    let lab = lab();
    assert_eq!(lab.delete(&format!("{SECRETS}/foreign"), None).status, 404);
}

#[test]
fn a_token_is_bound_to_a_lease_for_an_hour_at_most() {
    let lab = lab();
    lab.lease("jobpass-1");
    lab.sandbox.put_secret("ci", "foreign", "Opaque", &[]);
    let ask = |name: &str, seconds: i64| {
        let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": name});
        lab.post(TOKEN, &json!({"spec": {"boundObjectRef": reference, "expirationSeconds": seconds}})).status
    };
    assert_eq!(lab.post(TOKEN, &json!({})).status, 403, "unbound");
    assert_eq!(ask("foreign", 600), 403);
    assert_eq!(ask("jobpass-1", 7200), 403);
    assert_eq!(ask("jobpass-1", 3600), 201);
}

#[test]
fn the_tokens_denial_names_the_service_account() {
    let lab = lab();
    let why = "serviceaccounts \"deploy-bot\" is forbidden: ValidatingAdmissionPolicy 'jobpass-tokens' with binding \
               'jobpass-tokens' denied request: jobpass policy: bind the token to a lease, a Secret whose name starts with jobpass-, so that it can be revoked";
    assert_refused(&lab.post(TOKEN, &json!({})), 403, "Forbidden", why);
}

#[test]
fn other_users_are_left_alone() {
    let lab = Lab::new();
    lab.sandbox.enable_policies();
    assert_eq!(lab.post(SECRETS, &secret("other", "Opaque")).status, 201);
}

#[test]
fn the_service_accounts_of_the_namespace_jobpass_are_ci_identities() {
    let lab = Lab::new();
    lab.sandbox.enable_policies();
    lab.sandbox.add_service_account("jobpass", "ci");
    lab.sandbox.grant_jobpass("system:serviceaccount:jobpass:ci", "ci", "deploy-bot");
    let token = lab.sandbox.service_account_token("jobpass", "ci");
    let answer = lab.send(Some(&token), "POST", SECRETS, Some(&secret("other", "Opaque")));
    assert!(answer.body.contains("jobpass policy:"), "{}", answer.body);
}
