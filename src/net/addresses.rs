//! Resolves names: each new connection begins with another address of the name, so that a dead first address costs one connection
//! only.
//!
//! The lookup blocks, so it gets a thread of its own. Where no thread can be started, as the command may have used up the user's
//! process limit, the last known addresses are used: that is enough to end a pass.
#![expect(clippy::disallowed_methods, reason = "this is the one place where names are looked up")]

use std::{
    future::{Future, ready},
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread, vec,
};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::oneshot;
use tower::Service;

/// The last lookup's result, and how many lookups there were.
#[derive(Clone, Default)]
pub(super) struct Addresses {
    known: Arc<Mutex<Option<Known>>>,
    turn: Arc<AtomicUsize>,
}

/// A name and its addresses.
type Known = (String, Vec<SocketAddr>);

impl Service<Name> for Addresses {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (found, asked) = oneshot::channel();
        let (known, name) = (self.known.clone(), name.as_str().to_owned());
        let asking = name.clone();
        let started = thread::Builder::new().name("addresses".to_owned()).spawn(move || {
            let addresses = (asking.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let _ = found.send(addresses);
        });
        if let Err(error) = started {
            let before = known.lock().ok().and_then(|known| known.clone()).filter(|(known, _)| *known == name);
            return Box::pin(ready(before.map(|(_, addresses)| turned(addresses, turn).into_iter()).ok_or(error)));
        }
        Box::pin(async move {
            let addresses = asked.await.map_err(io::Error::other)??;
            if let Ok(mut known) = known.lock() {
                *known = Some((name, addresses.clone()));
            }
            Ok(turned(addresses, turn).into_iter())
        })
    }
}

/// The list rotated by one more address each time; the first connection takes it as the system gives it.
fn turned(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    if !addresses.is_empty() {
        let first = turn % addresses.len();
        addresses.rotate_left(first);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_begins_with_the_next_address() {
        let all: Vec<SocketAddr> = ["[::1]:0", "10.0.0.1:0", "10.0.0.2:0"].map(|text| text.parse().expect("an address")).into();
        assert_eq!(turned(all.clone(), 0), all);
        assert_eq!(turned(all.clone(), 1)[0], all[1]);
        assert_eq!(turned(all.clone(), 5)[0], all[2]);
        assert_eq!(turned(vec![], 5), []);
    }
}
