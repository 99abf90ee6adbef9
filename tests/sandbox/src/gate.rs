//! A gate: a request stands at it, the test sees that it does, kills the client or not, and opens.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::watch;

/// Where a scripted fault stops a request until the test lets it go on.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    arrived: Mutex<usize>,
    changed: Condvar,
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner { arrived: Mutex::new(0), changed: Condvar::new(), open: watch::Sender::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// Opens the gate for those who stand at it and for all who come later.
    pub fn release(&self) {
        self.inner.open.send_replace(true);
    }

    /// Waits until a request stands at the gate; false when `limit` passed first.
    ///
    /// # Panics
    /// If whoever holds the gate has panicked.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let arrived = self.inner.arrived.lock().expect("the gate's lock is sound");
        let waited = self.inner.changed.wait_timeout_while(arrived, limit, |arrived| *arrived == 0);
        *waited.expect("the gate's lock is sound").0 > 0
    }

    /// Stands at the gate until it opens.
    ///
    /// # Panics
    /// If whoever holds the gate has panicked.
    pub async fn pass(&self) {
        *self.inner.arrived.lock().expect("the gate's lock is sound") += 1;
        self.inner.changed.notify_all();
        let mut open = self.inner.open.subscribe();
        // The sender lives as long as this gate does, so an error cannot happen here.
        let _ = open.wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gate").field("open", &*self.inner.open.borrow()).finish_non_exhaustive()
    }
}
