//! OIDC issuers on loopback in the shape of GitHub Actions' and GitLab's, and a token endpoint, for the tests of jobpass.
//!
//! Each is an HTTPS server with a certificate authority of its own, on a free port, that ends when it is dropped. Its keys are made at
//! its start. An API server is told to trust it by its URL and [`Issuer::ca_pem`]; a job gets its tokens as the platform would give
//! them: at GitHub from a request endpoint, at GitLab in a variable.
//!
//! ```
//! use jobpass_issuers::GitHub;
//! use serde_json::json;
//!
//! let github = GitHub::start();
//! let job = github.job(&json!({"run_id": "7"}));
//! let answer = github.ask(&job, "https://api.example:6443");
//! assert_eq!(answer.json()["value"].as_str().map(|jwt| jwt.split('.').count()), Some(3));
//! // A token of another repository, as an attacker would have it.
//! let foreign = github.mint("https://api.example:6443", &json!({"repository_id": "1"}));
//! assert!(foreign.starts_with("eyJ"));
//! ```
//!
//! They say nothing that the platforms would not, apart from three things:
//! - Keys are ES256, as ring cannot make RSA keys; both platforms sign with RS256.
//! - GitHub's issuer and its request endpoint are two hosts; here they are two paths of one.
//! - [`Answer`] is how a broken or hostile endpoint would answer, for tests of what the client then does.
#![allow(clippy::missing_panics_doc, reason = "nothing here panics but where the machine has no port, no thread or no randomness left")]

mod answer;
mod exchange;
mod github;
mod gitlab;
mod issuer;
mod server;

pub use answer::Answer;
pub use exchange::Exchange;
pub use github::{GitHub, Job};
pub use gitlab::GitLab;
pub use issuer::Issuer;
pub use jobpass_sandbox::Gate;
