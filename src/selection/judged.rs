//! Judges lease files: whether this job has written one, and what of it counts if others could have.

use super::Found;
use crate::{
    context::Context,
    failure::{Code, Failure},
    lease::{named::Named, seal::Seal},
    origin::Word,
    pass::Revocation,
    platform::{Platform, key::is_below},
};

/// Judges the lease files of one platform.
pub(super) struct Judge<'a> {
    context: &'a Context,
    pub seal: Seal,
}

/// What to do about a lease.
enum Sentence {
    /// End it.
    End,
    /// It may be this job's, but its name cannot be derived: only a Secret with the uid in the file is deleted.
    Doubt,
    /// It belongs to somebody else: leave it alone.
    Foreign,
}

impl<'a> Judge<'a> {
    pub(super) fn of(context: &'a Context) -> Self {
        Self { context, seal: Seal::of(context) }
    }

    /// Keeps only this job's own passes. Doubtful ones are ignored if a sealed one was found, and admitted otherwise.
    pub(super) fn own(&self, found: &mut Found, keys: &[String]) {
        let is_key = |key: &Option<String>| key.as_ref().is_some_and(|key| keys.contains(key));
        found.revocations.retain(|Revocation { lease, .. }| is_key(&lease.job_key) || is_key(&lease.job));
        let doubtful = self.sifted(found, keys);
        if found.revocations.iter().any(|revocation| revocation.named == Named::Seal) {
            found.notes.extend(doubtful.iter().map(|revocation| self.note(revocation, "it is passed over")));
        } else {
            self.admit(found, doubtful);
        }
    }

    /// Judges passes that may belong to any job.
    pub(super) fn all(&self, found: &mut Found, keys: &[String]) {
        let doubtful = self.sifted(found, keys);
        self.admit(found, doubtful);
    }

    /// Removes leases of somebody else, and returns the doubtful ones apart.
    fn sifted(&self, found: &mut Found, keys: &[String]) -> Vec<Revocation> {
        let mut doubtful = Vec::new();
        if !self.context.platform.derives_names() {
            return doubtful;
        }
        for mut revocation in std::mem::take(&mut found.revocations) {
            match self.judged(&mut revocation, keys) {
                Sentence::End => {
                    // In a pod no lease file is sealed, so this is reported on GitLab only.
                    if self.context.platform == Platform::Gitlab && revocation.word == Word::Hearsay {
                        found.notes.push(self.note(&revocation, "only its name counts, which follows from the job"));
                    }
                    found.revocations.push(revocation);
                }
                Sentence::Doubt => doubtful.push(revocation),
                Sentence::Foreign => {}
            }
        }
        doubtful
    }

    /// Admits doubtful leases that have a uid, so that only that very Secret is deleted; reports the others.
    fn admit(&self, found: &mut Found, doubtful: Vec<Revocation>) {
        for revocation in doubtful {
            if revocation.lease.uid.is_some() {
                found.notes.push(self.note(&revocation, "what it names is deleted only if it has the uid that stands there"));
                found.revocations.push(revocation);
            } else {
                let what = self.note(&revocation, "what it names may be somebody else's");
                found.unknown.push(
                    Failure::new(Code::LeaseDoubtful, what).hint("if it is this job's, end it by `jobpass revoke --lease NAMESPACE/NAME`"),
                );
            }
        }
    }

    /// Judges one lease that a flag or its derived name has led to.
    pub(super) fn one(&self, mut revocation: Revocation) -> Revocation {
        let named = revocation.named;
        self.judged(&mut revocation, &[]);
        if revocation.named != Named::Seal {
            revocation.named = named;
        }
        revocation
    }

    /// Removes from a lease what others may have written and must not decide, and sets where its name comes from.
    fn judged(&self, revocation: &mut Revocation, keys: &[String]) -> Sentence {
        let lease = &mut revocation.lease;
        revocation.word = self.seal.word(self.context.platform, lease);
        if revocation.word == Word::Ours {
            if self.context.platform.derives_names() {
                revocation.named = Named::Seal;
            }
            return Sentence::End;
        }
        // Others must not choose a file that we remove.
        for named in [&mut lease.kubeconfig_out, &mut lease.registry_auth] {
            named.take_if(|path| !self.context.env.names_path(path.as_ref()));
        }
        revocation.named = Named::File;
        let Some(key) = lease.job_key.as_deref() else { return Sentence::Foreign };
        if keys.iter().any(|own| is_below(key, own)) && lease.name == self.seal.name(key, &lease.service_account) {
            revocation.named = Named::Key;
            return Sentence::End;
        }
        // Without a seal, the name must at least fit the job key in the file.
        let is_likely = lease.seal.is_some() || lease.name == Seal::None.name(key, &lease.service_account);
        if is_likely { Sentence::Doubt } else { Sentence::Foreign }
    }

    fn note(&self, revocation: &Revocation, but: &str) -> String {
        let store = revocation.store.as_ref().map_or_else(|| revocation.lease.id(), ToString::to_string);
        format!("the lease file in `{store}` is not known for this job's own, as {}: {but}", self.seal.why_not())
    }
}
