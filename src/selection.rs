//! Selects the passes that `revoke` means: the job's own, the one that is named, or all that this user left on this machine.

use std::path::Path;

use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure},
    lease::{Lease, mark::Mark, named::Named},
    name::Beginning,
    options::{self as o, Given, Options, Source},
    origin::Word,
    pass::Revocation,
    platform::{Base, Platform},
    spec::{self, ServiceAccount},
    store::{self, Store},
};

mod judged;
mod one;
mod search;

use judged::Judge;
use one::{from_file, known, named, of_name, place_of};
use search::Search;

/// The result of the search.
#[derive(Debug, Default)]
pub struct Found {
    /// The passes that are to be ended.
    pub revocations: Vec<Revocation>,
    /// Passes that may be meant but cannot be read: they must not count as "nothing to revoke".
    pub unknown: Vec<Failure>,
    /// Settings that were ignored because they are invalid or name no pass.
    pub passed_over: Vec<Failure>,
    /// Warnings about the lease files, for the person who reads the log.
    pub notes: Vec<String>,
    /// The directories in which passes were looked for.
    pub looked: Vec<String>,
}

impl Found {
    /// Whether there is nothing to revoke.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revocations.is_empty() && self.unknown.is_empty()
    }

    fn take(&mut self, other: Self) {
        let is_new = |revocation: &Revocation| !self.revocations.iter().any(|known| known.lease.id() == revocation.lease.id());
        let revocations: Vec<_> = other.revocations.into_iter().filter(is_new).collect();
        self.revocations.extend(revocations);
        self.unknown.extend(other.unknown);
        self.passed_over.extend(other.passed_over);
        self.notes.extend(other.notes);
        self.looked.extend(other.looked);
    }
}

impl From<Option<Revocation>> for Found {
    fn from(revocation: Option<Revocation>) -> Self {
        Self { revocations: revocation.into_iter().collect(), ..Self::default() }
    }
}

/// Finds the passes that are to be ended. It is no error if there are none. The context's own platform comes first; on the others,
/// too, a pass may have been requested.
///
/// # Errors
/// When a flag names no lease, or it is not clear which pass is meant.
pub fn find(context: &Context) -> Result<Found, Failure> {
    let Context { options, env, platform, others, .. } = context;
    for (one, other) in [(&o::LEASE, &o::LEASE_FILE), (&o::LEASE, &o::ALL_LEASES), (&o::LEASE_FILE, &o::ALL_LEASES)] {
        if options.flag(one).is_some() && options.flag(other).is_some() {
            options.exclusive(one, other)?;
        }
    }
    let others: Vec<_> = others.iter().map(|other| context.elsewhere(*other)).collect();
    let searches: Vec<_> = [context].into_iter().chain(&others).map(Search::of).collect();
    let bases = || searches.iter().flatten().flat_map(|search| &search.bases);
    let judge = Judge::of(context);
    // Only a flag counts here. The env file exports variables about the shell's pass, and a variable with a path that does not
    // exist would look like a pass that is over.
    if let Some(given) = options.flag(&o::LEASE_FILE) {
        let path = env.absolute(given.text.as_ref());
        // A mistyped path must not look like a pass that is over, so a missing file is an error.
        return match from_file(&path, options.piped(&o::LEASE_FILE), bases().next().cloned())? {
            None => Err(Failure::new(Code::LeaseMissing, format!("there is no lease file `{}`", path.display()))
                .hint("check the path; a `revoke` before this one may have ended the pass and removed it")),
            Some(revocation) => Ok(Some(judge.one(revocation)).into()),
        };
    }
    if let Some(given) = options.flag(&o::LEASE) {
        return match named(&given.text) {
            Some((namespace, name)) => Ok(Some(judge.one(of_name(bases(), namespace, name, Named::Flag))).into()),
            None => of_beginning(given, searches.iter().flatten()),
        };
    }
    if options.is_post() && options.flag(&o::ALL_LEASES).is_none() {
        // No other setting counts: an earlier step of the job could have set it.
        return from_state(env, bases()).map(Found::from);
    }
    let mut found = Found { passed_over: options.get(&o::LEASE_FILE).into_iter().map(names_none).collect(), ..Found::default() };
    let (every, no_switch) = options.tolerated(&[&o::ALL_LEASES], options.switch(&o::ALL_LEASES))?;
    found.passed_over.extend(no_switch);
    // Only the flag counts: a variable, which any step may set, must not reduce what is revoked.
    let if_here = options.flag(&o::IF_HERE).is_some();
    let (narrows, no_switch) = options.tolerated(&[&o::IF_HERE], options.switch(&o::IF_HERE))?;
    found.passed_over.extend(no_switch);
    if narrows
        && !if_here
        && let Some(given) = options.get(&o::IF_HERE)
    {
        found.passed_over.push(Failure::new(
            Code::UsageNotHere,
            format!("{} keeps nothing from being asked for, as only the flag `--if-here` does", given.source),
        ));
    }
    let (account, not_meant) = meant(options)?;
    found.passed_over.extend(not_meant);
    let mut failed = None;
    for search in searches {
        let search = match search {
            Ok(search) => search,
            Err(failure) => {
                failed = failed.or(Some(failure));
                continue;
            }
        };
        let is_first = *platform == search.context.platform;
        let looked = found.looked.clone();
        let more = match (every, search.context.platform) {
            (true, _) => {
                let mut found = of_user(&search);
                found.unknown.extend(search.lost(&found.revocations));
                found
            }
            (false, Platform::Local) if is_first => one_of(of_user(&search), &search, env)?,
            (false, Platform::Local) if !found.revocations.iter().any(|revocation| revocation.known) => of_a_shell(of_user(&search)),
            (false, Platform::Local) => Found::default(),
            (false, Platform::Github | Platform::Gitlab | Platform::Tekton) => of_job(&search, account.as_ref(), if_here)?,
        };
        found.looked.extend(search.stores().filter(|store| !looked.contains(store)).collect::<Vec<_>>());
        found.take(more);
    }
    match failed {
        // No directory could be looked at.
        Some(failure) if found.looked.is_empty() => Err(failure),
        Some(_) | None => Ok(found),
    }
}

/// The service account that the settings name, from which a lease's name can be derived. A variable that contradicts the other
/// settings is ignored.
fn meant(options: &Options) -> Result<(Option<ServiceAccount>, Option<Failure>), Failure> {
    let bad = match spec::service_account(options) {
        Ok(account) => return Ok((account, None)),
        Err(bad) => bad,
    };
    for setting in [&o::NAMESPACE, &o::SERVICE_ACCOUNT] {
        if options.flag(setting).is_none() && options.chosen(setting).is_some() {
            let without = options.without(&[setting]);
            if let Ok(account) = spec::service_account(&without) {
                return Ok((account, Some(bad)));
            }
        }
    }
    options.tolerated(&[&o::SERVICE_ACCOUNT, &o::NAMESPACE], Err(bad))
}

/// Every pass of this user that can be found.
fn of_user(search: &Search<'_>) -> Found {
    let mut found = all(&search.bases);
    let marked = search.marked(&found.revocations);
    found.revocations.extend(marked);
    search.judge.all(&mut found, &search.keys);
    found
}

/// The one pass kept here whose lease's name begins as it is said.
///
/// # Errors
/// When that is the beginning of no name, of none here, or of several.
fn of_beginning<'a>(given: &Given, searches: impl Iterator<Item = &'a Search<'a>>) -> Result<Found, Failure> {
    let beginning = Beginning::of(&given.text).ok_or_else(|| {
        Failure::new(Code::UsageValue, format!("{} names no lease of jobpass", given.source))
            .hint("write its first digits, at least 4, as `request` said them, or the whole of it: NAMESPACE/jobpass-…")
    })?;
    let mut found = Found::default();
    for search in searches {
        let mut more = of_user(search);
        // A file that any job may have written must not give its name to a pass, nor take one from it.
        more.revocations.retain(|revocation| !search.context.platform.derives_names() || revocation.named.is_ours_alone());
        // Nor may a mark, but it may be this job's, of which the name itself is the proof.
        let is_own = |mark: &&Mark| {
            !search.context.platform.derives_names()
                || search.keys.iter().any(|key| search.judge.seal.name(key, &mark.service_account) == mark.name)
        };
        let marks = search.unkept(&more.revocations).filter(is_own);
        let marked = marks.map(|mark| of_name(search.bases.iter(), &mark.service_account.namespace, &mark.name, Named::Flag));
        let marked: Vec<_> = marked.map(|revocation| search.judge.one(revocation)).collect();
        more.revocations.extend(marked);
        found.take(more);
    }
    found.revocations.retain(|Revocation { lease, .. }| beginning.is_of(&lease.service_account.namespace, &lease.name));
    if found.revocations.len() > 1 {
        let several = Failure::new(Code::LeaseSeveral, format!("{} is the beginning of several leases", given.source));
        return Err(listed(several.hint("write more digits"), &found.revocations));
    }
    if found.revocations.is_empty() {
        let missing = Failure::new(Code::LeaseMissing, format!("{} is the beginning of no lease that is kept here", given.source));
        return Err(found.unknown.iter().fold(missing, |missing, unknown| missing.cause(unknown.brief())).hint(
            "write the whole of it, NAMESPACE/jobpass-…, as files and receipts have it; \
             who may list Secrets finds a pass from anywhere by `jobpass leases revoke`",
        ));
    }
    Ok(Found { revocations: found.revocations, ..Found::default() })
}

/// A failure, with the passes between which one has to choose.
fn listed(failure: Failure, revocations: &[Revocation]) -> Failure {
    revocations.iter().fold(failure, |failure, revocation| {
        let until = revocation.lease.ends().map(|end| format!(", until {end}")).unwrap_or_default();
        failure.cause(format!("`{}` for service account `{}`{until}", revocation.lease.id(), revocation.lease.service_account))
    })
}

/// The passes of this job. Where the lease's name can be derived, they include one whose file is lost.
///
/// # Errors
/// When the flag `--job-key` is not valid.
fn of_job(search: &Search<'_>, account: Option<&ServiceAccount>, if_here: bool) -> Result<Found, Failure> {
    let Search { context: Context { platform, .. }, judge, bases, keys, marks, .. } = search;
    let derived = account.filter(|_| platform.derives_names());
    let own = |name: &str| derived.is_some_and(|account| keys.iter().any(|key| judge.seal.name(key, account) == name));
    let (mut found, hidden) = readable(bases, derived.filter(|_| !keys.is_empty()).map(|_| &own as &dyn Fn(&str) -> bool));
    // A store that we cannot read may be this job's: then our own lease is looked for on the API server by its derived name.
    let by_name = derived.filter(|_| !if_here || hidden.is_some() || !found.unknown.is_empty());
    if derived.is_none() || keys.is_empty() {
        found.unknown.extend(hidden);
    }
    let marked = search.marked(&found.revocations);
    found.revocations.extend(marked);
    if found.is_empty() && by_name.is_none() && marks.is_empty() {
        return Ok(found);
    }
    search.name(&mut found)?;
    // Other jobs may have written to the directory: a lease file may name this job's key, but the lease of somebody else.
    judge.own(&mut found, keys);
    for (account, key) in by_name.into_iter().flat_map(|account| keys.iter().map(move |key| (account, key))) {
        let name = judge.seal.name(key, account);
        let of_another_key = key != &keys[0] && !found.revocations.is_empty();
        if !of_another_key && !found.revocations.iter().any(|revocation| revocation.lease.name == name) {
            found.revocations.push(judge.one(of_name(bases.iter(), &account.namespace, &name, Named::Key)));
        }
    }
    for mark in marks {
        if found.revocations.iter().any(|revocation| revocation.lease.name == mark.name) {
            continue;
        }
        // A name that can be derived from this job's key is ours alone, whoever wrote the mark.
        if platform.derives_names() && keys.iter().any(|key| judge.seal.name(key, &mark.service_account) == mark.name) {
            found.revocations.push(judge.one(of_name(bases.iter(), &mark.service_account.namespace, &mark.name, Named::Key)));
        } else {
            found.unknown.push(mark.lost());
        }
    }
    Ok(found)
}

/// The same for `scrub`. There a variable may name the lease file, as hiding one token too many does no harm.
///
/// # Errors
/// When no lease is named by what was given, or it is not clear which one is meant.
pub fn to_hide(context: &Context) -> Result<Found, Failure> {
    let Context { options, env, .. } = context;
    match options.get(&o::LEASE_FILE).filter(|given| matches!(given.source, Source::Variable(_))) {
        Some(given) if options.flag(&o::LEASE).is_none() => from_file(&env.absolute(given.text.as_ref()), None, None).map(Found::from),
        Some(_) | None => find(context),
    }
}

/// The report that a lease file was named by a variable, which does not count.
fn names_none(given: &Given) -> Failure {
    Failure::new(Code::UsageNotHere, format!("{} names no pass to revoke, as only the flag `--lease-file` does", given.source))
}

/// Every pass in these directories, the oldest first. Files that cannot be read are reported.
fn all(bases: &[Base]) -> Found {
    let (mut found, hidden) = readable(bases, None);
    found.unknown.extend(hidden);
    found
}

/// The same, and why some may be invisible. A file that cannot be read is reported, unless its name shows that it is not `own`.
fn readable(bases: &[Base], own: Option<&dyn Fn(&str) -> bool>) -> (Found, Option<Failure>) {
    let (mut found, mut hidden) = (Found::default(), None);
    for base in bases {
        let (stores, unseen) = store::list(base);
        hidden = hidden.or(unseen);
        for store in stores {
            let path = store.path();
            let is_anothers = || own.is_some_and(|own| !path.file_name().is_some_and(|name| own(&name.to_string_lossy())));
            match known(store) {
                Ok(revocation) => found.revocations.extend(revocation),
                Err(_) if is_anothers() => {}
                Err(failure) => found.unknown.push(failure),
            }
        }
    }
    found.revocations.sort_by_key(|revocation| revocation.lease.issued_at);
    (found, hidden)
}

/// The names of the connection settings of the main step, from the state that the runner kept for its post step.
#[must_use]
pub fn connection_of_main(env: &Env) -> Option<Vec<String>> {
    Lease::parse(env.get("STATE_lease")?).ok()?.connection
}

/// For GitHub's post step: only the runner's state counts. Any step of the job could have written a lease file.
fn from_state<'a>(env: &Env, bases: impl Iterator<Item = &'a Base>) -> Result<Option<Revocation>, Failure> {
    let Some(state) = env.get("STATE_lease") else { return Ok(None) };
    let lease = Lease::parse(state).map_err(|failure| failure.within("cannot use the state of this step"))?;
    let said = Store::around(&Path::new(&lease.store).join(store::LEASE), store::LEASE, &lease.name, None);
    let store = said.or_else(|| place_of(bases, &lease.name));
    Ok(Some(Revocation { lease, named: Named::State, word: Word::Ours, known: true, store, token: None }))
}

/// Keeps only passes of a plain shell: a variable says that this is another platform, and that may be wrong.
fn of_a_shell(mut found: Found) -> Found {
    found.revocations.retain(|revocation| revocation.lease.platform == Platform::Local.name());
    found.unknown.clear();
    found
}

/// On a plain shell: the pass that `JOBPASS_LEASE` names, else the only one there is.
fn one_of(mut found: Found, search: &Search<'_>, env: &Env) -> Result<Found, Failure> {
    let marks = &search.marks;
    // As messages show it; of a whole name more is known.
    if let Some(beginning) = env.get("JOBPASS_LEASE").filter(|text| named(text).is_none()).and_then(Beginning::of) {
        let lost = search.unkept(&found.revocations).filter(|mark| beginning.is_of(&mark.service_account.namespace, &mark.name));
        let lost: Vec<_> = lost.map(Mark::lost).collect();
        found.revocations.retain(|Revocation { lease, .. }| beginning.is_of(&lease.service_account.namespace, &lease.name));
        if found.revocations.is_empty() {
            found.unknown.extend(lost);
        }
        if found.revocations.len() < 2 {
            return Ok(found);
        }
    } else if let Some((namespace, name)) = env.get("JOBPASS_LEASE").and_then(named) {
        let is_meant = |revocation: &Revocation| revocation.lease.name == name && revocation.lease.service_account.namespace == namespace;
        let revocation = match found.revocations.iter().position(is_meant) {
            Some(at) => Some(found.revocations.swap_remove(at)),
            // It may have been requested with another `--dir`.
            None => env
                .path("JOBPASS_TOKEN_FILE")
                .and_then(|path| Store::around(&path, store::TOKEN, name, None))
                .map(known)
                .transpose()?
                .flatten()
                .filter(is_meant),
        };
        let lost = marks.iter().filter(|mark| revocation.is_none() && mark.name == name && mark.service_account.namespace == namespace);
        return Ok(Found { unknown: lost.map(Mark::lost).collect(), revocations: revocation.into_iter().collect(), ..found });
    }
    let revocations = &found.revocations;
    if revocations.len() < 2 {
        let lost = search.lost(revocations);
        found.unknown.extend(lost);
        return Ok(found);
    }
    let failure =
        Failure::new(Code::LeaseSeveral, "there are several passes here").hint("name one by `--lease`, or end them all by `--all`");
    Err(listed(failure, revocations))
}
