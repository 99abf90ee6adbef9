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
