//! Which passes `revoke` means: the job's own, the one that is named, or all that this user left on this machine.

use std::path::Path;

use jiff::Timestamp;

use crate::{
    action::{self, Phase},
    env::Env,
    failure::Failure,
    identity::{Origin, Word},
    lease::{self, API_VERSION, Lease, Times, named::Named},
    name::is_name,
    options::{self as o, Given, Options, Source},
    pass::Ending,
    place::{self, Place},
    platform::{Base, Platform},
    secret::Secret,
    spec::{self, ServiceAccount, is_label},
};

mod judged;

use judged::Judge;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The passes that are to end.
    pub endings: Vec<Ending>,
    /// Passes that may be meant and cannot be looked at: they must not be taken for none.
    pub unknown: Vec<Failure>,
    /// Settings that were passed over, as they are no good or name no pass.
    pub passed_over: Vec<Failure>,
    /// What the person who reads the log should know of the files.
    pub notes: Vec<String>,
}

impl Found {
    /// Whether there is nothing to revoke.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endings.is_empty() && self.unknown.is_empty()
    }
}

impl From<Option<Ending>> for Found {
    fn from(ending: Option<Ending>) -> Self {
        Self { endings: ending.into_iter().collect(), ..Self::default() }
    }
}

/// Finds the passes that are to end. None is no error.
///
/// # Errors
/// When what was named is no lease, or it is not clear which one is meant.
pub fn find(options: &Options, env: &Env, platform: Platform, user: u32) -> Result<Found, Failure> {
    if is_post(env) {
        // Whatever else is set: an earlier step of the job could have set it.
        return from_state(options, env, user).map(Found::from);
    }
    for (one, other) in [(&o::LEASE, &o::LEASE_FILE), (&o::LEASE, &o::ALL_LEASES), (&o::LEASE_FILE, &o::ALL_LEASES)] {
        if options.flag(one).is_some() && options.flag(other).is_some() {
            options.exclusive(one, other)?;
        }
    }
    let base = || platform.base(env, options.text(&o::DIR), user);
    let judge = Judge::of(platform, env);
    // A variable names none: that of the lease says which pass the shell has, as the env file exports it, and a file that is not
    // there would look like a pass that is over.
    if let Some(given) = options.flag(&o::LEASE_FILE) {
        let path = env.absolute(given.text.as_ref());
        // Whoever names a file means one that is there: a mistyped path must not pass for a pass that is over.
        return match from_file(&path, options.piped(&o::LEASE_FILE), base().ok())? {
            None => Err(Failure::new(format!("there is no lease file `{}`", path.display()))
                .hint("check the path; a `revoke` before this one may have ended the pass and removed it")),
            Some(ending) => Ok(Some(judge.one(ending)).into()),
        };
    }
    if let Some(given) = options.flag(&o::LEASE) {
        let (namespace, name) = named(&given.text).ok_or_else(|| {
            Failure::usage(format!("{} names no lease of jobpass", given.source)).hint("write it as `request` said it: NAMESPACE/jobpass-…")
        })?;
        return Ok(Some(judge.one(of_name(base().ok().as_ref(), namespace, name, Named::Flag))).into());
    }
    let mut passed_over: Vec<_> = options.get(&o::LEASE_FILE).into_iter().map(names_none).collect();
    let (every, no_switch) = options.tolerated(&[&o::ALL_LEASES], options.switch(&o::ALL_LEASES))?;
    passed_over.extend(no_switch);
    if every {
        let mut found = Found { passed_over, ..all(&base()?) };
        judge.all(&mut found, &platform.job_key(env, options.text(&o::JOB_KEY)).ok().flatten().into_iter().collect::<Vec<_>>());
        return Ok(found);
    }
    if platform == Platform::Local {
        return one_of(Found { passed_over, ..all(&base()?) }, env);
    }
    let (account, no_account) = options.tolerated(&[&o::SERVICE_ACCOUNT, &o::NAMESPACE], spec::service_account(options))?;
    passed_over.extend(no_account);
    let (if_here, no_switch) = options.tolerated(&[&o::IF_HERE], options.switch(&o::IF_HERE))?;
    passed_over.extend(no_switch);
    let own = own_name(options, env, &judge, account.as_ref());
    let (mut found, hidden) = readable(&base()?, own.as_deref());
    found.passed_over = passed_over;
    // What cannot be looked at may be ours: then the API server is asked of our own by its name.
    let by_name = platform.derives_names() && account.is_some() && (!if_here || hidden.is_some() || !found.unknown.is_empty());
    if own.is_none() {
        found.unknown.extend(hidden);
    }
    if found.is_empty() && !by_name {
        return Ok(found);
    }
    let asked = options.text(&o::JOB_KEY);
    let job_key = platform.job_key(env, asked)?;
    // The directory may have seen other jobs: one that names ours may do so with a lease of somebody else's.
    judge.own(&mut found, job_key.as_slice());
    if let (Some(account), Some(key), true) = (account, &job_key, by_name) {
        let name = lease::name(platform, &judge.seal, Some(key), &account);
        if !found.endings.iter().any(|ending| ending.lease.name == name) {
            found.endings.push(judge.one(of_name(base().ok().as_ref(), &account.namespace, &name, Named::Key)));
        }
    }
    Ok(found)
}

/// The same for `scrub`, to which a variable may name the file: what is hidden once too often does no harm.
///
/// # Errors
/// When what was named is no lease, or it is not clear which one is meant.
pub fn to_hide(options: &Options, env: &Env, platform: Platform, user: u32) -> Result<Found, Failure> {
    match options.get(&o::LEASE_FILE).filter(|given| matches!(given.source, Source::Variable(_))) {
        Some(given) if options.flag(&o::LEASE).is_none() => from_file(&env.absolute(given.text.as_ref()), None, None).map(Found::from),
        Some(_) | None => find(options, env, platform, user),
    }
}

/// A lease file that no flag has named.
fn names_none(given: &Given) -> Failure {
    Failure::usage(format!("{} names no pass to revoke, as only the flag `--lease-file` does", given.source))
}

/// The name of the lease that is this job's, where it follows from what is known.
fn own_name(options: &Options, env: &Env, judge: &Judge<'_>, account: Option<&ServiceAccount>) -> Option<String> {
    let key = judge.platform.job_key(env, options.text(&o::JOB_KEY)).ok()??;
    account.filter(|_| judge.platform.derives_names()).map(|account| judge.seal.name(&key, account))
}

/// Every pass in a directory, the oldest first. What cannot be read is said.
fn all(base: &Base) -> Found {
    let (mut found, hidden) = readable(base, None);
    found.unknown.extend(hidden);
    found
}

/// The same, and why there may be some that we cannot see. What cannot be read is said, unless it is known to be another job's than
/// `own`.
fn readable(base: &Base, own: Option<&str>) -> (Found, Option<Failure>) {
    let (places, hidden) = place::list(base);
    let mut found = Found::default();
    for place in places {
        let is_anothers = own.is_some_and(|own| !place.path().ends_with(own));
        match known(place) {
            Ok(ending) => found.endings.extend(ending),
            Err(_) if is_anothers => {}
            Err(failure) => found.unknown.push(failure),
        }
    }
    found.endings.sort_by_key(|ending| ending.lease.issued_at);
    (found, hidden)
}

/// Whether we are the post step of our own action.
#[must_use]
pub fn is_post(env: &Env) -> bool {
    env.is_true("GITHUB_ACTIONS") && action::phase(env) == Some(Phase::Post)
}

/// Whether this is a post step whose main step never came to the point where a lease is saved.
#[must_use]
pub fn is_post_of_nothing(env: &Env) -> bool {
    is_post(env) && env.get("STATE_lease").is_none()
}

/// The settings by which the main step of a post step has found its API server, as far as its state says them.
#[must_use]
pub fn connection_of_main(env: &Env) -> Option<Vec<String>> {
    Lease::parse(env.get("STATE_lease")?).ok()?.connection
}

/// GitHub's post: the state is the runner's word, a file is not, as any step of the job could have written it.
fn from_state(options: &Options, env: &Env, user: u32) -> Result<Option<Ending>, Failure> {
    let Some(state) = env.get("STATE_lease") else { return Ok(None) };
    let lease = Lease::parse(state).map_err(|failure| failure.within("cannot use the state of this step"))?;
    let base = Platform::Github.base(env, options.text(&o::DIR), user).ok();
    let place = base.map(|base| Place::of(&base, &lease.name));
    Ok(Some(Ending { lease, named: Named::State, word: Word::Ours, known: true, place, token: None }))
}

/// A plain shell: the pass that the shell has, else the only one there is.
fn one_of(mut found: Found, env: &Env) -> Result<Found, Failure> {
    if let Some((namespace, name)) = env.get("JOBPASS_LEASE").and_then(named) {
        let is_meant = |ending: &Ending| ending.lease.name == name && ending.lease.service_account.namespace == namespace;
        let ending = match found.endings.iter().position(is_meant) {
            Some(at) => Some(found.endings.swap_remove(at)),
            // Requested with a `--dir` of its own.
            None => env
                .path("JOBPASS_TOKEN_FILE")
                .and_then(|path| Place::around(&path, place::TOKEN, name, None))
                .map(known)
                .transpose()?
                .flatten()
                .filter(is_meant),
        };
        return Ok(Found { endings: ending.into_iter().collect(), unknown: Vec::new(), ..found });
    }
    let endings = &found.endings;
    if endings.len() < 2 {
        return Ok(found);
    }
    let failure = Failure::usage("there are several passes here").hint("name one by `--lease`, or end them all by `--all`");
    Err(endings.iter().fold(failure, |failure, ending| {
        let until = ending.lease.ends().map(|end| format!(", until {end}")).unwrap_or_default();
        failure.cause(format!("`{}` for service account `{}`{until}", ending.lease.id(), ending.lease.service_account))
    }))
}

/// The lease in a file that was named. A file that is not there is a pass that is over.
fn from_file(path: &Path, piped: Option<Secret>, base: Option<Base>) -> Result<Option<Ending>, Failure> {
    let what = format!("cannot use the lease file `{}`", path.display());
    if let Some(text) = piped {
        let lease = Lease::parse(text.expose()).map_err(|failure| failure.within(&what))?;
        let place = base.map(|base| Place::of(&base, &lease.name));
        return Ok(Some(Ending { lease, named: Named::File, word: Word::Ours, known: true, place, token: None }));
    }
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Ok(None);
    }
    let text = place::read_named(path).map_err(|error| Failure::usage(&what).cause(error))?;
    let lease = Lease::parse(&text).map_err(|failure| failure.within(&what))?;
    let place = Place::around(path, place::LEASE, &lease.name, base.and_then(|base| base.apart));
    Ok(Some(Ending { lease, named: Named::File, word: Word::Ours, known: true, place, token: None }))
}

/// A lease of which only the name is known, completed by its file if that is here.
fn of_name(base: Option<&Base>, namespace: &str, name: &str, named: Named) -> Ending {
    let place = base.map(|base| Place::of(base, name));
    let here = place.as_ref().and_then(|place| place.read(place::LEASE).ok()?).and_then(|text| Lease::parse(&text).ok());
    let is_meant = |lease: &Lease| lease.name == name && lease.service_account.namespace == namespace;
    // The files of a pass of another namespace are that one's.
    let place = if here.as_ref().is_none_or(is_meant) { place } else { None };
    if let Some(lease) = here.filter(is_meant) {
        return Ending { lease, named, word: Word::Ours, known: true, place, token: None };
    }
    let lease = Lease {
        api_version: API_VERSION.into(),
        kind: "Lease".into(),
        name: name.to_owned(),
        service_account: ServiceAccount { namespace: namespace.to_owned(), name: String::new() },
        server: String::new(),
        uid: None,
        // Nothing is known of its times, and nothing said.
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH,
        times: Times::Ours,
        token_expires_at: None,
        jti: None,
        token_sha256: None,
        platform: String::new(),
        job_key: None,
        job: None,
        identity: Origin::Bearer { token_file: None },
        place: String::new(),
        kubeconfig_out: None,
        connection: None,
        way: None,
        seal: None,
    };
    Ending { lease, named, word: Word::Ours, known: false, place, token: None }
}

/// The pass whose lease is in a place; none where there is no lease.
fn known(place: Place) -> Result<Option<Ending>, Failure> {
    if !place.exists()? {
        return Ok(None);
    }
    let Some(text) = place.read(place::LEASE)? else {
        place.clear_abandoned();
        return Ok(None);
    };
    let lease = Lease::parse(&text).map_err(|failure| failure.within(format!("cannot use the lease in `{place}`")))?;
    if !place.path().ends_with(&lease.name) {
        return Err(Failure::new(format!("cannot use the lease in `{place}`")).cause("it is the lease of another place"));
    }
    Ok(Some(Ending { lease, named: Named::File, word: Word::Ours, known: true, place: Some(place), token: None }))
}

fn named(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(namespace, name)| is_label(namespace) && is_name(name))
}
