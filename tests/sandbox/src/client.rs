//! A small client that shares no code with jobpass: it tells what a server says, to the tests and to the demo.
//!
//! Every call is blocking and has a connection of its own, so it must not be made inside an async runtime. It works
//! against a real API server too.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::Identity;

/// Against a server that never answers.
const LIMIT: Duration = Duration::from_secs(30);

/// What came back. Its body may hold a token, so Debug does not show it.
#[derive(Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The first header of that name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Response").field("status", &self.status).field("body", &"[redacted]").finish_non_exhaustive()
    }
}

/// Whom a server takes a token for.
#[derive(Clone, Debug)]
pub struct Whoami {
    /// 201 for a token that is accepted, 401 for one that is not.
    pub status: u16,
    /// The user name, if the token is accepted.
    pub username: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// `JTI=…` of a service-account token.
    pub credential_id: Option<String>,
}

/// One request on one connection.
///
/// # Errors
/// What the network or TLS says; `ConnectionAborted` when no answer came, `UnexpectedEof` when it broke off, `TimedOut` after
/// 30 seconds.
pub fn request(url: &str, ca_pem: &str, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> io::Result<Response> {
    blocking(&Asked { url, ca_pem, identity: None, method, path, token, body, headers: &[], form: None })
}

/// One request with headers of its own, such as the kind of its body.
///
/// # Errors
/// As [`request`].
pub fn request_with(
    url: &str,
    ca_pem: &str,
    (method, path): (&str, &str),
    token: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<Response> {
    blocking(&Asked { url, ca_pem, identity: None, method, path, token: Some(token), body, headers, form: None })
}

/// One request with a client certificate, and with a token too if there is one.
///
/// # Errors
/// As [`request`].
pub fn request_as(
    url: &str,
    ca_pem: &str,
    identity: &Identity,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> io::Result<Response> {
    blocking(&Asked { url, ca_pem, identity: Some(identity), method, path, token, body, headers: &[], form: None })
}

/// One request with headers of its own, and with a form as its body if there is one: as a login makes it.
///
/// # Errors
/// As [`request`].
pub fn send(url: &str, ca_pem: &str, method: &str, path: &str, headers: &[(&str, &str)], form: Option<&str>) -> io::Result<Response> {
    blocking(&Asked { url, ca_pem, identity: None, method, path, token: None, body: None, headers, form })
}

/// Asks the server whom it takes the token for.
///
/// # Errors
/// As [`request`].
pub fn whoami(url: &str, ca_pem: &str, token: &str) -> io::Result<Whoami> {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let response = request(url, ca_pem, "POST", path, Some(token), Some(&body))?;
    let info = response.json()["status"]["userInfo"].clone();
    Ok(Whoami {
        status: response.status,
        username: info["username"].as_str().map(str::to_owned),
        groups: crate::world::names(&info["groups"]),
        credential_id: info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().map(str::to_owned),
    })
}

struct Asked<'a> {
    url: &'a str,
    ca_pem: &'a str,
    identity: Option<&'a Identity>,
    method: &'a str,
    path: &'a str,
    token: Option<&'a str>,
    body: Option<&'a Value>,
    headers: &'a [(&'a str, &'a str)],
    form: Option<&'a str>,
}

fn blocking(asked: &Asked<'_>) -> io::Result<Response> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(LIMIT, exchange(asked)).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))? })
}

async fn exchange(asked: &Asked<'_>) -> io::Result<Response> {
    let rest = asked.url.strip_prefix("https://").ok_or_else(|| io::Error::other("a URL with https"))?;
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(io::Error::other)?),
        None => (authority, 443),
    };
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config(asked)?)).connect(name, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its errors come out of the request too.
    tokio::spawn(connection);
    let prefix = prefix.trim_end_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let mut request = Request::builder()
        .method(asked.method)
        .uri(format!("{slash}{prefix}{}", asked.path))
        .header(HOST, authority)
        .header("User-Agent", "sandbox-client");
    if let Some(token) = asked.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request = asked.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = match (asked.body, asked.form) {
        (Some(body), _) => {
            let has_kind = asked.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
            if !has_kind {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            Bytes::from(body.to_string())
        }
        (None, Some(form)) => {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            Bytes::from(form.to_owned())
        }
        (None, None) => Bytes::new(),
    };
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    let sent = sender.send_request(request).await;
    let (head, body) = sent.map_err(|error| io::Error::new(ErrorKind::ConnectionAborted, error))?.into_parts();
    let body = body.collect().await.map_err(|error| io::Error::new(ErrorKind::UnexpectedEof, error))?.to_bytes();
    let headers = head.headers.iter();
    Ok(Response {
        status: head.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn config(asked: &Asked<'_>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(asked.ca_pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let Some(identity) = asked.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let leaf = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(io::Error::other)?;
    builder.with_client_auth_cert(vec![leaf], key).map_err(io::Error::other)
}
