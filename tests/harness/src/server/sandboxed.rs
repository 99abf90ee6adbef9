//! The sandbox as the server of one world, which has it to itself.

use std::{net::Ipv4Addr, path::Path, sync::Mutex, time::Duration};

use jobpass_sandbox::{Sandbox, client};
use serde_json::{Value, json};

use super::{Place, RIGHTS, Server, TARGET, is_taken};
use crate::issuers::Tenant;

/// A sandbox in this process.
pub(crate) struct Sandboxed {
    sandbox: Sandbox,
    place: Place,
    token: String,
    /// The rights that were taken away, verb and resource.
    taken: Mutex<Vec<(String, String)>>,
}

impl Sandboxed {
    /// Makes the accounts and rights of a world in a sandbox that has just started.
    pub(crate) fn new(sandbox: Sandbox, place: Place) -> Self {
        sandbox.add_service_account(&place.namespace, TARGET);
        let token = identity(&sandbox, &place, &place.identity);
        sandbox.enable_policies();
        Self { sandbox, place, token, taken: Mutex::default() }
    }
}

/// Makes a CI identity; returns its token.
fn identity(sandbox: &Sandbox, place: &Place, name: &str) -> String {
    sandbox.add_service_account(&place.home, name);
    sandbox.grant_jobpass(&place.user(name), &place.namespace, TARGET);
    sandbox.service_account_token(&place.home, name)
}

impl Server for Sandboxed {
    fn url(&self) -> String {
        self.sandbox.url()
    }

    fn ca_pem(&self) -> String {
        self.sandbox.ca_pem()
    }

    fn identity_token(&self) -> &str {
        &self.token
    }

    fn admin(&self) -> Vec<(&'static str, String)> {
        vec![("token", self.sandbox.admin())]
    }

    fn issued(&self) -> Vec<String> {
        self.sandbox.issued_tokens()
    }

    fn secrets(&self) -> Vec<String> {
        self.sandbox.secrets(&self.place.namespace).into_iter().map(|secret| secret.name).collect()
    }

    fn metadata(&self, name: &str) -> Value {
        let secret =
            self.sandbox.secrets(&self.place.namespace).into_iter().find(|secret| secret.name == name).expect("the Secret is there");
        let mut metadata = json!({"uid": secret.uid, "labels": secret.labels, "annotations": secret.annotations});
        if !secret.owner_references.is_empty() {
            metadata["ownerReferences"] = json!(secret.owner_references);
        }
        metadata
    }

    fn put_secret(&self, name: &str, type_: &str, data: &[(&str, &str)]) {
        self.sandbox.put_secret(&self.place.namespace, name, type_, data);
    }

    fn delete_secret(&self, name: &str) {
        self.sandbox.delete_secret(&self.place.namespace, name);
    }

    fn hold_secret(&self, name: &str) {
        self.sandbox.add_finalizer(&self.place.namespace, name, "example.com/hold");
    }

    fn another_identity(&self, name: &str) -> String {
        identity(&self.sandbox, &self.place, name)
    }

    fn admit(&self, tenant: &Tenant) {
        tenant.trusted_by(&self.sandbox);
        for group in tenant.groups() {
            self.sandbox.grant_jobpass_to_group(&group, &self.place.namespace, TARGET);
        }
    }

    fn own_token(&self) -> String {
        let namespace = &self.place.namespace;
        self.sandbox.grant_jobpass(&format!("system:serviceaccount:{namespace}:{TARGET}"), namespace, TARGET);
        self.sandbox.eternal_token(namespace, TARGET, "legacy")
    }

    fn add_pod(&self, name: &str) -> String {
        self.sandbox.add_pod(&self.place.namespace, name, &self.place.identity)
    }

    fn delete_pod(&self, name: &str) {
        self.sandbox.delete_pod(&self.place.namespace, name);
    }

    fn delete_service_account(&self) {
        self.sandbox.delete_service_account(&self.place.namespace, TARGET);
    }

    fn tell_of(&self, uid: &str, by: &str, message: &str) {
        self.sandbox.put_event(&self.place.namespace, uid, by, message);
    }

    fn take_away(&self, verb: &str, resource: &str) {
        let user = self.place.user(&self.place.identity);
        let mut taken = self.taken.lock().expect("sound");
        taken.push((verb.to_owned(), resource.to_owned()));
        self.sandbox.revoke_rules(&user);
        let is_left = |(verb, resource): &(&str, &str)| !taken.iter().any(|(a, b)| (a.as_str(), b.as_str()) == (*verb, *resource));
        for (verb, resource) in RIGHTS.into_iter().filter(is_left) {
            let names: &[&str] = if resource == "serviceaccounts/token" { &[TARGET] } else { &[] };
            self.sandbox.allow(&user, &self.place.namespace, verb, resource, names);
        }
    }

    fn allow_every_account(&self) {
        let user = self.place.user(&self.place.identity);
        self.sandbox.allow(&user, &self.place.namespace, "create", "serviceaccounts/token", &[]);
    }

    fn accepts(&self, token: &str) -> bool {
        is_taken(client::whoami(&self.url(), &self.ca_pem(), token).expect("the sandbox answers").status)
    }

    fn is_live(&self, token: &str) -> bool {
        self.sandbox.is_live(token)
    }

    fn assert_dies(&self, token: &str) {
        assert!(!self.is_live(token), "the token is still good");
        // The time of the cache passes at once.
        self.sandbox.advance(Duration::from_secs(11));
        assert!(!self.accepts(token), "the token is taken though it is not good");
    }

    fn kubectl(&self, _kubeconfig: &Path, _arguments: &[&str]) -> Option<(i32, String, String)> {
        None
    }

    fn requests(&self, _from: Ipv4Addr) -> Vec<String> {
        let ours = |agent: &Option<String>| agent.as_deref().is_some_and(|agent| agent.starts_with("jobpass/"));
        self.sandbox.requests().iter().filter(|request| ours(&request.user_agent)).map(ToString::to_string).collect()
    }

    fn sandbox(&self) -> Option<&Sandbox> {
        Some(&self.sandbox)
    }
}
