//! The marks of the job's passes (see [`crate::lease::mark`]): left before a pass exists, removed when it is over.

use std::cell::RefCell;

use crate::{
    context::Context,
    fault,
    lease::{Lease, mark::Mark},
    platform::{Base, Platform},
};

/// The mark that this process has left, if it has left one.
pub struct Marks<'a> {
    context: &'a Context,
    left: RefCell<Option<String>>,
}

impl<'a> Marks<'a> {
    /// No mark is left yet.
    #[must_use]
    pub fn of(context: &'a Context) -> Self {
        Self { context, left: RefCell::default() }
    }

    /// Leaves the mark of a pass: see [`crate::lease::mark`].
    pub fn leave(&self, lease: &Lease) {
        let base = match self.context.platform {
            // Its volume holds only the stores of passes, and goes with the pod.
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

    /// Removes the mark: the pass is over, or was undone.
    pub fn take_away(&self) {
        if let Some(name) = self.left.take() {
            take_away(self.context, &name);
        }
    }
}

/// Whether a mark tells of this lease, on whichever platform.
#[must_use]
pub fn is_left(context: &Context, id: &str) -> bool {
    let others = context.others.iter().map(|other| context.elsewhere(*other).own_bases());
    let bases = [context.own_bases()].into_iter().chain(others).flatten().flatten();
    bases.into_iter().any(|base| Mark::all(&base).iter().any(|mark| mark.id() == id))
}

/// Removes the mark of a pass that is over, whichever process has left it.
pub fn take_away(context: &Context, name: &str) {
    for base in context.own_bases().into_iter().flatten() {
        Mark::remove(&base, name);
    }
}
