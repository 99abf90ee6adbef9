//! A tunnel through an HTTP proxy, by CONNECT; and what a proxy says that does not let us through.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{BoxError, Service};

use super::transport::{Stream, Transport};

/// In bytes: the head of a proxy's answer is not longer.
const LONGEST: usize = 16 << 10;

/// A proxy does not lead to the server: which one, from which setting, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// In words, with the proxy's address and where it comes from.
    pub why: String,
    /// Whether it may pass.
    pub is_passing: bool,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for Blocked {}

/// Connects to servers through a proxy.
#[derive(Clone)]
pub(super) struct Tunnel {
    /// How the proxy itself is reached.
    pub(super) to_proxy: Transport,
    pub(super) proxy: Uri,
    /// The proxy in words.
    pub(super) name: String,
    /// What it is shown of its user.
    pub(super) login: Option<HeaderValue>,
}

impl Service<Uri> for Tunnel {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.to_proxy.poll_ready(context))?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.to_proxy.call(self.proxy.clone());
        let (name, login) = (self.name.clone(), self.login.clone());
        Box::pin(async move {
            let mut stream = TokioIo::new(connecting.await?);
            let blocked = |why: &str, is_passing| Blocked { why: format!("{name} {why}"), is_passing };
            let broken = |_: io::Error| blocked("ends the connection before there is a tunnel", true);
            let (host, port) = (server.host().unwrap_or_default(), server.port_u16().unwrap_or(443));
            let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
            if let Some(login) = &login {
                head.extend([b"Proxy-Authorization: ", login.as_bytes(), b"\r\n"].concat());
            }
            head.extend(b"\r\n");
            stream.write_all(&head).await.map_err(broken)?;
            let answer = answered(&mut stream).await.map_err(broken)?;
            match status(&answer) {
                Some(200..=299) => Ok(stream.into_inner()),
                Some(407) if login.is_some() => {
                    Err(blocked("does not take the user and password of its address (407 Proxy Authentication Required)", false).into())
                }
                Some(407) => Err(blocked("wants a user and a password (407 Proxy Authentication Required)", false).into()),
                Some(status) => {
                    let known = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                    let known = known.map(|known| format!(" {known}")).unwrap_or_default();
                    Err(blocked(&format!("does not let us through to it ({status}{known})"), status >= 500 || status == 429).into())
                }
                None => Err(blocked("does not answer as a proxy does", false).into()),
            }
        })
    }
}

/// The head of the proxy's answer. The server says nothing before we do, so nothing of it comes behind.
async fn answered(stream: &mut TokioIo<Stream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    // Whoever does not begin as HTTP does may never end.
    let is_http = |head: &[u8]| head.len() < 13 || status(head).is_some();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST && is_http(&head) {
        if stream.read_buf(&mut head).await? == 0 {
            // Even a half answer may say what is wrong.
            return if head.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(head) };
        }
    }
    Ok(head)
}

/// The status in the first line of an answer in HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let line = std::str::from_utf8(line.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..).and_then(|status| status.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_proxy_is_read_and_nothing_else() {
        for (head, expected) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 403 Forbidden\r\n", Some(403)),
            (b"HTTP/1.1 407\r\n", Some(407)),
            (b"HTTP/1.1 4\r\n", None),
            (b"HTTP/2 200 OK is not spoken\r\n", None),
            (b"\x16\x03\x01\x02\x00 no HTTP", None),
            (b"SSH-2.0-OpenSSH_9.6\r\n", None),
            (b"", None),
        ] {
            assert_eq!(status(head), expected);
        }
    }
}
