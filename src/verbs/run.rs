//! `jobpass run`: begin a pass, run one command under it, end it.

use std::{ffi::OsString, process::ExitCode};

use crate::{
    child::{self, Command},
    context::Context,
    failure::Failure,
    handover::ForCommand,
    job::{
        REVOKE, begin, check_receipt, heard, hide_values,
        telling::{Telling, tell},
        warn_of_unknown,
    },
    options::{self as o, Call},
    out::Out,
    pass::{Terms, UNDO},
    signals::Signals,
    spec::TokenSpec,
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "run",
    about: "Run a command under a pass of its own: it alone gets the token, its output is scrubbed, and the pass ends with it",
    after: "Examples:
  jobpass run -s ci/deploy-bot -- kubectl apply -f manifests/
  jobpass run -s ci/deploy-bot --scrub-env DB_PASSWORD -- ./deploy.sh
  jobpass run -s ci/deploy-bot -- sh -c 'curl -K \"$JOBPASS_CURL\" \"$JOBPASS_PASS_SERVER/version\"'
  jobpass run -s ci/deploy-bot -- sh -c 'helm upgrade app ./chart && kubectl rollout status deploy/app'

The exit status is the command's, 128+n if signal n ended it; 125 for a failure of ours, 126 and 127 if there is no such program.
Every flag can also be set by a variable: --service-account by JOBPASS_SERVICE_ACCOUNT.
What is secret is never a flag: JOBPASS_IDENTITY_ID_TOKEN, JOBPASS_IDENTITY_TOKEN, JOBPASS_IDENTITY_KUBECONFIG, JOBPASS_IDENTITY_PASSWORD.",
    settings: &[
        &o::SERVICE_ACCOUNT,
        &o::NAMESPACE,
        &o::TTL,
        &o::AUDIENCE,
        &o::VARIABLE,
        &o::NO_VARIABLE,
        &o::TARGET_NAMESPACE,
        &o::KUBECONFIG_MODE,
        &o::REGISTRY_AUTH,
        &o::REGISTRY,
        &o::MAX_LIFETIME,
        &o::GRACE,
        &o::HIDE,
        &o::KEEP,
        &o::SCRUB_ENV,
        &o::STRICT,
        &o::RECEIPT,
        &o::PLATFORM,
        &o::DIR,
        &o::JOB_KEY,
        &o::TIMEOUT,
    ],
    otherwise: &[
        (o::VARIABLE.name, "Variable that gets the token, too [default: none, the token is in files only]"),
        (o::NO_VARIABLE.name, "No variable gets the token: what is the case without it, too"),
    ],
    connects: true,
    in_action: false,
    takes_command: true,
};

/// Runs the command under a pass of its own, and returns its exit status.
///
/// # Errors
/// When the command was not run, or, with `--strict`, when its pass could not be ended.
pub async fn run(context: &Context, command: &[OsString], out: &Out) -> Result<ExitCode, Failure> {
    warn_of_unknown(context, out);
    let spec = TokenSpec::of(context)?.renewable(context)?;
    let strict = context.options.switch(&o::STRICT)?;
    let timeout = context.timeout()?.unwrap_or(REVOKE);
    check_receipt(context)?;
    hide_values(context, out);
    let mut command = Command::of(command, context)?;
    command.secrets().for_each(|secret| out.hide(secret));
    for warning in &command.warnings {
        out.warn(warning);
    }
    if let Some(hidden) = command.hides() {
        out.say(hidden);
    }
    let handover = ForCommand::of(context, out);
    // From here on no signal ends us before the pass is ended.
    let mut signals = heard(Signals::all())?;
    let pass = begin(context, &spec, &handover, &mut signals, out).await?;
    let variables = match handover.hand_over(&pass, &spec) {
        Ok(variables) => variables,
        Err(failure) => return Err(pass.undo(UNDO, failure, &handover).await),
    };
    handover.announce(&pass);
    if let Some(hidden) = command.hide_identity(pass.cluster.identity(), &context.env) {
        out.say(hidden);
    }
    let terms = Terms { timeout, wait_dead: false };
    let done = match Box::pin(child::run(pass, command, variables, &spec, out, terms, &mut signals)).await {
        Ok(done) => done,
        // The reason may be a signal, so the platform may kill us soon.
        Err((failure, pass)) => return Err(pass.undo(context.platform.signal_budget(), failure, &handover).await),
    };
    if done.revoked.receipt.proof.is_success() {
        handover.is_over();
    }
    let telling = if strict { Telling::Returned } else { Telling::Warned };
    match tell(context, done.revoked, telling, out) {
        Some(failure) if strict => Err(failure),
        Some(_) | None => Ok(ExitCode::from(done.code)),
    }
}
