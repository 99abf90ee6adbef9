//! The addresses of a name, one further with each connection: where the first one is dead, the next connection begins with another.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

/// The system's resolver, and how often it was asked.
#[derive(Clone)]
pub(super) struct Addresses {
    system: GaiResolver,
    turn: Arc<AtomicUsize>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { system: GaiResolver::new(), turn: Arc::default() }
    }
}

impl Service<Name> for Addresses {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let found = self.system.call(name);
        Box::pin(async move { Ok(turned(found.await?.collect(), turn).into_iter()) })
    }
}

/// The same list, begun further on; the first connection takes it as the system gives it.
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
