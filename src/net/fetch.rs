//! Asks a server that is no API server: an identity provider, a token endpoint, a login. One request, sent again while that may help.
//!
//! No redirect is ever followed: it could lead the credential to another server. What the server says is read up to a limit.

use std::{pin::pin, time::Duration};

use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use super::{Connector, Credential, Target, TransportError, leaf};
use crate::{
    failure::{Code, Failure},
    options::human,
    out::Out,
    secret::Secret,
};

/// In bytes: larger answers are refused. A token with all claims of a large organisation has 10 kB.
const LARGEST: usize = 1 << 20;

/// The wait before the first retry; it doubles each time.
const FIRST: Duration = Duration::from_millis(200);

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(2);

/// After so long without an answer it is told; sooner it may just be a slow server.
const TOLD: Duration = Duration::from_secs(4);

/// For the look at a refused certificate there is at least this much time, even after the deadline.
const LOOK: Duration = Duration::from_secs(1);

/// How long a request may take.
#[derive(Clone, Copy)]
pub struct Limit<'a> {
    /// Until when it is tried.
    pub deadline: Instant,
    /// The same as a length of time, for messages.
    pub timeout: Duration,
    /// How long it is tried where no connection can be made, if that is less.
    pub unreached: Option<Duration>,
    /// Where the first failure is told after which it is tried again, so that nobody wonders what we wait for.
    pub out: Option<&'a Out>,
}

/// One request.
pub struct Fetch<'a> {
    /// The server; its URL has no path.
    pub target: &'a Target,
    /// GET or POST.
    pub method: Method,
    /// The path and the query.
    pub path: &'a str,
    /// The headers, those with a credential marked as sensitive.
    pub headers: HeaderMap,
    /// The body of a POST.
    pub body: Option<Secret>,
}

/// The whole answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, overwritten when it is dropped as it may hold a token.
    pub body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// Whether the request was granted.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server itself has trouble, which may pass.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    /// What the server is, where it does not answer as it should: an HTTP status and nothing of the body, which may hold anything.
    #[must_use]
    pub fn brief(&self, who: &str) -> String {
        let name = http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("unknown status");
        let is_page = self.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        match self.status {
            300..=399 => format!("{who} answered {} {name}: it leads to another server, where jobpass does not follow", self.status),
            _ if is_page => format!("{who} answered {} {name} with a web page", self.status),
            _ => format!("{who} answered {} {name}", self.status),
        }
    }
}

impl Fetch<'_> {
    /// Sends the request until there is an answer, or one for which `is_final` holds, or the time is up.
    ///
    /// # Errors
    /// When there is no answer in time, or the server cannot be reached or trusted.
    pub async fn send(&self, limit: Limit<'_>, is_final: impl Fn(&Reply) -> bool) -> Result<Reply, Failure> {
        let connector = Connector::new(self.target.clone(), Credential::default())?;
        let begun = Instant::now();
        let (mut pause, mut told, mut silent, mut earlier) = (FIRST, limit.out, limit.out, None);
        loop {
            let tried = match timeout_at(limit.deadline, self.watched(&connector, limit, &mut silent)).await {
                Ok(tried) => tried,
                Err(_) if connector.line.was_connected() => Err(TransportError::Late),
                Err(_) => Err(TransportError::Unconnected),
            };
            let again = match &tried {
                Ok(reply) => !is_final(reply),
                Err(TransportError::TooLarge) => false,
                Err(broken) => {
                    let is_unreached =
                        limit.unreached.is_some_and(|most| !connector.line.was_connected() && begun.elapsed() + pause > most);
                    broken.is_passing() && !is_unreached
                }
            };
            if !again || Instant::now() + pause >= limit.deadline {
                if let Some(out) = limit.out {
                    out.keep_trouble(None);
                }
                return match (tried, earlier) {
                    // Where only the time was up in one more try, what the server has said before says more.
                    (Ok(reply), _) | (Err(TransportError::Late | TransportError::Unconnected), Some(reply)) => Ok(reply),
                    (Err(broken), _) => Err(self.failure(&connector, &broken, limit).await),
                };
            }
            if let Some(out) = limit.out {
                let (what, noun) = (&self.target.what, self.target.noun);
                let why = tried.as_ref().map_or_else(|broken| broken.brief(noun, limit.timeout), |reply| reply.brief(noun));
                let why = format!("{what}: `{}`: {why}", self.target.server);
                if let Some(out) = told.take() {
                    out.warn_aside(format!("{why}; trying again"));
                }
                out.keep_trouble(Some(why));
            }
            earlier = tried.ok().or(earlier);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// The same once, told where it takes long; `silent` is where that is told the first time.
    async fn watched(&self, connector: &Connector, limit: Limit<'_>, silent: &mut Option<&Out>) -> Result<Reply, TransportError> {
        let mut once = pin!(self.once(connector));
        match (timeout(TOLD, once.as_mut()).await, limit.out) {
            (Ok(tried), _) => return tried,
            (Err(_), Some(out)) => {
                let why = format!("{}: `{}`: no answer for {}", self.target.what, self.target.server, human(TOLD));
                if let Some(out) = silent.take() {
                    out.warn_aside(format!("{why}; trying for at most {}", human(limit.timeout)));
                }
                out.keep_trouble(Some(why));
            }
            (Err(_), None) => {}
        }
        once.await
    }

    async fn once(&self, connector: &Connector) -> Result<Reply, TransportError> {
        let body = self.body.as_ref().map(|body| body.expose().as_bytes().to_vec()).unwrap_or_default();
        let mut request = http::Request::builder().method(self.method.clone()).uri(self.path);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
            headers.entry(header::ACCEPT).or_insert(http::HeaderValue::from_static("application/json"));
        }
        let request = request.body(Body::from(body)).map_err(|_| TransportError::Unsendable)?;
        let response = connector.line.client.send(request).await.map_err(|error| TransportError::of(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| if error.is::<LengthLimitError>() { TransportError::TooLarge } else { TransportError::Cut })?;
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: Zeroizing::new(body.to_bytes().to_vec()) })
    }

    async fn failure(&self, connector: &Connector, broken: &TransportError, limit: Limit<'_>) -> Failure {
        let look = async { if broken.is_about_certificate() { connector.presented().await } else { None } };
        let presented = timeout_at(limit.deadline.max(Instant::now() + LOOK), look).await.ok().flatten();
        broken.failure(&self.target.what, self.target, presented.as_ref().map(leaf::describe), limit.timeout)
    }
}

/// The server and the path of a URL, for a target of its own.
///
/// # Errors
/// When it is no URL, not `https`, or holds a user name: then in words, without the URL, which may hold a secret.
pub fn split(url: &str, source: &str) -> Result<(String, String), Failure> {
    let refused = |why: &str| Failure::new(Code::IdentityUrl, format!("{source} is no address")).cause(why);
    let uri: http::Uri = url.trim().parse().map_err(|_| refused("it cannot be read as a URL"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => {
            return Err(refused("it is reached without TLS: everybody on the way could read the tokens").hint("write `https://`"));
        }
        Some(_) | None => return Err(refused("its scheme is not `https`").hint("write `https://`")),
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(|| refused("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(refused("it holds a user or password"));
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Ok((format!("https://{authority}"), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_and_nothing_but_https_is_taken() {
        let is = |url| split(url, "`X`").map(|(server, path)| server + " " + &path);
        assert_eq!(is("https://Host:8443/a/b?c=d").as_deref(), Ok("https://Host:8443 /a/b?c=d"));
        assert_eq!(is("https://host").as_deref(), Ok("https://host /"));
        for (url, part) in [
            ("http://host/x", "without TLS"),
            ("ftp://host", "scheme"),
            ("host", "scheme"),
            ("https://u:p@host", "user or password"),
            ("https://", "cannot be read"),
            ("", "cannot be read"),
        ] {
            let failure = split(url, "`X`").expect_err(url).to_string();
            assert!(failure.contains(part) && failure.contains("`X`") && !failure.contains("u:p"), "{url}: {failure}");
        }
    }
}
