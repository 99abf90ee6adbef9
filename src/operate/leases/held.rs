//! A lease as the API server holds it, read without asking for any Secret's content.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, PartialObjectMeta},
};
use serde::Serialize;

use crate::{failure::Failure, lease::object, operate::server::Server};

/// How many leases one answer holds: some 600 kB.
const PAGE: u32 = 500;

/// What the API server's clocks (60 s) and its cache (10 s) add to the life of a token.
const LEEWAY: SignedDuration = SignedDuration::from_secs(70);

/// No pass outlives seven days, whatever its lease says.
const LONGEST: SignedDuration = SignedDuration::from_hours(8 * 24);

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its tokens may be accepted.
    Alive,
    /// No token of it can be accepted any more: it is left over.
    Over,
    /// It does not say how long it lives, and is not old enough to be over in any case.
    Unknown,
}

/// A lease.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The cluster: the context's name.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
    /// Its uid, so that no other one is ever deleted in its place.
    #[serde(skip)]
    pub uid: String,
    /// Whose tokens it has, as the job says.
    pub service_account: Option<String>,
    /// Who made it; the policy compares it with the user who asks.
    pub identity: Option<String>,
    /// The CI system, as the job says.
    pub platform: Option<String>,
    /// The repository, as the job says.
    pub repository: Option<String>,
    /// The page of the run, as the job says.
    pub run_url: Option<String>,
    /// The run, as the job or the policy says.
    pub run_id: Option<String>,
    /// The commit, as the job says.
    pub commit: Option<String>,
    /// Who started it, as the job says.
    pub actor: Option<String>,
    /// When it was created, by the server's clock.
    pub created_at: Option<Timestamp>,
    /// When the last of its tokens is dead in every case, by the server's clock.
    pub expires_at: Option<Timestamp>,
    /// How it stands now.
    pub state: State,
}

impl Held {
    /// Reads one from its metadata; `now` is the server's time.
    fn of(server: &Server, secret: PartialObjectMeta<Secret>, now: Timestamp) -> Self {
        let meta = secret.metadata;
        let note = |name: &str| meta.annotations.as_ref().and_then(|notes| notes.get(&format!("jobpass.dev/{name}"))).cloned();
        let created_at = meta.creation_timestamp.as_ref().map(|at| at.0);
        let lifetime =
            note(object::LIFETIME).and_then(|text| text.parse::<u32>().ok()).map(|seconds| SignedDuration::from_secs(seconds.into()));
        let after = |length: SignedDuration| created_at.and_then(|at| at.checked_add(length).ok());
        let expires_at = lifetime.and_then(|lifetime| after(lifetime + LEEWAY));
        let state = match expires_at {
            _ if after(LONGEST).is_some_and(|end| end <= now) => State::Over,
            Some(end) if end <= now => State::Over,
            Some(_) => State::Alive,
            None => State::Unknown,
        };
        Self {
            cluster: server.name.clone(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            service_account: note("service-account"),
            identity: note(object::IDENTITY),
            platform: note("platform"),
            repository: note("repository"),
            run_url: note("run-url"),
            run_id: meta.labels.as_ref().and_then(|labels| labels.get("jobpass.dev/run-id")).cloned(),
            commit: note("commit"),
            actor: note("actor"),
            created_at,
            expires_at,
            state,
        }
    }
}

/// All leases of a cluster, or of one namespace, page by page. Only metadata is asked for, and only of Secrets of a lease's type.
///
/// # Errors
/// When they cannot be listed.
pub async fn all(server: &Server, namespace: Option<&str>) -> Result<Vec<Held>, Failure> {
    let secrets: Api<Secret> = match namespace {
        Some(namespace) => Api::namespaced(server.client.clone(), namespace),
        None => Api::all(server.client.clone()),
    };
    let mut params = ListParams::default().fields(&format!("type={}", object::SECRET_TYPE)).limit(PAGE);
    let mut leases = Vec::new();
    loop {
        let page = secrets.list_metadata(&params).await.map_err(|error| {
            let place = namespace.map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace `{namespace}`"));
            server.failed(&format!("cannot list the leases of `{}`", server.name), &format!("`list` on `secrets` in {place}"), &error)
        })?;
        let now = server.now();
        leases.extend(page.items.into_iter().map(|secret| Held::of(server, secret, now)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(leases),
        }
    }
}
