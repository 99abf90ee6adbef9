//! A relay between jobpass and the API server: it counts connections and requests, and holds or cuts the one that is meant.
//!
//! It works on the sandbox and on the real server alike, as it reads nothing but the headers of the TLS records. A client's
//! record of application data that is longer than the end of any handshake is a request, or the rest of one.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use super::{PATIENCE, doors};

/// A TLS 1.3 client's `Finished` is a record of 53 or 69 bytes; no request of jobpass is shorter than its Authorization header.
const LONGEST_FINISHED: usize = 128;

/// When nothing more has come for so long, a request is whole.
const QUIET: Duration = Duration::from_millis(50);

/// What is to happen to the n-th request, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    HoldRequest(usize),
    HoldAnswer(usize),
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    /// From which request on the answers wait beside what is planned, and the connections on which they do.
    late: Option<(usize, Vec<usize>)>,
    connections: usize,
    requests: usize,
    /// The connection that is held, from the planned moment on until it is over.
    holding: Option<usize>,
    /// The connections that were ever held: the server hears of their end only when the world ends, as on a slow network.
    held: Vec<usize>,
    /// The connection of which nothing is passed on.
    stalled: Option<usize>,
    /// The connections up to this one are forgotten: what comes later on them goes nowhere, and nobody is told.
    forgotten: usize,
    /// The connections on which the server has said something since it was given what had been held, or is gone.
    answered: Vec<usize>,
    /// How many connections the server has not ended yet.
    open: usize,
    closed: bool,
    /// There is no server any more.
    gone: bool,
    streams: Vec<TcpStream>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The relay of one world.
pub struct Relay {
    address: SocketAddr,
    /// Where the relay's own connections come from.
    pub(crate) source: Ipv4Addr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Listens on a free port and passes on to the server.
    pub(crate) fn start(server: SocketAddr) -> Self {
        Self::listening(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback"), server)
    }

    /// The same on a port that is known already.
    pub(crate) fn listening(listener: TcpListener, server: SocketAddr) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        // All of 127/8 is this machine's; the API server's audit log then says whose request it was.
        let random = u32::from_str_radix(&super::random(), 16).expect("hex").to_be_bytes();
        let source = Ipv4Addr::new(127, random[1].max(1), random[2], random[3].clamp(1, 254));
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_thread.lock().closed {
                    return;
                }
                if of_thread.lock().gone {
                    continue;
                }
                // A server that is stopped refuses; the client is to see a connection that ends.
                if let Ok(server) = doors::connect(source, server) {
                    of_thread.serve(client, server);
                }
            }
        });
        Self { address, source, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many requests there were since the last plan, or ever: when one was sent is its client's matter, when it is answered its
    /// server's.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// The n-th request does not reach the server until [`Relay::release`].
    pub fn hold_request(&self, n: usize) {
        self.plan(Plan::HoldRequest(n));
    }

    /// The n-th request reaches the server, and its answer does not reach jobpass until [`Relay::release`].
    pub fn hold_answer(&self, n: usize) {
        self.plan(Plan::HoldAnswer(n));
    }

    /// Beside the request that is held, the answers to the n-th one and to those after it wait too, until [`Relay::release_answers`]:
    /// to its copies on other connections as well.
    pub fn hold_answers_too(&self, n: usize) {
        self.shared.lock().late = Some((n, Vec::new()));
    }

    /// Lets go the answers that wait beside a request.
    pub fn release_answers(&self) {
        self.shared.lock().late = None;
        self.shared.changed.notify_all();
    }

    /// Nothing of the n-th connection is passed on, counted from the first one of the world.
    pub fn hold_connection(&self, n: usize) {
        self.shared.lock().stalled = Some(n);
    }

    /// The connections that there are by now are forgotten, without a word to either side, as by a firewall when they were idle.
    pub fn forget(&self) {
        let mut state = self.shared.lock();
        state.forgotten = state.connections;
    }

    /// Waits until all connections of a client that was killed are over: what it has sent last is read by then, and done or not.
    pub fn settle(&self) {
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, |state| state.open > 0);
        assert!(!waited.expect("the relay's lock is sound").1.timed_out(), "the server does not end a connection of nobody");
    }

    /// Waits until the request stands here that is to be held.
    pub fn wait_held(&self) {
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, |state| state.holding.is_none());
        assert!(!waited.expect("the relay's lock is sound").1.timed_out(), "no request came that is to be held");
    }

    /// Lets go what is held.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        (state.plan, state.holding) = (None, None);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends all connections; what is held gets lost.
    pub fn cut(&self) {
        self.shared.lock().cut();
        self.shared.changed.notify_all();
    }

    /// For now there is no server: all connections end, the new ones too. Its port stays its own, as another scenario's server
    /// would answer in its place.
    pub fn lose_server(&self) {
        let mut state = self.shared.lock();
        state.gone = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The server is there again.
    pub fn find_server(&self) {
        self.shared.lock().gone = false;
    }

    fn plan(&self, plan: Plan) {
        let mut state = self.shared.lock();
        // Counted from now on.
        (state.plan, state.late, state.requests, state.holding) = (Some(plan), None, 0, None);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        doors::knock(self.address);
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        (self.plan, self.late, self.holding) = (None, None, None);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("the relay's lock is sound")
    }

    fn serve(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let mut state = self.lock();
        state.connections += 1;
        let connection = state.connections;
        let is_stalled = state.stalled == Some(connection);
        if state.gone {
            return;
        }
        state.streams.extend([client.try_clone(), server.try_clone()].into_iter().flatten());
        if is_stalled {
            return;
        }
        state.open += 1;
        drop(state);
        let (there, back) = (self.clone(), self.clone());
        std::thread::spawn(move || {
            let _ = there.requests(connection, &client, &server);
            if !there.lock().held.contains(&connection) {
                let _ = server.shutdown(Shutdown::Write);
            }
        });
        std::thread::spawn(move || {
            let _ = back.answers(connection, &server_too, &client_too);
            back.has_answered(connection);
            back.lock().open -= 1;
            back.changed.notify_all();
            let _ = client_too.shutdown(Shutdown::Write);
        });
    }

    fn is_forgotten(&self, connection: usize) -> bool {
        self.lock().forgotten >= connection
    }

    fn has_answered(&self, connection: usize) {
        let mut state = self.lock();
        if !state.answered.contains(&connection) {
            state.answered.push(connection);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn requests(&self, connection: usize, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        // What belongs to the request that was last seen comes before any answer to it.
        loop {
            let mut header = [0; 5];
            from.read_exact(&mut header)?;
            let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            from.read_exact(&mut body)?;
            if self.is_forgotten(connection) {
                continue;
            }
            if header[0] == 23 && body.len() > LONGEST_FINISHED {
                let mut state = self.lock();
                state.requests += 1;
                let now = state.requests;
                if let Some((n, waiting)) = &mut state.late
                    && *n <= now
                {
                    waiting.push(connection);
                }
                match state.plan {
                    Some(Plan::HoldAnswer(n)) if n == now => state.holding = Some(connection),
                    Some(Plan::HoldRequest(n)) if n == now => {
                        drop(state);
                        return self.hold(connection, &[&header, &body], from, to);
                    }
                    Some(_) | None => {}
                }
                self.changed.notify_all();
            }
            to.write_all(&header)?;
            to.write_all(&body)?;
        }
    }

    /// Holds a request. All of it is taken from the client first, so that it is not lost if the client dies meanwhile.
    fn hold(&self, connection: usize, begun: &[&[u8]], mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut request = begun.concat();
        from.set_read_timeout(Some(QUIET))?;
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            request.extend_from_slice(&buffer[..read]);
        }
        from.set_read_timeout(None)?;
        let mut state = self.lock();
        state.holding = Some(connection);
        state.held.push(connection);
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| state.holding == Some(connection) && !state.closed);
        waited.expect("the relay's lock is sound").0.answered.retain(|answered| *answered != connection);
        to.write_all(&request)?;
        // The end of a client that is gone must not overtake what the server does with its request: it ends that, too.
        let is_waiting = |state: &mut State| !state.answered.contains(&connection) && !state.closed;
        drop(self.changed.wait_timeout_while(self.lock(), PATIENCE, is_waiting).expect("the relay's lock is sound"));
        io::copy(&mut from, &mut to).map(drop)
    }

    fn answers(&self, connection: usize, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 14];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.has_answered(connection);
            if self.is_forgotten(connection) {
                continue;
            }
            let held = |state: &mut State| {
                let is_planned = state.holding == Some(connection) && matches!(state.plan, Some(Plan::HoldAnswer(_)));
                let is_late = state.late.as_ref().is_some_and(|(_, waiting)| waiting.contains(&connection));
                (is_planned || is_late) && !state.closed
            };
            drop(self.changed.wait_timeout_while(self.lock(), PATIENCE, held).expect("the relay's lock is sound"));
            if to.write_all(&buffer[..read]).is_err() {
                // The client is gone; the server has its time to end what it has begun.
                return io::copy(&mut from, &mut io::sink()).map(drop);
            }
        }
    }
}
