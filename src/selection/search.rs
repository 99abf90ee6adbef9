//! Where `revoke` looks for passes, and which keys are this job's. A variable can only add a directory or a key. Only a flag can
//! exclude others, as any step of the job may have set the variable.

use std::path::Path;

use super::{Found, judged::Judge, one};
use crate::{
    context::Context,
    failure::Failure,
    lease::mark::Mark,
    options as o,
    pass::Revocation,
    platform::Base,
    store::{self, Store},
};

/// The search on one platform.
pub(super) struct Search<'a> {
    /// The job as it looks on that platform.
    pub context: &'a Context,
    /// Judges the lease files that are found there.
    pub judge: Judge<'a>,
    /// The directories to look in; the one that `request` would use now comes first.
    pub bases: Vec<Base>,
    /// The job's keys: the one that was asked for, then the platform's own.
    pub keys: Vec<String>,
    /// Why there is no such key.
    nameless: Option<Failure>,
    /// Whether `--job-key` was given as a flag.
    by_flag: bool,
    /// The marks that this job's requests have left; empty where a flag says what is meant.
    pub marks: Vec<Mark>,
}

impl<'a> Search<'a> {
    /// Prepares the search.
    ///
    /// # Errors
    /// When neither the platform nor a setting says where passes are kept.
    pub(super) fn of(context: &'a Context) -> Result<Self, Failure> {
        let Context { options, base, job_key, own_job_key, .. } = context;
        let bases = if options.flag(&o::DIR).is_some() {
            vec![base.clone()?]
        } else {
            let asked = options.text(&o::DIR).map(|_| base.clone());
            let own = context.own_bases();
            let failed = own.as_ref().err().cloned();
            let mut bases: Vec<Base> = asked.into_iter().flatten().chain(own.into_iter().flatten()).collect();
            if let (true, Some(failure)) = (bases.is_empty(), failed) {
                return Err(failure);
            }
            let mut seen = Vec::new();
            bases.retain(|base| {
                !seen.contains(&base.path) && {
                    seen.push(base.path.clone());
                    true
                }
            });
            bases
        };
        let by_flag = options.flag(&o::JOB_KEY).is_some();
        let asked = options.text(&o::JOB_KEY).map(|_| job_key.clone());
        let own = if by_flag { Ok(None) } else { own_job_key.clone() };
        let nameless = asked.as_ref().and_then(|asked| asked.as_ref().err()).or(own.as_ref().err().filter(|_| asked.is_none())).cloned();
        let mut keys: Vec<String> = asked.into_iter().chain([own]).flatten().flatten().collect();
        keys.dedup();
        let is_asked = options.flag(&o::DIR).is_some() || by_flag;
        let job = context.job();
        let marks = if is_asked { Vec::new() } else { bases.iter().flat_map(Mark::all).filter(|mark| mark.job == job).collect() };
        Ok(Self { context, judge: Judge::of(context), bases, keys, nameless, by_flag, marks })
    }

    /// Reports why a key is missing. It is an error only if the flag is wrong.
    pub(super) fn name(&self, found: &mut Found) -> Result<(), Failure> {
        match &self.nameless {
            Some(failure) if self.by_flag => return Err(failure.clone()),
            Some(failure) if self.keys.is_empty() => found.unknown.push(failure.clone()),
            Some(failure) => found.passed_over.push(failure.clone()),
            None => {}
        }
        Ok(())
    }

    /// The passes to which marks lead, without those that are known already. A mark whose store is gone leads to none.
    pub(super) fn marked(&self, known: &[Revocation]) -> Vec<Revocation> {
        let stores = self.unkept(known).filter_map(|mark| {
            let file = Path::new(&mark.store).join(store::LEASE);
            Store::around(&file, store::LEASE, &mark.name, self.bases.first().and_then(|base| base.memory.clone()))
        });
        stores.filter_map(|store| one::known(store).ok().flatten()).collect()
    }

    /// The marks of passes that are none of these.
    pub(super) fn unkept(&self, known: &[Revocation]) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter(|mark| !known.iter().any(|revocation| revocation.lease.name == mark.name))
    }

    /// The failures for them: what a mark tells of is neither in its store nor anywhere else.
    pub(super) fn lost(&self, known: &[Revocation]) -> Vec<Failure> {
        self.unkept(known).map(Mark::lost).collect()
    }

    /// The directories it looks in, as messages name them.
    pub(super) fn stores(&self) -> impl Iterator<Item = String> {
        self.bases.iter().map(|base| format!("`{}`", base.path.join("jobpass").display()))
    }
}
