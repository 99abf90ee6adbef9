//! Secrets: creation, deletion, and the hole in the deletion.

use serde_json::{Value, json};

use crate::lab::{LEASE, Lab, SECRETS, assert_refused, refusal, text};

#[test]
fn a_created_secret_comes_back_with_what_the_server_adds() {
    let lab = Lab::new();
    let metadata = json!({
        "name": "jobpass-1",
        "labels": {"jobpass.dev/lease": "true"},
        "annotations": {"jobpass.dev/run-url": "https://ci.example/1?a=b"},
    });
    let answer = lab.post(SECRETS, &json!({"metadata": metadata, "type": LEASE}));
    assert_eq!(answer.status, 201);
    let body = answer.json();
    assert_eq!((&body["kind"], &body["apiVersion"], &body["type"]), (&json!("Secret"), &json!("v1"), &json!(LEASE)));
    assert_eq!(body["metadata"]["namespace"], "ci");
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(body["metadata"][field].is_string(), "{field}");
    }
    let stored = lab.sandbox.secrets("ci");
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].uid, text(&body["metadata"]["uid"]));
    assert_eq!(stored[0].type_, LEASE);
    assert_eq!(stored[0].labels["jobpass.dev/lease"], "true");
    assert_eq!(stored[0].annotations["jobpass.dev/run-url"], "https://ci.example/1?a=b");
    lab.all_is_implemented();
}

#[test]
fn a_secret_without_a_type_is_opaque() {
    let lab = Lab::new();
    assert_eq!(lab.post(SECRETS, &json!({"metadata": {"name": "x"}})).json()["type"], "Opaque");
}

#[test]
fn a_name_is_taken_once() {
    let lab = Lab::new();
    lab.lease("c-dup");
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "c-dup"}}));
    assert_refused(&answer, 409, "AlreadyExists", "secrets \"c-dup\" already exists");
}

#[test]
fn a_bad_or_missing_name_is_invalid() {
    let lab = Lab::new();
    let bad = lab.post(SECRETS, &json!({"metadata": {"name": "Bad_Name"}}));
    let (status, reason, message) = refusal(&bad);
    assert_eq!((status, reason.as_str()), (422, "Invalid"));
    let start = "Secret \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must";
    assert!(message.starts_with(start), "{message}");
    let none = lab.post(SECRETS, &json!({"metadata": {}}));
    let message = "Secret \"\" is invalid: metadata.name: Required value: name or generateName is required";
    assert_refused(&none, 422, "Invalid", message);
}

#[test]
fn a_generated_name_has_a_suffix_of_five() {
    let lab = Lab::new();
    let body = lab.post(SECRETS, &json!({"metadata": {"generateName": "jobpass-"}})).json();
    let name = text(&body["metadata"]["name"]);
    assert!(name.starts_with("jobpass-") && name.len() == "jobpass-".len() + 5, "{name}");
}

#[test]
fn a_label_that_is_no_label_value_is_invalid() {
    let lab = Lab::new();
    for value in ["refs/heads/main", "a b", &"x".repeat(64)] {
        let secret = json!({"metadata": {"name": "x", "labels": {"jobpass.dev/run-id": value}}});
        let answer = lab.post(SECRETS, &secret);
        assert_eq!(answer.status, 422, "{value}");
        assert_eq!(answer.json()["details"]["causes"][0]["field"], "metadata.labels");
    }
    let fine = json!({"metadata": {"name": "x", "labels": {"jobpass.dev/run-id": "x".repeat(63), "empty": ""}}});
    assert_eq!(lab.post(SECRETS, &fine).status, 201);
}

#[test]
fn a_namespace_other_than_the_urls_is_a_bad_request() {
    let lab = Lab::new();
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "x", "namespace": "other"}}));
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    assert_refused(&answer, 400, "BadRequest", message);
}

#[test]
fn a_missing_namespace_is_not_found_for_who_has_rights_there() {
    let lab = Lab::new();
    lab.sandbox.grant_jobpass("alice", "ghost", "deploy-bot");
    let secret = lab.post("/api/v1/namespaces/ghost/secrets", &json!({"metadata": {"name": "x"}}));
    assert_refused(&secret, 404, "NotFound", "namespaces \"ghost\" not found");
    let token = lab.post("/api/v1/namespaces/ghost/serviceaccounts/deploy-bot/token", &json!({}));
    assert_refused(&token, 404, "NotFound", "namespaces \"ghost\" not found");
}

#[test]
fn nothing_is_created_in_a_terminating_namespace() {
    let lab = Lab::new();
    lab.lease("jobpass-old");
    lab.sandbox.terminate_namespace("ci");
    let why = "unable to create new content in namespace ci because it is being terminated";
    let secret = lab.post(SECRETS, &json!({"metadata": {"name": "x"}}));
    assert_refused(&secret, 403, "Forbidden", &format!("secrets \"x\" is forbidden: {why}"));
    assert_eq!(secret.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let token = lab.bound_to("jobpass-old");
    assert_refused(&token, 403, "Forbidden", &format!("serviceaccounts \"deploy-bot\" is forbidden: {why}"));
    assert_eq!(lab.delete(&format!("{SECRETS}/jobpass-old"), None).status, 200, "what is there can go");
}

#[test]
fn a_dry_run_creates_nothing() {
    let lab = Lab::new();
    let answer = lab.post(&format!("{SECRETS}?dryRun=All"), &json!({"metadata": {"name": "x"}}));
    assert_eq!(answer.status, 201);
    assert!(answer.json()["metadata"]["uid"].is_string());
    assert_eq!(lab.sandbox.secrets("ci"), []);
}

#[test]
fn string_data_becomes_data() {
    let lab = Lab::new();
    let body = lab.post(SECRETS, &json!({"metadata": {"name": "x"}, "stringData": {"k": "v1"}})).json();
    assert_eq!(body["data"], json!({"k": "djE="}));
    assert!(body.get("stringData").is_none());
}

#[test]
fn deletion_answers_a_status_and_then_not_found() {
    let lab = Lab::new();
    let uid = lab.lease("jobpass-1");
    let path = format!("{SECRETS}/jobpass-1");
    let options = json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
    let gone = lab.delete(&path, Some(&options));
    assert_eq!(gone.status, 200);
    assert_eq!(gone.json()["status"], "Success");
    assert_eq!(gone.json()["details"], json!({"name": "jobpass-1", "kind": "secrets", "uid": uid}));
    let again = lab.delete(&path, Some(&options));
    assert_refused(&again, 404, "NotFound", "secrets \"jobpass-1\" not found");
}

#[test]
fn the_uid_precondition_spares_another_incarnation() {
    let lab = Lab::new();
    let old = lab.lease("jobpass-1");
    let new = lab.sandbox.recreate_secret_same_name("ci", "jobpass-1");
    let answer = lab.delete(&format!("{SECRETS}/jobpass-1"), Some(&json!({"preconditions": {"uid": old}})));
    let message = format!(
        "Operation cannot be fulfilled on Secret \"jobpass-1\": the UID in the precondition ({old}) does not match the UID in \
         record ({new}). The object might have been deleted and then recreated"
    );
    assert_refused(&answer, 409, "Conflict", &message);
    assert_eq!(lab.sandbox.secrets("ci")[0].uid, new);
}

#[test]
fn a_finalizer_turns_the_answer_into_the_secret_again_and_again() {
    let lab = Lab::new();
    lab.post(SECRETS, &json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}));
    for _ in 0..2 {
        let answer = lab.delete(&format!("{SECRETS}/held"), None);
        assert_eq!((answer.status, &answer.json()["kind"]), (200, &json!("Secret")));
        assert!(answer.json()["metadata"]["deletionTimestamp"].is_string());
    }
    let left = lab.sandbox.secrets("ci");
    assert!(left[0].deleting);
    lab.sandbox.delete_secret("ci", "held");
    assert_eq!(lab.delete(&format!("{SECRETS}/held"), None).status, 404);
}

#[test]
fn a_plain_dry_run_of_a_deletion_answers_a_status_and_deletes_nothing() {
    let lab = Lab::new();
    lab.lease("jobpass-1");
    let answer = lab.delete(&format!("{SECRETS}/jobpass-1?dryRun=All"), None);
    assert_eq!((answer.status, &answer.json()["kind"]), (200, &json!("Status")));
    assert_eq!(lab.sandbox.secrets("ci").len(), 1);
}

#[test]
fn a_foreground_or_orphan_dry_run_reads_a_foreign_secret() {
    let lab = Lab::new();
    lab.sandbox.put_secret("ci", "foreign", "Opaque", &[("password", "hunter2")]);
    for policy in ["Foreground", "Orphan"] {
        let by_query = lab.delete(&format!("{SECRETS}/foreign?dryRun=All&propagationPolicy={policy}"), None);
        let options = json!({"dryRun": ["All"], "propagationPolicy": policy});
        let by_body = lab.delete(&format!("{SECRETS}/foreign"), Some(&options));
        for answer in [by_query, by_body] {
            assert_eq!(answer.json()["data"]["password"], "aHVudGVyMg==", "{policy}");
        }
    }
    assert!(!lab.sandbox.secrets("ci")[0].deleting);
}

#[test]
fn a_foreground_deletion_answers_the_secret_and_then_it_is_gone() {
    let lab = Lab::new();
    lab.lease("jobpass-1");
    let answer = lab.delete(&format!("{SECRETS}/jobpass-1?propagationPolicy=Foreground"), None);
    assert_eq!(answer.json()["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(lab.sandbox.secrets("ci"), []);
}

fn owned_by(uid: &str) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "runner", "uid": uid});
    json!({"metadata": {"name": "owned", "ownerReferences": [owner]}})
}

#[test]
fn a_secret_goes_with_the_pod_that_owns_it() {
    let lab = Lab::new();
    let pod = lab.sandbox.add_pod("ci", "runner", "deploy-bot");
    lab.post(SECRETS, &owned_by(&pod));
    let token = text(&lab.bound_to("owned").json()["status"]["token"]);
    assert_eq!(lab.sandbox.secrets("ci")[0].owner_references.len(), 1);
    lab.sandbox.delete_pod("ci", "runner");
    assert_eq!(lab.sandbox.secrets("ci"), []);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn a_secret_whose_owner_never_existed_is_collected() {
    let lab = Lab::new();
    assert_eq!(lab.post(SECRETS, &owned_by("nobody")).status, 201);
    assert_eq!(lab.sandbox.secrets("ci"), []);
}

#[test]
fn an_owner_reference_without_a_uid_is_invalid() {
    let lab = Lab::new();
    let message = "Secret \"owned\" is invalid: metadata.ownerReferences.uid: Invalid value: \"\": must not be empty";
    assert_refused(&lab.post(SECRETS, &owned_by("")), 422, "Invalid", message);
}

#[test]
fn a_list_is_chosen_by_label_and_type() {
    let lab = Lab::new();
    lab.sandbox.allow("alice", "ci", "list", "secrets", &[]);
    let labelled = json!({"metadata": {"name": "jobpass-1", "labels": {"jobpass.dev/lease": "true"}}, "type": LEASE});
    lab.post(SECRETS, &labelled);
    lab.sandbox.put_secret("ci", "foreign", "Opaque", &[]);
    let names = |query: &str| -> Vec<String> {
        let body = lab.get(&format!("{SECRETS}{query}")).json();
        assert_eq!(body["kind"], "SecretList");
        body["items"].as_array().expect("a list").iter().map(|item| text(&item["metadata"]["name"])).collect()
    };
    assert_eq!(names(""), ["foreign", "jobpass-1"]);
    assert_eq!(names("?labelSelector=jobpass.dev%2Flease%3Dtrue"), ["jobpass-1"]);
    assert_eq!(names("?labelSelector=!jobpass.dev/lease"), ["foreign"]);
    assert_eq!(names("?fieldSelector=type%3DOpaque"), ["foreign"]);
    lab.all_is_implemented();
}
