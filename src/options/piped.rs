//! The contents of pipes that flags have named: a pipe can be read only once, but its content is needed several times.

use super::{Options, Setting};
use crate::secret::Secret;

impl Options {
    /// The content of the pipe that a flag has named, if it has named one.
    #[must_use]
    pub fn piped(&self, setting: &Setting) -> Option<Secret> {
        self.piped.borrow().get(setting.name).cloned()
    }

    /// Keeps the content of a pipe.
    pub fn keep_piped(&self, setting: &'static Setting, held: Secret) {
        self.piped.borrow_mut().insert(setting.name, held);
    }
}
