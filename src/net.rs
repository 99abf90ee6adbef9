//! How a server is reached: the target, the way to it, TLS, and why there was no answer. Nothing here knows who we are.

use std::time::Duration;

use http::HeaderValue;
use kube::config::AuthInfo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret::Secret;

mod addresses;
mod connect;
pub mod error;
pub mod fetch;
mod key;
pub mod leaf;
mod no_proxy;
mod pair;
mod roots;
mod tls;
mod tls_words;
mod transport;
mod tunnel;
mod verify;
pub mod way;

pub use connect::{Connector, Line};
pub use error::TransportError;
pub use pair::{Fault, pair};
pub use roots::certificates;
pub use way::Way;

/// The hint where something else than an API server answers. The address comes from one of these two places.
pub const WRONG_SERVER: &str =
    "check `--server`, or the kubeconfig's `server`: it is the API server's address, not the console's or a proxy's";

/// What an API server is called in messages.
pub const API_SERVER: &str = "the API server";

/// A server and how to reach it.
#[derive(Clone)]
pub struct Target {
    /// What fails if it cannot be reached: the first line of the failure.
    pub what: String,
    /// What kind of server it is, in messages.
    pub noun: &'static str,
    /// Its URL: `https`, with a path prefix where there is one.
    pub server: String,
    /// Which certificates are accepted as the server's.
    pub trust: Trust,
    /// The same in words, for messages.
    pub authority: String,
    /// The name that its certificate must have, if that is not the URL's host.
    pub server_name: Option<String>,
    /// Whether the proxy comes from the kubeconfig (`proxy-url`) and not from a variable.
    pub has_own_proxy: bool,
    /// The proxy, and the system's root certificates.
    pub way: Way,
}

/// Which certificates are accepted as a server's.
#[derive(Clone)]
pub enum Trust {
    /// Those signed by this authority, as PEM.
    Authority(Vec<u8>),
    /// Those that the system trusts.
    System,
    /// Those that the system trusts, and those signed by this authority, as PEM.
    SystemAnd(Vec<u8>),
    /// All of them: `--insecure-skip-tls-verify`.
    Everybody,
}

/// How we authenticate to a server.
#[derive(Default)]
pub struct Credential {
    /// The `Authorization` header.
    pub header: Option<HeaderValue>,
    /// The bearer token in the header, if it is one.
    pub token: Option<Secret>,
    /// How long it lives from now on, where that is known and it can be had anew.
    pub lifetime: Option<Duration>,
    /// The client certificate's chain and its key.
    pub certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Of this value only the impersonation is used: the user as whom we ask instead of ourselves.
    pub impersonation: AuthInfo,
}

impl Credential {
    /// A bearer token. It has no header if the token contains characters that a header cannot carry.
    #[must_use]
    pub fn bearing(token: Secret) -> Self {
        Self { header: header("Bearer", &token), token: Some(token), ..Self::default() }
    }
}

/// An `Authorization` header, if the secret has only characters that a header can carry.
#[must_use]
pub fn header(scheme: &str, secret: &Secret) -> Option<HeaderValue> {
    let text = Secret::new(format!("{scheme} {}", secret.expose()));
    let mut header = HeaderValue::from_str(text.expose()).ok()?;
    header.set_sensitive(true);
    Some(header)
}
