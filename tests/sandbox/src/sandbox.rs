//! The handle on a running sandbox: its life, its clock, its faults and what it has seen.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::api;
use crate::authn;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::listen::Listener;
use crate::record::Recorded;
use crate::server::{Shared, Site};
use crate::tls::Authority;

/// Longer than anything a sound test waits for, short enough for one that hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Kubernetes API server of one test. Dropping it stops it, and with it every request that hangs.
pub struct Sandbox {
    pub(crate) shared: Arc<Shared>,
    pub(crate) authority: Authority,
    listener: Listener,
}

impl Sandbox {
    /// Starts a server with a CA of its own on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let shared = Arc::new(Shared::new());
        let authority = Authority::new();
        let listener = Listener::start(Site::of(&shared, None, api::handle), &authority);
        Self { shared, authority, listener }
    }

    /// Closes the port and every connection; what connects later is refused.
    ///
    /// # Panics
    /// If the server's thread has panicked.
    pub fn stop(&self) {
        self.listener.stop();
    }

    /// `https://127.0.0.1:PORT`, with the path prefix if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let prefix = self.shared.prefix();
        format!("https://{}{prefix}", self.listener.address)
    }

    /// The certificate of the CA.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem().to_owned()
    }

    /// Serves only below this path (`/k8s/clusters/c-1`), as Rancher does; all else is its plain 404.
    pub fn set_path_prefix(&self, prefix: &str) {
        self.shared.set_prefix(prefix.trim_end_matches('/'));
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Lets the server's time pass at once.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Lets the server's clock go after: to a client, its own is then fast. Before anything is created, as no server's time goes back.
    pub fn set_back(&self, by: Duration) {
        self.shared.clock.set_back(by);
    }

    /// Adds a fault to the script.
    pub fn fault(&self, fault: Fault) {
        self.shared.script.add(fault);
    }

    /// Forgets the script.
    pub fn clear_faults(&self) {
        self.shared.script.clear();
    }

    /// How many scripted faults have not happened; a test that scripts one wants none left.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.shared.script.left()
    }

    /// Waits until a request stands at the gate.
    ///
    /// # Panics
    /// If none came within a minute.
    pub fn wait_for(&self, gate: &Gate) {
        assert!(gate.wait(PATIENCE), "no request came to the gate; so far: {:#?}", self.transcript());
    }

    /// All requests, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// All requests, one line each, for snapshots.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::to_string).collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Waits until the requests are as wished; asked anew whenever one comes or is answered.
    ///
    /// # Panics
    /// If they were not within a minute.
    pub fn wait_until(&self, wished: impl Fn(&[Recorded]) -> bool) {
        assert!(self.shared.log.wait(PATIENCE, wished), "it did not happen; so far: {:#?}", self.transcript());
    }

    /// How many TCP connections were accepted since the start, failed handshakes included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What was asked of the server that it does not implement; a test wants none.
    #[must_use]
    pub fn unimplemented(&self) -> Vec<String> {
        self.shared.world().unimplemented.clone()
    }

    /// Every service-account token that was given out over HTTP, for tests that look for leaks.
    #[must_use]
    pub fn issued_tokens(&self) -> Vec<String> {
        self.shared.world().issued.clone()
    }

    /// Forgets the tokens given out so far, for a server that runs long; they stay as good as they are.
    pub fn forget_issued_tokens(&self) {
        self.shared.world().issued.clear();
    }

    /// Whether the token would be accepted now if no success were cached.
    #[must_use]
    pub fn is_live(&self, token: &str) -> bool {
        authn::judge(&self.shared.world(), self.now(), token).is_some()
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("url", &self.url()).field("requests", &self.transcript()).finish_non_exhaustive()
    }
}
