//! What the pipes held that flags have named: each is read once, and asked for more than once.

use super::{Options, Setting};
use crate::secret::Secret;

impl Options {
    /// What the pipe held that a flag has named, where it has named one.
    #[must_use]
    pub fn piped(&self, setting: &Setting) -> Option<Secret> {
        self.piped.borrow().get(setting.name).cloned()
    }

    /// Keeps what a pipe held.
    pub fn keep_piped(&self, setting: &'static Setting, held: Secret) {
        self.piped.borrow_mut().insert(setting.name, held);
    }
}
