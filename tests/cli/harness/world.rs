//! The world of one scenario: an API server, a namespace of its own, a service account to ask for, a CI identity that may.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::{
    Sandbox,
    client::{self, Response},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    audit::Audit,
    control_plane::{self, ControlPlane},
    doors, eventually,
    names::Names,
    random,
    relay::Relay,
};

/// The service account that every scenario asks for.
pub(crate) const TARGET: &str = "deploy-bot";

/// All that `deploy/rights.manifest` grants.
const RIGHTS: [(&str, &str); 3] = [("create", "serviceaccounts/token"), ("create", "secrets"), ("delete", "secrets")];

enum Server {
    Sandbox(Box<Sandbox>),
    Real(&'static ControlPlane, Audit),
}

/// The world of one scenario.
pub(crate) struct World {
    server: Server,
    relay: Relay,
    namespace: String,
    /// Namespace and name of the CI identity's service account.
    identity: (String, String),
    token: String,
    names: Mutex<Names>,
    secrets: Mutex<Vec<String>>,
    /// The rights that were taken away, verb and resource.
    taken: Mutex<Vec<(String, String)>>,
    /// How many requests were there when the last run ended.
    seen: Mutex<usize>,
}

impl World {
    /// The sandbox, or the real control plane where one is given. The CI identity is one that the policies watch.
    pub(crate) fn new() -> Self {
        Self::begin(doors::control_plane().as_deref(), "jobpass", &|_| {})
    }

    /// The same with a CI identity that no policy watches, as in a cluster where nobody has applied them.
    pub(crate) fn unwatched() -> Self {
        Self::begin(doors::control_plane().as_deref(), "", &|_| {})
    }

    /// The sandbox in any case; `why` says what the scenario does that must not be assumed of a real server.
    pub(crate) fn sandbox(why: &str) -> Self {
        assert!(!why.is_empty());
        Self::begin(None, "jobpass", &|_| {})
    }

    /// A sandbox whose clock is behind this machine's.
    pub(crate) fn behind(by: Duration) -> Self {
        Self::begin(None, "jobpass", &|sandbox| sandbox.set_back(by))
    }

    /// A sandbox whose clock is ahead of this machine's.
    pub(crate) fn ahead(by: Duration) -> Self {
        Self::begin(None, "jobpass", &|sandbox| sandbox.advance(by))
    }

    fn begin(control_plane: Option<&Path>, home: &str, prepare: &dyn Fn(&Sandbox)) -> Self {
        let namespace = format!("ns-{}", random());
        let home = if home.is_empty() { namespace.as_str() } else { home };
        let identity = (home.to_owned(), format!("ci-{}", random()));
        let (server, relay, token) = match control_plane {
            None => {
                let sandbox = Box::new(Sandbox::start());
                prepare(&sandbox);
                sandbox.add_service_account(&namespace, TARGET);
                sandbox.add_service_account(&identity.0, &identity.1);
                sandbox.grant_jobpass(&user(&identity), &namespace, TARGET);
                sandbox.enable_policies();
                let token = sandbox.service_account_token(&identity.0, &identity.1);
                let relay = Relay::start(address(&sandbox.url()));
                (Server::Sandbox(sandbox), relay, token)
            }
            Some(directory) => {
                let plane = ControlPlane::at(directory);
                let relay = Relay::start(address(&plane.url));
                let token = plane.grant(&namespace, (&identity.0, &identity.1));
                let audit = Audit::from_now_on(plane.audit_log(), relay.source);
                (Server::Real(plane, audit), relay, token)
            }
        };
        let mut names = Names::default();
        names.exact(&namespace, "NS");
        names.exact(&identity.1, "CI");
        names.exact(&relay.authority(), "SERVER");
        let secrets = Mutex::new(vec![token.clone()]);
        Self { server, relay, namespace, identity, token, names: Mutex::new(names), secrets, taken: Mutex::default(), seen: Mutex::new(0) }
    }

    /// The sandbox of a scenario that began with [`World::sandbox`].
    pub(crate) fn on_sandbox(&self) -> &Sandbox {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox,
            Server::Real(..) => panic!("the scenario must begin with World::sandbox"),
        }
    }

    pub(crate) fn is_sandbox(&self) -> bool {
        matches!(self.server, Server::Sandbox(_))
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The namespace of the CI identity.
    pub(crate) fn home(&self) -> &str {
        &self.identity.0
    }

    /// `namespace/name` of the service account to ask for.
    pub(crate) fn account(&self) -> String {
        format!("{}/{TARGET}", self.namespace)
    }

    /// The CI identity's user name.
    pub(crate) fn user(&self) -> String {
        user(&self.identity)
    }

    /// The API server's address, as jobpass is to see it.
    pub(crate) fn url(&self) -> String {
        let prefix = match &self.server {
            Server::Sandbox(sandbox) => sandbox.url().splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default(),
            Server::Real(..) => String::new(),
        };
        format!("https://{}{prefix}", self.relay.authority())
    }

    pub(crate) fn ca_pem(&self) -> String {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.ca_pem(),
            Server::Real(plane, _) => plane.ca_pem.clone(),
        }
    }

    pub(crate) fn identity_token(&self) -> &str {
        &self.token
    }

    /// The CI identity's kubeconfig, all in one file.
    pub(crate) fn kubeconfig(&self) -> String {
        self.kubeconfig_of(&self.token)
    }

    /// The same for another token.
    pub(crate) fn kubeconfig_of(&self, token: &str) -> String {
        let (server, authority) = (self.url(), STANDARD.encode(self.ca_pem()));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: main\n\
             clusters:\n- name: main\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             users:\n- name: ci\n  user:\n    token: {token}\n\
             contexts:\n- name: main\n  context:\n    cluster: main\n    user: ci\n"
        )
    }

    /// One more text that must not leak.
    pub(crate) fn secret(&self, text: &str) {
        self.secrets_known().push(text.to_owned());
    }

    pub(super) fn secrets_known(&self) -> MutexGuard<'_, Vec<String>> {
        self.secrets.lock().expect("sound")
    }

    /// All that must not leak and is no token of a pass yet known: what the sandbox has given out.
    pub(super) fn issued(&self) -> Vec<String> {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.issued_tokens(),
            Server::Real(..) => Vec::new(),
        }
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("sound")
    }

    /// A text with words for everything that is different in every run.
    pub(crate) fn plain(&self, text: &str) -> String {
        self.names().plain(text)
    }

    /// Shows this text by that word.
    pub(crate) fn names_exact(&self, text: &str, word: &str) {
        self.names().exact(text, word);
    }

    /// Names of the Secrets that are left in the namespace.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.secrets(&self.namespace).into_iter().map(|secret| secret.name).collect(),
            Server::Real(plane, _) => {
                let list = plane.must("GET", &self.path("secrets"), None);
                let names = list["items"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned());
                names.collect()
            }
        }
    }

    /// The metadata of a Secret.
    pub(crate) fn metadata(&self, name: &str) -> Value {
        match &self.server {
            Server::Sandbox(sandbox) => {
                let secret = sandbox.secrets(&self.namespace).into_iter().find(|secret| secret.name == name).expect("the Secret is there");
                let mut metadata = json!({"uid": secret.uid, "labels": secret.labels, "annotations": secret.annotations});
                if !secret.owner_references.is_empty() {
                    metadata["ownerReferences"] = json!(secret.owner_references);
                }
                metadata
            }
            Server::Real(plane, _) => plane.must("GET", &self.path(&format!("secrets/{name}")), None)["metadata"].clone(),
        }
    }

    /// A Secret of somebody else, whatever was there before.
    pub(crate) fn put_secret(&self, name: &str, type_: &str, data: &[(&str, &str)]) {
        match &self.server {
            Server::Sandbox(sandbox) => drop(sandbox.put_secret(&self.namespace, name, type_, data)),
            Server::Real(plane, _) => {
                plane.admin("DELETE", &self.path(&format!("secrets/{name}")), None);
                let data: Value = data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
                plane.must("POST", &self.path("secrets"), Some(&json!({"metadata": {"name": name}, "type": type_, "data": data})));
            }
        }
    }

    /// One more CI identity with the same rights, which the policies watch too; returns its token.
    pub(crate) fn another_identity(&self) -> String {
        let name = format!("ci-{}", random());
        let identity = (self.identity.0.clone(), name.clone());
        let token = match &self.server {
            Server::Sandbox(sandbox) => {
                sandbox.add_service_account(&identity.0, &identity.1);
                sandbox.grant_jobpass(&user(&identity), &self.namespace, TARGET);
                sandbox.service_account_token(&identity.0, &identity.1)
            }
            Server::Real(plane, _) => plane.bind(&self.namespace, (&identity.0, &identity.1)),
        };
        self.names().exact(&name, "OTHER-CI");
        self.secret(&token);
        token
    }

    /// A token of the service account itself that its owner has stored, with the rights that guides give it: `edit` in its namespace.
    pub(crate) fn own_token(&self) -> String {
        let token = match &self.server {
            Server::Sandbox(sandbox) => {
                let user = user(&(self.namespace.clone(), TARGET.to_owned()));
                sandbox.grant_jobpass(&user, &self.namespace, TARGET);
                sandbox.service_account_token(&self.namespace, TARGET)
            }
            Server::Real(plane, _) => {
                let account = format!("--serviceaccount={}:{TARGET}", self.namespace);
                plane.kubectl(&["create", "rolebinding", "edit", "--clusterrole=edit", &account, "-n", &self.namespace]);
                let token = plane.eternal_token(&self.namespace, "legacy");
                for (verb, resource) in RIGHTS {
                    eventually("the rights hold", || plane.may(&token, &self.namespace, verb, resource));
                }
                token
            }
        };
        self.secret(&token);
        token
    }

    pub(crate) fn delete_secret(&self, name: &str) {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.delete_secret(&self.namespace, name),
            Server::Real(plane, _) => drop(plane.must("DELETE", &self.path(&format!("secrets/{name}")), None)),
        }
    }

    /// Adds a finalizer to a Secret, as somebody with more rights than a CI identity could.
    pub(crate) fn hold_secret(&self, name: &str) {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.add_finalizer(&self.namespace, name, "example.com/hold"),
            Server::Real(plane, _) => {
                let path = self.path(&format!("secrets/{name}"));
                let mut secret = plane.must("GET", &path, None);
                secret["metadata"]["finalizers"] = json!(["example.com/hold"]);
                plane.must("PUT", &path, Some(&secret));
            }
        }
    }

    /// A pod of the CI identity, known to the real server though no node runs it; returns its uid.
    pub(crate) fn add_pod(&self, name: &str) -> String {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.add_pod(&self.namespace, name, &self.identity.1),
            Server::Real(plane, _) => {
                let container = json!({"name": "step", "image": "example.com/step"});
                let spec = json!({"serviceAccountName": self.identity.1, "automountServiceAccountToken": false, "containers": [container]});
                let pod = plane.must("POST", &self.path("pods"), Some(&json!({"metadata": {"name": name}, "spec": spec})));
                pod["metadata"]["uid"].as_str().expect("a uid").to_owned()
            }
        }
    }

    pub(crate) fn delete_pod(&self, name: &str) {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.delete_pod(&self.namespace, name),
            Server::Real(plane, _) => drop(plane.must("DELETE", &self.path(&format!("pods/{name}?gracePeriodSeconds=0")), None)),
        }
    }

    /// The tokens of passes, as far as anybody but the server has seen them.
    pub(crate) fn tokens_of_passes(&self) -> Vec<String> {
        let known = self.secrets_known().clone();
        known.into_iter().chain(self.issued()).filter(|secret| *secret != self.token && secret.starts_with("eyJ")).collect()
    }

    pub(crate) fn delete_service_account(&self) {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.delete_service_account(&self.namespace, TARGET),
            Server::Real(plane, _) => drop(plane.must("DELETE", &self.path(&format!("serviceaccounts/{TARGET}")), None)),
        }
    }

    /// Takes one of the three rights of `deploy/rights.manifest` away.
    pub(crate) fn take_away(&self, verb: &str, resource: &str) {
        assert!(RIGHTS.contains(&(verb, resource)), "nobody granted {verb} {resource}");
        match &self.server {
            Server::Sandbox(sandbox) => {
                let mut taken = self.taken.lock().expect("sound");
                taken.push((verb.to_owned(), resource.to_owned()));
                sandbox.revoke_rules(&self.user());
                let is_left = |(verb, resource): &(&str, &str)| !taken.iter().any(|(a, b)| (a.as_str(), b.as_str()) == (*verb, *resource));
                for (verb, resource) in RIGHTS.into_iter().filter(is_left) {
                    let names: &[&str] = if resource == "secrets" { &[] } else { &[TARGET] };
                    sandbox.allow(&self.user(), &self.namespace, verb, resource, names);
                }
            }
            Server::Real(plane, _) => {
                let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/jobpass", self.namespace);
                let mut role = plane.must("GET", &path, None);
                for rule in role["rules"].as_array_mut().expect("rules").iter_mut().filter(|rule| rule["resources"] == json!([resource])) {
                    rule["verbs"].as_array_mut().expect("verbs").retain(|known| known != verb);
                }
                role["rules"].as_array_mut().expect("rules").retain(|rule| rule["verbs"] != json!([]));
                plane.must("PUT", &path, Some(&role));
                eventually("the right is gone", || !plane.may(&self.token, &self.namespace, verb, resource));
            }
        }
    }

    /// One request of another client than jobpass, to the server itself.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
        let (url, ca) = match &self.server {
            Server::Sandbox(sandbox) => (sandbox.url(), sandbox.ca_pem()),
            Server::Real(plane, _) => (plane.url.clone(), plane.ca_pem.clone()),
        };
        client::request(&url, &ca, method, path, Some(token), body).expect("the server answers")
    }

    /// The path of something in this world's namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// Whether the server takes a token: asked by a client that is not jobpass, on the real server by curl.
    ///
    /// The question warms the server's cache, which then takes the token for ten more seconds.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let status = match &self.server {
            Server::Sandbox(sandbox) => client::whoami(&sandbox.url(), &sandbox.ca_pem(), token).expect("the sandbox answers").status,
            Server::Real(plane, _) => {
                let directory = TempDir::new().expect("a directory");
                let ca = directory.path().join("ca.crt");
                doors::write(&ca, &plane.ca_pem);
                control_plane::curl_whoami(&plane.url, &ca, token)
            }
        };
        assert!(matches!(status, 201 | 401), "{status}");
        status == 201
    }

    /// Whether a token would be taken if no server remembered it from before; asked where that leaves no trace.
    pub(crate) fn is_live(&self, token: &str) -> bool {
        match &self.server {
            Server::Sandbox(sandbox) => sandbox.is_live(token),
            Server::Real(..) => self.accepts(token),
        }
    }

    /// Asserts that a token dies within the ten seconds that the server's cache may hold it; on the sandbox they pass at once.
    pub(crate) fn assert_dies(&self, token: &str) {
        if let Server::Sandbox(sandbox) = &self.server {
            assert!(!sandbox.is_live(token), "the token is still good");
            sandbox.advance(Duration::from_secs(11));
            assert!(!self.accepts(token), "the token is taken though it is not good");
        } else {
            super::within(Duration::from_secs(15), "the token is refused", || !self.accepts(token));
        }
    }

    /// kubectl with a kubeconfig, where the real one is there: exit status, stdout, stderr.
    pub(crate) fn kubectl(&self, kubeconfig: &Path, arguments: &[&str]) -> Option<(i32, String, String)> {
        let home = TempDir::new().expect("a directory");
        (!self.is_sandbox()).then(|| control_plane::kubectl(kubeconfig, home.path(), arguments))
    }

    /// jobpass's own requests, in the order of their answers.
    pub(crate) fn requests(&self) -> Vec<String> {
        match &self.server {
            Server::Sandbox(sandbox) => {
                let ours = |agent: &Option<String>| agent.as_deref().is_some_and(|agent| agent.starts_with("jobpass/"));
                sandbox.requests().iter().filter(|request| ours(&request.user_agent)).map(ToString::to_string).collect()
            }
            Server::Real(plane, audit) => {
                // The log is written after the answer; what it has of a later request tells that it has the earlier ones.
                let mark = format!("/api/v1/namespaces/{}?mark={}", self.namespace, random());
                plane.must("GET", &mark, None);
                eventually("the audit log is written", || audit.has(&mark));
                audit.requests()
            }
        }
    }

    /// jobpass's requests since this was last asked.
    pub(super) fn new_requests(&self) -> Vec<String> {
        let all = self.requests();
        let mut seen = self.seen.lock().expect("sound");
        let new = all.get(*seen..).unwrap_or_default().to_vec();
        *seen = all.len();
        new
    }

    /// Waits until the server has answered the n-th request since the last run ended, and like this.
    pub(crate) fn wait_for_new_request(&self, part: &str, n: usize) {
        let seen = *self.seen.lock().expect("sound");
        eventually(&format!("the {n}. request answered by `{part}`"), || {
            self.requests().get(seen + n - 1).is_some_and(|line| line.contains(part) && !line.ends_with("no answer"))
        });
    }

    /// Waits until the server has answered a request of jobpass that looks like this.
    pub(crate) fn wait_for_request(&self, part: &str) {
        eventually(&format!("the request `{part}`"), || {
            self.requests().iter().any(|line| line.contains(part) && !line.ends_with("no answer"))
        });
    }
}

fn user((namespace, name): &(String, String)) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("https://").and_then(|authority| authority.parse().ok()).expect("an address on loopback")
}
