//! The only network code towards the API server: connect once, then create, request, delete, probe; one deadline, one retry rule.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::Secret as LeaseSecret,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{env::Env, failure::Failure, identity::Identity, lease::Lease, out::Out, secret::Secret, spec::TokenSpec};

mod addresses;
pub mod answer;
mod ask;
mod broken;
mod connect;
mod exchange;
mod hedge;
mod leaf;
mod policy;
mod retry;
mod review;
mod tls;
mod transport;

use answer::{Answer, Refusal, Request, Shown};
use ask::bounded;
use connect::Connector;

/// How long after a 404 a second DELETE waits for the POST of a killed client, which may still land.
const BEFORE_SECOND_DELETE: Duration = Duration::from_millis(500);

/// What a pass depends on: how long nobody is reached before that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A pass is to begin: who is told soon that the address is wrong can mend it.
    Brief,
    /// A pass is to end or to go on: all the time there is.
    Whole,
}

/// The API server, as the CI identity sees it.
pub struct Cluster {
    identity: Identity,
    env: Env,
    connector: Connector,
    deadline: Instant,
    timeout: Duration,
    patience: Patience,
    renewed: bool,
    /// Who is told of a failure that is tried again, and whether that was said.
    out: Out,
    said: bool,
    /// Whether something of ours may exist on the server: only then is there anything to undo.
    pub left_something: bool,
}

/// A token that was granted.
pub struct Granted {
    /// The token.
    pub token: Secret,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

/// How a DELETE ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The Secret is gone.
    Removed,
    /// It was not there.
    Absent,
    /// Another one of the same name is there and was not touched; ours is gone.
    Replaced,
    /// A finalizer holds it: the token lives 60 s more, and 10 s in the cache.
    Deleting,
}

/// What the API server says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// 401.
    Dead,
    /// Any answer that an authenticated client gets.
    Accepted,
    /// No answer that says either.
    Unknown(String),
}

#[derive(Deserialize)]
struct TokenAnswer {
    status: TokenStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: Secret,
    expiration_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Created {
    metadata: CreatedMetadata,
}

#[derive(Deserialize)]
struct CreatedMetadata {
    uid: String,
}

impl Cluster {
    /// Prepares the connection as the CI identity. Nothing is sent yet.
    ///
    /// # Errors
    /// When its credential cannot be had in time.
    pub async fn connect(identity: Identity, env: &Env, timeout: Duration, patience: Patience, out: &Out) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let connector = bounded(&identity, env, deadline, timeout).await?;
        let (env, out) = (env.clone(), out.clone());
        Ok(Self { identity, env, connector, deadline, timeout, patience, renewed: false, out, said: false, left_something: false })
    }

    /// The CI identity's own token, so that it can be masked.
    #[must_use]
    pub fn identity_token(&self) -> Option<&Secret> {
        self.connector.token.as_ref()
    }

    /// The identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Creates the lease Secret and returns its uid.
    ///
    /// A name that is taken is ours, from an answer that was lost or a run that was killed: 128 bits of it are our own, and the
    /// policies let this identity make nothing else of that name. It is deleted, which kills whatever was bound to it, and made anew.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn create_lease(&mut self, lease: &Lease, secret: &LeaseSecret) -> Result<String, Failure> {
        let request = Request::Create { lease: lease.id(), account: lease.service_account.clone() };
        let path = secrets(lease);
        let mut replaced = false;
        loop {
            let answer = self.ask(&request, &Method::POST, &path, secret).await?;
            if answer.refusal() == Refusal::AlreadyExists && !replaced {
                replaced = true;
                self.left_something = true;
                self.delete_lease(lease, None).await?;
                continue;
            }
            if !answer.is_success() {
                return Err(answer.failure(&request, &self.shown()));
            }
            let created: Created = parsed(&answer, &request)?;
            return Ok(created.metadata.uid);
        }
    }

    /// Requests a token that is bound to the lease Secret and its uid.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn request_token(&mut self, lease: &Lease, spec: &TokenSpec) -> Result<Granted, Failure> {
        let account = &lease.service_account;
        let request = Request::Token { account: account.clone() };
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", account.namespace, account.name);
        let body = TokenRequest {
            spec: Some(TokenRequestSpec {
                // None lets the API server put in its own.
                audiences: (!spec.audiences.is_empty()).then(|| spec.audiences.clone()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Secret".into()),
                    name: Some(lease.name.clone()),
                    uid: lease.uid.clone(),
                }),
                expiration_seconds: Some(i64::try_from(spec.ttl.as_secs()).unwrap_or(i64::MAX)),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = self.ask(&request, &Method::POST, &path, &body).await?;
        if !answer.is_success() {
            return Err(answer.failure(&request, &self.shown()));
        }
        let granted: TokenAnswer = parsed(&answer, &request)?;
        Ok(Granted { token: granted.status.token, expires_at: granted.status.expiration_timestamp, warnings: answer.warnings })
    }

    /// Deletes the lease Secret: with it every token that was bound to it ends.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn delete_lease(&mut self, lease: &Lease, uid: Option<&str>) -> Result<Deleted, Failure> {
        let request = Request::Delete { lease: lease.id() };
        let path = format!("{}/{}", secrets(lease), lease.name);
        let options = DeleteOptions {
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() }),
            // Foreground and Orphan would add a finalizer, and the token would live 60 s more.
            propagation_policy: Some("Background".into()),
            ..DeleteOptions::default()
        };
        let answer = self.ask(&request, &Method::DELETE, &path, &options).await?;
        if answer.is_success() {
            #[derive(Deserialize)]
            struct Kind {
                #[serde(default)]
                kind: String,
            }
            let kind: Kind = parsed(&answer, &request)?;
            return Ok(if kind.kind == "Secret" { Deleted::Deleting } else { Deleted::Removed });
        }
        match answer.refusal() {
            // An earlier copy of this request has done it, and nobody has told us.
            Refusal::LeaseMissing if answer.after_another && uid.is_some() => Ok(Deleted::Removed),
            Refusal::LeaseMissing | Refusal::NamespaceMissing => Ok(Deleted::Absent),
            Refusal::Conflict if uid.is_some() => Ok(Deleted::Replaced),
            _ => Err(answer.failure(&request, &self.shown())),
        }
    }

    /// The same, and once more a moment later where a Secret of ours may still come into being: nobody has told us its uid, and what
    /// a killed or interrupted client has sent can land after our look.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn delete_lease_for_good(&mut self, lease: &Lease) -> Result<Deleted, Failure> {
        let deleted = self.delete_lease(lease, lease.uid.as_deref()).await?;
        if deleted != Deleted::Absent || lease.uid.is_some() {
            return Ok(deleted);
        }
        self.wait(BEFORE_SECOND_DELETE).await;
        self.delete_lease(lease, None).await
    }

    /// Asks, on a connection of its own and as nobody else, what the API server says to a token.
    ///
    /// Over our own connection a client certificate would answer for the token.
    pub async fn probe(&self, token: &Secret) -> Probed {
        let as_token = Identity {
            origin: self.identity.origin.clone(),
            why: "the token itself".into(),
            cluster: self.identity.cluster.clone(),
            user: kube::config::AuthInfo { token: Some(token.expose().to_owned().into()), ..kube::config::AuthInfo::default() },
            authority: self.identity.authority.clone(),
            pod_namespace: None,
        };
        let Ok(mut connector) = bounded(&as_token, &self.env, self.deadline, self.timeout).await else {
            return Probed::Unknown("the time was up".into());
        };
        match review::sent(&mut connector, self.deadline).await {
            Ok(answer) if answer.status == 401 => Probed::Dead,
            Ok(answer) if answer.is_success() || matches!(answer.status, 403 | 404 | 405 | 422) => Probed::Accepted,
            Ok(answer) => Probed::Unknown(format!("the API server answered {}", answer.status)),
            Err(broken) => Probed::Unknown(broken.brief(self.timeout)),
        }
    }

    /// Waits, but not beyond the deadline.
    pub async fn wait(&self, length: Duration) {
        let _ = timeout_at(self.deadline, sleep(length)).await;
    }

    /// Gives what follows a time of its own: cleaning up must not fail because the request took all there was.
    pub fn extend(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
        self.timeout = timeout;
        // A long command outlives more than one credential.
        self.renewed = false;
    }

    /// Whether there is time left.
    #[must_use]
    pub fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }

    fn shown(&self) -> Shown<'_> {
        Shown { why: &self.identity.why, token: self.identity_token(), now: Timestamp::now() }
    }
}

/// Reads a yes. What cannot be read is not repeated: it may hold a token.
fn parsed<T: for<'de> Deserialize<'de>>(answer: &Answer, request: &Request) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::new(request.what())
            .cause(format!("the API server answered {} with a body that is not what was asked for", answer.status))
            .hint("check `--server`: it is the API server's address, not the console's or a proxy's")
    })
}

fn secrets(lease: &Lease) -> String {
    format!("/api/v1/namespaces/{}/secrets", lease.service_account.namespace)
}
