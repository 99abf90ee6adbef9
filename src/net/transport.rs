//! The transport below TLS: TCP without Nagle's delay, directly or through a proxy.
#![expect(clippy::disallowed_methods, reason = "this is the one door to the network")]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector, proxy::SocksV5};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use super::{
    Way,
    addresses::Addresses,
    error::reason,
    tls,
    tunnel::{Blocked, Tunnel},
};

/// The transport, whether direct or through a proxy. It is one boxed type so that the client is compiled only once.
pub(super) type Transport = BoxCloneSyncService<Uri, Stream, BoxError>;

/// A connection's traits, in one that can be boxed.
trait Io: hyper::rt::Read + hyper::rt::Write + Connection + Send + Unpin {}

impl<T: hyper::rt::Read + hyper::rt::Write + Connection + Send + Unpin> Io for T {}

/// A connection over any transport.
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

/// Makes the transport, directly or through a proxy. None where the proxy is reached by TLS and there are no root certificates.
pub(super) fn transport(way: &Way) -> Option<Transport> {
    let mut tcp = HttpConnector::new_with_resolver(Addresses::default());
    tcp.enforce_http(false);
    // With Nagle's delay the first request waits for the answer to the last packet of the handshake: one round trip in every run.
    tcp.set_nodelay(true);
    let Some(proxy) = &way.proxy else { return Some(erased(tcp)) };
    let name = way.proxy_name();
    let user = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
    let login = user.map(|user| HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded(user)))));
    let login = login.and_then(Result::ok).map(|mut login| {
        login.set_sensitive(true);
        login
    });
    let to_proxy = reached(tcp, name.clone());
    Some(match proxy.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(proxy.clone(), to_proxy);
            match user.and_then(|user| user.split_once(':')) {
                Some((user, password)) => reached(socks.with_auth(decoded(user), decoded(password)), name),
                None => reached(socks, name),
            }
        }
        Some("https") => {
            // The proxy is not the API server: it is checked against the system's roots, and gets none of our credentials.
            let tls = HttpsConnectorBuilder::new().with_tls_config(tls::of_proxy(way)?).https_only();
            let to_proxy = reached(tls.enable_http1().wrap_connector(to_proxy), name.clone());
            erased(Tunnel { to_proxy, proxy: proxy.clone(), name, login })
        }
        Some(_) | None => erased(Tunnel { to_proxy, proxy: proxy.clone(), name, login }),
    })
}

/// The same, where what fails is the proxy's.
fn reached<C>(connector: C, name: String) -> Transport
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Io + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let blocked = move |error: C::Error| -> BoxError {
        let error = error.into();
        Box::new(reason(&*error, |why, is_passing| Blocked { why: format!("{name} cannot be used: {why}"), is_passing }))
    };
    erased(connector.map_err(blocked))
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
