//! `jobpass wait`: waits until the pass of `hold` can be used, or says why it cannot.

use std::{process::ExitCode, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    job::held,
    options::{self as o, Call, human},
    out::{Out, one_line},
    store::{self, Published, State},
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "wait",
    about: "Wait until the pass that `jobpass hold` keeps for this job can be used",
    after: "The first line of a step beside a sidecar with `jobpass hold`:
  jobpass wait && kubectl --kubeconfig /run/jobpass/kubeconfig get pods

Exit status 1, with the message of `hold`, where it has failed or ended.",
    settings: &[&o::DIR, &o::READY, &o::TIMEOUT, &o::PLATFORM],
    otherwise: &[
        (o::DIR.name, "Directory in which `jobpass hold` shows its pass [default: /run/jobpass in Tekton]"),
        (o::READY.name, "File that `jobpass hold --ready` was given"),
        (o::TIMEOUT.name, "The most that it waits, 1s to 10m [default: 2m]"),
    ],
    connects: false,
    in_action: false,
    takes_command: false,
};

/// How long it waits if nothing else is asked for: kubelet may take more than a minute to start a pod's other containers.
const USUAL: Duration = Duration::from_mins(2);

/// How long a bad end is not believed.
const SETTLED: Duration = Duration::from_secs(1);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// In lines: the longest message of `hold` that is repeated.
const LONGEST: usize = 20;

/// Waits for the mark of `hold`.
///
/// # Errors
/// When `hold` has failed, its pass is over, or does not come in time.
pub async fn wait(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    let published = held::published(context)?;
    let limit = context.timeout()?.unwrap_or(USUAL);
    let settled = Instant::now() + SETTLED.min(limit);
    let (end, token) = (Instant::now() + limit, published.path(store::TOKEN));
    loop {
        match published.state() {
            State::Ready => match held::token(&token) {
                Ok(_) => {
                    out.say("the pass is ready");
                    return Ok(ExitCode::SUCCESS);
                }
                // A `hold` that was killed leaves its mark, and may be started again.
                Err(failure) if held::may_pass(&token, &failure) && Instant::now() < end => sleep(LOOK).await,
                Err(failure) => return Err(failure),
            },
            // What stands there may be of an earlier `hold`, which one that is just being started takes away.
            State::Failed(_) | State::Over if Instant::now() < settled => sleep(LOOK).await,
            State::Failed(message) => return Err(failed(&message)),
            State::Over => {
                return Err(Failure::new(Code::PassOver, "the pass that `jobpass hold` kept is over")
                    .hint("look at its receipt, `receipt.json` in the same directory"));
            }
            State::Awaited(_) if files::is_denied(&published.path(store::READY)) => {
                let what = format!("cannot look into `{}`", published.directory().display());
                return Err(Failure::new(Code::PassUnclear, what).cause("permission denied").hint(held::FOR_OTHERS));
            }
            State::Awaited(is_there) if Instant::now() >= end => return Err(late(&published, is_there, limit)),
            State::Awaited(_) => sleep(LOOK).await,
        }
    }
}

/// The failure of `hold`, in its own words.
fn failed(message: &str) -> Failure {
    let failure = Failure::new(Code::PassHold, "there is no pass: `jobpass hold` has failed");
    // The words before each line are ours again.
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(LONGEST);
    lines.fold(failure, |failure, line| match line.strip_prefix("hint: ") {
        Some(hint) => failure.hint(one_line(hint)),
        None => failure.cause(one_line(line.trim_start_matches("error: ").trim_start_matches("caused by: "))),
    })
}

fn late(published: &Published, is_there: bool, limit: Duration) -> Failure {
    let shown = published.directory().display();
    let failure = Failure::new(Code::PassNotReady, format!("no pass became ready within {}", human(limit)));
    if is_there {
        failure.cause(format!("`jobpass hold` shows none in `{shown}`")).hint("look at the log of the sidecar that runs `jobpass hold`")
    } else {
        failure.cause(format!("there is no directory `{shown}`")).hint("mount the volume of the sidecar there in this step, too")
    }
}
