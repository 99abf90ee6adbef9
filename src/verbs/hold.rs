//! `jobpass hold`: begins a pass, keeps it fresh for others, and ends it.

use std::{path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    context::Context,
    failure::{Code, Failure},
    handover::ForOthers,
    job::{
        REVOKE, begin, check_receipt, heard, held,
        telling::{Telling, tell},
        warn_of_unknown,
    },
    options::{self as o, Call},
    out::Out,
    pass::{Pass, Terms, UNDO},
    renewal::{Outcome, Renewal},
    signals::{Notice, Signals},
    spec::TokenSpec,
    store::{self, Published, Readers, State},
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "hold",
    about: "Keep a pass for others: the steps of a Tekton task beside this sidecar, or the commands of a long script",
    after: "Examples:
  jobpass hold -s ci/deploy-bot                                     in a sidecar of a Tekton task, with a memory volume at /run/jobpass
  jobpass hold -s ci/deploy-bot --until /tekton/run/0/out           the same; ends by itself with the task's only step
  jobpass hold -s ci/deploy-bot --dir /dev/shm/pass &               in a shell; `jobpass wait --dir /dev/shm/pass`, then use it
  jobpass hold --check                                              the sidecar's readiness probe

The directory shows token, kubeconfig, ca.crt, curlrc, env (to source) and expires-at, `ready` while the pass can be used, `error` if there is none,
and in the end receipt.json. The pass ends with SIGTERM, SIGINT, the process that started this one, or `--until`. SIGUSR1 renews it now.",
    settings: &[
        &o::SERVICE_ACCOUNT,
        &o::NAMESPACE,
        &o::TTL,
        &o::AUDIENCE,
        &o::TARGET_NAMESPACE,
        &o::KUBECONFIG_MODE,
        &o::REGISTRY_AUTH,
        &o::REGISTRY,
        &o::MAX_LIFETIME,
        &o::FILE_MODE,
        &o::READY,
        &o::UNTIL,
        &o::GRACE,
        &o::CHECK,
        &o::STRICT,
        &o::RECEIPT,
        &o::PLATFORM,
        &o::DIR,
        &o::JOB_KEY,
        &o::TIMEOUT,
    ],
    otherwise: &[
        (o::MAX_LIFETIME.name, "Last moment that any token of this pass may live, 10m to 7 days from now [default: 2h]"),
        (o::DIR.name, "Directory in which the pass is shown, of its own and in memory [default: /run/jobpass in Tekton]"),
        (o::GRACE.name, "Time that the work has to end after the signal that ends the job, at most what the platform leaves [default: 0s]"),
    ],
    connects: true,
    in_action: false,
    takes_command: false,
};

/// How often we look whether the work is over.
const LOOK: Duration = Duration::from_millis(200);

/// How long a readiness probe waits: kubelet gives it a second, if nothing else is said (`timeoutSeconds`).
const PROBE: Duration = Duration::from_millis(700);

/// How often it looks.
const SOON: Duration = Duration::from_millis(10);

/// The shortest and the longest `--grace`.
const GRACE: (Duration, Duration) = (Duration::ZERO, Duration::from_mins(5));

/// How much of the platform's time between TERM and KILL is reserved for ending the pass.
const FOR_DELETE: Duration = Duration::from_secs(1);

/// Why a pass is no longer held.
enum End {
    /// A signal came, or the process that started us has ended.
    Told(Notice),
    /// The sign of `--until` is there.
    Done,
    /// The lease has no time left.
    Over,
    /// The lease, or what it depends on, is gone, or the token has expired without another one.
    Lost(Failure),
}

/// Keeps a pass until it is told to end it, or only says whether one is ready.
///
/// # Errors
/// When there is no pass, or none any more before its time. Then the message is in the directory, too, for those who wait.
pub async fn hold(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    let published = held::published(context)?;
    if context.options.flag(&o::CHECK).is_some() {
        return check(&published).await;
    }
    // Whatever becomes of the log's reader, the pass must come to its end, and the process, too.
    out.never_wait();
    published.lock(readers(context))?;
    let held = Box::pin(holding(context, &published, out)).await;
    if let Err(failure) = &held
        && published.directory().is_dir()
        && failure.code() != Code::FileOccupied
        && let Err(unsaid) = published.fail(&out.without_hidden(&failure.to_string()))
    {
        out.warn(unsaid.brief());
    }
    held
}

/// The answer to a readiness probe. It waits for the mark a little: kubelet asks when the container has just started, and again only
/// after a whole second, for which the steps would wait.
async fn check(published: &Published) -> Result<ExitCode, Failure> {
    let end = Instant::now() + PROBE;
    loop {
        match published.state() {
            State::Ready => return held::token(&published.path(store::TOKEN)).map(|_| ExitCode::SUCCESS),
            State::Awaited(true) if Instant::now() < end => sleep(SOON).await,
            State::Awaited(_) | State::Failed(_) | State::Over => return Ok(ExitCode::FAILURE),
        }
    }
}

/// Who may read the files of the pass. A mode that is none is refused later, with a message.
fn readers(context: &Context) -> Readers {
    let is_for_group = context.options.get(&o::FILE_MODE).is_some_and(|given| given.text.trim_start_matches('0').get(1..2) == Some("4"));
    if is_for_group { Readers::Group } else { Readers::User }
}

async fn holding(context: &Context, published: &Published, out: &Out) -> Result<ExitCode, Failure> {
    warn_of_unknown(context, out);
    let work = &Work::of(context, published, out)?;
    if work.is_over() {
        let over = "the work is over already: no pass is requested";
        out.say(over);
        if published.state() != State::Over {
            published.fail(over)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    published.prepare()?;
    if context.options.chosen(&o::PLATFORM).is_none() && context.platform.is_unnamed_pod(&context.env) {
        return Err(Failure::new(Code::PlatformIncomplete, "this is a pod, and `JOBPASS_POD_UID` is not set, so nothing names it")
            .hint("set it from `fieldRef: metadata.uid`, or say `--platform local`"));
    }
    let spec = TokenSpec::of(context)?.held(context)?;
    let strict = context.options.switch(&o::STRICT)?;
    // In a pod the network may be away as well at the moment of the signal.
    let limit = context.timeout()?.unwrap_or(REVOKE.max(context.platform.signal_budget()));
    check_receipt(context)?;
    let handover = ForOthers::of(context, published, out);
    let mut signals = heard(Signals::all())?;
    let mut pass = begin(context, &spec, &handover, &mut signals, out).await?;
    if let Err(failure) = handover.hand_over(&pass, &spec) {
        published.withdraw();
        return Err(pass.undo(UNDO, failure, &handover).await);
    }
    handover.announce(&pass);
    let end = kept(&mut pass, &spec, &handover, work, &mut signals, out).await;
    let ending = Instant::now();
    let failure = match end {
        End::Told(notice) => {
            out.say_aside(format!("{notice}: the pass is ended"));
            work.finish(&mut signals).await;
            None
        }
        End::Done => {
            out.say_aside("the work is over: the pass is ended");
            None
        }
        End::Over => Some(
            Failure::new(
                Code::PassLifetime,
                format!("the pass for service account `{}` has lived as long as it may", spec.service_account),
            )
            .cause(format!("its last token has expired at {}", pass.expires_at))
            .hint("give a longer `--max-lifetime`, or a sign by `--until` that the work is over"),
        ),
        End::Lost(failure) => {
            let told = pass.cluster.told_of(&pass.lease).await;
            let failure = failure.within(format!("the pass for service account `{}` is over before its time", spec.service_account));
            Some(told.into_iter().fold(failure, Failure::cause))
        }
    };
    published.withdraw();
    let timeout = limit.saturating_sub(ending.elapsed()).max(FOR_DELETE);
    let mut revoked = pass.end(Terms { timeout, wait_dead: false }).await;
    if failure.is_some() && revoked.receipt.proof == crate::receipt::Proof::Absent {
        // The failure says already who has ended the pass.
        revoked.warning = None;
    }
    if let Err(unsaid) = published.over(&(revoked.receipt.json() + "\n")) {
        out.warn(unsaid.brief());
    }
    if revoked.receipt.proof.is_success() {
        handover.is_over();
    }
    let revoked_fully = revoked.receipt.proof.is_success();
    let unrevoked = tell(context, revoked, if strict { Telling::Returned } else { Telling::Warned }, out);
    if let Some(unrevoked) = unrevoked.as_ref().filter(|_| !revoked_fully && !strict) {
        // Whoever waits must not take it for a pass that is over.
        let _ = published.fail(&out.without_hidden(&unrevoked.to_string()));
    }
    match failure.or(unrevoked.filter(|_| strict)) {
        Some(failure) => Err(failure),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Keeps the pass fresh until there is a reason to end it.
async fn kept(pass: &mut Pass, spec: &TokenSpec, handover: &ForOthers<'_>, work: &Work, signals: &mut Signals, out: &Out) -> End {
    let mut renewal = Renewal::watching(pass, spec);
    let mut learns = handover;
    loop {
        let due = {
            let mut next = pin!(renewal.next(pass, spec));
            loop {
                tokio::select! {
                    due = &mut next => break due,
                    notice = signals.next() => match notice {
                        Notice::Signal(Signal::USR1) => renewal.hurry(),
                        notice if notice.ends_the_job() => return End::Told(notice),
                        _ => {}
                    },
                    () = work.over() => return End::Done,
                    () = renewal.is_over() => return End::Over,
                }
            }
        };
        match renewal.take(due, pass, spec, &mut learns, out) {
            Outcome::Renewed => handover.renewed(pass, spec),
            Outcome::Lost(failure) | Outcome::Expired(failure) => return End::Lost(failure),
            Outcome::Goes | Outcome::Last => {}
        }
    }
}

/// The work for which the pass is held, as far as it shows when it is over.
struct Work {
    /// The files of `--until`; one of them is there when it is over.
    signs: Vec<PathBuf>,
    grace: Duration,
}

impl Work {
    fn of(context: &Context, published: &Published, out: &Out) -> Result<Self, Failure> {
        let options = &context.options;
        if let Some(given) = options.get(&o::CHECK).filter(|_| options.switch(&o::CHECK) != Ok(false)) {
            let what = format!("{} has no effect: only the flag `--check` has", given.source);
            return Err(Failure::new(Code::UsageNotHere, what).hint("leave it out"));
        }
        let file = options.get(&o::UNTIL).map(|given| context.env.absolute(given.text.as_ref()));
        if let (Some(given), Some(_)) = (options.get(&o::UNTIL), file.as_ref().filter(|file| published.owns(file))) {
            let what = format!("{} is a file of `jobpass hold` itself", given.source);
            return Err(Failure::new(Code::UsagePlace, what).hint("name one that the work writes when it is over"));
        }
        // A step that has failed, or was skipped, writes its exit file under this other name: `pkg/entrypoint` of Tekton Pipelines.
        let failed = file.as_ref().map(|file| {
            let mut name = file.clone().into_os_string();
            name.push(".err");
            PathBuf::from(name)
        });
        let asked = if options.chosen(&o::GRACE).is_some() { options.duration(&o::GRACE, GRACE)?.unwrap_or_default() } else { GRACE.0 };
        let most = context.platform.signal_budget().saturating_sub(FOR_DELETE);
        if asked > most {
            out.warn(format!("`--grace` is cut to {} s: then {} may kill jobpass before it has revoked", most.as_secs(), context.platform));
        }
        let grace = asked.min(most);
        Ok(Self { signs: file.into_iter().chain(failed).collect(), grace })
    }

    fn is_over(&self) -> bool {
        self.signs.iter().any(|sign| sign.exists())
    }

    async fn over(&self) {
        while !self.is_over() {
            sleep(LOOK).await;
        }
    }

    /// After a signal: lets the work come to its end, but not longer than `--grace`. A second signal ends that.
    async fn finish(&self, signals: &mut Signals) {
        let _ = timeout(self.grace, async {
            tokio::select! {
                () = self.over() => {}
                _ = signals.ending_one() => {}
            }
        })
        .await;
    }
}
