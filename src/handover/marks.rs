//! The marks of the job's passes: left before a pass exists, taken away when it is over.

use std::cell::RefCell;

use crate::{
    context::Context,
    fault,
    lease::{Lease, mark::Mark},
    platform::{Base, Platform},
};

/// The mark that this run of ours has left, if it has left one.
pub struct Marks<'a> {
    context: &'a Context,
    left: RefCell<Option<String>>,
}

impl<'a> Marks<'a> {
    /// None yet.
    #[must_use]
    pub fn of(context: &'a Context) -> Self {
        Self { context, left: RefCell::default() }
    }

    /// Leaves the mark of a pass: see [`crate::lease::mark`].
    pub fn leave(&self, lease: &Lease) {
        let base = match self.context.platform {
            // Its volume holds nothing but passes, and is gone with the pod.
            Platform::Tekton => None,
            Platform::Github | Platform::Gitlab | Platform::Local => self.context.own_bases().ok(),
        };
        let base = base.and_then(|bases| bases.into_iter().next());
        if let Some(base) = base.filter(|base: &Base| !self.context.is_in_workspace(&base.path)) {
            Mark::of(lease, self.context.job()).leave(&base);
            fault::leaves_mark(&base, &lease.name);
            self.left.replace(Some(lease.name.clone()));
        }
    }

    /// Takes it away: the pass is over, or did not come to be.
    pub fn take_away(&self) {
        if let Some(name) = self.left.take() {
            take_away(self.context, &name);
        }
    }
}

/// Takes the mark away that some run has left of a pass that is over.
pub fn take_away(context: &Context, name: &str) {
    for base in context.own_bases().into_iter().flatten() {
        Mark::remove(&base, name);
    }
}
