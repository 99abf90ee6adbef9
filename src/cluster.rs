//! The Kubernetes API: one connection, one deadline and one retry rule for all that is asked of it.
//!
//! `ask`, `exchange`, `hedge`, `retry` and `answer` send a [`Request`](request::Request) and tell the answers apart. `leases`, `tokens` and
//! `review` are what is asked: a new question is a file like these.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clock::{ServerClock, ServerTime},
    failure::{Code, Failure},
    identity::Identity,
    lease::Lease,
    net::{Connector, WRONG_SERVER},
    out::Out,
    secret::Secret,
};

pub mod answer;
mod ask;
mod deletion;
mod exchange;
mod hedge;
mod leases;
mod policy;
pub mod request;
mod retry;
mod review;
mod tokens;

use answer::{Answer, Shown};
use ask::bounded;
pub use deletion::Deleted;
use request::Request;
pub use tokens::{Granted, Probed};

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
    connector: Connector,
    deadline: Instant,
    timeout: Duration,
    patience: Patience,
    renewed: bool,
    /// Who is told of a failure that is tried again, and whether that was said.
    out: Out,
    said: bool,
    clock: ServerClock,
    /// Whether something of ours may exist on the server: only then is there anything to undo.
    pub left_something: bool,
}

impl Cluster {
    /// Prepares the connection as the CI identity. Nothing is sent yet.
    ///
    /// # Errors
    /// When its credential cannot be had in time.
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

    /// The identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
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

    /// What time it is at the server at least, as far as it has said so; nothing that comes before what it has said of a lease.
    #[must_use]
    pub fn server_time(&self, lease: &Lease) -> Option<ServerTime> {
        self.clock.now(lease.begun())
    }

    /// How far this machine's clock is from the server's, if it is more than a minute.
    #[must_use]
    pub fn skew(&self) -> Option<String> {
        self.clock.skew()
    }

    /// Learns from an answer what time it is at the server: by a figure of what it has made just now, and by its `Date`.
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

/// Reads a yes. What cannot be read is not repeated: it may hold a token.
fn parsed<T: for<'de> Deserialize<'de>>(answer: &Answer, request: &Request) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| unasked(answer, request))
}

/// A yes to something else.
fn unasked(answer: &Answer, request: &Request) -> Failure {
    Failure::new(Code::ApiAnswer, request.what())
        .cause(format!("the API server answered {} with a body that is not what was asked for", answer.status))
        .hint(WRONG_SERVER)
}
