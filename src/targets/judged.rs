//! How far a lease that stands in a file is believed: whether this job has written it, and what counts of it if others could have.

use super::Found;
use crate::{
    context::Context,
    failure::{Code, Failure},
    identity::Word,
    lease::{named::Named, seal::Seal},
    pass::Ending,
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
        found.endings.retain(|Ending { lease, .. }| is_key(&lease.job_key) || is_key(&lease.job));
        let doubtful = self.sifted(found, keys);
        if found.endings.iter().any(|ending| ending.named == Named::Seal) {
            found.notes.extend(doubtful.iter().map(|ending| self.note(ending, "it is passed over")));
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
    fn sifted(&self, found: &mut Found, keys: &[String]) -> Vec<Ending> {
        let mut doubtful = Vec::new();
        if !self.context.platform.derives_names() {
            return doubtful;
        }
        for mut ending in std::mem::take(&mut found.endings) {
            match self.judged(&mut ending, keys) {
                Sentence::End => {
                    // In a pod it is so always.
                    if self.context.platform == Platform::Gitlab && ending.word == Word::Hearsay {
                        found.notes.push(self.note(&ending, "only its name counts, which follows from the job"));
                    }
                    found.endings.push(ending);
                }
                Sentence::Doubt => doubtful.push(ending),
                Sentence::Foreign => {}
            }
        }
        doubtful
    }

    /// Lets what is doubtful be ended where there is a uid to know it by.
    fn admit(&self, found: &mut Found, doubtful: Vec<Ending>) {
        for ending in doubtful {
            if ending.lease.uid.is_some() {
                found.notes.push(self.note(&ending, "what it names is deleted only if it has the uid that stands there"));
                found.endings.push(ending);
            } else {
                let what = self.note(&ending, "what it names may be somebody else's");
                found.unknown.push(
                    Failure::new(Code::LeaseDoubtful, what).hint("if it is this job's, end it by `jobpass revoke --lease NAMESPACE/NAME`"),
                );
            }
        }
    }

    /// One lease, to which a flag or its own name has led.
    pub(super) fn one(&self, mut ending: Ending) -> Ending {
        let named = ending.named;
        self.judged(&mut ending, &[]);
        if ending.named != Named::Seal {
            ending.named = named;
        }
        ending
    }

    /// Takes what has no say out of a lease, and says who has named it.
    fn judged(&self, ending: &mut Ending, keys: &[String]) -> Sentence {
        let lease = &mut ending.lease;
        ending.word = self.seal.word(self.context.platform, lease);
        if ending.word == Word::Ours {
            if self.context.platform.derives_names() {
                ending.named = Named::Seal;
            }
            return Sentence::End;
        }
        // Others must not choose what is removed here.
        lease.kubeconfig_out.take_if(|path| !self.context.env.names_path(path.as_ref()));
        ending.named = Named::File;
        let Some(key) = lease.job_key.as_deref() else { return Sentence::Foreign };
        if keys.iter().any(|own| is_below(key, own)) && lease.name == self.seal.name(key, &lease.service_account) {
            ending.named = Named::Key;
            return Sentence::End;
        }
        // Of what has no seal the name at least follows from the key.
        let is_likely = lease.seal.is_some() || lease.name == Seal::None.name(key, &lease.service_account);
        if is_likely { Sentence::Doubt } else { Sentence::Foreign }
    }

    fn note(&self, ending: &Ending, but: &str) -> String {
        let place = ending.place.as_ref().map_or_else(|| ending.lease.id(), ToString::to_string);
        format!("the lease file in `{place}` is not known for this job's own, as {}: {but}", self.seal.why_not())
    }
}
