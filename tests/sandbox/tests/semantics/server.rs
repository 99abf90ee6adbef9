//! The server's own life: TLS, the record, the refusal of what it does not know, and the client.

use std::collections::HashSet;

use jobpass_sandbox::{Sandbox, client};
use serde_json::json;

use crate::lab::{LEASE, Lab, SECRETS};

#[test]
fn every_sandbox_has_a_ca_of_its_own() {
    let (one, other) = (Sandbox::start(), Sandbox::start());
    let wrong = client::request(&one.url(), &other.ca_pem(), "GET", "/version", None, None);
    assert!(wrong.is_err());
    assert_eq!(client::request(&one.url(), &one.ca_pem(), "GET", "/version", None, None).expect("an answer").status, 200);
    assert_eq!(one.requests().len(), 1, "the failed handshake asked nothing");
    assert_eq!(one.connections(), 2);
}

#[test]
fn the_certificate_is_for_localhost_too() {
    let sandbox = Sandbox::start();
    let url = sandbox.url().replace("127.0.0.1", "localhost");
    assert_eq!(client::request(&url, &sandbox.ca_pem(), "GET", "/readyz", None, None).expect("an answer").body, "ok");
}

#[test]
fn what_is_not_implemented_is_refused_and_remembered() {
    let lab = Lab::new();
    let path = format!("{SECRETS}/x");
    let answer = lab.send(Some(&lab.alice), "PATCH", &path, Some(&json!({})));
    assert_eq!(answer.status, 501);
    let message = format!("the sandbox does not implement PATCH {path}");
    assert_eq!((&answer.json()["kind"], &answer.json()["message"]), (&json!("Status"), &json!(message)));
    let typed = json!({"metadata": {"name": "x"}, "type": "kubernetes.io/tls"});
    assert_eq!(lab.post(SECRETS, &typed).status, 501);
    let expected = [format!("PATCH {path}"), format!("POST {SECRETS} of type kubernetes.io/tls")];
    assert_eq!(lab.sandbox.unimplemented(), expected);
}

#[test]
fn a_stopped_sandbox_refuses_connections() {
    let sandbox = Sandbox::start();
    sandbox.stop();
    let refused = client::request(&sandbox.url(), &sandbox.ca_pem(), "GET", "/version", None, None);
    assert_eq!(refused.map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::ConnectionRefused));
}

#[test]
fn a_path_prefix_is_asked_for() {
    let lab = Lab::new();
    let root = lab.sandbox.url();
    lab.sandbox.set_path_prefix("/k8s/clusters/c-1/");
    assert_eq!(lab.sandbox.url(), format!("{root}/k8s/clusters/c-1"));
    assert_eq!(lab.get("/version").status, 200);
    assert_eq!(client::request(&root, &lab.sandbox.ca_pem(), "GET", "/version", None, None).expect("an answer").status, 404);
}

#[test]
fn the_record_tells_the_request_without_its_credentials() {
    let lab = Lab::new();
    lab.post(&format!("{SECRETS}?dryRun=All"), &json!({"metadata": {"name": "x"}, "stringData": {"k": "hunter2"}}));
    lab.pass("jobpass-1");
    let all = lab.sandbox.requests();
    let first = &all[0];
    assert_eq!(first.to_string(), "POST /api/v1/namespaces/ci/secrets?dryRun=All -> 201");
    assert_eq!(first.user.as_deref(), Some("alice"));
    assert_eq!(first.user_agent.as_deref(), Some("sandbox-client"));
    assert_eq!(first.content_type.as_deref(), Some("application/json"));
    assert!(first.has_authorization);
    assert_eq!(first.body, Some(json!({"metadata": {"name": "x"}, "stringData": {"k": "[redacted]"}})));
    let shown = format!("{all:?} {:?}", lab.sandbox);
    for secret in [lab.alice.clone(), "hunter2".to_owned(), lab.sandbox.issued_tokens().concat()] {
        assert!(!shown.contains(&secret), "a credential is in Debug");
    }
}

#[test]
fn each_connection_has_a_number() {
    let lab = Lab::new();
    for _ in 0..3 {
        lab.get("/version");
    }
    let numbers: HashSet<usize> = lab.sandbox.requests().iter().map(|request| request.connection).collect();
    assert_eq!(numbers, HashSet::from([1, 2, 3]));
    lab.sandbox.clear_requests();
    assert_eq!(lab.sandbox.transcript(), Vec::<String>::new());
}

#[test]
fn debug_shows_neither_keys_nor_bodies() {
    let lab = Lab::new();
    let identity = lab.sandbox.client_identity("bob");
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    lab.lease("jobpass-1");
    let answer = lab.bound_to("jobpass-1");
    assert!(!format!("{answer:?}").contains(&lab.sandbox.issued_tokens()[0]));
}

#[test]
fn a_kubeconfig_embeds_server_ca_and_token() {
    let lab = Lab::new();
    let config = lab.sandbox.kubeconfig("alice");
    for line in [format!("    server: {}\n", lab.sandbox.url()), format!("    token: {}\n", lab.alice)] {
        assert!(config.contains(&line), "{config}");
    }
    assert!(config.contains("    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0t"), "{config}");
}

#[test]
fn the_version_is_told_to_anybody() {
    let sandbox = Sandbox::start();
    let answer = client::request(&sandbox.url(), &sandbox.ca_pem(), "GET", "/version", None, None).expect("an answer");
    assert_eq!(answer.json()["gitVersion"], "v1.36.2");
    assert_eq!(sandbox.requests()[0].user.as_deref(), Some("system:anonymous"));
}

#[test]
fn foreign_secrets_show_their_keys_and_not_their_values() {
    let sandbox = Sandbox::start();
    let uid = sandbox.put_secret("ci", "foreign", "Opaque", &[("password", "hunter2")]);
    let all = sandbox.secrets("ci");
    assert_eq!((all[0].uid.as_str(), all[0].type_.as_str()), (uid.as_str(), "Opaque"));
    assert_eq!(all[0].data_keys, ["password"]);
    assert!(!format!("{all:?}").contains("aHVudGVyMg"));
    assert_ne!(sandbox.recreate_secret_same_name("ci", "foreign"), uid);
    assert_ne!(all[0].type_, LEASE);
}
