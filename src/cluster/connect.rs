//! One way to connect: kube's TLS and authentication over our transport.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper_rustls::FixedServerNameResolver;
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{AuthError, Body, ClientBuilder, ConfigExt},
    config::{AuthInfo, ExecAuthCluster},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tower::{BoxError, Layer, Service, ServiceExt};

use super::{
    leaf::Witness,
    transport::{proxy, transport},
};
use crate::{
    env::Env,
    failure::{Failure, words},
    identity::Identity,
    out::one_line,
    secret::Secret,
};

/// A connection to be: nothing is sent before the first request.
pub(super) struct Connector {
    /// The client; requests go one after the other over one connection.
    pub(super) client: Client,
    /// The bearer token that we show, if it is one.
    pub(super) token: Option<Secret>,
    config: Config,
}

impl Connector {
    /// Prepares the connection. An exec plugin of the identity runs here, so the caller bounds the time.
    ///
    /// # Errors
    /// When the identity's credential cannot be had or is none.
    pub(super) async fn new(identity: &Identity, env: &Env) -> Result<Self, Failure> {
        let what = || format!("cannot use the CI identity: {}", identity.why);
        let refused = |cause: &str| Failure::usage(what()).cause(cause);
        let mut config = settings(identity, env).map_err(|cause| cause.within(what()))?;
        let user_agent = HeaderValue::from_static(concat!("jobpass/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, user_agent));

        let prepared = if identity.user.exec.is_some() {
            // A plugin is waited for without a deadline, and one that answers with a certificate runs once more for the TLS settings:
            // in a thread of its own, which the caller's deadline leaves behind.
            let prepare = move || tokio::runtime::Handle::current().block_on(prepared(config));
            tokio::task::spawn_blocking(prepare).await.map_err(|_| refused("its credential plugin crashed"))?
        } else {
            prepared(config).await
        };
        prepared.map_err(|broken| match broken {
            Unprepared::Credential(error) => credential(&error, identity, &what()),
            Unprepared::Tls(error) => refused(&tls_settings(&error)),
        })
    }

    /// The certificate that the server presents, by one handshake of its own that ends before anything is sent.
    pub(super) async fn presented(&self) -> Option<CertificateDer<'static>> {
        let seen = Arc::new(Mutex::new(None));
        // Nobody's: the handshake ends before a client would show who it is, and a plugin must not run for it.
        let mut nobody = self.config.clone();
        nobody.auth_info = AuthInfo::default();
        let mut tls = nobody.rustls_client_config().ok()?;
        let verifier = Witness { seen: seen.clone(), schemes: tls.crypto_provider().signature_verification_algorithms.supported_schemes() };
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        let name = self.config.tls_server_name.as_ref().and_then(|name| ServerName::try_from(name.clone()).ok());
        let builder = match name {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let mut connector = builder.enable_http1().wrap_connector(transport(&self.config).ok()?);
        drop(connector.call(self.config.cluster_url.clone()).await);
        seen.lock().ok()?.take()
    }
}

/// kube's settings for this identity.
///
/// Field by field: kube's own way from a kubeconfig also reads the proxy variables, fails on a `NO_PROXY` that curl and Go take,
/// and holds it against the proxy's address.
fn settings(identity: &Identity, env: &Env) -> Result<Config, Failure> {
    let cluster = &identity.cluster;
    let url: Uri = identity.server().parse().map_err(|_| Failure::usage("its server is no address"))?;
    let proxy = proxy(cluster.proxy_url.as_deref(), &url, env)?;
    let mut config = Config::new(url);
    config.proxy_url = proxy;
    config.root_cert = authority(identity).map_err(|cause| Failure::usage("its certificate authority cannot be read").chain(&cause))?;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify == Some(true);
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    config.auth_info = identity.user.clone();
    if let Some(exec) = config.auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        let told = ExecAuthCluster::try_from(cluster).map_err(|_| Failure::usage("its plugin cannot be told the cluster"))?;
        exec.cluster = Some(told);
    }
    Ok(config)
}

fn authority(identity: &Identity) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
    let Some(data) = &identity.cluster.certificate_authority_data else { return Ok(None) };
    let pem = STANDARD.decode(data)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).map(|certificate| Ok(certificate?.to_vec()));
    certificates.collect::<anyhow::Result<_>>().map(Some)
}

/// Why there is no connection to be.
enum Unprepared {
    Credential(kube::Error),
    Tls(kube::Error),
}

/// Gets the credential and makes the client with it.
async fn prepared(config: Config) -> Result<Connector, Unprepared> {
    let (header, mut config) = authenticated(&config).await.map_err(Unprepared::Credential)?;
    let token = header.as_ref().and_then(bearer);
    if let Some(header) = header {
        config.headers.push((header::AUTHORIZATION, header));
    }
    let client = client(&config).map_err(Unprepared::Tls)?;
    Ok(Connector { client, token, config })
}

/// The client's whole stack.
fn client(config: &Config) -> Result<Client, kube::Error> {
    let https = config.rustls_https_connector_with_connector(transport(config)?)?;
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
    // Neither kube's retries (ours know the verb) nor its tracing (it logs bodies) are added again.
    let service = ClientBuilder::new(http, String::new()).with_layer(&config.base_uri_layer());
    Ok(service.with_layer(&config.extra_headers_layer()?).build())
}

/// Asks kube for the `Authorization` header, running an exec plugin if the user has one. Afterwards the config needs none any more.
async fn authenticated(config: &Config) -> Result<(Option<HeaderValue>, Config), kube::Error> {
    let mut plain = config.clone();
    let Some(layer) = config.auth_layer()? else {
        // No header: nobody, a client certificate, or a plugin that answered with one. Only kube can see the last, when it makes
        // the TLS settings, for which it runs the plugin once more.
        return Ok((None, plain));
    };
    let echo = tower::service_fn(|request: Request<Body>| async move {
        let mut response = Response::new(());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, BoxError>(response)
    });
    let response = layer.layer(echo).oneshot(Request::new(Body::empty())).await.map_err(kube::Error::Service)?;
    plain.auth_info.exec = None;
    Ok((response.headers().get(header::AUTHORIZATION).cloned(), plain))
}

fn bearer(header: &HeaderValue) -> Option<Secret> {
    header.to_str().ok()?.strip_prefix("Bearer ").map(|token| Secret::new(token.to_owned()))
}

/// kube's error about TLS settings in our words; its own ones could quote a key.
fn tls_settings(error: &kube::Error) -> String {
    use kube::config::KubeconfigError as E;
    match error {
        kube::Error::InferKubeconfig(E::LoadClientCertificate(_)) => "its client certificate is missing or cannot be read".into(),
        kube::Error::InferKubeconfig(E::LoadClientKey(_)) => "the key of its client certificate is missing or cannot be read".into(),
        kube::Error::RustlsTls(_) => "its client certificate and key are not valid, or the system has no root certificates".into(),
        _ => "its TLS settings do not fit together".into(),
    }
}

/// The error of a credential. Of a plugin's output only what it said on stderr: stdout may hold the credential.
fn credential(error: &kube::Error, identity: &Identity, what: &str) -> Failure {
    let plugin = || {
        let command = identity.user.exec.as_ref().and_then(|exec| exec.command.as_deref()).unwrap_or_default();
        format!("`{}`", one_line(command))
    };
    let install = |failure: Failure| match identity.user.exec.as_ref().and_then(|exec| exec.install_hint.as_deref()) {
        Some(hint) => failure.hint(hint),
        None => failure.hint("install it in the job's image, or hand over another kind of CI identity"),
    };
    let failure = Failure::new(what);
    let kube::Error::Auth(error) = error else { return failure.cause("its credential cannot be had") };
    match error {
        AuthError::AuthExecStart(error) => {
            install(failure.cause(format!("its credential plugin {} cannot be started: {}", plugin(), words(error))))
        }
        AuthError::AuthExecRun { out, .. } => {
            let failure = failure.cause(format!("its credential plugin {} failed: {}", plugin(), out.status));
            let said = String::from_utf8_lossy(&out.stderr);
            said.lines().rfind(|line| !line.trim().is_empty()).map_or(failure.clone(), |line| failure.cause(line))
        }
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed | AuthError::MalformedTokenExpirationDate(_) => {
            failure.cause(format!("its credential plugin {} printed no ExecCredential with a status", plugin()))
        }
        AuthError::MissingCommand => failure.cause("its credential plugin has no command"),
        AuthError::InvalidBasicAuth(_) | AuthError::InvalidBearerToken(_) => {
            failure.cause("its token or password has characters that a request cannot carry")
        }
        _ => failure.cause("its credential cannot be had"),
    }
}
