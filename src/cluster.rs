//! The Kubernetes API: one connection, one deadline and one retry rule for all that is asked of it.
//!
//! `ask`, `exchange`, `hedge`, `retry` and `answer` send a [`Request`] and tell the answers apart. `leases`, `tokens`, `events` and
//! `review` are what is asked, and `allowed` what else might have been meant: a new question is a file like these. `operator` is for those who own the cluster, and `questions` for
//! whoever asks what he may.
//!
//! An answer, a 409 say, goes from `exchange` (read off the wire) to `hedge` and `retry` (asked again, or not), `ask` (a 401 once more) and its
//! caller in `leases` or `tokens`. `Answer::refusal` tells the kinds of one status apart.
//! What the caller can use it takes: `AlreadyExists` of a creation, and of a deletion what `deletion` tells apart.
//! Of the rest `Answer::failure` makes the message, with the hint, and `Refusal::code` its [`Code`], which decides the
//! exit status. `lib.rs` prints it; where a pass is ended, `job/telling.rs` may make a warning of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clock::{ServerClock, ServerTime},
    failure::{Code, Failure},
    identity::{Identity, issuer::When, server::path_of},
    lease::Lease,
    net::{Connector, WRONG_SERVER},
    out::Out,
    secret::Secret,
};

mod allowed;
pub mod answer;
mod ask;
mod deletion;
mod events;
mod exchange;
mod hedge;
mod leases;
#[cfg(feature = "operate")]
mod operator;
mod policy;
#[cfg(feature = "operate")]
mod questions;
pub mod request;
mod retry;
mod review;
mod tokens;
pub mod told;
mod trouble;

use answer::{Answer, Shown};
use ask::bounded;
pub use deletion::Deleted;
#[cfg(feature = "operate")]
pub use questions::Attempted;
use request::Request;
pub use tokens::{Granted, Probed};
use trouble::{Trouble, whole};

/// How long to try where no connection can be made, depending on what is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A pass is to begin: give up soon, so that the user can correct a wrong address.
    Brief,
    /// A pass is to end or to be renewed: use all the time there is.
    Whole,
}

/// How the credential of the CI identity stands with the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was not refused.
    Good,
    /// It was refused, and read or asked for anew: that is done once.
    Renewed,
    /// The last answer was that it is not accepted.
    Refused,
}

/// The API server, as the CI identity sees it.
pub struct Cluster {
    identity: Identity,
    connector: Connector,
    deadline: Instant,
    /// The same as a length of time, for messages.
    timeout: Duration,
    patience: Patience,
    standing: Standing,
    /// When the credential is asked for anew, as its end is near.
    stale: Option<Instant>,
    trouble: Trouble,
    clock: ServerClock,
    /// Whether something of ours may exist on the server; only then there is something to undo.
    pub left_something: bool,
    /// Whether a request is under way that creates something.
    is_creating: bool,
    /// Whether a token of the lease may exist: one was asked for, or the lease was there before.
    pub may_have_token: bool,
}

impl Cluster {
    /// Prepares the connection as the CI identity. Nothing is sent yet.
    ///
    /// # Errors
    /// When the CI identity's credential cannot be read in time.
    pub async fn connect(identity: Identity, timeout: Duration, patience: Patience, out: &Out) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let timeout = whole(timeout);
        let (connector, stale) = bounded(&identity, deadline, timeout, patience, out).await?;
        hide(out, &identity, &connector);
        Ok(Self {
            identity,
            connector,
            deadline,
            timeout,
            patience,
            standing: Standing::Good,
            stale,
            trouble: Trouble::new(out),
            clock: ServerClock::default(),
            left_something: false,
            is_creating: false,
            may_have_token: false,
        })
    }

    /// The CI identity's own token, so that it can be masked.
    #[must_use]
    pub fn identity_token(&self) -> Option<&Secret> {
        self.connector.token.as_ref()
    }

    /// The same API server as the holder of this token, within the same deadline.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub async fn again_as(&self, token: &Secret, why: &str) -> Result<Self, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Self::connect(self.identity.bearing(token, why), left, self.patience, self.trouble.out()).await
    }

    /// Whether the last request was refused because the API server does not know the CI identity.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.standing == Standing::Refused
    }

    /// Gives back the CI identity's credential, where it was issued for us and can be revoked. The next request asks for a new one.
    /// Returns what is to be said of it.
    pub async fn give_back(&mut self, when: When) -> Vec<Result<String, Failure>> {
        let said = Box::pin(self.identity.give_back(when)).await;
        if !said.is_empty() {
            self.forget_credential();
        }
        said
    }

    /// The same while a pass goes on: only what has failed is said.
    pub async fn give_back_for_now(&mut self) {
        for failure in self.give_back(When::Unneeded).await.into_iter().filter_map(Result::err) {
            self.trouble.out().warn_aside(failure.brief());
        }
    }

    /// The credential was given back: the next request needs a new one.
    pub fn forget_credential(&mut self) {
        self.stale = Some(Instant::now());
    }

    /// The CI identity as which the requests are sent.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Waits, but not beyond the deadline.
    pub async fn wait(&self, length: Duration) {
        let _ = timeout_at(self.deadline, sleep(length)).await;
    }

    /// Sets a new deadline from now on: cleaning up must not fail because the request has used up the time.
    pub fn extend(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
        self.timeout = whole(timeout);
        // A long command outlives more than one credential of the CI identity, so it may be read anew once more.
        self.standing = Standing::Good;
    }

    /// Whether something of ours may exist on the server; only then there is something to undo. A request that was interrupted before
    /// there was any connection has left nothing.
    #[must_use]
    pub fn may_have_left_something(&self) -> bool {
        self.left_something || (self.is_creating && self.connector.was_reached())
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
        Shown { why: &self.identity.why, path: path_of(self.identity.server()), token: self.identity_token(), now: Timestamp::now() }
    }
}

/// What an issuer gave is hidden in all messages from now on.
fn hide(out: &Out, identity: &Identity, connector: &Connector) {
    if let (Some(_), Some(token)) = (&identity.issuer, &connector.token) {
        out.hide(token);
    }
}

/// Parses a successful answer. A body that cannot be parsed is never repeated, as it may contain a token.
fn parsed<T: for<'de> Deserialize<'de>>(answer: &Answer, request: &Request) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| unasked(answer, request))
}

/// The failure that a successful answer is not about what was asked.
fn unasked(answer: &Answer, request: &Request) -> Failure {
    if answer.is_page() {
        return Failure::new(Code::ApiAnswer, request.what())
            .cause(format!("{} with a web page", answer.status))
            .cause("the answer is not a Kubernetes API server's: it is a page, as a console or a login page is")
            .hint(WRONG_SERVER);
    }
    Failure::new(Code::ApiAnswer, request.what())
        .cause(format!("the API server answered {} with a body that is not what was asked for", answer.status))
        .hint(WRONG_SERVER)
}
