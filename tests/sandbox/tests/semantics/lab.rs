//! A sandbox as most tests want it: `alice` may do in `ci` what jobpass needs, for `deploy-bot`.

use std::io;
use std::time::Duration;

use jobpass_sandbox::Sandbox;
use jobpass_sandbox::client::{self, Response};
use serde_json::{Value, json};

pub(crate) const SECRETS: &str = "/api/v1/namespaces/ci/secrets";
pub(crate) const TOKEN: &str = "/api/v1/namespaces/ci/serviceaccounts/deploy-bot/token";
pub(crate) const LEASE: &str = "jobpass.dev/lease";

pub(crate) struct Lab {
    pub(crate) sandbox: Sandbox,
    pub(crate) alice: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::start();
        let alice = sandbox.add_user("alice", &["team-a"]);
        sandbox.add_service_account("ci", "deploy-bot");
        sandbox.grant_jobpass("alice", "ci", "deploy-bot");
        Self { sandbox, alice }
    }

    pub(crate) fn try_send(&self, token: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> io::Result<Response> {
        client::request(&self.sandbox.url(), &self.sandbox.ca_pem(), method, path, token, body)
    }

    pub(crate) fn send(&self, token: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.try_send(token, method, path, body).expect("the sandbox answers")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.send(Some(&self.alice), "POST", path, Some(body))
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(Some(&self.alice), "GET", path, None)
    }

    pub(crate) fn delete(&self, path: &str, options: Option<&Value>) -> Response {
        self.send(Some(&self.alice), "DELETE", path, options)
    }

    /// A lease of that name; its uid.
    pub(crate) fn lease(&self, name: &str) -> String {
        let notes = json!({"jobpass.dev/identity": "alice", "jobpass.dev/lifetime": "3600"});
        let made = self.post(SECRETS, &json!({"metadata": {"name": name, "annotations": notes}, "type": LEASE}));
        assert_eq!(made.status, 201, "{}", made.body);
        text(&made.json()["metadata"]["uid"])
    }

    pub(crate) fn bound_to(&self, secret: &str) -> Response {
        self.post(TOKEN, &json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}}}))
    }

    /// A lease and a token bound to it.
    pub(crate) fn pass(&self, name: &str) -> String {
        self.lease(name);
        let made = self.bound_to(name);
        assert_eq!(made.status, 201, "{}", made.body);
        text(&made.json()["status"]["token"])
    }

    /// The status of a request that every authenticated user may make.
    pub(crate) fn status_with(&self, token: &str) -> u16 {
        client::whoami(&self.sandbox.url(), &self.sandbox.ca_pem(), token).expect("the sandbox answers").status
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.sandbox.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn all_is_implemented(&self) {
        assert_eq!(self.sandbox.unimplemented(), Vec::<String>::new());
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Message, reason and code of a failure, after the rest of the Status was checked.
pub(crate) fn refusal(response: &Response) -> (u16, String, String) {
    let body = response.json();
    assert_eq!(body["kind"], "Status", "{}", response.body);
    assert_eq!(body["apiVersion"], "v1");
    assert_eq!(body["metadata"], json!({}));
    assert_eq!(body["status"], "Failure");
    assert_eq!(body["code"], response.status);
    (response.status, text(&body["reason"]), text(&body["message"]))
}

pub(crate) fn assert_refused(response: &Response, status: u16, reason: &str, message: &str) {
    assert_eq!(refusal(response), (status, reason.to_owned(), message.to_owned()));
}
