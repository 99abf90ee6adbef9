//! Which passes `revoke` means: the job's own, the one that is named, or all that this user left on this machine.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{
    env::Env,
    failure::Failure,
    identity::Origin,
    lease::{self, API_VERSION, Lease},
    options::{self as o, Options, Source},
    pass::Ending,
    place::{self, Place},
    platform::{Base, Platform},
    spec::{self, ServiceAccount, is_label},
};

/// Finds the passes that are to end. None is no error.
///
/// # Errors
/// When what was named is no lease, or it is not clear which one is meant.
pub fn find(options: &Options, env: &Env, platform: Platform, user: u32) -> Result<Vec<Ending>, Failure> {
    // The env file of a pass exports JOBPASS_LEASE, so that the variable says which pass the shell has, not what was asked for.
    let asked = options.get(&o::LEASE).filter(|given| !matches!(given.source, Source::Variable(_)));
    if asked.is_some() {
        options.exclusive(&o::LEASE, &o::LEASE_FILE)?;
        options.exclusive(&o::LEASE, &o::ALL_LEASES)?;
    }
    options.exclusive(&o::LEASE_FILE, &o::ALL_LEASES)?;
    // Looked at in any case: a name that is wrong must not pass because there happens to be nothing to revoke.
    let account = spec::service_account(options)?;
    if let Some(given) = options.get(&o::LEASE_FILE) {
        return from_file(&env.absolute(given.text.as_ref())).map(|ending| ending.into_iter().collect());
    }
    if platform == Platform::Github && env.get("JOBPASS_ACTION") == Some("post") {
        return from_state(options, env, user);
    }
    let base = || platform.base(env, options.text(&o::DIR), user);
    if let Some(given) = asked {
        let (namespace, name) = named(&given.text).ok_or_else(|| {
            Failure::usage(format!("{} names no lease of jobpass", given.source)).hint("write it as `request` said it: NAMESPACE/jobpass-…")
        })?;
        return Ok(vec![of_name(base().ok().as_ref(), namespace, name)]);
    }
    let here = || base().map(|base| place::list(&base).into_iter().filter_map(known).collect::<Vec<_>>());
    if options.switch(&o::ALL_LEASES)? {
        return here();
    }
    let mut endings = match platform {
        Platform::Local => return one_of(here()?, env),
        Platform::Github | Platform::Gitlab | Platform::Tekton => here()?,
    };
    let job_key = platform.job_key(env, options.text(&o::JOB_KEY))?;
    endings.retain(|ending| ending.lease.job_key == job_key);
    if let (Some(account), Some(key), true) = (account, &job_key, platform.derives_names()) {
        let name = lease::name(platform, Some(key), &account);
        if !endings.iter().any(|ending| ending.lease.name == name) {
            endings.push(of_name(base().ok().as_ref(), &account.namespace, &name));
        }
    }
    Ok(endings)
}

/// Whether this is a post step whose main step never came to the point where a lease is saved.
#[must_use]
pub fn is_post_of_nothing(env: &Env) -> bool {
    env.is_true("GITHUB_ACTIONS") && env.get("JOBPASS_ACTION") == Some("post") && env.get("STATE_lease").is_none()
}

/// GitHub's post: the state is the runner's word, a file is not, as any step of the job could have written it.
fn from_state(options: &Options, env: &Env, user: u32) -> Result<Vec<Ending>, Failure> {
    let Some(state) = env.get("STATE_lease") else { return Ok(Vec::new()) };
    let lease = Lease::parse(state).map_err(|failure| failure.within("cannot use the state of this step"))?;
    let base = Platform::Github.base(env, options.text(&o::DIR), user).ok();
    let place = base.map(|base| Place::of(&base, &lease.name));
    Ok(vec![Ending { lease, known: true, place }])
}

/// A plain shell: the pass that the shell has, else the only one there is.
fn one_of(mut endings: Vec<Ending>, env: &Env) -> Result<Vec<Ending>, Failure> {
    if let Some((namespace, name)) = env.get("JOBPASS_LEASE").and_then(named) {
        let at = endings.iter().position(|ending| ending.lease.name == name && ending.lease.service_account.namespace == namespace);
        return Ok(at.map(|at| endings.swap_remove(at)).into_iter().collect());
    }
    if endings.len() < 2 {
        return Ok(endings);
    }
    let failure = Failure::usage("there are several passes here").hint("name one by `--lease`, or end them all by `--all`");
    Err(endings.iter().fold(failure, |failure, ending| {
        failure.cause(format!(
            "`{}` for service account `{}`, until {}",
            ending.lease.id(),
            ending.lease.service_account,
            ending.lease.expires_at.round(jiff::Unit::Second).unwrap_or(ending.lease.expires_at)
        ))
    }))
}

/// The lease in a file that was named. A file that is not there is a pass that is over.
fn from_file(path: &Path) -> Result<Option<Ending>, Failure> {
    let what = format!("cannot use the lease file `{}`", path.display());
    if !path.exists() {
        return Ok(None);
    }
    let text = place::read_named(path).map_err(|error| Failure::usage(&what).cause(error))?;
    let lease = Lease::parse(&text).map_err(|failure| failure.within(&what))?;
    // Its directory is a place of ours only if it looks like one.
    let mut parents = path.ancestors().skip(1);
    let directory = parents.next().and_then(Path::file_name).is_some_and(|name| *name == *lease.name);
    let base = parents.nth(1).filter(|_| directory && path.ends_with(PathBuf::from("jobpass").join(&lease.name).join(place::LEASE)));
    let place = base.map(|base| Place::of(&Base { path: base.to_owned(), in_memory: false, private: false }, &lease.name));
    Ok(Some(Ending { lease, known: true, place }))
}

/// A lease of which only the name is known, completed by its file if that is here.
fn of_name(base: Option<&Base>, namespace: &str, name: &str) -> Ending {
    let place = base.map(|base| Place::of(base, name));
    let here = place.as_ref().and_then(|place| place.read(place::LEASE).ok()?).and_then(|text| Lease::parse(&text).ok());
    if let Some(lease) = here.filter(|lease| lease.name == name && lease.service_account.namespace == namespace) {
        return Ending { lease, known: true, place };
    }
    let lease = Lease {
        api_version: API_VERSION.into(),
        kind: "Lease".into(),
        name: name.to_owned(),
        service_account: ServiceAccount { namespace: namespace.to_owned(), name: String::new() },
        server: String::new(),
        uid: None,
        issued_at: Timestamp::now(),
        // Nothing else is known of it than that no token of ours lives longer.
        expires_at: Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX),
        jti: None,
        token_sha256: None,
        platform: String::new(),
        job_key: None,
        identity: Origin::Bearer { token_file: None },
        place: String::new(),
        kubeconfig_out: None,
    };
    Ending { lease, known: false, place }
}

/// The pass whose lease is in a place.
fn known(place: Place) -> Option<Ending> {
    let lease = Lease::parse(&place.read(place::LEASE).ok()??).ok()?;
    place.path().ends_with(&lease.name).then_some(Ending { lease, known: true, place: Some(place) })
}

fn named(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(namespace, name)| is_label(namespace) && lease::is_name(name))
}
