//! How anybody is reached: a target, the way to it, TLS, and why there was no answer. Nothing here knows who we are.

use http::HeaderValue;
use kube::config::AuthInfo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret::Secret;

mod addresses;
mod connect;
pub mod error;
pub mod leaf;
mod roots;
mod tls;
mod transport;
pub mod way;

pub use connect::{Connector, Line};
pub use error::TransportError;
pub use roots::certificates;
pub use way::Way;

/// What to do where somebody answers who is no API server. The address comes from one of these two.
pub const WRONG_SERVER: &str =
    "check `--server`, or the kubeconfig's `server`: it is the API server's address, not the console's or a proxy's";

/// Who is reached, and how.
#[derive(Clone)]
pub struct Target {
    /// What is not possible without it, as a failure begins.
    pub what: String,
    /// Its address: `https`, and a path prefix where there is one.
    pub server: String,
    /// Whom we trust to be it.
    pub trust: Trust,
    /// The same in words.
    pub authority: String,
    /// The name that its certificate is for, if that is not the address's.
    pub server_name: Option<String>,
    /// Whether its proxy is one of its own, which no variable has chosen.
    pub has_own_proxy: bool,
    /// The proxy, and the system's roots.
    pub way: Way,
}

/// Whom we trust to be a server.
#[derive(Clone)]
pub enum Trust {
    /// Whoever has a certificate of this authority, as PEM.
    Authority(Vec<u8>),
    /// Whoever the system trusts.
    System,
    /// Everybody: the loud opt-in.
    Everybody,
}

/// What is shown to a server, so that it knows us.
#[derive(Default)]
pub struct Credential {
    /// The `Authorization` header.
    pub header: Option<HeaderValue>,
    /// The bearer token in it, if it is one.
    pub token: Option<Secret>,
    /// The certificate chain and its key.
    pub certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// As whom we ask, where that is not who we are: of this only the impersonation counts.
    pub impersonation: AuthInfo,
}

impl Credential {
    /// A bearer token. Without a header where it has characters that a request cannot carry.
    #[must_use]
    pub fn bearing(token: Secret) -> Self {
        Self { header: header("Bearer", &token), token: Some(token), ..Self::default() }
    }
}

/// An `Authorization` header, if a request can carry it.
#[must_use]
pub fn header(scheme: &str, secret: &Secret) -> Option<HeaderValue> {
    let text = Secret::new(format!("{scheme} {}", secret.expose()));
    let mut header = HeaderValue::from_str(text.expose()).ok()?;
    header.set_sensitive(true);
    Some(header)
}
