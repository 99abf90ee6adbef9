//! Where `revoke` looks and which keys are this job's. A variable adds a directory or a key; only a flag takes others away, as any
//! step of the job may have set the variable.

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
    /// The job as it is on that platform.
    pub context: &'a Context,
    /// Who judges what is found there.
    pub judge: Judge<'a>,
    /// The directories, that which `request` takes now first.
    pub bases: Vec<Base>,
    /// What names this job: as it was asked for, then as the platform says.
    pub keys: Vec<String>,
    /// Why a key that was asked for, or the platform's own, does not name it.
    nameless: Option<Failure>,
    /// Whether a flag has asked for that key.
    by_flag: bool,
    /// What this job's requests have left to be found, where no flag says what is meant.
    pub marks: Vec<Mark>,
}

impl<'a> Search<'a> {
    /// What is to be looked at.
    ///
    /// # Errors
    /// When neither the platform nor anybody else says where passes are kept.
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

    /// Says what does not name this job. Only a flag's mistake is one of the call.
    pub(super) fn name(&self, found: &mut Found) -> Result<(), Failure> {
        match &self.nameless {
            Some(failure) if self.by_flag => return Err(failure.clone()),
            Some(failure) if self.keys.is_empty() => found.unknown.push(failure.clone()),
            Some(failure) => found.passed_over.push(failure.clone()),
            None => {}
        }
        Ok(())
    }

    /// The passes to which marks lead, besides those that are known. Where one leads nowhere there is none of its name.
    pub(super) fn marked(&self, known: &[Revocation]) -> Vec<Revocation> {
        let marks = self.marks.iter().filter(|mark| !known.iter().any(|revocation| revocation.lease.name == mark.name));
        let stores = marks.filter_map(|mark| {
            let file = Path::new(&mark.store).join(store::LEASE);
            Store::around(&file, store::LEASE, &mark.name, self.bases.first().and_then(|base| base.memory.clone()))
        });
        stores.filter_map(|store| one::known(store).ok().flatten()).collect()
    }

    /// Where it looks, as a message names it.
    pub(super) fn stores(&self) -> impl Iterator<Item = String> {
        self.bases.iter().map(|base| format!("`{}`", base.path.join("jobpass").display()))
    }
}
