//! What the verbs share: beginning a pass, and telling the user about passes and settings.

use std::{path::Path, time::Duration};

use jobpass_scrub::SHORTEST_VALUE;

use crate::{
    action,
    context::Context,
    failure::{Code, Failure},
    files::{self, Accepts, lies_in},
    identity::{Identity, Purpose, issuer::When, openshift},
    lease::{self, seal::Seal},
    net::Way,
    options::{self as o, Setting},
    out::{Out, one_line},
    pass::{Observer, Pass, Plan},
    platform::github,
    registry_auth,
    shown::Kind,
    signals::Signals,
    spec::{self, Registry, TokenSpec},
    store::{self, Store},
};

pub mod current;
pub mod held;
pub mod identity;
pub mod pipes;
pub mod telling;

/// How long beginning a pass may take.
pub const REQUEST: Duration = Duration::from_secs(30);

/// How long ending a pass may take, its probe included: all post steps of a GitHub job share less than five minutes.
pub const REVOKE: Duration = Duration::from_secs(10);

/// Begins a pass, for `request` and `run`: finds the CI identity, saves the lease, creates it, requests the token.
///
/// # Errors
/// When there is no pass; then nothing of it is left, or the error says until when something may live.
pub async fn begin(
    context: &Context,
    spec: &TokenSpec,
    observer: &dyn Observer,
    signals: &mut Signals,
    out: &Out,
) -> Result<Pass, Failure> {
    let timeout = context.timeout()?.unwrap_or(REQUEST);
    for setting in [&o::JOB_KEY, &o::DIR, &o::KUBECONFIG_OUT, &o::REGISTRY_AUTH] {
        refuse_secret(context, setting)?;
    }
    let mut base = context.base.clone()?;
    let in_workspace = base.memory.take_if(|memory| context.is_in_workspace(memory));
    spec::base_outside_workspace(&base.path, context)?;
    let job_key = context.job_key.clone()?;
    pipes::read(context, &pipes::IDENTITY, timeout, Some(signals)).await?;
    let (mut identity, _) = Identity::find(context, Purpose::Begin)?;
    identity.way = Way::of(&identity.address(), &context.env)?;
    meet(out, &identity);
    if let Some(warning) = openshift::warning(&identity) {
        out.warn(warning);
    }
    if identity.is_worth_a_line(context) {
        out.say(format!("the CI identity is {}", one_line(&identity.why)));
    }
    let seal = Seal::of(context);
    let name = lease::name(context.platform, &seal, job_key.as_deref(), &spec.service_account);
    let store = Store::of(&base, &name);
    if let Some(memory) = in_workspace.filter(|_| spec.lifetime.is_some() && spec.file_mode & 0o040 == 0) {
        out.warn(format!(
            "there is no directory in memory that is this user's alone, as `{}` lies in the workspace: the token's files are in `{store}`",
            memory.display()
        ));
    }
    if let Some(path) = &spec.kubeconfig_out {
        refuse_in_the_way(context, &o::KUBECONFIG_OUT, path, &store)?;
    }
    if let Some(Registry { path, .. }) = &spec.registry {
        refuse_in_the_way(context, &o::REGISTRY_AUTH, path, &store)?;
        files::check_user_file(path, registry_auth::is_of_passes)?;
    }
    if spec.lifetime.is_some() {
        spare(context, &store, spec, &name)?;
    }
    if action::is_debugged(&context.env) {
        let text = format!(
            "asking {} for a token of `{}`, as {}, within {} s\nthe pass is kept in {store}",
            identity.server(),
            spec.service_account,
            identity.why,
            timeout.as_secs()
        );
        out.say_as(text, |text| github::annotation("debug", text));
    }
    let lease = lease::begin(name, spec, &identity, context, &store);
    let timeout = context.left_of(timeout);
    let plan = Plan { spec, context, lease, seal, store, timeout, observer, signals, out };
    let kept = identity.clone();
    let begun = Box::pin(Pass::begin(plan, identity)).await;
    // What was issued for the lease is not needed beside it: the end of the pass asks for it anew.
    let said = Box::pin(kept.give_back(When::Unneeded)).await;
    let is_given_back = !said.is_empty();
    telling::tell_returned(out, said);
    let mut pass = begun?;
    if is_given_back && let Err(failure) = pass.given_back() {
        out.warn_aside(format!("the lease file still names a token that is revoked: {}", failure.brief()));
    }
    Ok(pass)
}

/// Refuses a file that a setting names inside the store of the pass, or above it.
fn refuse_in_the_way(context: &Context, setting: &Setting, path: &Path, store: &Store) -> Result<(), Failure> {
    if !lies_in(&store.path(), path) && !lies_in(path, &store.path()) {
        return Ok(());
    }
    let what = context.options.named(setting);
    Err(Failure::new(Code::UsagePlace, format!("{what} lies in the way of the pass's own directory `{store}`"))
        .hint("name another path: the files in that directory have names of their own"))
}

/// Refuses to begin a pass with the lease of one that the job's script still uses: it would end that pass to run one command.
fn spare(context: &Context, store: &Store, spec: &TokenSpec, name: &str) -> Result<(), Failure> {
    let used = current::token_files(context);
    if !store.files(store::TOKEN).any(|token| token.exists() && used.contains(&token)) {
        return Ok(());
    }
    let account = &spec.service_account;
    Err(Failure::new(Code::PassSecond, format!("this job uses a pass for service account `{account}` already"))
        .cause(format!("a second one would end it, as both have the lease `{}/{name}`", account.namespace))
        .hint("run the command without `jobpass run`, or give this one a `--job-key`"))
}

/// Refuses a setting that holds a credential by mistake, where its value would be written to the lease.
fn refuse_secret(context: &Context, setting: &Setting) -> Result<(), Failure> {
    let Some(given) = context.options.get(setting) else { return Ok(()) };
    match Kind::of(&given.text).filter(|kind| kind.is_surely_secret()) {
        Some(kind) => {
            Err(Failure::new(Code::UsageSecret, format!("{} is none: it is {kind}", given.source)).hint("check which variable holds what"))
        }
        None => Ok(()),
    }
}

/// From now on hides the identity's secrets in all messages. Also warns if the server's certificate is not checked.
pub fn meet(out: &Out, identity: &Identity) {
    for secret in identity.secrets() {
        out.hide(&secret);
    }
    if identity.cluster.insecure_skip_tls_verify == Some(true) {
        let server = identity.server();
        out.warn(format!("the certificate of `{server}` is not checked: whoever answers there gets the CI identity's credential"));
    }
}

/// Warns of variables that look like mistyped settings, so that the user notices when the job begins.
pub fn warn_of_unknown(context: &Context, out: &Out) {
    for warning in o::unknown::warnings(&context.env) {
        out.warn(warning);
    }
}

/// Hides the values of `--scrub-env` in our own messages, too.
pub fn hide_values(context: &Context, out: &Out) {
    let values = context.options.list(&o::SCRUB_ENV).into_iter().filter_map(|name| context.env.secret(name));
    values.filter(|value| value.size() >= SHORTEST_VALUE).for_each(|value| out.hide(&value));
}

/// Checks that the receipt's file can be written, before there is a pass.
///
/// # Errors
/// When the receipt cannot be written there.
pub fn check_receipt(context: &Context) -> Result<(), Failure> {
    let Some(given) = context.options.get(&o::RECEIPT) else { return Ok(()) };
    let checked = files::check_append(&context.env.absolute(given.text.as_ref()), Accepts::Stream);
    checked.map_err(|failure| failure.within(format!("{} names no file that takes the receipt", given.source)))
}

/// The signal handlers, or a failure: without them a process cannot promise to end the pass that it begins.
///
/// # Errors
/// When the system did not let us register them.
pub fn heard(signals: Option<Signals>) -> Result<Signals, Failure> {
    signals.ok_or_else(|| Failure::new(Code::SystemSignals, "cannot take the signals of this process over"))
}
