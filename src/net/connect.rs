//! Makes connections: our TLS over our transport, below kube's client.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Uri, header};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tower::{Service, ServiceExt as _};

use super::{Credential, Target};
use super::{
    leaf::Witness,
    tls,
    transport::{Transport, transport},
    verify,
};
use crate::{
    failure::{Code, Failure},
    secret::Secret,
};

/// A connection that was idle for so long is not reused: a firewall may have dropped it, and a new one costs little.
const IDLE: Duration = Duration::from_secs(30);

/// A client with one connection of its own, opened at its first request. Requests go over it one after the other.
#[derive(Clone)]
pub struct Line {
    /// Sends the requests.
    pub client: Client,
    connected: Arc<AtomicBool>,
}

impl Line {
    /// Whether it was ever connected: before that, the API server cannot have received anything.
    #[must_use]
    pub fn was_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Everything needed to connect to one target, and the line in use.
pub struct Connector {
    /// The line on which the next request starts.
    pub line: Line,
    reached: Arc<AtomicBool>,
    /// Whether a request is under way. If so when the next one begins, the earlier one was interrupted.
    pub is_busy: bool,
    /// The bearer token that we send, if there is one.
    pub token: Option<Secret>,
    /// Whether we present a client certificate.
    pub has_certificate: bool,
    /// The server.
    pub target: Target,
    config: Config,
    settings: ClientConfig,
    transport: Transport,
    server: Uri,
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Prepares the connection. Nothing is sent yet.
    ///
    /// # Errors
    /// When the target or the credential is not valid.
    pub fn new(target: Target, credential: Credential) -> Result<Self, Failure> {
        let (server, transport, server_name) = parts(&target)?;
        let settings = tls::settings(&target, &credential)?;
        let mut config = Config::new(server.clone());
        config.auth_info = credential.impersonation;
        let user_agent = HeaderValue::from_static(concat!("jobpass/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, user_agent));
        config.headers.extend(credential.header.map(|value| (header::AUTHORIZATION, value)));
        let unfit =
            |_| Failure::new(Code::IdentityCredential, &target.what).cause("its impersonation has characters that a request cannot carry");
        let reached = Arc::new(AtomicBool::new(false));
        let line = line(&config, https(settings.clone(), server_name.clone(), transport.clone()), reached.clone()).map_err(unfit)?;
        let has_certificate = credential.certificate.is_some();
        Ok(Self {
            line,
            reached,
            is_busy: false,
            token: credential.token,
            has_certificate,
            target,
            config,
            settings,
            transport,
            server,
            server_name,
        })
    }

    /// Another line beside the one in use: its first request opens a new connection, to the next address of the server.
    #[must_use]
    pub fn another(&self) -> Option<Line> {
        line(&self.config, https(self.settings.clone(), self.server_name.clone(), self.transport.clone()), self.reached.clone()).ok()
    }

    /// Whether any of its lines was ever connected: before that, the server cannot have received anything.
    #[must_use]
    pub fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// The certificate that the server presents: makes a separate handshake and ends it before anything is sent.
    pub async fn presented(&self) -> Option<CertificateDer<'static>> {
        let seen = Arc::new(Mutex::new(None));
        let mut settings = self.settings.clone();
        let schemes = verify::schemes(settings.crypto_provider());
        settings.dangerous().set_certificate_verifier(Arc::new(Witness { seen: seen.clone(), schemes }));
        let mut connector = https(settings, self.server_name.clone(), self.transport.clone());
        drop(connector.call(self.server.clone()).await);
        seen.lock().ok()?.take()
    }
}

impl Target {
    /// Checks the target, before a plugin is asked for a credential.
    ///
    /// # Errors
    /// When its URL or its certificate name is not valid, or there are no root certificates to check its proxy with.
    pub fn check(&self) -> Result<(), Failure> {
        parts(self).map(drop)
    }
}

/// The parsed URL, the transport to it, and the name that its certificate must have.
fn parts(target: &Target) -> Result<(Uri, Transport, Option<ServerName<'static>>), Failure> {
    let refused = |why: &str| Failure::new(Code::NetworkTarget, &target.what).cause(why);
    let server = target.server.parse().map_err(|_| refused("its server is no address"))?;
    let transport = transport(&target.way).ok_or_else(|| refused("the system has no root certificates for its proxy"))?;
    let server_name = target.server_name.clone().map(ServerName::try_from).transpose();
    let server_name = server_name.map_err(|_| refused("its `tls-server-name` is no name"))?;
    Ok((server, transport, server_name))
}

/// A line; `reached` is set once it is connected.
fn line(config: &Config, https: HttpsConnector<Transport>, reached: Arc<AtomicBool>) -> Result<Line, kube::Error> {
    let connected = Arc::new(AtomicBool::new(false));
    let seen = connected.clone();
    let https = https.map_response(move |stream| {
        seen.store(true, Ordering::Relaxed);
        reached.store(true, Ordering::Relaxed);
        stream
    });
    let http = legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build::<_, Body>(https);
    let headers = config.extra_headers_layer()?;
    // kube's own layers are left out: its retries do not know our verbs, and its tracing logs response bodies.
    let client = ClientBuilder::new(http, String::new()).with_layer(&config.base_uri_layer()).with_layer(&headers).build();
    Ok(Line { client, connected })
}

fn https(settings: ClientConfig, name: Option<ServerName<'static>>, transport: Transport) -> HttpsConnector<Transport> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(settings).https_only();
    let builder = match name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    builder.enable_http1().wrap_connector(transport)
}
