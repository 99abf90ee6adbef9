//! One way to connect: kube's TLS and authentication over a connector without Nagle's delay, through a proxy where one is set.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request, Response, Uri, header};
use hyper_util::{
    client::{
        legacy::{
            self,
            connect::{
                Connection, HttpConnector,
                proxy::{SocksV5, Tunnel},
            },
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{AuthError, Body, ClientBuilder, ConfigExt},
    config::KubeConfigOptions,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tower::{BoxError, Layer, Service, ServiceExt};

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
        let uri = self.config.cluster_url.clone();
        with_transport(&self.config, Handshake { tls, uri }).ok()?.await;
        seen.lock().ok()?.take()
    }
}

/// The client's whole stack.
fn client(config: &Config) -> Result<Client, kube::Error> {
    with_transport(config, Stack { config })?
}

/// What is built over the transport, whatever kind that is.
trait Over {
    type Built;
    fn over<C>(self, transport: C) -> Self::Built
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError> + Send + Sync + std::error::Error + 'static;
}

/// Chooses the transport: straight, or through a proxy.
fn with_transport<O: Over>(config: &Config, over: O) -> Result<O::Built, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // With Nagle's delay the first request waits for the answer to the last packet of the handshake: one round trip in every run.
    tcp.set_nodelay(true);
    let Some(proxy) = &config.proxy_url else { return Ok(over.over(tcp)) };
    let user = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
    match proxy.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(proxy.clone(), tcp);
            Ok(match user.and_then(|user| user.split_once(':')) {
                Some((name, password)) => over.over(socks.with_auth(decoded(name), decoded(password))),
                None => over.over(socks),
            })
        }
        Some("https") => {
            Ok(over.over(with_credentials(Tunnel::new(proxy.clone(), config.rustls_https_connector_with_connector(tcp)?), user)))
        }
        Some(_) | None => Ok(over.over(with_credentials(Tunnel::new(proxy.clone(), tcp), user))),
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn with_credentials<C>(tunnel: Tunnel<C>, user: Option<&str>) -> Tunnel<C> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match user.map(|user| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded(user))))) {
        Some(Ok(mut header)) => {
            header.set_sensitive(true);
            tunnel.with_auth(header)
        }
        Some(Err(_)) | None => tunnel,
    }
}

struct Stack<'a> {
    config: &'a Config,
}

impl Over for Stack<'_> {
    type Built = Result<Client, kube::Error>;

    fn over<C>(self, transport: C) -> Self::Built
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError> + Send + Sync + std::error::Error + 'static,
    {
        let https = self.config.rustls_https_connector_with_connector(transport)?;
        let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
        // Neither kube's retries (ours know the verb) nor its tracing (it logs bodies) are added again.
        let service = ClientBuilder::new(http, String::new()).with_layer(&self.config.base_uri_layer());
        Ok(service.with_layer(&self.config.extra_headers_layer()?).build())
    }
}

struct Handshake {
    tls: rustls::ClientConfig,
    uri: Uri,
}

impl Over for Handshake {
    type Built = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    fn over<C>(self, transport: C) -> Self::Built
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError> + Send + Sync + std::error::Error + 'static,
    {
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(self.tls).https_only().enable_http1();
        let mut connector = builder.wrap_connector(transport);
        Box::pin(async move { drop(connector.call(self.uri).await) })
    }
}

/// Notes the certificate that is presented and refuses it, so that the handshake ends there.
#[derive(Debug)]
struct Witness {
    seen: Arc<Mutex<Option<CertificateDer<'static>>>>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(leaf.clone().into_owned());
        }
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
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

/// Which proxy, if any: the kubeconfig's own, else `HTTPS_PROXY` unless `NO_PROXY` names the API server.
fn proxy(own: Option<&str>, server: &Uri, env: &Env) -> Result<Option<Uri>, Failure> {
    let refused = |source: &str| {
        Failure::usage(format!("{source} is no address of a proxy"))
            .hint("write it as `http://proxy.example.com:3128`; https and socks5 work too")
    };
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        let uri = own.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        return uri.map(Some).ok_or_else(|| refused("the kubeconfig's `proxy-url`"));
    }
    let either =
        |upper: &'static str, lower: &'static str| [upper, lower].into_iter().find_map(|name| env.get(name).map(|text| (name, text)));
    let Some((name, proxy)) = either("HTTPS_PROXY", "https_proxy") else { return Ok(None) };
    let none = either("NO_PROXY", "no_proxy").map_or("", |(_, text)| text);
    let matcher = Matcher::builder().https("http://proxy.invalid").no(none).build();
    // The matcher takes `*` for names only, not for addresses.
    if matcher.intercept(server).is_none() || none.split(',').any(|entry| entry.trim() == "*") {
        return Ok(None);
    }
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h")) && uri.host().is_some();
    with_scheme.parse::<Uri>().ok().filter(known).map(Some).ok_or_else(|| refused(&format!("`{name}`")))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(own: Option<&str>, env: &[(&str, &str)]) -> Option<String> {
        let env = env.iter().copied().collect();
        let server = Uri::from_static("https://10.1.2.3:6443/prefix");
        proxy(own, &server, &env).expect("valid").map(|uri| uri.to_string())
    }

    #[test]
    fn the_proxy_comes_from_the_environment_unless_no_proxy_names_the_server() {
        let proxy = ("HTTPS_PROXY", "http://p:3128");
        assert_eq!(chosen(None, &[]), None);
        assert_eq!(chosen(None, &[proxy]).as_deref(), Some("http://p:3128/"));
        assert_eq!(chosen(None, &[("https_proxy", "p:3128")]).as_deref(), Some("http://p:3128/"));
        for none in ["10.0.0.0/8", "10.1.2.3", "*", "other.example, 10.1.2.3"] {
            assert_eq!(chosen(None, &[proxy, ("NO_PROXY", none)]), None, "{none}");
        }
        assert!(chosen(None, &[proxy, ("NO_PROXY", "p")]).is_some(), "the proxy's own name does not count");
    }

    #[test]
    fn the_kubeconfigs_own_proxy_comes_first() {
        let env = [("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", "*")];
        assert_eq!(chosen(Some("socks5://s:1080"), &env).as_deref(), Some("socks5://s:1080/"));
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_by_name() {
        let env = [("HTTPS_PROXY", "gopher://user:hunter2@p")].into_iter().collect();
        let failure = proxy(None, &Uri::from_static("https://x"), &env).expect_err("no proxy").to_string();
        assert!(failure.contains("`HTTPS_PROXY`") && !failure.contains("hunter2"), "{failure}");
    }
}
