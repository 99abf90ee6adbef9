//! `jobpass doctor`: what is wrong between this job and its cluster, checked as the CI identity, with no rights beyond its own.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Outcome,
    document::{Format, Output, print},
    table::Screen,
};
use crate::{
    cluster::{Cluster, Patience},
    context::{Context, Stdout},
    env::Env,
    failure::{Code, Failure},
    identity::{Identity, Purpose, issuer::When},
    job::{heard, pipes, telling::tell_returned},
    net::Way,
    options::{self as o, Call, Flags, Options},
    out::Out,
    platform::shell::quoted,
    signals::{Notice, Signals},
    spec::{self, ServiceAccount, TokenSpec},
};

mod admin;
mod identity;
mod may;
mod reach;
mod report;
mod rights;
mod surroundings;
mod trial;

use report::{Area, Report};

/// The settings of a job that it reads, beside those of the connection.
pub const CALL: Call = Call {
    name: "doctor",
    about: "Check the way from this job to its cluster, with no rights beyond the job's own",
    after: "Examples:
  jobpass doctor -s ci/deploy-bot                       in a job, or with its CI identity on a laptop
  jobpass doctor -s ci/deploy-bot -o json               for programs
  jobpass doctor --as-admin --context prod -n ci        as somebody who owns the cluster

It begins a pass of its own, uses it, and ends it. Each finding is explained in docs/findings.md.",
    settings: &[&o::SERVICE_ACCOUNT, &o::NAMESPACE, &o::TTL, &o::TARGET_NAMESPACE, &o::PLATFORM, &o::DIR, &o::JOB_KEY, &o::TIMEOUT],
    otherwise: &[
        (
            "namespace",
            "Namespace of a service account that is given by its bare name; with --as-admin the one to look at [default: all in which jobpass has rights]",
        ),
        ("target-namespace", "Namespace in which the pass is to work, beside the service account's own"),
        ("timeout", "The most that each part of the check may take, 1s to 10m [default: 30s]"),
        ("revoke-identity", "Taken, and not done: a check ends nothing that was there before it"),
    ],
    connects: true,
    in_action: false,
    takes_command: false,
};

/// How long the questions to the API server may take together, if nobody says.
const QUESTIONS: Duration = Duration::from_secs(30);

/// Its own flags, and the settings that it reads.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Begin no pass
    #[arg(long)]
    no_pass: bool,
    /// Look at the cluster as its admin: policies, rights of others, what is left over
    #[arg(long)]
    as_admin: bool,
    /// End with 0 whatever is found
    #[arg(long)]
    exit_zero: bool,
    #[command(flatten)]
    format: Format,
    /// The settings that are given as flags, see [`CALL`].
    #[arg(skip)]
    pub flags: Flags,
}

#[derive(Serialize)]
struct Diagnosis<'a> {
    checks: &'a [report::Check],
    summary: Map<String, Value>,
}

impl Arguments {
    /// How the answer is printed.
    #[must_use]
    pub fn output(&self) -> Output {
        self.format.output
    }
}

/// Whom the checks are about, and what they may do.
struct Patient<'a> {
    context: &'a Context,
    /// The service account whose token jobs get; none only for an admin.
    account: Option<&'a ServiceAccount>,
    /// Whether it is an admin, whom no policy watches.
    is_admin: bool,
    timeout: Duration,
    out: &'a Out,
}

/// Checks everything, and prints it.
///
/// # Errors
/// When the call is wrong, or there is no CI identity.
pub async fn doctor(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let context = context(&arguments.flags, env)?;
    let account = spec::service_account(&context.options)?;
    if let Some(given) = context.options.get(&o::NAMESPACE).filter(|given| !spec::is_label(&given.text)) {
        return Err(Failure::new(Code::UsageValue, format!("{} names no namespace", given.source)));
    }
    let spec = match &account {
        None if arguments.as_admin => None,
        // Without a service account this says what is missing.
        Some(_) | None => Some(TokenSpec::of(&context)?),
    };
    let timeout = context.timeout()?.unwrap_or(QUESTIONS);
    // From here on no signal ends us before what was begun, or issued to us, is ended.
    let mut signals = heard(Signals::ending())?;
    pipes::read(&context, &pipes::IDENTITY, timeout, Some(&mut signals)).await?;
    let (mut identity, _) = Identity::find(&context, Purpose::Begin)?;
    identity.way = Way::of(&identity.address(), env)?;
    for secret in identity.secrets() {
        out.hide(&secret);
    }
    out.say(head(&context, &identity));
    let patient = Patient { context: &context, account: account.as_ref(), is_admin: arguments.as_admin, timeout, out };
    let mut report = Report::default();
    if account.is_some() {
        surroundings::check(&patient, &mut report)?;
    }
    let kept = identity.clone();
    let examined = tokio::select! {
        () = Box::pin(examine(&patient, identity, &mut report)) => Ok(()),
        notice = signals.ending_one() => Err(interrupted(notice)),
    };
    // The pass that is tried asks for a credential of its own, as every job does.
    tell_returned(out, Box::pin(kept.give_back(When::Unneeded)).await);
    examined?;
    match spec {
        Some(_) if report.outcome() == Outcome::Failed => {}
        Some(_) if arguments.no_pass => report.skipped(Area::Account, "pass", "no pass was begun: `--no-pass`"),
        Some(_) if trial::is_hopeless(&report) => {
            report.skipped(Area::Account, "pass", "no pass was begun, as it could not be: see above");
        }
        Some(spec) => Box::pin(trial::check(&patient, spec, &mut signals, &mut report)).await?,
        None => {}
    }
    show(arguments, &report, begun.elapsed(), env, out)?;
    if arguments.format.output != Output::Json {
        out.say(format!("next:  {}", next(arguments, &patient, &report)));
    }
    Ok(outcome(arguments, &report).exit_zero(arguments.exit_zero))
}

/// Which end it is. An admin who may not see a part of it has not seen that all is well.
fn outcome(arguments: &Arguments, report: &Report) -> Outcome {
    match report.outcome() {
        Outcome::Done if arguments.as_admin && report.is_partial => Outcome::Partly,
        outcome => outcome,
    }
}

/// Where we run. The pass that is tried has a key of its own, so that it never takes the place of the job's.
fn context(flags: &Flags, env: &Env) -> Result<Context, Failure> {
    let asked = Options::resolve(flags, env)?;
    let key = match asked.text(&o::JOB_KEY) {
        Some(key) => format!("{key}/doctor"),
        None => "doctor".to_owned(),
    };
    let flags = flags.clone().into_iter().chain([(o::JOB_KEY.name.to_owned(), Some(key))]).collect();
    // The pass that is tried is not the job's last one: the identity goes on.
    let options = Options::resolve(&flags, env)?.without(&[&o::REVOKE_IDENTITY]);
    Context::resolve(options, env.clone(), Stdout::Data)
}

/// All checks but that of a pass.
async fn examine(patient: &Patient<'_>, identity: Identity, report: &mut Report) {
    match Box::pin(reach::check(patient, identity, report)).await {
        Some(cluster) if patient.is_admin => Box::pin(admin::check(patient, cluster, report)).await,
        Some(cluster) => Box::pin(of_identity(patient, cluster, report)).await,
        None => report.rest_skipped(),
    }
}

/// The failure where a signal has come.
fn interrupted(notice: Notice) -> Failure {
    Failure::new(Code::Interrupted, "cannot finish the check").cause(format!("interrupted by {notice}"))
}

/// The checks of a job's own identity.
async fn of_identity(patient: &Patient<'_>, mut cluster: Cluster, report: &mut Report) {
    let Some(who) = identity::check(&mut cluster, report).await else { return report.rest_skipped() };
    if let Some(account) = patient.account {
        may::check(&mut cluster, account, &who, report).await;
    }
}

/// The line above all: what runs where, and as whom it asks.
fn head(context: &Context, identity: &Identity) -> String {
    let place = context.platform.provenance(&context.env).repository.map(|repository| format!(", job of {repository}")).unwrap_or_default();
    format!("jobpass {} on {}{place}, as {}", env!("CARGO_PKG_VERSION"), context.platform, identity.why)
}

fn show(arguments: &Arguments, report: &Report, took: Duration, env: &Env, out: &Out) -> Result<(), Failure> {
    let counts = report.counts();
    match arguments.format.output {
        Output::Json => {
            let summary = counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
            print("Diagnosis", &Diagnosis { checks: report.checks(), summary }, out)
        }
        Output::Name => report.checks().iter().filter(|check| check.severity.is_some()).try_for_each(|check| out.data(check.id)),
        Output::Table | Output::Wide => {
            let screen = Screen::of(env);
            out.data(&out.without_hidden(&report.render(screen)))?;
            if arguments.format.output == Output::Wide
                && let Some(table) = rights::table(report)
            {
                out.data(&format!("\n{}", table.render(screen)))?;
            }
            let counted: Vec<_> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
            out.data(&format!("\n{} in {:.1} s", counted.join(", "), took.as_secs_f64()))
        }
    }
}

/// The next command to type, with the flags of this one that it needs.
fn next(arguments: &Arguments, patient: &Patient<'_>, report: &Report) -> String {
    let given = |setting: &&'static o::Setting| Some((*setting, arguments.flags.get(setting.name)?.clone()?));
    let flag = |(setting, text): (&'static o::Setting, String)| match setting.kind {
        o::Kind::Switch => format!(" --{}", setting.name),
        o::Kind::Text | o::Kind::Secret | o::Kind::List => format!(" --{} {}", setting.name, quoted(&text)),
    };
    let flags = |settings: &[&'static o::Setting]| settings.iter().filter_map(given).map(flag).collect::<String>();
    match (patient.account, report.outcome()) {
        (None, _) => format!("jobpass leases list{}", flags(&[&o::KUBECONFIG, &o::CONTEXT])),
        (Some(account), Outcome::Done) => format!("jobpass run -s {account}{} -- kubectl auth whoami", flags(&o::REACHED)),
        (Some(account), _) => format!("jobpass doctor -s {account}{} -o json", flags(&o::REACHED)),
    }
}

/// That the API server does not say what it was asked.
fn unsaid(report: &mut Report, area: Area, id: &'static str, failure: &Failure) {
    report.is_partial = true;
    report.skipped(area, id, failure.brief());
}

/// The connection for the checks.
async fn connected(patient: &Patient<'_>, identity: Identity) -> Result<Cluster, Failure> {
    Cluster::connect(identity, patient.timeout, Patience::Brief, patient.out).await
}

/// Whether a failure means that the credential, and not the way, is at fault.
fn is_refusal(failure: &Failure) -> bool {
    let codes = [Code::IdentityRefused, Code::IdentityExpired, Code::IdentityNotYetValid, Code::ApiAnonymous];
    codes.contains(&failure.code())
}
