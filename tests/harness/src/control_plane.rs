//! The real control plane that all scenarios of a run share: its admin, its policies, and another client than jobpass.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::{
    Identity,
    client::{self, Response},
};
use serde_json::{Value, json};

use super::{
    PATIENCE, doors, eventually,
    issuers::{Kind, Pool, Tenant},
    random, root,
    server::RIGHTS,
    within,
};

/// The commands that `tests/cluster/build` builds.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| root().join("target/cluster/jobpass-cluster"));

/// What a cluster's owner applies.
fn deploy(file: &str) -> String {
    root().join("deploy").join(file).display().to_string()
}

/// A running `jobpass-cluster up`, seen as its admin.
pub struct ControlPlane {
    directory: PathBuf,
    /// Where it listens.
    pub url: String,
    /// The authority of its certificate.
    pub ca_pem: String,
    admin: Identity,
    /// The objects of `deploy/accounts.yaml` and `deploy/rights.manifest`.
    rights: Vec<Value>,
}

impl ControlPlane {
    /// The control plane in a directory; the first call applies the policies and waits until they refuse.
    pub fn at(directory: &Path) -> &'static Self {
        static ONE: OnceLock<ControlPlane> = OnceLock::new();
        ONE.get_or_init(|| Self::prepared(directory))
    }

    /// The same for one that is not everybody's: applies the policies and waits until they refuse.
    pub(crate) fn prepared(directory: &Path) -> Self {
        let mut plane = Self::read(directory);
        let rendered = ["accounts.yaml", "rights.manifest"]
            .map(|file| plane.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", &deploy(file)]))
            .concat();
        // kubectl prints one List, or one object after another, depending on its version.
        let objects = serde_json::Deserializer::from_str(&rendered).into_iter::<Value>();
        plane.rights = objects
            .map(|object| object.expect("kubectl prints JSON"))
            .flat_map(
                |object| if object["kind"] == "List" { object["items"].as_array().cloned().unwrap_or_default() } else { vec![object] },
            )
            .collect();
        plane.kubectl(&["apply", "-f", &deploy("policy.yaml")]);
        plane.await_policies();
        plane
    }

    /// One that is running, as its files say.
    pub(crate) fn read(directory: &Path) -> Self {
        let path = directory.join("admin.kubeconfig");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("JOBPASS_TEST_CLUSTER is no running control plane: {}: {error}", path.display()));
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("{} has no {name}", path.display())).to_owned()
        };
        let pem = |name: &str| String::from_utf8(STANDARD.decode(field(name)).expect("base64")).expect("PEM");
        Self {
            directory: directory.to_owned(),
            url: field("server"),
            ca_pem: pem("certificate-authority-data"),
            admin: Identity { certificate_pem: pem("client-certificate-data"), key_pem: pem("client-key-data") },
            rights: Vec::new(),
        }
    }

    /// The program that is kubectl, too.
    pub fn binary() -> &'static Path {
        &BINARY
    }

    /// One request as the bearer of a token.
    pub fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Response {
        client::request(&self.url, &self.ca_pem, method, path, Some(token), Some(body)).expect("the control plane answers")
    }

    /// The file to which it writes what it was asked, each request a line of JSON.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// How a kubeconfig says who the admin is.
    pub(crate) fn admin_user(&self) -> Vec<(&'static str, String)> {
        let Identity { certificate_pem, key_pem } = &self.admin;
        vec![("client-certificate-data", STANDARD.encode(certificate_pem)), ("client-key-data", STANDARD.encode(key_pem))]
    }

    /// One request as the cluster's admin.
    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        client::request_as(&self.url, &self.ca_pem, &self.admin, method, path, None, body).expect("the control plane answers")
    }

    /// One request as the cluster's admin that must succeed.
    pub fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.admin(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json()["message"]);
        answer.json()
    }

    /// kubectl as the cluster's admin; returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = kubectl(&self.directory.join("admin.kubeconfig"), &self.directory, arguments);
        assert_eq!(code, 0, "kubectl {arguments:?}: {stderr}");
        stdout
    }

    /// The accounts and rights of `deploy/` for one namespace and one CI identity; returns the identity's token.
    pub fn grant(&self, namespace: &str, identity: (&str, &str)) -> String {
        let (home, name) = identity;
        self.must("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": namespace}})));
        for object in &self.rights {
            let mut object = object.clone();
            let (kind, group) = (object["kind"].clone(), object["apiVersion"].as_str().unwrap_or_default().to_owned());
            let is_identity = kind == "ServiceAccount" && object["metadata"]["namespace"] == "jobpass";
            // The identity of this world stands for the first one; Tekton's differs from it only for the pods that run as it.
            if kind == "Namespace" || is_identity && object["metadata"]["name"] != "ci" {
                continue;
            }
            object["metadata"]["namespace"] = json!(if is_identity { home } else { namespace });
            if is_identity {
                object["metadata"]["name"] = json!(name);
            }
            if let Some(subjects) = object["subjects"].as_array_mut() {
                subjects.retain(|subject| subject["name"] == "ci");
            }
            for subject in object["subjects"].as_array_mut().into_iter().flatten().filter(|subject| subject["kind"] == "ServiceAccount") {
                (subject["name"], subject["namespace"]) = (json!(name), json!(home));
            }
            let plural = kind.as_str().unwrap_or_default().to_lowercase() + "s";
            let root = if group == "v1" { "/api/v1".to_owned() } else { format!("/apis/{group}") };
            let place = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            self.must("POST", &format!("{root}/namespaces/{place}/{plural}"), Some(&object));
        }
        self.token_of(namespace, identity)
    }

    /// One more CI identity with the rights that are granted in a namespace already; returns its token.
    pub(crate) fn bind(&self, namespace: &str, identity: (&str, &str)) -> String {
        let (home, name) = identity;
        self.must("POST", &format!("/api/v1/namespaces/{home}/serviceaccounts"), Some(&json!({"metadata": {"name": name}})));
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": home});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobpass-deploy-bot"});
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
        self.must("POST", &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"), Some(&binding));
        self.token_of(namespace, identity)
    }

    /// The token of a CI identity, once its rights hold.
    fn token_of(&self, namespace: &str, (home, name): (&str, &str)) -> String {
        let request = json!({"spec": {"expirationSeconds": 3600}});
        let made = self.must("POST", &format!("/api/v1/namespaces/{home}/serviceaccounts/{name}/token"), Some(&request));
        let token = made["status"]["token"].as_str().expect("a token").to_owned();
        self.await_rights(&token, namespace);
        token
    }

    /// Returns when the rights of whoever has the token hold.
    pub(crate) fn await_rights(&self, token: &str, namespace: &str) {
        for (verb, resource) in RIGHTS {
            // The authorizer learns of the binding by a watch.
            eventually("the rights hold", || self.may(token, namespace, verb, resource));
        }
    }

    /// Gives groups the rights that are granted in a namespace already.
    pub(crate) fn bind_groups(&self, namespace: &str, groups: &[String]) {
        let api = "rbac.authorization.k8s.io";
        let subjects: Vec<_> = groups.iter().map(|group| json!({"apiGroup": api, "kind": "Group", "name": group})).collect();
        let role = json!({"apiGroup": api, "kind": "Role", "name": "jobpass-deploy-bot"});
        let binding = json!({"metadata": {"name": "jobpass-oidc"}, "roleRef": role, "subjects": subjects});
        self.must("POST", &format!("/apis/{api}/v1/namespaces/{namespace}/rolebindings"), Some(&binding));
    }

    /// A repository and a project whose jobs it lets in, and the socket of its audience.
    pub(crate) fn tenant(&self, kind: Kind) -> (Tenant, TcpListener) {
        static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
        let pool = POOL.get_or_init(|| {
            let (pool, entries) = Pool::new(&[(Kind::Shared, 64), (Kind::Alone, 8), (Kind::Unwatched, 4), (Kind::ByClaims, 2)]);
            self.trust(&entries, &pool.probes());
            Mutex::new(pool)
        });
        pool.lock().expect("sound").take(kind)
    }

    /// Adds issuers to the authentication configuration, and takes out those that are gone; returns when these tokens are taken.
    ///
    /// Another process of tests may do the same: each entry begins with a line of its issuer's address and process. The server takes a new
    /// configuration only if all issuers in it answer.
    fn trust(&self, entries: &[String], probes: &[String]) {
        let _turn = doors::locked(&self.directory.join("authentication.lock"));
        let path = self.directory.join("authentication.yaml");
        let read = || fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: a control plane of before?", path.display()));
        let owner = |entry: &&str| entry.lines().next()?.rsplit_once(" of ").map(|(_, pid)| pid.to_owned());
        let is_there = |entry: &&str| owner(entry).is_some_and(|pid| doors::is_running(&pid));
        // Ours of an attempt before this one would be there twice: the server takes 64 at most.
        let is_anothers = |entry: &&str| owner(entry).is_some_and(|pid| pid != std::process::id().to_string());
        let write = |known: &str| {
            let kept = known.split("# https://").skip(1).filter(is_there).filter(is_anothers);
            let kept: Vec<_> = kept.flat_map(|entry| ["# https://", entry]).collect();
            let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n";
            let new = self.directory.join("authentication.yaml.new");
            doors::write(&new, &[head, &kept.concat(), &entries.concat()].concat());
            doors::rename(&new, &path);
        };
        write(&read());
        for token in probes {
            // It looks at the file once a minute, where it was not told of a change in time.
            within(5 * PATIENCE, "the control plane trusts the issuer", || {
                let is_taken = client::whoami(&self.url, &self.ca_pem, token).expect("the control plane answers").status == 201;
                let known = read();
                if !is_taken && !known.split("# https://").skip(1).all(|entry| is_there(&entry)) {
                    // One that was there before has ended, and so do its issuers.
                    write(&known);
                }
                is_taken
            });
        }
    }

    /// A token Secret of the service account `deploy-bot`, as people make it by hand; returns the token, which never ends.
    pub fn eternal_token(&self, namespace: &str, name: &str) -> String {
        let metadata = json!({"name": name, "annotations": {"kubernetes.io/service-account.name": "deploy-bot"}});
        let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
        self.must("POST", &format!("/api/v1/namespaces/{namespace}/secrets"), Some(&secret));
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let mut token = String::new();
        eventually("the token is filled in", || {
            let filled = self.must("GET", &path, None)["data"]["token"].as_str().map(|text| STANDARD.decode(text).expect("base64"));
            token = String::from_utf8(filled.unwrap_or_default()).expect("a token is ASCII");
            !token.is_empty()
        });
        token
    }

    /// Whether the bearer of a token may do this.
    pub(crate) fn may(&self, token: &str, namespace: &str, verb: &str, resource: &str) -> bool {
        let name = if resource.contains('/') { "deploy-bot" } else { "" };
        self.may_of(token, namespace, verb, resource, name)
    }

    /// The same for the object of this name.
    pub(crate) fn may_of(&self, token: &str, namespace: &str, verb: &str, resource: &str, name: &str) -> bool {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"namespace": namespace, "verb": verb, "resource": resource, "subresource": sub, "name": name});
        let review =
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = client::request(&self.url, &self.ca_pem, "POST", path, Some(token), Some(&review)).expect("the control plane answers");
        answer.json()["status"]["allowed"] == true
    }

    /// Asks for what the policies must refuse, until they do. Neither question leaves anything behind.
    fn await_policies(&self) {
        if self.admin("GET", "/api/v1/namespaces/jobpass", None).status == 404 {
            self.must(
                "POST",
                "/api/v1/namespaces",
                Some(&json!({"metadata": {"name": "jobpass", "labels": {"jobpass.dev/identities": "true"}}})),
            );
        }
        let (namespace, name) = (format!("probe-{}", random()), format!("probe-{}", random()));
        let token = self.grant(&namespace, ("jobpass", &name));
        let opaque = json!({"metadata": {"name": "jobpass-probe"}, "type": "Opaque"});
        let bound = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "no-lease"}}});
        for (path, body, policy) in
            [("secrets?dryRun=All", opaque, "'jobpass-lease-secrets'"), ("serviceaccounts/deploy-bot/token", bound, "'jobpass-tokens'")]
        {
            let path = format!("/api/v1/namespaces/{namespace}/{path}");
            eventually("the policies refuse", || {
                let answer = client::request(&self.url, &self.ca_pem, "POST", &path, Some(&token), Some(&body));
                answer.expect("the control plane answers").json()["message"].as_str().is_some_and(|text| text.contains(policy))
            });
        }
    }
}

/// kubectl with any kubeconfig: exit status, stdout, stderr.
pub(crate) fn kubectl(kubeconfig: &Path, home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = doors::tool(&*BINARY);
    command.arg("kubectl").arg("--kubeconfig").arg(kubeconfig).args(arguments).env("HOME", home).env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap_or_else(|error| panic!("{} is not built (tests/cluster/build): {error}", BINARY.display()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// curl asking the server whom it takes a token for; returns the HTTP status.
pub(crate) fn curl_whoami(url: &str, ca: &Path, token: &str) -> u16 {
    let mut command = doors::tool("curl");
    command.env("PATH", "/usr/bin:/bin").args(["--silent", "--show-error", "--max-time", "30", "--cacert"]).arg(ca);
    command.args(["--config", "-", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    command.args(["--json", r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#]);
    command.arg(format!("{url}/apis/authentication.k8s.io/v1/selfsubjectreviews"));
    // By its configuration and not as an argument, which every process of the machine can read.
    let output = command.write_stdin(format!("oauth2-bearer = \"{token}\"\n")).output().expect("curl runs");
    let status = String::from_utf8_lossy(&output.stdout).parse();
    status.unwrap_or_else(|_| panic!("curl: {}", String::from_utf8_lossy(&output.stderr)))
}
