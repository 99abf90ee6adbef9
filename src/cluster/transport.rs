//! The transport below TLS: TCP without Nagle's delay, straight or through a proxy.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::{
    legacy::connect::{
        Connected, Connection, HttpConnector,
        proxy::{SocksV5, Tunnel},
    },
    proxy::matcher::Matcher,
};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use super::{addresses::Addresses, tls};
use crate::{env::Env, failure::Failure};

/// The way to the API server below TLS, whatever it is made of: one type, so that the client is compiled once.
pub(super) type Transport = BoxCloneSyncService<Uri, Stream, BoxError>;

/// What can be read, written and asked whether it is a proxy's.
trait Io: hyper::rt::Read + hyper::rt::Write + Connection + Send + Unpin {}

impl<T: hyper::rt::Read + hyper::rt::Write + Connection + Send + Unpin> Io for T {}

/// A connection of any transport.
pub(super) struct Stream(Box<dyn Io>);

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

/// Makes the transport: straight, or through a proxy. None where a proxy is to be reached by TLS and there is nobody to trust.
pub(super) fn transport(proxy: Option<&Uri>) -> Option<Transport> {
    let mut tcp = HttpConnector::new_with_resolver(Addresses::new());
    tcp.enforce_http(false);
    // With Nagle's delay the first request waits for the answer to the last packet of the handshake: one round trip in every run.
    tcp.set_nodelay(true);
    let Some(proxy) = proxy else { return Some(erased(tcp)) };
    let user = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
    Some(match proxy.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(proxy.clone(), tcp);
            match user.and_then(|user| user.split_once(':')) {
                Some((name, password)) => erased(socks.with_auth(decoded(name), decoded(password))),
                None => erased(socks),
            }
        }
        Some("https") => {
            // The proxy is somebody else than the API server: the system's roots, and nothing of ours is shown to it.
            let tls =
                HttpsConnectorBuilder::new().with_tls_config(tls::of_system()?).https_only().enable_http1().wrap_connector(erased(tcp));
            erased(with_credentials(Tunnel::new(proxy.clone(), tls), user))
        }
        Some(_) | None => erased(with_credentials(Tunnel::new(proxy.clone(), tcp), user)),
    })
}

fn erased<C>(connector: C) -> Transport
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Io + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(connector.map_response(|io| Stream(Box::new(io))).map_err(Into::into))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn with_credentials<C>(tunnel: Tunnel<C>, user: Option<&str>) -> Tunnel<C> {
    match user.map(|user| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded(user))))) {
        Some(Ok(mut header)) => {
            header.set_sensitive(true);
            tunnel.with_auth(header)
        }
        Some(Err(_)) | None => tunnel,
    }
}

/// Which proxy, if any: the kubeconfig's own, else `HTTPS_PROXY` unless `NO_PROXY` names the API server.
pub(super) fn proxy(own: Option<&str>, server: &Uri, env: &Env) -> Result<Option<Uri>, Failure> {
    let refused = |source: &str| {
        Failure::usage(format!("{source} is no address of a proxy"))
            .hint("write it as `http://proxy.example.com:3128`; https and socks5 work too")
    };
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h")) && uri.host().is_some();
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        let uri = own.parse::<Uri>().ok().filter(known);
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
    with_scheme.parse::<Uri>().ok().filter(known).map(Some).ok_or_else(|| refused(&format!("`{name}`")))
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
        for none in ["10.0.0.0/8", "10.1.2.3", "*", "other.example, 10.1.2.3", "localhost,,10.1.2.3,", "a b,10.1.2.3"] {
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
        let own = proxy(Some("socks4://s:1080"), &Uri::from_static("https://x"), &Env::default()).expect_err("no proxy").to_string();
        assert!(own.contains("`proxy-url`"), "{own}");
    }
}
