//! A listener on loopback with a thread of its own, which ends with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::server::{self, Site};
use crate::tls::Authority;

/// A server that answers until it is stopped or dropped.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Starts one on a free port of 127.0.0.1, with a certificate of this authority.
    pub(crate) fn start(site: Site, authority: &Authority) -> Self {
        let tls = TlsAcceptor::from(Arc::new(authority.server()));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let run = move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
                server::accept(site, listener, tls, stopped).await;
            });
        };
        let thread = std::thread::Builder::new().name("sandbox".to_owned()).spawn(run).expect("a thread can be started");
        Self { address, stop, thread: Mutex::new(Some(thread)) }
    }

    /// Closes the port and every connection.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().expect("the thread's lock is sound").take();
        if let Some(thread) = thread {
            thread.join().expect("the server's thread ends in peace");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // A test that fails is told by its own panic and needs no second one from here.
        if let Some(thread) = self.thread.get_mut().ok().and_then(Option::take) {
            let _ = thread.join();
        }
    }
}
