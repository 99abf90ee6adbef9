//! Watches of Secrets: what has changed, and who is told of it.

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a client watches, and in which form it is told.
pub(crate) struct Watched {
    pub(crate) is_wanted: Box<dyn Fn(&Value) -> bool + Send>,
    pub(crate) form: fn(&Value) -> Value,
}

impl Watched {
    fn line(&self, kind: &str, object: &Value) -> Option<Bytes> {
        (self.is_wanted)(object).then(|| line(kind, &(self.form)(object)))
    }
}

/// All changes that are remembered, and all watches that are open.
#[derive(Default)]
pub(crate) struct Watches {
    /// What was changed at and before this revision is forgotten.
    forgotten: u64,
    changes: Vec<(u64, &'static str, Value)>,
    open: Vec<(Watched, UnboundedSender<Bytes>)>,
}

impl Watches {
    /// Tells everybody of a change.
    pub(crate) fn tell(&mut self, revision: u64, kind: &'static str, object: &Value) {
        // Whoever has gone is told nothing more.
        self.open.retain(|(watched, sender)| watched.line(kind, object).map_or(!sender.is_closed(), |line| sender.send(line).is_ok()));
        self.changes.push((revision, kind, object.clone()));
    }

    /// Begins a watch: after a revision, or with all that is there now.
    pub(crate) fn begin(&mut self, watched: Watched, from: Option<u64>, now: &[Value]) -> UnboundedReceiver<Bytes> {
        let (sender, receiver) = unbounded_channel();
        if let Some(from) = from.filter(|from| *from < self.forgotten) {
            let message = format!("too old resource version: {from} ({})", self.forgotten);
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": "Expired", "code": 410,
            });
            // Nobody can have left yet.
            let _ = sender.send(line("ERROR", &status));
            return receiver;
        }
        let after = |(revision, ..): &&(u64, &'static str, Value)| from.is_some_and(|from| *revision > from);
        let changes = self.changes.iter().filter(after).filter_map(|(_, kind, object)| watched.line(kind, object));
        for line in now.iter().filter_map(|object| watched.line("ADDED", object)).chain(changes) {
            let _ = sender.send(line);
        }
        self.open.push((watched, sender));
        receiver
    }

    /// Ends all of them.
    pub(crate) fn end(&mut self) {
        self.open.clear();
    }

    /// Forgets all changes up to this revision.
    pub(crate) fn forget(&mut self, revision: u64) {
        self.forgotten = revision;
        self.changes.clear();
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    (json!({"type": kind, "object": object}).to_string() + "\n").into()
}
