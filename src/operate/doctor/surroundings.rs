//! What the CI system gives the job: masks, the files by which it answers, a place for the pass, time. And what each client reads.

use serde_json::json;

use super::{
    Patient,
    report::{Area, Report},
};
use crate::{
    context::Context,
    failure::Failure,
    handover::ForRunner,
    name::random_hex,
    operate::finding::Id,
    options::human,
    out::Out,
    platform::{Log, github},
    secret::Secret,
    spec,
};

/// Which variable each client reads; the same on every platform.
const CLIENTS: &str = "kubectl, helm, oc, and the clients of Go, Python, Node and Java: `KUBECONFIG`; curl and scripts: the file that \
                       `JOBPASS_TOKEN_FILE` names; docker and podman: `DOCKER_CONFIG` and `REGISTRY_AUTH_FILE`, with `--registry-auth`";

/// Checks it.
///
/// # Errors
/// When the log cannot be written.
pub(super) fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), Failure> {
    let Patient { context, out, .. } = patient;
    report.ok(Area::Clients, "clients", CLIENTS);
    log(context, out, report)?;
    place(context, report);
    time(context, report);
    Ok(())
}

/// Whether the log hides what jobpass has it hide, and whether the runner's files can be written. No job can read its own log: where the
/// runner masks, a person can see it by a probe.
fn log(context: &Context, out: &Out, report: &mut Report) -> Result<(), Failure> {
    match context.platform.log() {
        Log::Masked => {
            let probe = format!("jobpass_{}", random_hex());
            out.command(github::mask_command(&Secret::new(probe.clone())).expose())?;
            report.skipped(Area::Job, "masking", format!("no step can read its own log: look whether this is `***` here: {probe}"));
            match ForRunner::of(context, out).check() {
                Ok(()) => drop(report.ok(Area::Job, "job-files", "the files by which a step answers its runner can be written")),
                Err(failure) => report.failed(Area::Job, Id::JobUnfit, &failure),
            }
        }
        Log::Bare => {
            let text = "nothing masks a token in this log; the output of commands under `jobpass run` is scrubbed";
            report.skipped(Area::Job, "masking", text);
        }
        Log::Nobodys => {}
    }
    Ok(())
}

/// Where the pass is kept, and what names the job.
fn place(context: &Context, report: &mut Report) {
    let base = context.base.clone().and_then(|base| spec::base_outside_workspace(&base.path, context).map(|()| base));
    match base {
        Ok(base) => {
            let memory = match &base.memory {
                Some(memory) => format!("; `run` keeps secrets in memory, in `{}`", memory.display()),
                None if base.must_be_in_memory => ", which must be in memory".to_owned(),
                None => String::new(),
            };
            let outside = if context.workspace.is_some() { ", outside the workspace" } else { "" };
            let text = format!("passes are kept below `{}`{outside}{memory}", base.path.display());
            report.ok(Area::Job, Id::JobUnfit.name(), text).evidence = json!({"directory": base.path.to_string_lossy()});
        }
        Err(failure) => report.failed(Area::Job, Id::JobUnfit, &failure),
    }
    if let Err(failure) = &context.job_key {
        report.failed(Area::Job, Id::JobUnfit, failure);
    }
}

/// How long the job has, and how long after a signal. And the runner's version, where it says so.
fn time(context: &Context, report: &mut Report) {
    let grace = context.platform.signal_budget();
    let timeout = context.job_timeout().map(|timeout| format!("the job may take {}; ", human(timeout))).unwrap_or_default();
    let text = format!("{timeout}after the first signal a pass is ended within {:.1} s", grace.as_secs_f64());
    let evidence =
        json!({"timeoutSeconds": context.job_timeout().map(|timeout| timeout.as_secs()), "graceMilliseconds": grace.as_millis()});
    report.ok(Area::Job, "job-time", text).evidence = evidence;
    let versions = context.platform.versions().iter();
    let known: Vec<_> = versions.filter_map(|(name, variable)| Some(format!("{name} {}", context.env.get(variable)?))).collect();
    if !known.is_empty() {
        report.ok(Area::Job, "job-runner", known.join(", "));
    }
}
