//! The server itself: one thread, one listener on loopback, HTTP/1.1 over TLS, and the faults around each request.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc::UnboundedReceiver, watch};
use tokio_rustls::TlsAcceptor;

use crate::api::Call;
use crate::clock::{Clock, http_date};
use crate::fault::{self, Action, Fault, Script};
use crate::jwt;
use crate::record::{self, Log, Recorded};
use crate::status::{Answer, Body};
use crate::world::World;

/// What the server and the test's handle on it have in common.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) script: Script,
    pub(crate) connections: AtomicUsize,
    /// Such as Rancher puts before every path; empty by default.
    prefix: Mutex<String>,
    world: Mutex<World>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::default(),
            log: Log::default(),
            script: Script::default(),
            connections: AtomicUsize::new(0),
            prefix: Mutex::default(),
            world: Mutex::new(World::new()),
        }
    }

    pub(crate) fn prefix(&self) -> String {
        self.prefix.lock().expect("the prefix's lock is sound").clone()
    }

    pub(crate) fn set_prefix(&self, prefix: &str) {
        prefix.clone_into(&mut self.prefix.lock().expect("the prefix's lock is sound"));
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world's lock is sound")
    }
}

/// What a server answers to a request, whose number in the log it is given.
type Answers = dyn Fn(&Shared, &Call, usize) -> Answer + Send + Sync;

/// A server of ours: what it answers, and where its requests are written down.
#[derive(Clone)]
pub(crate) struct Site {
    shared: Arc<Shared>,
    /// Its name in the log, where it is not the API server.
    name: Option<&'static str>,
    answer: Arc<Answers>,
}

impl Site {
    pub(crate) fn of(
        shared: &Arc<Shared>,
        name: Option<&'static str>,
        answer: impl Fn(&Shared, &Call, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self { shared: shared.clone(), name, answer: Arc::new(answer) }
    }
}

/// Accepts connections until it is told to stop; whatever is still open ends with the runtime.
pub(crate) async fn accept(site: Site, listener: TcpListener, tls: TlsAcceptor, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => {
                // A connection that died before it was accepted is nobody's loss.
                let Ok((stream, _)) = accepted else { continue };
                let number = site.shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(connection(site.clone(), stream, tls.clone(), number));
            }
        }
    }
}

async fn connection(site: Site, stream: TcpStream, tls: TlsAcceptor, number: usize) {
    // A handshake that fails and a connection that breaks are the client's to report; there is no one here to tell.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    let service = service_fn(move |request| serve(site.clone(), request, leaf.clone(), number));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(site: Site, request: Request<Incoming>, certificate: Option<Vec<u8>>, connection: usize) -> io::Result<Response<Payload>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name: HeaderName| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let call = Call {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        // kube ends its paths with a `?` even when nothing follows.
        query: head.uri.query().map(|query| query.trim_matches('&').to_owned()).filter(|query| !query.is_empty()),
        authorization: header(AUTHORIZATION),
        content_type: header(CONTENT_TYPE),
        accept: header(ACCEPT),
        csrf_token: header(HeaderName::from_static("x-csrf-token")),
        host: header(HOST),
        certificate,
        body,
    };
    let number = site.shared.log.open(Recorded {
        server: site.name,
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.as_deref().map(record::redacted_query),
        user: None,
        user_agent: header(USER_AGENT),
        has_authorization: call.authorization.is_some(),
        content_type: call.content_type.clone(),
        body: serde_json::from_slice(&call.body).ok().map(record::redacted),
        status: None,
        connection,
    });
    // A task of its own outlives the connection: the request of a killed client may still be carried out.
    let outcome = tokio::spawn(async move { outcome(&site, &call, number).await });
    outcome.await.map_err(io::Error::other)?
}

async fn outcome(site: &Site, call: &Call, number: usize) -> io::Result<Response<Payload>> {
    let shared = &*site.shared;
    let usual = || (site.answer)(shared, call, number);
    let Some(Fault { action, headers, .. }) = shared.script.take(&call.method, &call.path) else {
        return Ok(respond(shared, number, usual(), Payload::whole));
    };
    // Who waits for the fault to happen is not woken by an answer, as there may be none.
    shared.log.nudge();
    let mut payload: fn(Bytes) -> Payload = Payload::whole;
    let mut answer = match action {
        Action::AsUsual => usual(),
        Action::Answer { after, status, body } => {
            carry_out(after, usual);
            Answer::json(status, body)
        }
        Action::Text { after, status, body } => {
            carry_out(after, usual);
            Answer::text(status, &body)
        }
        Action::Garbage { body } => {
            usual();
            Answer::text(if call.method == "POST" { 201 } else { 200 }, &body).header("Content-Type", "application/json")
        }
        Action::QuotaExceeded => fault::quota_exceeded(&call.path, &call.body),
        Action::Cut { after } => {
            carry_out(after, usual);
            return Err(io::Error::other("cut by the script"));
        }
        Action::CutBody => {
            payload = Payload::half;
            usual()
        }
        Action::Hang { after } => {
            carry_out(after, usual);
            pending::<Infallible>().await;
            unreachable!("nothing comes after for ever")
        }
        Action::Delay { after: false, wait } => {
            tokio::time::sleep(wait).await;
            usual()
        }
        Action::Delay { after: true, wait } => {
            let answer = usual();
            tokio::time::sleep(wait).await;
            answer
        }
        Action::Pause { after: false, gate } => {
            gate.pass().await;
            usual()
        }
        Action::Pause { after: true, gate } => {
            let answer = usual();
            gate.pass().await;
            answer
        }
    };
    answer.headers.extend(headers);
    Ok(respond(shared, number, answer, payload))
}

fn carry_out(after: bool, usual: impl FnOnce() -> Answer) {
    if after {
        usual();
    }
}

fn respond(shared: &Shared, number: usize, answer: Answer, payload: fn(Bytes) -> Payload) -> Response<Payload> {
    shared.log.answered(number, answer.status);
    let (kind, length, payload) = match answer.body {
        Body::Json(value) => whole(Some("application/json"), value.to_string() + "\n", payload),
        Body::Text(text) => whole(Some("text/plain; charset=utf-8"), text, payload),
        Body::Lines(lines) => (Some("application/json"), None, Payload { rest: None, end: End::Lines(lines) }),
        Body::Empty => whole(None, String::new(), payload),
    };
    let builder = Response::builder().status(answer.status);
    let builder = kind.into_iter().fold(builder, |builder, kind| builder.header(CONTENT_TYPE, kind));
    let mut response = length
        .into_iter()
        .fold(builder, |builder, length: usize| builder.header(CONTENT_LENGTH, length))
        .header("Audit-Id", jwt::uuid())
        // By the server's own clock, which is how a client learns that its own is wrong.
        .header(DATE, http_date(shared.clock.now()))
        .header("Cache-Control", "no-cache, private")
        .body(payload)
        .expect("a scripted status is a status");
    for (name, value) in answer.headers {
        let name: HeaderName = name.parse().expect("a scripted header has a name");
        let value: HeaderValue = value.parse().expect("a scripted header has a value");
        // A second Warning stands beside the first one; of all else there is one.
        if name == "warning" {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A body whose length is known.
fn whole(kind: Option<&'static str>, text: String, payload: fn(Bytes) -> Payload) -> (Option<&'static str>, Option<usize>, Payload) {
    (kind, Some(text.len()), payload(text.into()))
}

/// A body that is sent whole, or breaks off after its first half.
struct Payload {
    rest: Option<Bytes>,
    end: End,
}

enum End {
    Whole,
    /// One more poll, so that the first half is flushed before the connection breaks.
    Flush,
    Break,
    /// A line whenever there is one.
    Lines(UnboundedReceiver<Bytes>),
}

impl Payload {
    fn whole(bytes: Bytes) -> Self {
        Self { rest: Some(bytes), end: End::Whole }
    }

    fn half(mut bytes: Bytes) -> Self {
        bytes.truncate(bytes.len() / 2);
        Self { rest: Some(bytes), end: End::Flush }
    }
}

impl hyper::body::Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        match &mut self.end {
            End::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
            End::Whole => Poll::Ready(None),
            End::Flush => {
                self.end = End::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Break => Poll::Ready(Some(Err(io::Error::other("cut by the script")))),
        }
    }
}
