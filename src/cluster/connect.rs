//! One way to connect: kube's TLS and authentication over our transport.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request, Response, header};
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{AuthError, Body, ClientBuilder, ConfigExt},
    config::KubeConfigOptions,
};
use rustls::pki_types::CertificateDer;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::{
    leaf::Witness,
    transport::{proxy, transport},
};
use crate::{env::Env, failure::Failure, identity::Identity, out::one_line, secret::Secret};

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
        let mut config = Config::from_custom_kubeconfig(identity.kubeconfig(), &KubeConfigOptions::default())
            .await
            .map_err(|error| refused(&settings(&error)))?;
        // kube holds NO_PROXY against the proxy's own address, so which proxy is used is decided here.
        config.proxy_url = proxy(identity.cluster.proxy_url.as_deref(), &config.cluster_url, env)?;
        let user_agent = HeaderValue::from_static(concat!("jobpass/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, user_agent));

        let renews = identity.user.exec.is_some();
        let prepared = if renews {
            // The plugin is waited for without a deadline: in a thread of its own, which the caller's deadline leaves behind.
            let again = config.clone();
            let prepared = tokio::task::spawn_blocking(move || tokio::runtime::Handle::current().block_on(authenticated(&again))).await;
            prepared.map_err(|_| refused("its credential plugin crashed"))?
        } else {
            authenticated(&config).await
        };
        let (header, mut config) = prepared.map_err(|error| credential(&error, identity, &what()))?;
        let token = header.as_ref().and_then(bearer);
        if let Some(header) = header {
            config.headers.push((header::AUTHORIZATION, header));
        }
        let client = client(&config).map_err(|error| refused(&tls_settings(&error)))?;
        Ok(Self { client, token, config })
    }

    /// The certificate that the server presents, by one handshake of its own that ends before anything is sent.
    pub(super) async fn presented(&self) -> Option<CertificateDer<'static>> {
        let seen = Arc::new(Mutex::new(None));
        let mut tls = self.config.rustls_client_config().ok()?;
        let verifier = Witness { seen: seen.clone(), schemes: tls.crypto_provider().signature_verification_algorithms.supported_schemes() };
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        let mut connector = builder.wrap_connector(transport(&self.config).ok()?);
        drop(connector.call(self.config.cluster_url.clone()).await);
        seen.lock().ok()?.take()
    }
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

/// kube's error in our words.
fn settings(error: &kube::config::KubeconfigError) -> String {
    use kube::config::KubeconfigError as E;
    match error {
        E::ParseProxyUrl(_) => "`HTTPS_PROXY` or the kubeconfig's `proxy-url` is no address".into(),
        E::ParseNoProxy(_) => "`NO_PROXY` cannot be read".into(),
        E::LoadCertificateAuthority(_) | E::ParseCertificates(_) => "its certificate authority cannot be read".into(),
        E::ParseClusterUrl(error) => one_line(&error.to_string()),
        _ => "its settings do not fit together".into(),
    }
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
            let words = error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
            install(failure.cause(format!("its credential plugin {} cannot be started: {words}", plugin())))
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
