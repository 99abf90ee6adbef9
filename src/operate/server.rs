//! One API server as an operator sees it: kube's client over our own connection, the server's time, and its refusals in our words.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

use crate::{
    cluster::{Cluster, Patience},
    failure::Failure,
    identity::Identity,
    out::Out,
};

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

    /// The server's time now, or, where it has told none, this machine's.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    /// What kube's client says, as our failure: `what` could not be done, and it takes this right.
    #[must_use]
    pub fn failed(&self, what: &str, permission: &str, error: &kube::Error) -> Failure {
        self.cluster.failed(what, permission, error)
    }
}
