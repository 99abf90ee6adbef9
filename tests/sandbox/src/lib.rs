//! An in-process HTTPS API server with the token semantics of a real Kubernetes, for the tests and the demo of jobpass.
//!
//! It knows the few requests that a pass is made of (create and delete a Secret, ask for a token bound to it, use the
//! token) and answers them with the status codes, bodies and delays that were measured on a real kube-apiserver. It never
//! says what the real server would not: a request that it does not implement is answered 501 and remembered, so that a
//! test can assert that [`Sandbox::unimplemented`] is empty.
//!
//! ```
//! use jobpass_sandbox::{Sandbox, client};
//! use serde_json::json;
//!
//! let sandbox = Sandbox::start();
//! let token = sandbox.add_user("alice", &[]);
//! sandbox.add_service_account("ci", "deploy-bot");
//! sandbox.grant_jobpass("alice", "ci", "deploy-bot");
//! let lease = json!({"metadata": {"name": "jobpass-1"}, "type": "jobpass.dev/lease"});
//! let path = "/api/v1/namespaces/ci/secrets";
//! let made = client::request(&sandbox.url(), &sandbox.ca_pem(), "POST", path, Some(&token), Some(&lease));
//! assert_eq!(made.unwrap().status, 201);
//! assert_eq!(sandbox.transcript(), ["POST /api/v1/namespaces/ci/secrets -> 201"]);
//! assert!(sandbox.unimplemented().is_empty());
//! ```
//!
//! What differs from the real server, and why:
//! - Service-account tokens are signed with ES256, as ring cannot make RSA keys.
//! - The clock is real time plus what [`Sandbox::advance`] added, so that nobody sleeps until a token expires.
//! - Garbage collection takes no time, and the watch that tells an authenticator of a deletion has no lag.
//! - RBAC rules belong to one user or group each.
//! - An authentication configuration is that of `deploy/oidc/`; there is no CEL for others.
//! - The tokens of EKS are checked here, by keys that it was told; EKS has AWS check them.
//! - OpenShift is its OAuth server and tokens: there are no pages for a browser, and scopes limit nothing.

mod api;
mod authn;
pub mod client;
mod clock;
mod eks;
mod fault;
mod gate;
pub mod jwt;
mod listen;
mod openshift;
mod policy;
mod rbac;
mod record;
mod sandbox;
mod server;
mod setup;
mod status;
mod tls;
mod trust;
mod watch;
mod world;

pub use authn::IDENTITY_AUDIENCE;
pub use fault::Fault;
pub use gate::Gate;
pub use openshift::{OauthServer, Registry};
pub use record::Recorded;
pub use sandbox::Sandbox;
pub use tls::{Authority, Identity};
pub use trust::{Of, Trust};
pub use world::SecretInfo;
