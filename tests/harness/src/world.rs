//! The world of one scenario: an API server, a namespace of its own, a service account to ask for, a CI identity that may.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_issuers::{Exchange, GitHub, GitLab};
use jobpass_sandbox::{
    Registry, Sandbox,
    client::{self, Response},
};
use serde_json::{Value, json};

use super::{
    control_plane::ControlPlane,
    doors, eventually,
    issuers::{Issuers, Kind, Tenant},
    names::Names,
    random,
    relay::Relay,
    server::{Place, RIGHTS, Real, Sandboxed, Server, TARGET},
};

/// The namespace of CI identities that the policies watch.
const WATCHED: &str = "jobpass";

/// The world of one scenario.
pub struct World {
    server: Box<dyn Server>,
    relay: Relay,
    place: Place,
    tenant: Option<Tenant>,
    /// The jobs that GitHub knows.
    jobs: Mutex<Vec<jobpass_issuers::Job>>,
    names: Mutex<Names>,
    secrets: Arc<Mutex<Vec<String>>>,
    /// How many requests were there when the last run ended.
    seen: Mutex<usize>,
}

impl World {
    /// The sandbox, or the real control plane where one is given. The CI identity is one that the policies watch.
    #[expect(clippy::new_without_default, reason = "it starts a server, which nobody should get by default")]
    pub fn new() -> Self {
        Self::given(Some(WATCHED))
    }

    /// The same with a CI identity that no policy watches, as in a cluster where nobody has applied them.
    pub fn unwatched() -> Self {
        Self::given(None)
    }

    /// The sandbox in any case; `why` says what the scenario does that must not be assumed of a real server.
    pub fn sandbox(why: &str) -> Self {
        assert!(!why.is_empty());
        Self::of(place(Some(WATCHED)), |place| Box::new(Sandboxed::new(Sandbox::start(), place)))
    }

    /// A sandbox whose clock is behind this machine's.
    pub fn behind(by: Duration) -> Self {
        let sandbox = Sandbox::start();
        sandbox.set_back(by);
        Self::of(place(Some(WATCHED)), |place| Box::new(Sandboxed::new(sandbox, place)))
    }

    /// A sandbox whose clock is ahead of this machine's.
    pub fn ahead(by: Duration) -> Self {
        let sandbox = Sandbox::start();
        sandbox.advance(by);
        Self::of(place(Some(WATCHED)), |place| Box::new(Sandboxed::new(sandbox, place)))
    }

    /// On the server that this run of the tests is given, with a CI identity in that namespace, or in the world's own.
    fn given(home: Option<&str>) -> Self {
        Self::of(place(home), |place| match doors::control_plane() {
            Some(directory) => Box::new(Real::new(ControlPlane::at(&directory), place)),
            None => Box::new(Sandboxed::new(Sandbox::start(), place)),
        })
    }

    /// The same, with a GitHub and a GitLab whose jobs get in by their own tokens, from a repository and a project of this world.
    pub fn trusting() -> Self {
        Self::admitting(Kind::Shared)
    }

    /// The same with issuers that no other world has, for scenarios in which they fail.
    pub fn trusting_alone() -> Self {
        Self::admitting(Kind::Alone)
    }

    /// The same in a cluster whose configuration puts the jobs into groups that no policy watches.
    pub fn trusting_unwatched() -> Self {
        Self::admitting(Kind::Unwatched)
    }

    /// The same in a cluster that maps single claims of GitHub's tokens, and knows no run.
    pub fn trusting_by_claims() -> Self {
        Self::admitting(Kind::ByClaims)
    }

    fn admitting(kind: Kind) -> Self {
        let place = place(Some(WATCHED));
        let (server, (tenant, listener)): (Box<dyn Server>, _) = match doors::control_plane() {
            Some(directory) => {
                let cluster = ControlPlane::at(&directory);
                (Box::new(Real::new(cluster, place.clone())), cluster.tenant(kind))
            }
            None => (Box::new(Sandboxed::new(Sandbox::start(), place.clone())), Tenant::new(&Arc::new(Issuers::start()), kind)),
        };
        server.admit(&tenant);
        let relay = Relay::listening(listener, address(&server.url()));
        let mut world = Self::with(server, relay, place);
        world.names().exact(&tenant.id, "ID");
        world.names().exact(&tenant.other, "OTHER-ID");
        world.tenant = Some(tenant);
        world
    }

    fn of(place: Place, start: impl FnOnce(Place) -> Box<dyn Server>) -> Self {
        let server = start(place.clone());
        let relay = Relay::start(address(&server.url()));
        Self::with(server, relay, place)
    }

    fn with(server: Box<dyn Server>, relay: Relay, place: Place) -> Self {
        let mut names = Names::default();
        names.exact(&place.namespace, "NS");
        names.exact(&place.identity, "CI");
        names.exact(&relay.authority(), "SERVER");
        let secrets = Arc::new(Mutex::new(vec![server.identity_token().to_owned()]));
        Self { server, relay, place, tenant: None, jobs: Mutex::default(), names: Mutex::new(names), secrets, seen: Mutex::new(0) }
    }

    /// The sandbox of a scenario that began with [`World::sandbox`].
    pub fn on_sandbox(&self) -> &Sandbox {
        self.server.sandbox().expect("the scenario began with World::sandbox")
    }

    /// Whether this world's server is the sandbox.
    pub fn is_sandbox(&self) -> bool {
        self.server.sandbox().is_some()
    }

    /// The relay that jobpass's connections go through.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The namespace that is this world's own.
    pub fn namespace(&self) -> &str {
        &self.place.namespace
    }

    /// The namespace of the CI identity.
    pub fn home(&self) -> &str {
        &self.place.home
    }

    /// `namespace/name` of the service account to ask for.
    pub fn account(&self) -> String {
        format!("{}/{TARGET}", self.place.namespace)
    }

    /// The CI identity's user name.
    pub fn user(&self) -> String {
        self.place.user(&self.place.identity)
    }

    /// The API server's address, as jobpass is to see it.
    pub fn url(&self) -> String {
        let url = self.server.url();
        let prefix = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        format!("https://{}{prefix}", self.relay.authority())
    }

    /// The authority of the API server's certificate.
    pub fn ca_pem(&self) -> String {
        self.server.ca_pem()
    }

    /// The CI identity's token.
    pub fn identity_token(&self) -> &str {
        self.server.identity_token()
    }

    /// The CI identity's kubeconfig, all in one file.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_of(self.identity_token())
    }

    /// The same for another token.
    pub fn kubeconfig_of(&self, token: &str) -> String {
        let (server, authority) = (self.url(), STANDARD.encode(self.ca_pem()));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: main\n\
             clusters:\n- name: main\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             users:\n- name: ci\n  user:\n    token: {token}\n\
             contexts:\n- name: main\n  context:\n    cluster: main\n    user: ci\n"
        )
    }

    /// The same for the cluster's admin, with this as the name of cluster, user and context.
    pub(super) fn admin_kubeconfig(&self, name: &str) -> Value {
        let user = self.server.admin();
        for (_, secret) in user.iter().filter(|(kind, _)| *kind != "client-certificate-data") {
            self.secret(secret);
        }
        let user: Value = user.into_iter().map(|(kind, value)| (kind.to_owned(), Value::from(value))).collect();
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url(), "certificate-authority-data": STANDARD.encode(self.ca_pem())}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        })
    }

    /// One more text that must not leak.
    pub fn secret(&self, text: &str) {
        self.secrets_known().push(text.to_owned());
    }

    pub(super) fn secrets_known(&self) -> MutexGuard<'_, Vec<String>> {
        self.secrets.lock().expect("sound")
    }

    /// All that must not leak and is no token of a pass yet known: what the sandbox has given out.
    pub(super) fn issued(&self) -> Vec<String> {
        self.server.issued()
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("sound")
    }

    /// A text with words for everything that is different in every run.
    pub fn plain(&self, text: &str) -> String {
        self.names().plain(text)
    }

    /// Shows this text by that word.
    pub fn names_exact(&self, text: &str, word: &str) {
        self.names().exact(text, word);
    }

    fn tenant(&self) -> &Tenant {
        self.tenant.as_ref().expect("the scenario began with World::trusting")
    }

    /// A token of the platform must not leak either; it is no pass's.
    fn of_platform(&self, token: &str) {
        self.names().token(token, Some("JOB-TOKEN"));
        let mut known = self.secrets_known();
        if !known.iter().any(|secret| secret == token) {
            known.push(token.to_owned());
        }
    }

    /// From now on the tokens count as secrets that GitHub has given to jobs.
    pub(super) fn learn_of_jobs(&self) {
        let issued: Vec<_> = self.jobs.lock().expect("sound").iter().flat_map(jobpass_issuers::Job::issued).collect();
        for token in &issued {
            self.of_platform(token);
        }
    }

    /// The GitHub whose jobs get in, if the world began with [`World::trusting`].
    pub fn github(&self) -> &GitHub {
        &self.tenant().issuers.github
    }

    /// The GitLab whose jobs get in.
    pub fn gitlab(&self) -> &GitLab {
        &self.tenant().issuers.gitlab
    }

    /// The number of the repository at GitHub, and of the project at GitLab, whose jobs have all rights here.
    pub fn project(&self) -> &str {
        &self.tenant().id
    }

    /// The number of another repository and project of theirs, whose jobs get in and have no right.
    pub fn other_project(&self) -> &str {
        &self.tenant().other
    }

    /// A token of a job of the repository, for this server; with these changes of its claims, of which null takes one away.
    pub fn github_token(&self, changes: &Value) -> String {
        let tenant = self.tenant();
        let token = tenant.issuers.github.mint(&tenant.audience, &tenant.github_claims(changes));
        self.of_platform(&token);
        token
    }

    /// A token of a job of the project.
    pub fn gitlab_token(&self, changes: &Value) -> String {
        let tenant = self.tenant();
        let token = tenant.issuers.gitlab.mint(&tenant.audience, &tenant.gitlab_claims(changes));
        self.of_platform(&token);
        token
    }

    /// A job of the repository with `id-token: write`, as its endpoint knows it.
    pub fn github_job(&self, changes: &Value) -> jobpass_issuers::Job {
        let tenant = self.tenant();
        let job = tenant.issuers.github.job(&tenant.github_claims(changes));
        self.of_platform(&job.request_token);
        self.jobs.lock().expect("sound").push(job.clone());
        job
    }

    /// A token endpoint whose tokens get in here, and a GitHub that only this endpoint trusts.
    pub fn exchange(&self) -> (GitHub, Exchange) {
        let secrets = self.secrets.clone();
        self.tenant().exchange(move |token| secrets.lock().expect("sound").push(token.to_owned()))
    }

    /// Names of the Secrets that are left in the namespace.
    pub fn secrets(&self) -> Vec<String> {
        self.server.secrets()
    }

    /// The metadata of a Secret.
    pub fn metadata(&self, name: &str) -> Value {
        self.server.metadata(name)
    }

    /// A Secret of somebody else, whatever was there before.
    pub fn put_secret(&self, name: &str, type_: &str, data: &[(&str, &str)]) {
        self.server.put_secret(name, type_, data);
    }

    /// One more CI identity with the same rights, which the policies watch too; returns its token.
    pub fn another_identity(&self) -> String {
        let name = format!("ci-{}", random());
        let token = self.server.another_identity(&name);
        self.names().exact(&name, "OTHER-CI");
        self.secret(&token);
        token
    }

    /// A token of the service account itself that its owner has stored, with the rights that guides give it: `edit` in its namespace.
    pub fn own_token(&self) -> String {
        let token = self.server.own_token();
        self.secret(&token);
        token
    }

    /// Deletes a Secret, as somebody with more rights than a CI identity could.
    pub fn delete_secret(&self, name: &str) {
        self.server.delete_secret(name);
    }

    /// Adds a finalizer to a Secret, as somebody with more rights than a CI identity could.
    pub fn hold_secret(&self, name: &str) {
        self.server.hold_secret(name);
    }

    /// A pod of the CI identity, known to the real server though no node runs it; returns its uid.
    pub fn add_pod(&self, name: &str) -> String {
        self.server.add_pod(name)
    }

    /// Deletes a pod at once.
    pub fn delete_pod(&self, name: &str) {
        self.server.delete_pod(name);
    }

    /// The tokens of passes, as far as anybody but the server has seen them.
    pub fn tokens_of_passes(&self) -> Vec<String> {
        let known = self.secrets_known().clone();
        let is_of_pass = |secret: &String| secret != self.identity_token() && secret.starts_with("eyJ");
        known.into_iter().chain(self.issued()).filter(is_of_pass).collect()
    }

    /// Deletes the service account that the scenario asks for.
    pub fn delete_service_account(&self) {
        self.server.delete_service_account();
    }

    /// Writes an Event about the lease with this name, as an operator does who deletes it.
    pub fn tell_of(&self, name: &str, by: &str, message: &str) {
        let uid = self.metadata(name)["uid"].as_str().expect("a uid").to_owned();
        self.server.tell_of(&uid, by, message);
    }

    /// Takes one of the rights of `deploy/rights.manifest` away.
    pub fn take_away(&self, verb: &str, resource: &str) {
        assert!(RIGHTS.contains(&(verb, resource)), "nobody granted {verb} {resource}");
        self.server.take_away(verb, resource);
    }

    /// From now on the CI identity may have tokens of every service account of the namespace, as a Role without names gives them.
    pub fn allow_every_account(&self) {
        self.server.allow_every_account();
    }

    /// One request of another client than jobpass, to the server itself.
    pub fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
        client::request(&self.server.url(), &self.server.ca_pem(), method, path, Some(token), body).expect("the server answers")
    }

    /// A registry of images that asks this world's server whom a token is of.
    pub fn registry(&self) -> Registry {
        let registry = Registry::start(&self.server.url(), &self.server.ca_pem());
        self.names().exact(&registry.host(), "REGISTRY");
        registry
    }

    /// The path of something in this world's namespace.
    pub fn path(&self, rest: &str) -> String {
        self.place.path(rest)
    }

    /// Whether the server takes a token: asked by a client that is not jobpass, on the real server by curl.
    ///
    /// The question warms the server's cache, which then takes the token for ten more seconds.
    pub fn accepts(&self, token: &str) -> bool {
        self.server.accepts(token)
    }

    /// Whether a token would be taken if no server remembered it from before; asked where that leaves no trace.
    pub fn is_live(&self, token: &str) -> bool {
        self.server.is_live(token)
    }

    /// Asserts that a token dies within the ten seconds that the server's cache may hold it; on the sandbox they pass at once.
    pub fn assert_dies(&self, token: &str) {
        self.server.assert_dies(token);
    }

    /// kubectl with a kubeconfig, where the real one is there: exit status, stdout, stderr.
    pub fn kubectl(&self, kubeconfig: &Path, arguments: &[&str]) -> Option<(i32, String, String)> {
        self.server.kubectl(kubeconfig, arguments)
    }

    /// jobpass's own requests, in the order of their answers.
    pub fn requests(&self) -> Vec<String> {
        self.server.requests(self.relay.source)
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
    pub fn wait_for_new_request(&self, part: &str, n: usize) {
        let seen = *self.seen.lock().expect("sound");
        eventually(&format!("the {n}. request answered by `{part}`"), || {
            self.requests().get(seen + n - 1).is_some_and(|line| line.contains(part) && !line.ends_with("no answer"))
        });
    }

    /// Waits until the server has answered a request of jobpass that looks like this.
    pub fn wait_for_request(&self, part: &str) {
        eventually(&format!("the request `{part}`"), || {
            self.requests().iter().any(|line| line.contains(part) && !line.ends_with("no answer"))
        });
    }
}

/// Names that no other world has; the CI identity is in the namespace `home`, or in the world's own.
fn place(home: Option<&str>) -> Place {
    let namespace = format!("ns-{}", random());
    Place { home: home.unwrap_or(&namespace).to_owned(), identity: format!("ci-{}", random()), namespace }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("https://").and_then(|authority| authority.parse().ok()).expect("an address on loopback")
}
