//! What a world needs of its API server, whichever that is: who adds a server is asked by the compiler for all of it.

mod real;
mod sandboxed;

use std::{net::Ipv4Addr, path::Path};

use jobpass_sandbox::Sandbox;
use serde_json::Value;

use crate::issuers::Tenant;

pub(crate) use real::Real;
pub(crate) use sandboxed::Sandboxed;

/// The service account that every scenario asks for.
pub(crate) const TARGET: &str = "deploy-bot";

/// All that `deploy/rights.manifest` grants.
pub(crate) const RIGHTS: [(&str, &str); 4] =
    [("create", "serviceaccounts/token"), ("create", "secrets"), ("delete", "secrets"), ("list", "events")];

/// What one world has to itself on a server that it may share with others.
#[derive(Clone)]
pub(crate) struct Place {
    /// Where the service account is, and the leases are made.
    pub(crate) namespace: String,
    /// The namespace of the CI identity.
    pub(crate) home: String,
    /// The name of the CI identity.
    pub(crate) identity: String,
}

impl Place {
    /// The user name of a service account in the CI identity's namespace.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.home)
    }

    /// The path of something in the namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }
}

/// The API server of one world. Nothing here has a default: what a server cannot do it says itself.
pub(crate) trait Server: Send + Sync {
    /// Where it listens; jobpass itself comes through the relay.
    fn url(&self) -> String;

    /// The authority of its certificate.
    fn ca_pem(&self) -> String;

    /// The token of the CI identity, which has all of `RIGHTS`.
    fn identity_token(&self) -> &str;

    /// What stands under `user:` in the kubeconfig of the cluster's admin, by name and value.
    fn admin(&self) -> Vec<(&'static str, String)>;

    /// The tokens that it has given out, as far as it tells.
    fn issued(&self) -> Vec<String>;

    /// The names of the Secrets in the namespace.
    fn secrets(&self) -> Vec<String>;

    /// The metadata of a Secret.
    fn metadata(&self, name: &str) -> Value;

    /// Puts a Secret of somebody else there, whatever was there before.
    fn put_secret(&self, name: &str, type_: &str, data: &[(&str, &str)]);

    /// Deletes a Secret, as its admin.
    fn delete_secret(&self, name: &str);

    /// Adds a finalizer to a Secret.
    fn hold_secret(&self, name: &str);

    /// One more CI identity with all of `RIGHTS`; returns its token.
    fn another_identity(&self, name: &str) -> String;

    /// Trusts the issuers of a tenant, and gives the jobs of its repository and project all of `RIGHTS`.
    fn admit(&self, tenant: &Tenant);

    /// A token of `TARGET` that its owner has stored, with the rights that guides give it; returns the token.
    fn own_token(&self) -> String;

    /// A pod of the CI identity, which no node need run; returns its uid.
    fn add_pod(&self, name: &str) -> String;

    /// Deletes a pod at once.
    fn delete_pod(&self, name: &str);

    /// Deletes `TARGET`.
    fn delete_service_account(&self);

    /// Writes an Event about a Secret.
    fn tell_of(&self, uid: &str, by: &str, message: &str);

    /// Takes one of `RIGHTS` away from the CI identity, and returns when that holds.
    fn take_away(&self, verb: &str, resource: &str);

    /// From now on the CI identity may have tokens of every service account of the namespace.
    fn allow_every_account(&self);

    /// Whether it takes a token from a client that is not jobpass; it may remember the answer for ten seconds.
    fn accepts(&self, token: &str) -> bool;

    /// Whether a token would be taken if nobody remembered it from before; asked where that leaves no trace.
    fn is_live(&self, token: &str) -> bool;

    /// Asserts that a token is refused as soon as nobody remembers it any more.
    fn assert_dies(&self, token: &str);

    /// kubectl with a kubeconfig, if there is a kubectl for it: exit status, stdout, stderr.
    fn kubectl(&self, kubeconfig: &Path, arguments: &[&str]) -> Option<(i32, String, String)>;

    /// All requests that jobpass has made from this address, in the order of their answers.
    fn requests(&self, from: Ipv4Addr) -> Vec<String>;

    /// The sandbox that this is, for scenarios which do to it what must not be assumed of a real server.
    fn sandbox(&self) -> Option<&Sandbox>;
}

/// What an HTTP status says of a token that was shown.
fn is_taken(status: u16) -> bool {
    assert!(matches!(status, 201 | 401), "{status}");
    status == 201
}
