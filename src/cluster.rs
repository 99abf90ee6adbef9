//! The requests to the API server: connect once, then create, request, delete, probe; with one deadline and one retry rule.

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

use crate::{
    clock::{ServerClock, ServerTime},
    failure::{Code, Failure},
    identity::Identity,
    jwt::Claims,
    lease::Lease,
    net::{Connector, Credential, WRONG_SERVER},
    out::Out,
    secret::Secret,
    spec::TokenSpec,
};

pub mod answer;
mod ask;
mod deletion;
mod exchange;
mod hedge;
mod policy;
mod retry;
mod review;

use answer::{Answer, Refusal, Request, Shown};
use ask::bounded;
pub use deletion::Deleted;

/// How long to try where no connection can be made, depending on what is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A pass is to begin: give up soon, so that the user can correct a wrong address.
    Brief,
    /// A pass is to end or to be renewed: use all the time there is.
    Whole,
}

/// The API server, as the CI identity sees it.
pub struct Cluster {
    identity: Identity,
    connector: Connector,
    deadline: Instant,
    timeout: Duration,
    patience: Patience,
    renewed: bool,
    /// Where failures are reported that are tried again; and whether one was reported already.
    out: Out,
    said: bool,
    clock: ServerClock,
    /// Whether something of ours may exist on the server; only then there is something to undo.
    pub left_something: bool,
}

/// A lease Secret that was created.
pub struct Made {
    /// The uid of the Secret.
    pub uid: String,
    /// When the server created it (`creationTimestamp`), if it says so.
    pub at: Option<ServerTime>,
    /// Whether a Secret that had its name was deleted for it.
    pub replaced: bool,
}

/// A token that was granted.
pub struct Granted {
    /// The token, bound to the lease.
    pub token: Secret,
    /// When it was issued, by the server's clock (its `iat` claim).
    pub issued_at: Option<ServerTime>,
    /// When it expires, by the server's clock.
    pub expires_at: ServerTime,
    /// The texts of the answer's `Warning` headers.
    pub warnings: Vec<String>,
}

/// Whether the API server still accepts a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It answered 401: the token is dead.
    Dead,
    /// It gave an answer that only an authenticated client gets.
    Accepted,
    /// There was no answer, or one that says neither.
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
#[serde(rename_all = "camelCase")]
struct CreatedMetadata {
    uid: String,
    creation_timestamp: Option<Timestamp>,
}

impl Cluster {
    /// Prepares the connection as the CI identity. Nothing is sent yet.
    ///
    /// # Errors
    /// When the CI identity's credential cannot be read in time.
    pub async fn connect(identity: Identity, timeout: Duration, patience: Patience, out: &Out) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let connector = bounded(&identity, deadline, timeout).await?;
        let out = out.clone();
        let clock = ServerClock::default();
        Ok(Self { identity, connector, deadline, timeout, patience, renewed: false, out, said: false, clock, left_something: false })
    }

    /// The CI identity's own token, so that it can be masked.
    #[must_use]
    pub fn identity_token(&self) -> Option<&Secret> {
        self.connector.token.as_ref()
    }

    /// The CI identity as which the requests are sent.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Creates the lease Secret.
    ///
    /// If the name is taken, the Secret is ours: of an answer that was lost, or a run that was killed. The name has 128 bits of our
    /// own, and policies let this identity create nothing else under it. So it is deleted, which kills every token bound to it, and
    /// created again.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn create_lease(&mut self, lease: &Lease, secret: &LeaseSecret) -> Result<Made, Failure> {
        let request = Request::Create { lease: lease.id(), account: lease.service_account.clone() };
        let path = secrets(lease);
        let mut replaced = false;
        loop {
            let answer = self.ask(&request, &Method::POST, &path, secret).await?;
            if answer.refusal() == Refusal::AlreadyExists && !replaced {
                replaced = true;
                self.left_something = true;
                let deleted = self.delete_lease(lease, None).await;
                deleted.map_err(|failure| failure.within(request.what()).cause("its name is taken, and what has it cannot be deleted"))?;
                continue;
            }
            if !answer.is_success() {
                return Err(answer.failure(&request, &self.shown()));
            }
            let Created { metadata } = parsed(&answer, &request)?;
            let at = metadata.creation_timestamp.map(ServerTime::said);
            self.hear(at, &answer);
            return Ok(Made { uid: metadata.uid, at, replaced });
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
                // Without an audience the API server sets its own.
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
        let TokenAnswer { status: TokenStatus { token, expiration_timestamp } } = parsed(&answer, &request)?;
        let claims = Claims::of(&token).unwrap_or_default();
        let issued_at = claims.issued_at().map(ServerTime::said);
        self.hear(issued_at, &answer);
        // If the two differ, the later one counts: the token itself decides when it ends.
        let expires_at = ServerTime::said(claims.expires_at().map_or(expiration_timestamp, |end| end.max(expiration_timestamp)));
        Ok(Granted { token, issued_at, expires_at, warnings: answer.warnings })
    }

    /// Deletes the lease Secret, which ends every token that is bound to it.
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
        self.hear(None, &answer);
        match Deleted::of(&answer, &lease.name, uid) {
            // An earlier copy of this request deleted it, but its answer was lost.
            Some(Deleted::Absent) if answer.after_another && uid.is_some() => Ok(Deleted::Removed),
            Some(deleted) => Ok(deleted),
            None if answer.is_success() => Err(unasked(&answer, &request)),
            None => Err(answer.failure(&request, &self.shown())),
        }
    }

    /// Probes a token: asks the API server who it belongs to, on a new connection without our own credential.
    ///
    /// On our own connection a client certificate would authenticate us instead of the token.
    pub async fn probe(&self, token: &Secret) -> Probed {
        let credential = Credential::bearing(token.clone());
        let shown = credential.header.is_some().then(|| Connector::new(self.connector.target.clone(), credential));
        let Some(Ok(mut connector)) = shown else { return Probed::Unknown("the token cannot be shown".into()) };
        match review::sent(&mut connector, self.deadline).await {
            Ok(answer) if answer.status == 401 => Probed::Dead,
            Ok(answer) if answer.is_success() || matches!(answer.status, 403 | 404 | 405 | 422) => Probed::Accepted,
            Ok(answer) => Probed::Unknown(format!("the API server answered {}", answer.status)),
            Err(broken) => Probed::Unknown(broken.brief(self.timeout)),
        }
    }

    /// Waits this long, but not beyond the deadline.
    pub async fn wait(&self, length: Duration) {
        let _ = timeout_at(self.deadline, sleep(length)).await;
    }

    /// Sets a new deadline from now on: cleaning up must not fail because the request has used up the time.
    pub fn extend(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
        self.timeout = timeout;
        // A long command outlives more than one credential of the CI identity, so it may be read anew once more.
        self.renewed = false;
    }

    /// Whether there is time left.
    #[must_use]
    pub fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }

    /// The server's time now, at least, as far as known; none where that is before the lease's beginning, and so cannot be right.
    #[must_use]
    pub fn server_time(&self, lease: &Lease) -> Option<ServerTime> {
        self.clock.now(lease.begun())
    }

    /// A text that says how far this machine's clock is off, if it is more than a minute.
    #[must_use]
    pub fn skew(&self) -> Option<String> {
        self.clock.skew()
    }

    /// Takes the server's time from an answer: from the timestamp of an object that it has just made, and from the `Date` header.
    fn hear(&mut self, made: Option<ServerTime>, answer: &Answer) {
        if let Some(made) = made {
            self.clock.says(made);
        }
        if let Some(date) = answer.server_date() {
            self.clock.shows(date);
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown { why: &self.identity.why, token: self.identity_token(), now: Timestamp::now() }
    }
}

/// Parses a successful answer. A body that cannot be parsed is never repeated, as it may contain a token.
fn parsed<T: for<'de> Deserialize<'de>>(answer: &Answer, request: &Request) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| unasked(answer, request))
}

/// The failure that a successful answer is not about what was asked.
fn unasked(answer: &Answer, request: &Request) -> Failure {
    Failure::new(Code::ApiAnswer, request.what())
        .cause(format!("the API server answered {} with a body that is not what was asked for", answer.status))
        .hint(WRONG_SERVER)
}

fn secrets(lease: &Lease) -> String {
    format!("/api/v1/namespaces/{}/secrets", lease.service_account.namespace)
}
