//! Who is asked for, for how long a token lives, and what the success cache does.

use jobpass_sandbox::client;
use serde_json::json;

use crate::lab::{Lab, SECRETS, TOKEN, assert_refused, text};

#[test]
fn a_warm_token_survives_its_secret_for_ten_seconds_from_the_cache_fill() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(5);
    assert_eq!(lab.status_with(&token), 201);
    lab.delete(&format!("{SECRETS}/jobpass-1"), None);
    lab.advance(2);
    assert_eq!(lab.status_with(&token), 201, "the entry is 7 s old");
    lab.advance(3);
    assert_eq!(lab.status_with(&token), 401, "use does not prolong it");
}

#[test]
fn a_cold_token_dies_with_its_secret() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    lab.delete(&format!("{SECRETS}/jobpass-1"), None);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn an_idle_token_is_cold_again_after_ten_seconds() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(11);
    lab.delete(&format!("{SECRETS}/jobpass-1"), None);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_failure_is_not_cached() {
    let lab = Lab::new();
    let token = lab.sandbox.add_jwt_user("ci-job", &json!({"nbf": lab.sandbox.now().as_second() + 160}));
    assert_eq!(lab.status_with(&token), 401);
    lab.advance(101);
    assert_eq!(lab.status_with(&token), 201);
}

#[test]
fn self_revocation_leaves_the_token_warm() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    lab.sandbox.allow("system:serviceaccount:ci:deploy-bot", "ci", "delete", "secrets", &[]);
    let gone = lab.send(Some(&token), "DELETE", &format!("{SECRETS}/jobpass-1"), None);
    assert_eq!(gone.status, 200);
    assert_eq!(lab.status_with(&token), 201);
    assert!(!lab.sandbox.is_live(&token), "only the cache still holds it");
    lab.advance(10);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_secret_of_the_same_name_does_not_revive_a_token() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    lab.delete(&format!("{SECRETS}/jobpass-1"), None);
    lab.lease("jobpass-1");
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_token_outlives_its_expiry_by_sixty_seconds_of_leeway() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    lab.advance(3600 + 55);
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(6);
    assert_eq!(lab.status_with(&token), 201, "the cache outlives the leeway");
    lab.advance(5);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_token_dies_with_its_service_account_and_a_new_one_does_not_revive_it() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    lab.sandbox.delete_service_account("ci", "deploy-bot");
    assert_eq!(lab.status_with(&token), 401);
    lab.sandbox.add_service_account("ci", "deploy-bot");
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_finalizer_keeps_the_token_alive_for_sixty_seconds() {
    let lab = Lab::new();
    let secret = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    lab.post(SECRETS, &secret);
    let token = text(&lab.bound_to("held").json()["status"]["token"]);
    let deleted = lab.delete(&format!("{SECRETS}/held"), None);
    assert_eq!(deleted.json()["kind"], "Secret");
    lab.advance(50);
    assert!(lab.sandbox.is_live(&token));
    lab.advance(12);
    assert!(!lab.sandbox.is_live(&token));
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn garbage_and_tampered_bearers_are_401_without_a_challenge() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    let (head, signature) = token.rsplit_once('.').expect("a JWT");
    let tampered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for bad in ["garbage", tampered.as_str()] {
        let answer = lab.send(Some(bad), "POST", TOKEN, Some(&json!({})));
        assert_refused(&answer, 401, "Unauthorized", "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), None);
        assert!(answer.json().get("details").is_none());
    }
}

#[test]
fn no_credentials_are_the_anonymous_user() {
    let lab = Lab::new();
    let answer = lab.send(None, "POST", SECRETS, Some(&json!({})));
    let message = r#"secrets is forbidden: User "system:anonymous" cannot create resource "secrets" in API group "" in the namespace "ci""#;
    assert_refused(&answer, 403, "Forbidden", message);
}

#[test]
fn a_client_certificate_goes_before_a_bearer_token() {
    let lab = Lab::new();
    let bob = lab.sandbox.client_identity("bob");
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (url, ca) = (lab.sandbox.url(), lab.sandbox.ca_pem());
    for token in [None, Some(lab.alice.as_str()), Some("garbage")] {
        let answer = client::request_as(&url, &ca, &bob, "POST", path, token, Some(&json!({}))).expect("an answer");
        assert_eq!(answer.json()["status"]["userInfo"]["username"], "bob");
    }
}

#[test]
fn an_unknown_client_certificate_is_401_unless_a_bearer_token_helps() {
    let lab = Lab::new();
    let stranger = Lab::new().sandbox.client_identity("bob");
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (url, ca) = (lab.sandbox.url(), lab.sandbox.ca_pem());
    let alone = client::request_as(&url, &ca, &stranger, "POST", path, None, Some(&json!({}))).expect("an answer");
    assert_eq!(alone.status, 401);
    let helped = client::request_as(&url, &ca, &stranger, "POST", path, Some(&lab.alice), Some(&json!({})));
    assert_eq!(helped.expect("an answer").json()["status"]["userInfo"]["username"], "alice");
}

#[test]
fn an_identity_token_has_no_leeway_at_its_expiry() {
    let lab = Lab::new();
    let token = lab.sandbox.add_jwt_user("ci-job", &json!({}));
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(601);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn an_identity_token_that_is_early_or_for_another_audience_or_issuer_is_401() {
    let lab = Lab::new();
    let later = lab.sandbox.now().as_second() + 3000;
    for claims in [json!({"nbf": later}), json!({"aud": ["other"]}), json!({"iss": "https://other.example"}), json!({"exp": 1})] {
        let token = lab.sandbox.add_jwt_user("ci-job", &claims);
        assert_eq!(lab.status_with(&token), 401, "{claims}");
    }
}

#[test]
fn an_identity_token_is_mapped_from_its_subject_to_a_user() {
    let lab = Lab::new();
    let claims = json!({"sub": "repo:acme/app:ref:refs/heads/main"});
    let token = lab.sandbox.add_jwt_user("gha:repo:acme/app:ref:refs/heads/main", &claims);
    let who = client::whoami(&lab.sandbox.url(), &lab.sandbox.ca_pem(), &token).expect("an answer");
    assert_eq!(who.username.as_deref(), Some("gha:repo:acme/app:ref:refs/heads/main"));
    assert!(who.credential_id.is_some_and(|id| id.starts_with("JTI=")));
}

#[test]
fn a_forgotten_static_token_is_401_and_the_new_one_is_not() {
    let lab = Lab::new();
    assert_eq!(lab.status_with(&lab.alice), 201);
    let rotated = lab.sandbox.add_user("alice", &[]);
    lab.sandbox.forget_token(&lab.alice);
    assert_eq!(lab.status_with(&lab.alice), 401);
    assert_eq!(lab.status_with(&rotated), 201);
}

#[test]
fn a_service_account_token_shows_who_it_is_but_not_its_secret() {
    let lab = Lab::new();
    let token = lab.pass("jobpass-1");
    let jti = text(&jobpass_sandbox::jwt::claims(&token).expect("a JWT")["jti"]);
    let who = client::whoami(&lab.sandbox.url(), &lab.sandbox.ca_pem(), &token).expect("an answer");
    assert_eq!(who.username.as_deref(), Some("system:serviceaccount:ci:deploy-bot"));
    assert_eq!(who.groups, ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]);
    assert_eq!(who.credential_id, Some(format!("JTI={jti}")));
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = lab.send(Some(&token), "POST", path, Some(&json!({})));
    assert!(!answer.body.contains("jobpass-1"), "{}", answer.body);
}

#[test]
fn a_pod_token_dies_with_its_pod() {
    let lab = Lab::new();
    lab.sandbox.add_pod("ci", "runner", "deploy-bot");
    let token = lab.sandbox.pod_token("ci", "runner");
    assert!(lab.sandbox.is_live(&token));
    lab.sandbox.delete_pod("ci", "runner");
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn the_anonymous_user_may_not_review_itself() {
    let lab = Lab::new();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = lab.send(None, "POST", path, Some(&json!({})));
    let message = r#"selfsubjectreviews.authentication.k8s.io is forbidden: User "system:anonymous" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope"#;
    assert_refused(&answer, 403, "Forbidden", message);
}
