//! jobpass: a pass for one job.
//!
//! It requests a short-lived token for a named Kubernetes or OpenShift service account, hands it to a CI job as a masked variable
//! and a kubeconfig, and revokes it when the job ends, with proof.
//!
//! # The one mechanism
//!
//! A token of the `TokenRequest` API can only be revoked by deleting the object that it is bound to. So every pass has a *lease*:
//! an empty Secret whose deletion ends every token of the pass. The lease is saved before it is created, so that a pass can be
//! ended whenever the job is killed.
//!
//! # The way of the data
//!
//! [`mod@env`] (the environment, once) → [`platform`] (which CI system, pure) → [`out`] (the only way out) → [`options`] (every setting,
//! one precedence) → [`spec`] (what is asked for, validated) → [`identity`] (as whom) → [`cluster`] (the only network) →
//! [`pass`] (the order of [`lease`], cluster and [`place`]) → [`export`] (mask, files, variables) → [`receipt`].
//!
//! A module uses only what stands to its left, and [`secret`], [`out`] and [`failure`].

use std::{
    ffi::OsString,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use jiff::Timestamp;

use crate::{
    cli::{Cli, Verb},
    env::Env,
    export::Export,
    failure::Failure,
    identity::Identity,
    options::{self as o, Flags, Options},
    out::{Out, Talk, instant},
    pass::{Ended, Ending, Pass, Plan, Terms},
    place::Place,
    platform::Platform,
    receipt::Proof,
    spec::TokenSpec,
};

pub mod cli;
pub mod cluster;
pub mod env;
pub mod export;
pub mod failure;
pub mod identity;
pub mod jwt;
pub mod kubeconfig;
pub mod lease;
pub mod name;
pub mod options;
pub mod out;
pub mod pass;
pub mod place;
pub mod platform;
pub mod receipt;
pub mod secret;
pub mod signals;
pub mod spec;
pub mod targets;

/// Bounds of `--timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// What `revoke` says where there is no pass.
const NOTHING: &str = "nothing to revoke";

/// How long `request` may take.
const REQUEST: Duration = Duration::from_secs(30);

/// How long `revoke` may take with its probe: GitHub's posts share less than five minutes.
const REVOKE: Duration = Duration::from_secs(10);

/// How long `revoke` takes at least for each of several passes.
const LEAST: Duration = Duration::from_secs(2);

/// How long `revoke --wait-dead` may take: more than the API server's cache and its own clock.
const WAIT_DEAD: Duration = Duration::from_secs(25);

/// Runs one verb and says how the process ends.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let env = Env::of_process();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, &early(&env, false)),
    };
    let flags = match &cli.verb {
        Verb::Request(args) => serde_json::to_value(args),
        Verb::Revoke(args) => serde_json::to_value(args),
    };
    let flags: Flags = flags.ok().and_then(|flags| serde_json::from_value(flags).ok()).unwrap_or_default();
    if matches!(cli.verb, Verb::Revoke(_)) && targets::is_post_of_nothing(&env) {
        // Before any input is looked at: a main step that failed on one must not fail its post step too.
        early(&env, is_json(&flags, &env)).say(NOTHING);
        return ExitCode::SUCCESS;
    }
    let json = is_json(&flags, &env);
    let (job, out) = match Job::of(&flags, &env, json) {
        Ok(job) => job,
        Err(failure) => {
            early(&env, json).say(failure.to_string());
            return ExitCode::from(failure.exit().code());
        }
    };
    let done = match cli.verb {
        Verb::Request(_) => Box::pin(job.request(&out)).await.map(|()| ExitCode::SUCCESS),
        Verb::Revoke(_) => Box::pin(job.revoke(&out)).await,
    };
    done.unwrap_or_else(|failure| {
        out.say(failure.to_string());
        ExitCode::from(failure.exit().code())
    })
}

/// The way out before it is known which platform this is.
fn early(env: &Env, json: bool) -> Out {
    Out::new(if env.is_true("GITHUB_ACTIONS") { Platform::Github.talk(json) } else { Talk::Stderr })
}

/// Whether stdout is to be JSON, as far as can be told before the settings are checked.
fn is_json(flags: &Flags, env: &Env) -> bool {
    Options::resolve(flags, env).is_ok_and(|options| options.text(&o::OUTPUT) == Some("json"))
}

/// The job that we run in, as all verbs see it.
struct Job {
    options: Options,
    env: Env,
    platform: Platform,
    json: bool,
    /// Whether this is the post step of our action: then nothing but the revocation itself may fail.
    post: bool,
    user: u32,
}

impl Job {
    fn of(flags: &Flags, env: &Env, json: bool) -> Result<(Self, Out), Failure> {
        let options = Options::resolve(flags, env)?;
        let post = targets::is_post(env);
        let platform = if post { Platform::Github } else { Platform::detect(&options, env, in_tekton)? };
        if let Some(given) = options.get(&o::OUTPUT).filter(|given| !post && !matches!(given.text.as_str(), "text" | "json")) {
            return Err(Failure::usage(format!("{} is neither `text` nor `json`", given.source)));
        }
        let out = Out::new(platform.talk(json));
        Ok((Self { options, env: env.clone(), platform, json, post, user: rustix::process::geteuid().as_raw() }, out))
    }

    /// Validate, find out who asks, begin, hand over; undone if the hand-over fails.
    async fn request(&self, out: &Out) -> Result<(), Failure> {
        let Self { options, env, platform, json, .. } = self;
        let export = Export { platform: *platform, env, out, json: *json };
        let spec = TokenSpec::of(options, *platform, env)?;
        let timeout = options.duration(&o::TIMEOUT, TIMEOUT)?.unwrap_or(REQUEST);
        if env.get("JOBPASS_ACTION") == Some("main") {
            self.check_post()?;
        }
        let base = platform.base(env, options.text(&o::DIR), self.user)?;
        if let Some(given) = options.get(&o::DIR) {
            spec::outside_workspace(&base.path, given, *platform, env)?;
        }
        let job_key = platform.job_key(env, options.text(&o::JOB_KEY))?;
        export.check()?;
        let identity = Identity::find(options, env, *platform, None)?;
        meet(out, &identity);
        let name = lease::name(*platform, job_key.as_deref(), &spec.service_account);
        let place = Place::of(&base, &name);
        let lease = lease::begin(name, &spec, &identity, *platform, job_key, &place);
        let save = |lease: &lease::Lease| export.save(lease);
        let forget = || export.forget();
        let mask = |token: &secret::Secret| export.mask(token);
        let plan = Plan { spec: &spec, env, platform: *platform, lease, place, timeout, save: &save, forget: &forget, mask: &mask };
        let pass = Box::pin(Pass::begin(plan, identity)).await?;
        match export.hand_over(&pass, &spec) {
            Ok(()) => Ok(()),
            Err(failure) => Err(pass.undo(*platform, failure, &forget).await),
        }
    }

    /// The inputs of our action that only its post step uses: refused in the main step, where a refusal loses nothing.
    fn check_post(&self) -> Result<(), Failure> {
        self.options.switch(&o::STRICT)?;
        if self.options.switch(&o::WAIT_DEAD)? {
            let what = "`wait-dead` takes longer than a post step of GitHub has";
            return Err(Failure::usage(what).hint("leave it out, or revoke in a step of its own"));
        }
        Ok(())
    }

    /// A switch of `revoke`. In a post step it comes from inputs that may have changed since the main step: the pass is ended anyway.
    fn switch(&self, out: &Out, setting: &o::Setting) -> Result<bool, Failure> {
        match self.options.switch(setting) {
            Err(failure) if self.post => {
                out.warn(failure.brief());
                Ok(false)
            }
            switch => switch,
        }
    }

    /// Find the passes, end each, print the receipts. On CI a job does not fail for a pass that ends by itself soon.
    async fn revoke(&self, out: &Out) -> Result<ExitCode, Failure> {
        let Self { options, env, platform, post, .. } = self;
        // First of all: where there is nothing to revoke, nothing else needs to be right.
        let found = targets::find(options, env, *platform, self.user)?;
        if found.is_empty() {
            out.say(NOTHING);
            return Ok(ExitCode::SUCCESS);
        }
        let strict = self.switch(out, &o::STRICT)? || !platform.tolerates_failed_revocation();
        let mut wait_dead = self.switch(out, &o::WAIT_DEAD)?;
        if *post && wait_dead {
            out.warn("`wait-dead` takes longer than a post step of GitHub has: the receipt says how far the revocation is proved");
            wait_dead = false;
        }
        let timeout = match options.duration(&o::TIMEOUT, TIMEOUT) {
            Err(failure) if *post => {
                out.warn(failure.brief());
                None
            }
            timeout => timeout?,
        };
        let timeout = timeout.unwrap_or(if wait_dead { WAIT_DEAD } else { REVOKE });
        for unknown in &found.unknown {
            out.warn(format!("a pass may be left alive: {}", unknown.brief()));
            if let Some(hint) = unknown.advice() {
                out.say(format!("hint: {hint}"));
            }
        }
        let work = async {
            let end = Instant::now() + timeout;
            let mut failed = None;
            for ending in &found.endings {
                // The time is for all of them together, with a little for each that comes late.
                let left = end.saturating_duration_since(Instant::now()).max(LEAST);
                failed = self.end(out, ending, Terms { timeout: left, wait_dead }).await.or(failed);
            }
            failed
        };
        // The signal that ends the job comes while it is being cleaned up: the pass is ended all the same.
        let failed = tokio::select! {
            failed = work => failed,
            signal = signals::repeated(|signal| out.say(format!("{signal}: revoking first"))) => {
                return Err(Failure::new("cannot revoke the pass").cause(format!("interrupted by {signal} once more")));
            }
        };
        match failed.or_else(|| found.unknown.into_iter().next()) {
            Some(failure) if strict => Err(failure),
            Some(_) | None => Ok(ExitCode::SUCCESS),
        }
    }

    /// Ends one pass and tells what became of it. Whatever fails here is returned, so that the next one still gets its turn.
    async fn end(&self, out: &Out, ending: &Ending, terms: Terms) -> Option<Failure> {
        let Self { options, env, platform, json, .. } = self;
        let export = Export { platform: *platform, env, out, json: *json };
        let remembered = ending.known.then_some(&ending.lease.identity);
        let identity = Identity::find(options, env, *platform, remembered);
        if let Ok(identity) = &identity {
            meet(out, identity);
        }
        let Ended { receipt, mut failure, leftover } = ending.end(identity, env, terms).await;
        let whose =
            if receipt.service_account.is_empty() { String::new() } else { format!(" of service account `{}`", receipt.service_account) };
        match &receipt.proof {
            Proof::Failed { reason, until } => {
                let left = until.duration_since(Timestamp::now()).as_mins().max(0);
                out.warn(format!("the pass{whose} is not revoked: {reason}"));
                if ending.known {
                    out.warn(format!("its token stays valid until {} ({left} min); the lease is `{}`", instant(*until), receipt.lease));
                }
                if let Some(hint) = failure.as_ref().and_then(Failure::advice) {
                    out.say(format!("hint: {hint}"));
                }
            }
            proof => out.say(format!("revoked the pass{whose}, lease `{}`\n  {proof}", receipt.lease)),
        }
        if let Some(leftover) = leftover {
            out.warn(leftover.brief());
        }
        export.summarise(&receipt);
        let mut written = Ok(());
        if let Some(given) = options.get(&o::RECEIPT) {
            written = place::append(&env.absolute(given.text.as_ref()), &(receipt.json() + "\n"));
        }
        if *json {
            written = written.and(out.data(&receipt.json()));
        }
        if let Err(unwritten) = written {
            out.warn(unwritten.brief());
            failure = failure.or(Some(unwritten));
        }
        failure
    }
}

/// Keeps what the identity holds out of everything that is said from now on. The loud part of the opt-in is here too.
fn meet(out: &Out, identity: &Identity) {
    for secret in identity.secrets() {
        out.hide(&secret);
    }
    if identity.cluster.insecure_skip_tls_verify == Some(true) {
        let server = identity.server();
        out.warn(format!("the certificate of `{server}` is not checked: whoever answers there gets the CI identity's credential"));
    }
}

/// Tekton gives a step no variable; its entrypoint is process 1.
fn in_tekton() -> bool {
    let first = place::read_named("/proc/1/comm".as_ref()).is_ok_and(|name| name.trim() == "entrypoint");
    first && std::path::Path::new(platform::tekton::ENTRYPOINT).exists()
}

/// Says what is wrong with the command line, without repeating a value: it may be a secret that was put in the wrong place.
fn refused(error: &clap::Error, out: &Out) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render().to_string();
            return out.data(text.trim_end()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            out.say(error.render().to_string());
            return ExitCode::from(2);
        }
        _ => {}
    }
    let flag = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) if text.starts_with('-') => text.split(['=', ' ']).next().map(str::to_owned),
        _ => None,
    };
    let what = match (error.kind(), flag(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(flag)) => format!("there is no flag `{flag}` here"),
        (ErrorKind::UnknownArgument, None) => "there is an argument that belongs to no flag".to_owned(),
        (ErrorKind::ArgumentConflict, Some(flag)) => format!("`{flag}` is given more than once"),
        (ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand, _) => {
            let verbs: Vec<_> = Cli::command().get_subcommands().map(|verb| format!("`{}`", verb.get_name())).collect();
            format!("the verb is none of {}", verbs.join(", "))
        }
        (ErrorKind::TooManyValues, Some(flag)) => format!("`{flag}` takes no value"),
        (_, Some(flag)) => format!("`{flag}` needs a value"),
        (_, None) => "the command line cannot be read".to_owned(),
    };
    let hint = match flag(ContextKind::SuggestedArg) {
        Some(flag) => format!("did you mean `{flag}`? `jobpass --help` shows them all"),
        None => "run `jobpass --help`".to_owned(),
    };
    let failure = Failure::usage(what).hint(hint);
    out.say(failure.to_string());
    ExitCode::from(failure.exit().code())
}
