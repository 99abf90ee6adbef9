//! The marks of the job's passes: left before a pass exists, taken away when it is over.

use super::Job;
use crate::{
    fault,
    lease::{Lease, mark::Mark},
    platform::{Base, Platform},
    spec, targets,
};

impl Job {
    /// Leaves the mark of a pass: see [`lease::mark`].
    pub(super) fn mark(&self, lease: &Lease) {
        let Self { env, platform, .. } = self;
        let base = match platform {
            // Its volume holds nothing but passes, and is gone with the pod.
            Platform::Tekton => None,
            Platform::Github | Platform::Gitlab | Platform::Local => targets::own_bases(env, *platform, self.user).ok(),
        };
        let base = base.and_then(|bases| bases.into_iter().next());
        let is_outside = |base: &Base| !platform.workspace(env).is_some_and(|workspace| spec::lies_in(&base.path, &workspace));
        if let Some(base) = base.filter(is_outside) {
            Mark::of(lease, platform.job_key(env, None).ok().flatten()).leave(&base);
            fault::leaves_mark(&base, &lease.name);
            self.marked.replace(Some(lease.name.clone()));
        }
    }

    /// Takes the mark away of a pass that is over, or did not come to be.
    pub(super) fn unmark(&self) {
        if let Some(name) = self.marked.take() {
            self.unmark_of(self.platform, &name);
        }
    }

    pub(super) fn unmark_of(&self, platform: Platform, name: &str) {
        for base in targets::own_bases(&self.env, platform, self.user).into_iter().flatten() {
            Mark::remove(&base, name);
        }
    }
}
