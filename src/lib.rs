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
//! # The rooms
//!
//! Each room (a module of this crate) uses only rooms that stand above it in this list, and those that all of them may use:
//! `secret`, `shown` (what a message may repeat), `out` (stdout and stderr) and `failure`. `tests/cli/architecture.rs` reads this
//! list.
//!
//! - `limits`: the system's limits for this process, checked before a pass is begun.
//! - `env`: the process environment, read once.
//! - `action`: our GitHub action, and those of its inputs that are no settings.
//! - `name`: the form of a lease's name.
//! - `jwt`: reads the claims of a token, for messages and to see for whom it is.
//! - `options`: every setting, declared once and resolved by one precedence.
//! - `platform`: the CI systems, one file each; pure.
//! - `files`: the only door to files, our own and those of others.
//! - `store`: the private directory of a pass.
//! - `processes`: what the kernel says about the processes around us.
//! - `context`: where we run, resolved once for every verb.
//! - `origin`: where a CI identity was found, as a lease remembers it.
//! - `kubeconfig_text`: the text of a kubeconfig, read as kubectl reads it.
//! - `pass_extension`: the mark by which the kubeconfig of a pass is recognised.
//! - `registry_auth`: the docker configuration of a pass, for a registry that takes its token.
//! - `net`: how a server is reached; it knows no identity.
//! - `spec`: the properties of the requested pass, validated.
//! - `clock`: the API server's time.
//! - `identity`: the CI identity, as whom the job asks; one file for each source.
//! - `lease`: all that is needed to revoke a pass.
//! - `cluster`: the requests to the API server.
//! - `pass_kubeconfig`: the kubeconfig of a pass.
//! - `pass_curl`: the curl configuration of a pass.
//! - `receipt`: what was revoked, and how far that is proved.
//! - `signals`: the signals that end us, or that the command of `run` gets.
//! - `fault`: ends the living passes if jobpass itself panics.
//! - `pass`: begin, renew and end; it alone orders the steps on lease, cluster and store.
//! - `renewal`: the next token of a pass, and how it gets into the kubeconfig.
//! - `selection`: which passes `revoke` means.
//! - `handover`: what the job is given: masks, files, variables.
//! - `child`: the command of `run`.
//! - `job`: what the verbs share.
//! - `verbs`: the recipes, one file a verb.
//! - `operate`: what those who own a cluster run; what a job fetches is built without it.
//! - `cli`: the command line, made of the verbs' tables.
//!
//! # The doors
//!
//! Bytes leave by few files, and by nothing else: `out` (stdout and stderr), `files` (files; `store` also renames and removes, by
//! descriptors that `files` has opened), `net/transport.rs` (connections; `net/addresses.rs` looks names up), `child/process.rs` and
//! `identity/plugin.rs` (processes). `env` alone reads the environment. The lints of `clippy.toml` and `Cargo.toml` and the test
//! `each_door_is_opened_by_one_file` in `tests/cli/architecture.rs` hold that.
//!
//! A secret is a `Secret` from the parser on, and in clear only where `Secret::expose` is called: the test
//! `secrets_are_exposed_in_these_places_only` beside it lists each place. Before that it is in the environment (`env`) or in bytes that are
//! overwritten (`Zeroizing`). What leaks all the same is caught by `tests/harness/src/leak.rs`, which searches everything that a scenario
//! printed or left behind.

use std::{ffi::OsString, process::ExitCode};

use clap::error::ErrorKind;

use tokio::runtime::{Builder, Runtime};

use crate::{
    action::Phase,
    cli::{Called, Cli, Verb, mistaken, version},
    context::{Context, Stdout},
    env::Env,
    failure::{Code, Exit, Failure},
    options::Options,
    out::Out,
    platform::github,
};

pub mod action;
mod child;
mod cli;
mod clock;
pub mod cluster;
pub mod context;
pub mod env;
pub mod failure;
mod fault;
mod files;
mod handover;
pub mod identity;
mod job;
pub mod jwt;
pub mod kubeconfig_text;
pub mod lease;
mod limits;
pub mod name;
mod net;
#[cfg(feature = "operate")]
pub mod operate;
pub mod options;
pub mod origin;
pub mod out;
mod pass;
mod pass_curl;
mod pass_extension;
mod pass_kubeconfig;
pub mod platform;
mod processes;
mod receipt;
mod registry_auth;
mod renewal;
pub mod secret;
mod selection;
pub mod shown;
mod signals;
pub mod spec;
mod store;
mod verbs;

/// Checks the system's limits and makes the async runtime in which a verb runs.
///
/// # Errors
/// When the system has too little for it: the failure is printed, and the exit code returned.
pub fn prepared(arguments: &[OsString]) -> Result<Runtime, ExitCode> {
    let of_run = is_run(arguments);
    let runtime = limits::check(of_run).and_then(|()| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| Failure::new(Code::SystemRuntime, "cannot begin").cause(error))
    });
    runtime.map_err(|failure| {
        tell(&failure, &Out::new(), None, false);
        coded(failure.exit(), of_run)
    })
}

fn is_run(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|verb| verb == "run")
}

fn coded(exit: Exit, of_run: bool) -> ExitCode {
    // All other exit codes of `run` are the command's own.
    ExitCode::from(number(exit, of_run))
}

fn number(exit: Exit, of_run: bool) -> u8 {
    if of_run { exit.code_of_run() } else { exit.code() }
}

/// Runs one verb, and returns the exit code of the process.
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    signals::outlive_limits();
    let env = Env::of_process();
    let of_run = is_run(&arguments);
    let code = |exit: Exit| coded(exit, of_run);
    fault::watch_over(number(Exit::Failed, of_run));
    let out = Out::coloured(env.allows_colours());
    if let Some(failure) = mistaken::one_dash(cli::command, &arguments) {
        out.fail(&failure);
        return code(failure.exit());
    }
    match version::asked(&arguments) {
        Ok(None) => {}
        Ok(Some(text)) => return out.data(&text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Err(failure) => {
            out.fail(&failure);
            return code(failure.exit());
        }
    }
    let cli = match Called::parse(&arguments) {
        Ok(Called::Job(cli)) => cli,
        #[cfg(feature = "operate")]
        Ok(Called::Operator(operation)) => return operated(*operation, &env, &out).await,
        Err(error) => return refused(&error, &arguments, &out, code),
    };
    let phase = cli.phase;
    let is_json = Options::ask_for_json(&cli.flags, &env);
    let done = Box::pin(done(cli, env, &out)).await;
    let code = done.unwrap_or_else(|failure| {
        tell(&failure, &out, phase, is_json);
        code(failure.exit())
    });
    out.settle();
    fault::settle();
    code
}

/// Does what somebody asks for who owns a cluster.
#[cfg(feature = "operate")]
async fn operated(operation: operate::Operation, env: &Env, out: &Out) -> ExitCode {
    let is_json = operation.is_json();
    let code = Box::pin(operate::run(operation, env, out)).await.map_or_else(
        |failure| {
            tell(&failure, out, None, is_json);
            coded(failure.exit(), false)
        },
        ExitCode::from,
    );
    fault::settle();
    code
}

/// Resolves the context of a verb, and runs the verb.
async fn done(cli: Cli, env: Env, out: &Out) -> Result<ExitCode, Failure> {
    let Cli { verb, flags, command, .. } = cli;
    let stdout = match verb {
        Verb::Run | Verb::Scrub => Stdout::Bytes,
        Verb::Request | Verb::Revoke | Verb::Require | Verb::Hold | Verb::Wait | Verb::Credential => Stdout::Data,
    };
    let context = |env: Env| Context::resolve(Options::resolve(&flags, &env)?, env, stdout);
    match verb {
        Verb::Request => Box::pin(verbs::request::request(&context(env)?, out)).await,
        Verb::Revoke => {
            let mut options = Options::tolerant(&flags, &env)?;
            if let Some(names) = selection::connection_of_main(&env).filter(|_| options.is_post()) {
                options.forget_other_connections(&names);
            }
            let (context, bad) = Context::tolerant(options, &flags, env)?;
            verbs::revoke::revoke(&context, &bad, out).await
        }
        Verb::Require => verbs::require::require(&context(env)?, out),
        Verb::Run if let Some(failure) = mistaken::flag_as_command(&command) => Err(failure),
        Verb::Run => Box::pin(verbs::run::run(&context(env)?, &command, out)).await,
        Verb::Hold => Box::pin(verbs::hold::hold(&context(env)?, out)).await,
        Verb::Wait => verbs::wait::wait(&Context::anywhere(Options::resolve(&flags, &env)?, env), out).await,
        Verb::Credential => verbs::credential::credential(&Context::anywhere(Options::resolve(&flags, &env)?, env), out),
        Verb::Scrub => verbs::scrub::scrub(&context(env)?, out).await,
    }
}

/// Prints a failure. In our GitHub action also as an annotation, as only that is shown on the page of the run; as JSON if that was
/// asked for.
fn tell(failure: &Failure, out: &Out, phase: Option<Phase>, is_json: bool) {
    if is_json {
        out.answer(failure);
    }
    match phase {
        Some(_) => out.say_as(failure.to_string(), |text| github::annotation("error", text)),
        None => out.fail(failure),
    }
}

/// Prints what is wrong with the command line, without repeating a value: it may be a secret that was put in the wrong place.
fn refused(error: &clap::Error, arguments: &[OsString], out: &Out, code: impl Fn(Exit) -> ExitCode) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render().to_string();
            return out.data(text.trim_end()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            out.say(error.render().to_string());
            return code(Exit::Usage);
        }
        _ => {}
    }
    let failure = mistaken::failure(error, &cli::command(), arguments);
    out.fail(&failure);
    code(failure.exit())
}
