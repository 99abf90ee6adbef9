//! How far a lease that stands in a file is believed: whether this job has written it, and what counts of it if others could have.

use super::Found;
use crate::{
    context::Context,
    failure::{Code, Failure},
    lease::{named::Named, seal::Seal},
    origin::Word,
    pass::Revocation,
    platform::{Platform, key::is_below},
};

/// Whoever judges what stands in the lease files of one platform.
pub(super) struct Judge<'a> {
    context: &'a Context,
    pub seal: Seal,
}

/// What is to be done about a lease.
enum Sentence {
    /// It is ended.
    End,
    /// It may be this job's, but its name follows from nothing: only a Secret with the uid that stands there is deleted.
    Doubt,
    /// It is somebody else's.
    Foreign,
}

impl<'a> Judge<'a> {
    pub(super) fn of(context: &'a Context) -> Self {
        Self { context, seal: Seal::of(context) }
    }

    /// Leaves of what was found this job's own passes. What is only perhaps one is passed over where its own can be told apart.
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

    /// The same for passes of whatever job.
    pub(super) fn all(&self, found: &mut Found, keys: &[String]) {
        let doubtful = self.sifted(found, keys);
        self.admit(found, doubtful);
    }

    /// Takes out what is somebody else's, and what is doubtful.
    fn sifted(&self, found: &mut Found, keys: &[String]) -> Vec<Revocation> {
        let mut doubtful = Vec::new();
        if !self.context.platform.derives_names() {
            return doubtful;
        }
        for mut revocation in std::mem::take(&mut found.revocations) {
            match self.judged(&mut revocation, keys) {
                Sentence::End => {
                    // In a pod it is so always.
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

    /// Lets what is doubtful be ended where there is a uid to know it by.
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

    /// One lease, to which a flag or its own name has led.
    pub(super) fn one(&self, mut revocation: Revocation) -> Revocation {
        let named = revocation.named;
        self.judged(&mut revocation, &[]);
        if revocation.named != Named::Seal {
            revocation.named = named;
        }
        revocation
    }

    /// Takes what has no say out of a lease, and says who has named it.
    fn judged(&self, revocation: &mut Revocation, keys: &[String]) -> Sentence {
        let lease = &mut revocation.lease;
        revocation.word = self.seal.word(self.context.platform, lease);
        if revocation.word == Word::Ours {
            if self.context.platform.derives_names() {
                revocation.named = Named::Seal;
            }
            return Sentence::End;
        }
        // Others must not choose what is removed here.
        lease.kubeconfig_out.take_if(|path| !self.context.env.names_path(path.as_ref()));
        revocation.named = Named::File;
        let Some(key) = lease.job_key.as_deref() else { return Sentence::Foreign };
        if keys.iter().any(|own| is_below(key, own)) && lease.name == self.seal.name(key, &lease.service_account) {
            revocation.named = Named::Key;
            return Sentence::End;
        }
        // Of what has no seal the name at least follows from the key.
        let is_likely = lease.seal.is_some() || lease.name == Seal::None.name(key, &lease.service_account);
        if is_likely { Sentence::Doubt } else { Sentence::Foreign }
    }

    fn note(&self, revocation: &Revocation, but: &str) -> String {
        let store = revocation.store.as_ref().map_or_else(|| revocation.lease.id(), ToString::to_string);
        format!("the lease file in `{store}` is not known for this job's own, as {}: {but}", self.seal.why_not())
    }
}
