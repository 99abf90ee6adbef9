//! The token request: what is granted, what is refused and in which words.

use jiff::Timestamp;
use jobpass_sandbox::jwt;
use serde_json::{Value, json};

use crate::lab::{Lab, SECRETS, TOKEN, assert_refused, text};

fn lifetime(seconds: &Value) -> Value {
    json!({"spec": {"expirationSeconds": seconds}})
}

#[test]
fn an_empty_request_is_granted_for_an_hour_and_the_servers_audience() {
    let lab = Lab::new();
    let answer = lab.post(TOKEN, &json!({}));
    assert_eq!(answer.status, 201);
    let body = answer.json();
    assert_eq!(body["kind"], "TokenRequest");
    assert_eq!(body["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(body["spec"]["expirationSeconds"], 3600);
    assert_eq!(body["spec"]["boundObjectRef"], Value::Null);
    let claims = jwt::claims(&text(&body["status"]["token"])).expect("a JWT");
    assert_eq!(claims["aud"], body["spec"]["audiences"]);
    assert_eq!(lab.status_with(&text(&body["status"]["token"])), 201);
    lab.all_is_implemented();
}

#[test]
fn a_bound_token_has_name_and_uid_of_the_secret_even_when_no_uid_was_sent() {
    let lab = Lab::new();
    let uid = lab.lease("jobpass-1");
    let body = lab.bound_to("jobpass-1").json();
    let claims = jwt::claims(&text(&body["status"]["token"])).expect("a JWT");
    assert_eq!(claims["kubernetes.io"]["secret"], json!({"name": "jobpass-1", "uid": uid}));
    assert_eq!(claims["kubernetes.io"]["serviceaccount"]["uid"], body["metadata"]["uid"]);
    assert_eq!(claims["sub"], "system:serviceaccount:ci:deploy-bot");
    assert_eq!(claims["nbf"], claims["iat"]);
    assert!(body["spec"]["boundObjectRef"].get("uid").is_none(), "the answer does not fill it in");
}

#[test]
fn the_reference_needs_no_api_version() {
    let lab = Lab::new();
    lab.lease("jobpass-1");
    let body = json!({"spec": {"boundObjectRef": {"kind": "Secret", "name": "jobpass-1"}}});
    assert_eq!(lab.post(TOKEN, &body).status, 201);
}

#[test]
fn the_expiry_in_the_answer_is_the_claims_expiry() {
    let lab = Lab::new();
    let body = lab.post(TOKEN, &lifetime(&json!(600))).json();
    let claims = jwt::claims(&text(&body["status"]["token"])).expect("a JWT");
    let shown: Timestamp = text(&body["status"]["expirationTimestamp"]).parse().expect("a time");
    assert_eq!(claims["exp"], shown.as_second());
    assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(600));
}

#[test]
fn another_uid_of_the_secret_is_a_conflict() {
    let lab = Lab::new();
    lab.lease("jobpass-1");
    let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": "jobpass-1", "uid": "other"});
    let answer = lab.post(TOKEN, &json!({"spec": {"boundObjectRef": reference}}));
    let message = "Operation cannot be fulfilled on Secret \"jobpass-1\": the UID in the bound object reference (other) does \
                   not match the UID in record. The object might have been deleted and then recreated";
    assert_refused(&answer, 409, "Conflict", message);
}

#[test]
fn a_missing_secret_is_not_found() {
    let lab = Lab::new();
    let answer = lab.bound_to("nope");
    assert_refused(&answer, 404, "NotFound", "secrets \"nope\" not found");
    assert_eq!(answer.json()["details"], json!({"name": "nope", "kind": "secrets"}));
}

#[test]
fn a_token_is_bound_only_to_pods_of_its_own_service_account() {
    let lab = Lab::new();
    lab.sandbox.add_pod("ci", "mine", "deploy-bot");
    lab.sandbox.add_pod("ci", "theirs", "other");
    let bind = |pod: &str| lab.post(TOKEN, &json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": pod}}}));
    assert_eq!(bind("mine").status, 201);
    let message = "cannot bind token for serviceaccount \"deploy-bot\" to pod running with different serviceaccount name.";
    assert_refused(&bind("theirs"), 400, "BadRequest", message);
    assert_refused(&bind("p9"), 404, "NotFound", "pods \"p9\" not found");
}

#[test]
fn other_kinds_and_nameless_references_are_bad_requests() {
    let lab = Lab::new();
    let bind = |reference: &Value| lab.post(TOKEN, &json!({"spec": {"boundObjectRef": reference}}));
    let other = bind(&json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}));
    assert_refused(&other, 400, "BadRequest", "cannot bind token to object of type /v1, Kind=ConfigMap");
    let nameless = bind(&json!({"apiVersion": "v1", "kind": "Secret"}));
    assert_refused(&nameless, 400, "BadRequest", "Name parameter required.");
}

#[test]
fn less_than_ten_minutes_is_invalid() {
    let lab = Lab::new();
    for seconds in [-5, 0, 1, 300, 599] {
        let answer = lab.post(TOKEN, &lifetime(&json!(seconds)));
        let message = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: may not \
             specify a duration less than 10 minutes"
        );
        assert_refused(&answer, 422, "Invalid", &message);
    }
}

#[test]
fn ten_years_are_granted_and_more_than_two_to_the_32_seconds_are_not() {
    let lab = Lab::new();
    for seconds in [600, 86400, 315_360_000, 1_i64 << 32] {
        let body = lab.post(TOKEN, &lifetime(&json!(seconds))).json();
        assert_eq!(body["spec"]["expirationSeconds"], seconds);
    }
    let answer = lab.post(TOKEN, &lifetime(&json!((1_i64 << 32) + 1)));
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("may not specify a duration larger than 2^32 seconds"), "{}", answer.body);
}

#[test]
fn the_servers_maximum_shortens_with_a_warning_only() {
    let lab = Lab::new();
    lab.sandbox.max_token_expiration(7200);
    let answer = lab.post(TOKEN, &lifetime(&json!(7201)));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["spec"]["expirationSeconds"], 7200);
    let warning = "299 - \"requested expiration of 7201 seconds shortened to 7200 seconds\"";
    assert_eq!(answer.header("warning"), Some(warning));
    assert_eq!(lab.post(TOKEN, &lifetime(&json!(7200))).header("warning"), None);
}

#[test]
fn a_maximum_of_seconds_gives_tokens_that_end_within_a_test() {
    let lab = Lab::new();
    lab.sandbox.max_token_expiration(5);
    let token = lab.pass("jobpass-1");
    lab.advance(5 + 60 + 1);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn an_unknown_audience_is_granted_and_not_accepted() {
    let lab = Lab::new();
    let ask = |audiences: &Value| {
        let body = lab.post(TOKEN, &json!({"spec": {"audiences": audiences}})).json();
        text(&body["status"]["token"])
    };
    assert_eq!(lab.status_with(&ask(&json!(["https://unknown.example"]))), 401);
    assert_eq!(lab.status_with(&ask(&json!([""]))), 401);
    assert_eq!(lab.status_with(&ask(&json!([]))), 201);
    let both = json!(["https://unknown.example", "https://kubernetes.default.svc.cluster.local"]);
    assert_eq!(lab.status_with(&ask(&both)), 201);
}

#[test]
fn a_name_or_namespace_other_than_the_urls_is_invalid() {
    let lab = Lab::new();
    let answer = lab.post(TOKEN, &json!({"metadata": {"name": "other"}}));
    let message = "TokenRequest.authentication.k8s.io \"deploy-bot\" is invalid: metadata.name: Invalid value: \"other\": \
                   must match the service account name if specified";
    assert_refused(&answer, 422, "Invalid", message);
    assert_eq!(lab.post(TOKEN, &json!({"metadata": {"namespace": "other"}})).status, 422);
}

#[test]
fn the_uid_of_the_service_account_can_be_pinned() {
    let lab = Lab::new();
    let uid = lab.sandbox.add_service_account("ci", "deploy-bot");
    assert_eq!(lab.post(TOKEN, &json!({"metadata": {"uid": uid}})).status, 201);
    let anew = lab.sandbox.add_service_account("ci", "deploy-bot");
    let answer = lab.post(TOKEN, &json!({"metadata": {"uid": uid}}));
    assert_eq!(answer.status, 409);
    let words = format!("the UID in the token request ({uid}) does not match the UID of the service account ({anew})");
    assert!(text(&answer.json()["message"]).contains(&words), "{}", answer.body);
}

#[test]
fn a_dry_run_gives_a_real_token() {
    let lab = Lab::new();
    let body = lab.post(&format!("{TOKEN}?dryRun=All"), &json!({})).json();
    assert_eq!(lab.status_with(&text(&body["status"]["token"])), 201);
}

#[test]
fn an_unknown_field_is_a_warning() {
    let lab = Lab::new();
    let answer = lab.post(TOKEN, &json!({"spec": {"foo": 1}}));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("warning"), Some(r#"299 - "unknown field \"spec.foo\"""#));
}

#[test]
fn binding_needs_no_right_on_the_secret() {
    let lab = Lab::new();
    lab.sandbox.put_secret("ci", "made-before", "Opaque", &[("password", "hunter2")]);
    lab.sandbox.revoke_rules("alice");
    lab.sandbox.allow("alice", "ci", "create", "serviceaccounts/token", &["deploy-bot"]);
    assert_eq!(lab.bound_to("made-before").status, 201);
    assert_eq!(lab.get(&format!("{SECRETS}/made-before")).status, 403);
}

#[test]
fn every_token_given_out_is_known_to_leak_tests() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    assert_eq!(lab.sandbox.issued_tokens(), [token]);
}
