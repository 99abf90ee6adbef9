//! One API server as an operator sees it: kube's client over our own connection, the server's time, and its refusals in our words.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::{sleep, timeout};

use crate::{
    cluster::{Cluster, Patience},
    failure::{Code, Failure},
    identity::Identity,
    out::Out,
};

/// How long one request may take: an answer may be a page of a long list.
const EACH: Duration = Duration::from_secs(30);

/// How long we wait before a request is sent again, after each failure that may pass. A call that ends passes must not give up at once.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

/// What kube's client was refused.
#[derive(Debug)]
pub struct Refused {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// In our words.
    pub failure: Failure,
}

/// A question that fails, as it is to be told: what could not be done, and the right that it takes.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What could not be done.
    pub what: &'a str,
    /// The right that it takes.
    pub right: &'a str,
}

/// A cluster that has answered.
pub struct Server {
    /// Its name: the context's.
    pub name: String,
    /// The version of Kubernetes, such as `v1.36.2`, where the API server tells it.
    pub version: Option<String>,
    /// Our own requests: with retries, and messages in our words.
    pub cluster: Cluster,
    /// kube's client, for lists, watches and whatever has many requests at once.
    pub client: Client,
}

impl Server {
    /// Opens the connection, and asks for the version, so that a wrong address or credential is found at once.
    ///
    /// # Errors
    /// When it cannot be reached, or does not know us.
    pub async fn open(name: &str, identity: Identity, timeout: Duration, out: &Out) -> Result<Self, Failure> {
        let mut cluster = Cluster::connect(identity, timeout, Patience::Brief, out).await?;
        let version = cluster.version().await?;
        let client = cluster.client();
        Ok(Self { name: name.to_owned(), version, cluster, client })
    }

    /// Who we are, as the API server says; none where it does not.
    pub async fn asker(&mut self) -> Option<String> {
        self.cluster.extend(EACH);
        self.cluster.maker().await.name
    }

    /// The server's time now, or, where it has told none, this machine's.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    /// Whether the server has told its time. Where it has not, nobody may be judged by this machine's clock.
    #[must_use]
    pub fn has_told_its_time(&self) -> bool {
        self.cluster.told_time().is_some()
    }

    /// Asks by kube's client, again where what failed may pass. Asking twice must do no harm.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn ask<T>(&self, question: Question<'_>, call: impl AsyncFn() -> Result<T, kube::Error>) -> Result<T, Refused> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let (refused, may_pass) = match timeout(EACH, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    let (status, may_pass) = match &error {
                        kube::Error::Api(status) => (Some(status.code), matches!(status.code, 429 | 500 | 502..=504)),
                        _ => (None, true),
                    };
                    (Refused { status, failure: self.failed(question.what, question.right, &error) }, may_pass)
                }
                Err(_) => {
                    let failure = Failure::new(Code::NetworkTimeout, question.what);
                    let failure = failure.cause(format!("the API server did not answer within {} s", EACH.as_secs()));
                    (Refused { status: None, failure }, true)
                }
            };
            match pauses.next().filter(|_| may_pass) {
                Some(pause) => sleep(pause).await,
                None => return Err(refused),
            }
        }
    }

    /// What kube's client says, as our failure: `what` could not be done, and it takes this right.
    #[must_use]
    pub fn failed(&self, what: &str, permission: &str, error: &kube::Error) -> Failure {
        self.cluster.failed(what, permission, error)
    }
}
