//! One request to the API server: how it is sent, and the words for what could not be done if the answer is no.

use http::Method;

/// What is asked. Each kind is made where it is sent from: `leases.rs`, `tokens.rs`.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    what: String,
    permission: String,
    without_account: String,
    is_creation: bool,
}

impl Request {
    /// A request that creates nothing. `what` is the sentence for its failure (`cannot revoke the lease …`), `permission` the right
    /// that it needs, as a cluster's admin is asked for it.
    #[must_use]
    pub fn new(method: Method, path: String, what: String, permission: String) -> Self {
        Self { method, path, what, permission, without_account: String::new(), is_creation: false }
    }

    /// The same for one that creates what must be removed again if whoever asked for it is interrupted.
    #[must_use]
    pub fn creating(self) -> Self {
        Self { is_creation: true, ..self }
    }

    /// What to do if the answer is that there is no such service account.
    #[must_use]
    pub fn without_account(self, hint: impl Into<String>) -> Self {
        Self { without_account: hint.into(), ..self }
    }

    /// What could not be done, as the first line of a failure.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether an answer that was lost may have left something behind on the server.
    #[must_use]
    pub fn is_creation(&self) -> bool {
        self.is_creation
    }

    /// The right that it needs.
    pub(super) fn permission(&self) -> &str {
        &self.permission
    }

    /// What to do if there is no such service account.
    pub(super) fn hint_without_account(&self) -> &str {
        &self.without_account
    }
}
