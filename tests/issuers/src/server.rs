//! An HTTPS server on loopback with one handler: its thread, its certificate, its log, and a gate at which requests can be held.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Listener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jobpass_sandbox::{Authority, Gate};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A request, as far as an issuer looks at it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) bearer: Option<String>,
    /// The content type of the body, and the body.
    pub(crate) kind: String,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// An answer: status, content type, body, further headers. Status 0 breaks the connection off, as a server does that is down behind its
/// balancer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Where it waits before it is sent.
    pub(crate) gate: Option<Gate>,
    /// Whether only half of the body ever comes.
    pub(crate) is_half: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, kind: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind, body: body.into(), headers: Vec::new(), gate: None, is_half: false }
    }

    pub(crate) fn broken() -> Self {
        Self::new(0, "text/plain", "")
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

struct Shared {
    handler: Handler,
    log: Mutex<Vec<String>>,
    gate: Mutex<Option<Gate>>,
}

/// A running server. Dropping it stops it, and with it every request that is held.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    pub(crate) ca_pem: String,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: Handler) -> Self {
        let authority = Authority::new();
        let tls = TlsAcceptor::from(Arc::new(authority.server()));
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let shared = Arc::new(Shared { handler, log: Mutex::default(), gate: Mutex::default() });
        let stop = watch::Sender::new(false);
        let (stopped, served) = (stop.subscribe(), shared.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let run = move || {
            runtime.block_on(async {
                accept(served, TcpListener::from_std(listener).expect("the listener is non-blocking"), tls, stopped).await;
            });
        };
        let thread = std::thread::Builder::new().name("issuer".to_owned()).spawn(run).expect("a thread can be started");
        Self { shared, address, ca_pem: authority.pem().to_owned(), stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What was asked so far, each request as its method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.log.lock().expect("sound").clone()
    }

    /// From now on requests stand at this gate before they are answered.
    pub(crate) fn hold(&self, gate: &Gate) {
        *self.shared.gate.lock().expect("sound") = Some(gate.clone());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // A test that fails is told by its own panic and needs no second one from here.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => {
                // A connection that died before it was accepted is nobody's loss.
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(connection(shared.clone(), stream, tls.clone()));
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, tls: TlsAcceptor) {
    // What breaks here is the client's to report.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(move |request| serve(shared.clone(), request));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> std::io::Result<Response<Payload>> {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let asked = Asked {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        bearer: header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned),
        kind: request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes()).into_owned(),
    };
    shared.log.lock().expect("sound").push(format!("{} {}", asked.method, asked.path));
    let gate = shared.gate.lock().expect("sound").clone();
    if let Some(gate) = gate {
        gate.pass().await;
    }
    let reply = (shared.handler)(&asked);
    if reply.status == 0 {
        return Err(std::io::Error::other("down"));
    }
    if let Some(gate) = &reply.gate {
        gate.pass().await;
    }
    let mut response = Response::builder().status(reply.status).header("content-type", reply.kind);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let half = reply.body.len() / 2;
    let body = if reply.is_half { &reply.body.as_bytes()[..half] } else { reply.body.as_bytes() };
    let payload = Payload { data: Some(Bytes::copy_from_slice(body)), is_half: reply.is_half };
    response.body(payload).map_err(std::io::Error::other)
}

/// The body of an answer, the end of which may never come.
struct Payload {
    data: Option<Bytes>,
    is_half: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            // Nobody wakes it again; it ends with the connection.
            None if self.is_half => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
