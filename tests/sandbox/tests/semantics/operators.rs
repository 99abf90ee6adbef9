//! What those who own a cluster ask: lists in pieces and of metadata alone, watches, namespaces and Events. Each answer was seen on a real
//! API server first.

use jobpass_sandbox::client::{self, Response};
use serde_json::{Value, json};

use crate::lab::{Lab, SECRETS, TOKEN, assert_refused, refusal, text};

const ALL: &str = "/api/v1/secrets?fieldSelector=type%3Djobpass.dev/lease";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const NAMESPACE: &str = "/api/v1/namespaces/ci";

impl Lab {
    /// A request of the admin's.
    fn ask(&self, admin: &str, headers: &[(&str, &str)], method: &str, path: &str, body: Option<&Value>) -> Response {
        client::request_with(&self.sandbox.url(), &self.sandbox.ca_pem(), (method, path), admin, headers, body)
            .expect("the sandbox answers")
    }
}

#[test]
fn a_list_comes_in_pieces_and_without_values() {
    let lab = Lab::new();
    let admin = lab.sandbox.admin();
    for name in ["jobpass-1", "jobpass-2", "jobpass-3"] {
        lab.lease(name);
    }
    lab.sandbox.put_secret("other", "theirs", "Opaque", &[("key", "value")]);
    let (mut path, mut names) = (format!("{ALL}&limit=2"), Vec::new());
    loop {
        let page = lab.ask(&admin, &[("Accept", METADATA)], "GET", &path, None).json();
        assert_eq!((&page["kind"], &page["apiVersion"]), (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1")));
        for item in page["items"].as_array().expect("a list") {
            let fields: Vec<_> = item.as_object().expect("an object").keys().collect();
            assert_eq!(fields, ["apiVersion", "kind", "metadata"]);
            names.push(text(&item["metadata"]["name"]));
        }
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        assert!(page["metadata"]["remainingItemCount"].is_null(), "a selection is not counted");
        path = format!("{ALL}&limit=2&continue={token}");
    }
    assert_eq!(names, ["jobpass-1", "jobpass-2", "jobpass-3"]);
    let counted = lab.ask(&admin, &[], "GET", &format!("{SECRETS}?limit=1"), None).json();
    assert_eq!(counted["metadata"]["remainingItemCount"], 2);
    let (status, reason, message) = refusal(&lab.ask(&admin, &[], "GET", &format!("{SECRETS}?limit=1&continue=garbage"), None));
    assert_eq!((status, reason.as_str()), (400, "BadRequest"));
    assert!(message.starts_with("invalid continue token: "), "{message}");
    lab.all_is_implemented();
}

#[test]
fn nobody_but_an_admin_lists_all_namespaces() {
    let lab = Lab::new();
    let message = "secrets is forbidden: User \"alice\" cannot list resource \"secrets\" in API group \"\" at the cluster scope";
    assert_refused(&lab.get(ALL), 403, "Forbidden", message);
    lab.sandbox.allow("alice", "*", "list", "secrets", &[]);
    assert_eq!(lab.get(ALL).status, 200);
}

#[test]
fn a_namespace_has_annotations_that_a_merge_patch_changes() {
    let lab = Lab::new();
    let admin = lab.sandbox.admin();
    let patch = |notes: &Value| {
        let body = json!({"metadata": {"annotations": notes}});
        lab.ask(&admin, &[("Content-Type", "application/merge-patch+json")], "PATCH", NAMESPACE, Some(&body)).json()
    };
    assert_eq!(patch(&json!({"a/b": "1", "c": "2"}))["metadata"]["annotations"], json!({"a/b": "1", "c": "2"}));
    assert_eq!(patch(&json!({"a/b": null}))["metadata"]["annotations"], json!({"c": "2"}));
    let read = lab.ask(&admin, &[], "GET", NAMESPACE, None).json();
    assert_eq!((&read["kind"], &read["metadata"]["annotations"]), (&json!("Namespace"), &json!({"c": "2"})));
    let missing = lab.ask(&admin, &[], "GET", "/api/v1/namespaces/nope", None);
    assert_refused(&missing, 404, "NotFound", "namespaces \"nope\" not found");
    lab.all_is_implemented();
}

#[test]
fn an_event_is_kept_and_found_by_its_object() {
    let lab = Lab::new();
    let admin = lab.sandbox.admin();
    let event = |namespace: &str| {
        json!({
            "metadata": {"generateName": "jobpass-"}, "reason": "Revoked", "message": "m",
            "involvedObject": {"kind": "Secret", "namespace": namespace, "uid": "u-1"},
        })
    };
    let path = "/api/v1/namespaces/ci/events";
    let made = lab.ask(&admin, &[], "POST", path, Some(&event("ci")));
    assert_eq!(made.status, 201);
    assert!(text(&made.json()["metadata"]["name"]).starts_with("jobpass-"));
    let (status, reason, _) = refusal(&lab.ask(&admin, &[], "POST", path, Some(&event("other"))));
    assert_eq!((status, reason.as_str()), (422, "Invalid"));
    let found = |selector: &str| {
        let list = lab.ask(&admin, &[], "GET", &format!("{path}?fieldSelector={selector}"), None).json();
        list["items"].as_array().expect("a list").len()
    };
    assert_eq!((found("involvedObject.uid%3Du-1"), found("involvedObject.uid%3Du-2")), (1, 0));
    lab.all_is_implemented();
}

#[test]
fn a_lock_refuses_tokens_until_its_time_and_for_its_account() {
    let lab = Lab::new();
    lab.sandbox.enable_policies();
    let admin = lab.sandbox.admin();
    let job = lab.sandbox.add_user("job", &["jobpass:ci"]);
    lab.sandbox.grant_jobpass("job", "ci", "deploy-bot");
    lab.lease("jobpass-1");
    let ask = || {
        let bound = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "jobpass-1"}}});
        lab.send(Some(&job), "POST", TOKEN, Some(&bound))
    };
    let lock = |notes: &Value| {
        let body = json!({"metadata": {"annotations": notes}});
        lab.ask(&admin, &[("Content-Type", "application/merge-patch+json")], "PATCH", NAMESPACE, Some(&body))
    };
    let far = "2999-01-01T00:00:00Z";
    for (notes, words) in [
        (
            json!({"jobpass.dev/locked-until": far, "jobpass.dev/locked-reason": "leaked"}),
            Some("locked until 2999-01-01T00:00:00Z: leaked"),
        ),
        (json!({"jobpass.dev/locked-until": "soon"}), Some("locked until soon: leaked")),
        (json!({"jobpass.dev/locked-until": "2001-01-01T00:00:00Z", "jobpass.dev/locked-until.other": far}), None),
        (json!({"jobpass.dev/locked-until.deploy-bot": far}), Some("locked until 2999-01-01T00:00:00Z: no reason was given")),
    ] {
        assert_eq!(lock(&notes).status, 200);
        let answer = ask();
        match words {
            Some(words) => assert!(refusal(&answer).2.ends_with(&format!("denied request: jobpass policy: {words}")), "{}", answer.body),
            None => assert_eq!(answer.status, 201),
        }
    }
    // Nobody else is locked out.
    assert_eq!(lab.bound_to("jobpass-1").status, 201);
}
