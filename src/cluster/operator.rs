//! What an operator's verbs need beside our own requests: the server's version, kube's client on our connection, and kube's errors in our
//! words.

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Cluster,
    answer::{Answer, Refusal},
    request::Request,
};
use crate::{failure::Failure, net::TransportError, secret::Secret};

#[derive(Deserialize)]
struct Granted {
    status: GrantedStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GrantedStatus {
    token: Secret,
    expiration_timestamp: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

impl Cluster {
    /// The version of the API server. None where it does not tell us.
    ///
    /// # Errors
    /// When it cannot be reached, or does not know us.
    pub async fn version(&mut self) -> Result<Option<String>, Failure> {
        let what = format!("cannot ask the API server at `{}`", self.identity.server());
        let request = Request::new(Method::GET, "/version".to_owned(), what, "`get` on `/version`".to_owned());
        let answer = self.ask(&request, &()).await?;
        self.hear(None, &answer);
        if answer.is_success() {
            // A Date counts only beside an API server's answer, and this one has no kind.
            let version: Version = super::parsed(&answer, &request)?;
            answer.date.into_iter().for_each(|date| self.clock.shows(date));
            return Ok(Some(version.git_version));
        }
        let is_kept_from_us = matches!(answer.refusal(), Refusal::Rbac | Refusal::Anonymous);
        if is_kept_from_us { Ok(None) } else { Err(answer.failure(&request, &self.shown())) }
    }

    /// Creates an object; the answer is the server's.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn post(&mut self, path: &str, what: &str, permission: &str, body: &Value) -> Result<Value, Failure> {
        let request = Request::new(Method::POST, path.to_owned(), what.to_owned(), permission.to_owned());
        let answer = self.ask(&request, body).await?;
        self.hear(None, &answer);
        if answer.is_success() { super::parsed(&answer, &request) } else { Err(answer.failure(&request, &self.shown())) }
    }

    /// Requests a token, and until when it lives.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn granted(&mut self, path: &str, what: &str, permission: &str, body: &Value) -> Result<(Secret, Timestamp), Failure> {
        let request = Request::new(Method::POST, path.to_owned(), what.to_owned(), permission.to_owned());
        let request = request.without_account("set it up by `jobpass setup`");
        let answer = self.ask(&request, body).await?;
        if !answer.is_success() {
            return Err(answer.failure(&request, &self.shown()));
        }
        let Granted { status } = super::parsed(&answer, &request)?;
        Ok((status.token, status.expiration_timestamp))
    }

    /// Deletes an object. It is no error if it is gone.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn remove(&mut self, path: &str, what: &str, permission: &str) -> Result<(), Failure> {
        let request = Request::new(Method::DELETE, path.to_owned(), what.to_owned(), permission.to_owned());
        let answer = self.ask(&request, &json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"})).await?;
        if answer.is_success() || answer.status == 404 { Ok(()) } else { Err(answer.failure(&request, &self.shown())) }
    }

    /// kube's client on our connection, with the credential of now.
    #[must_use]
    pub fn client(&self) -> Client {
        self.connector.line.client.clone()
    }

    /// The same on a connection of its own, which may end at another API server behind the same address.
    #[must_use]
    pub fn client_anew(&self) -> Option<Client> {
        self.connector.another().map(|line| line.client)
    }

    /// The server's time now; this machine's where the server has told none.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.told_time().unwrap_or_else(Timestamp::now)
    }

    /// What kube's client says, as our failure: `what` could not be done, and it takes this right.
    #[must_use]
    pub fn failed(&self, what: &str, permission: &str, error: &kube::Error) -> Failure {
        let kube::Error::Api(status) = error else {
            return TransportError::of(error).failure(what, &self.connector.target, None, self.timeout);
        };
        let body = Zeroizing::new(serde_json::to_vec(status).unwrap_or_default());
        let answer = Answer { status: status.code, retry_after: None, date: None, warnings: Vec::new(), after_another: false, body };
        let request = Request::new(Method::GET, String::new(), what.to_owned(), permission.to_owned());
        let failure = answer.failure(&request, &self.shown());
        if answer.refusal() == Refusal::Rbac { failure.hint(format!("ask a cluster admin for {permission}")) } else { failure }
    }
}
