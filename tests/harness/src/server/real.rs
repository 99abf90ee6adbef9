//! The real control plane as the server of one world, which shares it with all others and is told apart by its namespace.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::Sandbox;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Place, RIGHTS, Server, TARGET, is_taken};
use crate::{
    audit::Audit,
    control_plane::{self, ControlPlane},
    doors, eventually,
    issuers::Tenant,
    random, within,
};

/// A part of a running `jobpass-cluster up`.
pub(crate) struct Real {
    cluster: &'static ControlPlane,
    audit: Audit,
    place: Place,
    token: String,
}

impl Real {
    /// Makes the accounts and rights of a world.
    pub(crate) fn new(cluster: &'static ControlPlane, place: Place) -> Self {
        let token = cluster.grant(&place.namespace, (&place.home, &place.identity));
        Self { cluster, audit: Audit::from_now_on(cluster.audit_log()), place, token }
    }

    fn delete(&self, what: &str) {
        self.cluster.must("DELETE", &self.place.path(what), None);
    }
}

impl Server for Real {
    fn url(&self) -> String {
        self.cluster.url.clone()
    }

    fn ca_pem(&self) -> String {
        self.cluster.ca_pem.clone()
    }

    fn identity_token(&self) -> &str {
        &self.token
    }

    fn admin(&self) -> Vec<(&'static str, String)> {
        self.cluster.admin_user()
    }

    fn issued(&self) -> Vec<String> {
        Vec::new()
    }

    fn secrets(&self) -> Vec<String> {
        let list = self.cluster.must("GET", &self.place.path("secrets"), None);
        let items = list["items"].as_array().expect("a list").iter();
        items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn metadata(&self, name: &str) -> Value {
        self.cluster.must("GET", &self.place.path(&format!("secrets/{name}")), None)["metadata"].clone()
    }

    fn put_secret(&self, name: &str, type_: &str, data: &[(&str, &str)]) {
        self.cluster.admin("DELETE", &self.place.path(&format!("secrets/{name}")), None);
        let data: Value = data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
        let secret = json!({"metadata": {"name": name}, "type": type_, "data": data});
        self.cluster.must("POST", &self.place.path("secrets"), Some(&secret));
    }

    fn delete_secret(&self, name: &str) {
        self.delete(&format!("secrets/{name}"));
    }

    fn hold_secret(&self, name: &str) {
        let path = self.place.path(&format!("secrets/{name}"));
        let mut secret = self.cluster.must("GET", &path, None);
        secret["metadata"]["finalizers"] = json!(["example.com/hold"]);
        self.cluster.must("PUT", &path, Some(&secret));
    }

    fn another_identity(&self, name: &str) -> String {
        self.cluster.bind(&self.place.namespace, (&self.place.home, name))
    }

    fn admit(&self, tenant: &Tenant) {
        self.cluster.bind_groups(&self.place.namespace, &tenant.groups());
        for token in tenant.tokens() {
            self.cluster.await_rights(&token, &self.place.namespace);
        }
    }

    fn own_token(&self) -> String {
        let namespace = &self.place.namespace;
        let account = format!("--serviceaccount={namespace}:{TARGET}");
        self.cluster.kubectl(&["create", "rolebinding", "edit", "--clusterrole=edit", &account, "-n", namespace]);
        let token = self.cluster.eternal_token(namespace, "legacy");
        for (verb, resource) in RIGHTS {
            eventually("the rights hold", || self.cluster.may(&token, namespace, verb, resource));
        }
        token
    }

    fn add_pod(&self, name: &str) -> String {
        let container = json!({"name": "step", "image": "example.com/step"});
        let spec = json!({"serviceAccountName": self.place.identity, "automountServiceAccountToken": false, "containers": [container]});
        let pod = self.cluster.must("POST", &self.place.path("pods"), Some(&json!({"metadata": {"name": name}, "spec": spec})));
        pod["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    fn delete_pod(&self, name: &str) {
        self.delete(&format!("pods/{name}?gracePeriodSeconds=0"));
    }

    fn delete_service_account(&self) {
        self.delete(&format!("serviceaccounts/{TARGET}"));
    }

    fn tell_of(&self, uid: &str, by: &str, message: &str) {
        let namespace = &self.place.namespace;
        let event = json!({
            "metadata": {"generateName": "revoked-"}, "reason": "Revoked", "message": message, "type": "Normal",
            "involvedObject": {"apiVersion": "v1", "kind": "Secret", "namespace": namespace, "uid": uid}, "source": {"component": by},
        });
        self.cluster.must("POST", &self.place.path("events"), Some(&event));
    }

    fn take_away(&self, verb: &str, resource: &str) {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/jobpass-deploy-bot", self.place.namespace);
        let mut role = self.cluster.must("GET", &path, None);
        for rule in role["rules"].as_array_mut().expect("rules").iter_mut().filter(|rule| rule["resources"] == json!([resource])) {
            rule["verbs"].as_array_mut().expect("verbs").retain(|known| known != verb);
        }
        role["rules"].as_array_mut().expect("rules").retain(|rule| rule["verbs"] != json!([]));
        self.cluster.must("PUT", &path, Some(&role));
        // The authorizer learns of it by a watch.
        eventually("the right is gone", || !self.cluster.may(&self.token, &self.place.namespace, verb, resource));
    }

    fn allow_every_account(&self) {
        let namespace = &self.place.namespace;
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/jobpass-deploy-bot");
        let mut role = self.cluster.must("GET", &path, None);
        let granted = json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]});
        role["rules"].as_array_mut().expect("rules").push(granted);
        self.cluster.must("PUT", &path, Some(&role));
        eventually("the right holds", || self.cluster.may_of(&self.token, namespace, "create", "serviceaccounts/token", "any"));
    }

    fn accepts(&self, token: &str) -> bool {
        let directory = TempDir::new().expect("a directory");
        let ca = directory.path().join("ca.crt");
        doors::write(&ca, &self.cluster.ca_pem);
        is_taken(control_plane::curl_whoami(&self.cluster.url, &ca, token))
    }

    fn is_live(&self, token: &str) -> bool {
        self.accepts(token)
    }

    fn assert_dies(&self, token: &str) {
        within(Duration::from_secs(15), "the token is refused", || !self.accepts(token));
    }

    fn kubectl(&self, kubeconfig: &Path, arguments: &[&str]) -> Option<(i32, String, String)> {
        let home = TempDir::new().expect("a directory");
        Some(control_plane::kubectl(kubeconfig, home.path(), arguments))
    }

    fn requests(&self, from: Ipv4Addr) -> Vec<String> {
        // The log is written after the answer; what it has of a later request tells that it has the earlier ones.
        let mark = format!("/api/v1/namespaces/{}?mark={}", self.place.namespace, random());
        self.cluster.must("GET", &mark, None);
        eventually("the audit log is written", || self.audit.has(&mark));
        self.audit.requests(from)
    }

    fn sandbox(&self) -> Option<&Sandbox> {
        None
    }
}
