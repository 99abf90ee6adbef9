//! What the verbs share: who asks, how a pass begins, and how it is told what became of one.

use std::{path::Path, time::Duration};

use jobpass_scrub::SHORTEST_VALUE;

use crate::{
    action,
    context::Context,
    failure::{Code, Failure},
    files::{self, Accepts, lies_in},
    identity::{Identity, Purpose},
    lease::{self, seal::Seal},
    net::Way,
    options::{self as o, Setting},
    out::Out,
    pass::{Observer, Pass, Plan},
    platform::github,
    shown::Kind,
    signals::Signals,
    spec::{self, TokenSpec},
    store::{self, Store},
};

pub mod current;
pub mod identity;
pub mod pipes;
pub mod telling;

/// How long beginning a pass may take.
pub const REQUEST: Duration = Duration::from_secs(30);

/// How long ending one may take with its probe: GitHub's posts share less than five minutes.
pub const REVOKE: Duration = Duration::from_secs(10);

/// Find out who asks, save, create, request: what `request` and `run` share.
///
/// # Errors
/// When there is no pass; then nothing is left of it either, or the error says until when.
pub async fn begin(
    context: &Context,
    spec: &TokenSpec,
    observer: &dyn Observer,
    signals: &mut Signals,
    out: &Out,
) -> Result<Pass, Failure> {
    let timeout = context.timeout()?.unwrap_or(REQUEST);
    for setting in [&o::JOB_KEY, &o::DIR, &o::KUBECONFIG_OUT] {
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
        refuse_in_the_way(context, path, &store)?;
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
    Box::pin(Pass::begin(plan, identity)).await
}

/// Refuses a kubeconfig where the pass has its own files.
fn refuse_in_the_way(context: &Context, path: &Path, store: &Store) -> Result<(), Failure> {
    if !lies_in(&store.path(), path) && !lies_in(path, &store.path()) {
        return Ok(());
    }
    let what = context.options.get(&o::KUBECONFIG_OUT).map(|given| given.source.to_string()).unwrap_or_default();
    Err(Failure::new(Code::UsagePlace, format!("{what} lies in the way of the pass's own directory `{store}`"))
        .hint("name another path, or leave it out: the directory has a kubeconfig of its own"))
}

/// Refuses to end the pass that the rest of the job's script still uses, only to run one command under another one.
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

/// Refuses a credential in the place of what ends up in the lease.
fn refuse_secret(context: &Context, setting: &Setting) -> Result<(), Failure> {
    let Some(given) = context.options.get(setting) else { return Ok(()) };
    match Kind::of(&given.text).filter(|kind| kind.is_surely_secret()) {
        Some(kind) => {
            Err(Failure::new(Code::UsageSecret, format!("{} is none: it is {kind}", given.source)).hint("check which variable holds what"))
        }
        None => Ok(()),
    }
}

/// Keeps what the identity holds out of everything that is said from now on. The loud part of the opt-in is here too.
pub fn meet(out: &Out, identity: &Identity) {
    for secret in identity.secrets() {
        out.hide(&secret);
    }
    if identity.cluster.insecure_skip_tls_verify == Some(true) {
        let server = identity.server();
        out.warn(format!("the certificate of `{server}` is not checked: whoever answers there gets the CI identity's credential"));
    }
}

/// Whoever has mistyped the name of a variable learns of it where the job begins.
pub fn warn_of_unknown(context: &Context, out: &Out) {
    for warning in o::unknown::warnings(&context.env) {
        out.warn(warning);
    }
}

/// What is hidden in the output of others is not said by ourselves either.
pub fn hide_values(context: &Context, out: &Out) {
    let values = context.options.list(&o::SCRUB_ENV).into_iter().filter_map(|name| context.env.secret(name));
    values.filter(|value| value.size() >= SHORTEST_VALUE).for_each(|value| out.hide(&value));
}

/// Refuses a file for the receipt that takes none, before there is anything to tell of.
///
/// # Errors
/// When it takes none.
pub fn check_receipt(context: &Context) -> Result<(), Failure> {
    let Some(given) = context.options.get(&o::RECEIPT) else { return Ok(()) };
    let checked = files::check_append(&context.env.absolute(given.text.as_ref()), Accepts::Stream);
    checked.map_err(|failure| failure.within(format!("{} names no file that takes the receipt", given.source)))
}

/// Without its signals a process cannot promise to end what it has begun.
///
/// # Errors
/// When the system does not let us hear them.
pub fn heard(signals: Option<Signals>) -> Result<Signals, Failure> {
    signals.ok_or_else(|| Failure::new(Code::SystemSignals, "cannot take the signals of this process over"))
}
