//! `jobpass request`: begin a pass, and hand it over to the rest of the job.

use std::process::ExitCode;

use crate::{
    action::{self, Phase},
    context::Context,
    failure::{Code, Failure},
    files,
    handover::ForRunner,
    job::{begin, check_receipt, heard, pipes, warn_of_unknown},
    options::{self as o, Call},
    out::Out,
    pass::UNDO,
    pass_extension::PassExtension,
    signals::Signals,
    spec::TokenSpec,
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "request",
    about: "Request a token for a service account and hand it to the job",
    after: "Examples:
  . \"$(jobpass request --service-account ci/deploy-bot)\"            in a shell or a GitLab CI job; `jobpass revoke` ends it
  jobpass request --service-account ci/deploy-bot --ttl 15m         in a GitHub Actions step: exported to the steps after it
  jobpass request --service-account ci/deploy-bot --no-variable     only KUBECONFIG, no token in the environment

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
        &o::KUBECONFIG_OUT,
        &o::NO_KUBECONFIG,
        &o::REGISTRY_AUTH,
        &o::REGISTRY,
        &o::FILE_MODE,
        &o::PLATFORM,
        &o::DIR,
        &o::JOB_KEY,
        &o::TIMEOUT,
        &o::OUTPUT,
    ],
    otherwise: &[],
    connects: true,
    in_action: true,
    takes_command: false,
};

/// Validates the settings, finds the CI identity, begins the pass and hands it over; undoes it if that fails.
///
/// # Errors
/// When there is no pass; then nothing of it is left, or the error says until when something may live.
pub async fn request(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    let runner = ForRunner::of(context, out);
    warn_of_unknown(context, out);
    if context.phase() == Some(Phase::Main) {
        check_post(context)?;
        if !action::exports(&context.env)? {
            return only_install(context, out);
        }
    }
    let spec = TokenSpec::of(context)?;
    runner.check()?;
    if let Some(path) = &spec.kubeconfig_out {
        files::check_user_file(path, |text| PassExtension::of_text(text).is_some())?;
    }
    let mut signals = heard(Signals::ending())?;
    let pass = begin(context, &spec, &runner, &mut signals, out).await?;
    if pipes::is_identity_piped(context) {
        out.warn("the CI identity came by a pipe, which is read once: `revoke` needs it again, as `request` got it");
    }
    match runner.hand_over(&pass, &spec) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => Err(pass.undo(UNDO, failure, &runner).await),
    }
}

/// Checks those inputs of our action that only its post step uses, as an error there would come too late.
fn check_post(context: &Context) -> Result<(), Failure> {
    action::revoke(&context.env)?;
    check_receipt(context)?;
    context.options.switch(&o::STRICT)?;
    if context.options.switch(&o::WAIT_DEAD)? {
        let what = "`wait-dead` takes longer than a post step of GitHub has";
        return Err(Failure::new(Code::UsageNotHere, what).hint("leave it out, or revoke in a step of its own"));
    }
    Ok(())
}

/// The action with `export: false`: its shim has put jobpass on the PATH for later steps, and nothing is requested.
fn only_install(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    if let Some(input) = context.options.inputs().first() {
        let what = format!("input `{}` has no effect with `export: false`, which requests nothing", input.name);
        return Err(
            Failure::new(Code::UsageNotHere, what).hint(format!("set `{}` in the `env:` of the step that runs jobpass", input.variable()))
        );
    }
    out.say("jobpass is on the PATH of the steps after this one, and nothing is requested here");
    out.say("  a step that needs a token:  shell: jobpass run -- bash -euo pipefail {0}");
    Ok(ExitCode::SUCCESS)
}
