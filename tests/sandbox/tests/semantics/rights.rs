//! What RBAC refuses, word for word.

use serde_json::{Value, json};

use crate::lab::{Lab, SECRETS, TOKEN, assert_refused};

fn denied(subject: &str, verb: &str, resource: &str) -> String {
    format!("{subject} is forbidden: User \"alice\" cannot {verb} resource \"{resource}\" in API group \"\" in the namespace \"ci\"")
}

#[test]
fn a_user_without_rights_is_told_each_that_is_missing() {
    let lab = Lab::new();
    lab.lease("c-1");
    lab.sandbox.revoke_rules("alice");
    let path = format!("{SECRETS}/c-1");
    let cases = [
        (lab.post(TOKEN, &json!({})), denied("serviceaccounts \"deploy-bot\"", "create", "serviceaccounts/token")),
        (lab.post(SECRETS, &json!({})), denied("secrets", "create", "secrets")),
        (lab.delete(&path, None), denied("secrets \"c-1\"", "delete", "secrets")),
        (lab.get(&path), denied("secrets \"c-1\"", "get", "secrets")),
        (lab.get(SECRETS), denied("secrets", "list", "secrets")),
        (lab.get("/api/v1/namespaces/ci/pods"), denied("pods", "list", "pods")),
    ];
    for (answer, message) in cases {
        assert_refused(&answer, 403, "Forbidden", &message);
    }
}

#[test]
fn the_details_of_a_refusal_name_the_resource() {
    let lab = Lab::new();
    lab.sandbox.revoke_rules("alice");
    let token = lab.post(TOKEN, &json!({})).json();
    assert_eq!(token["details"], json!({"name": "deploy-bot", "kind": "serviceaccounts"}));
    assert_eq!(lab.post(SECRETS, &json!({})).json()["details"], json!({"kind": "secrets"}));
}

#[test]
fn what_jobpass_is_granted_includes_no_reading() {
    let lab = Lab::new();
    lab.lease("c-1");
    assert_eq!(lab.bound_to("c-1").status, 201);
    assert_eq!(lab.get(&format!("{SECRETS}/c-1")).status, 403);
    assert_eq!(lab.get(SECRETS).status, 403);
    assert_eq!(lab.delete(&format!("{SECRETS}/c-1"), None).status, 200);
}

#[test]
fn another_service_account_is_refused_whether_it_exists_or_not() {
    let lab = Lab::new();
    lab.sandbox.add_service_account("ci", "admin-bot");
    for name in ["admin-bot", "no-such-bot"] {
        let answer = lab.post(&format!("/api/v1/namespaces/ci/serviceaccounts/{name}/token"), &json!({}));
        let message = denied(&format!("serviceaccounts \"{name}\""), "create", "serviceaccounts/token");
        assert_refused(&answer, 403, "Forbidden", &message);
    }
}

#[test]
fn a_granted_service_account_that_is_missing_is_not_found() {
    let lab = Lab::new();
    lab.sandbox.grant_jobpass("alice", "ci", "ghost-bot");
    let answer = lab.post("/api/v1/namespaces/ci/serviceaccounts/ghost-bot/token", &json!({}));
    assert_refused(&answer, 404, "NotFound", "serviceaccounts \"ghost-bot\" not found");
}

#[test]
fn resource_names_cannot_limit_creation() {
    let lab = Lab::new();
    lab.sandbox.revoke_rules("alice");
    lab.sandbox.allow("alice", "ci", "create", "secrets", &["c-1"]);
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "c-1"}}));
    assert_refused(&answer, 403, "Forbidden", &denied("secrets", "create", "secrets"));
}

#[test]
fn resource_names_limit_deletion() {
    let lab = Lab::new();
    lab.lease("c-1");
    lab.lease("c-2");
    lab.sandbox.revoke_rules("alice");
    lab.sandbox.allow("alice", "ci", "delete", "secrets", &["c-1"]);
    assert_eq!(lab.delete(&format!("{SECRETS}/c-2"), None).status, 403);
    assert_eq!(lab.delete(&format!("{SECRETS}/c-1"), None).status, 200);
}

#[test]
fn rights_end_at_the_namespace() {
    let lab = Lab::new();
    lab.sandbox.add_namespace("prod");
    let answer = lab.post("/api/v1/namespaces/prod/secrets", &json!({"metadata": {"name": "x"}}));
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("in the namespace \\\"prod\\\""), "{}", answer.body);
}

#[test]
fn a_service_account_has_rights_of_its_own() {
    let lab = Lab::new();
    let token = lab.pass("c-1");
    let pods = "/api/v1/namespaces/ci/pods";
    let refused = lab.send(Some(&token), "GET", pods, None);
    assert!(refused.body.contains("User \\\"system:serviceaccount:ci:deploy-bot\\\" cannot list"), "{}", refused.body);
    lab.sandbox.allow("system:serviceaccount:ci:deploy-bot", "ci", "list", "pods", &[]);
    let allowed = lab.send(Some(&token), "GET", pods, None);
    assert_eq!((allowed.status, &allowed.json()["kind"]), (200, &json!("PodList")));
    assert_eq!(allowed.json()["items"], json!([]));
}

#[test]
fn an_access_review_says_what_a_request_would() {
    let lab = Lab::new();
    let ask = |attributes: Value| {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = lab.post(path, &json!({"spec": {"resourceAttributes": attributes}}));
        assert_eq!(answer.status, 201);
        answer.json()["status"]["allowed"].clone()
    };
    let token =
        |name: &str| json!({"namespace": "ci", "verb": "create", "resource": "serviceaccounts", "subresource": "token", "name": name});
    assert_eq!(ask(token("deploy-bot")), true);
    assert_eq!(ask(token("admin-bot")), false);
    assert_eq!(ask(json!({"namespace": "ci", "verb": "delete", "resource": "secrets"})), true);
    assert_eq!(ask(json!({"namespace": "ci", "verb": "get", "resource": "secrets"})), false);
    lab.all_is_implemented();
}
