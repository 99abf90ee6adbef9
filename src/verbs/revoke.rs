//! `jobpass revoke`: finds the passes, ends each, and reports the result.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    action::{self, Revoke},
    context::Context,
    failure::{Code, Failure},
    handover::marks,
    identity::{Identity, issuer::When},
    job::{
        REVOKE, heard,
        identity::identity,
        meet, pipes,
        telling::{Telling, passed_over, tell, tell_returned, warn, warn_of},
    },
    net::{Way, way::Ways},
    options::{self as o, Call, Setting},
    out::{Out, one_line},
    pass::{Revocation, Terms},
    platform::{Platform, key::holds_uuid, shell::RESTORE},
    receipt::Proof,
    selection::{self, Found},
    signals::{self, Signals},
};

/// The message where there is no pass.
pub const NOTHING: &str = "nothing to revoke";

/// The time that each of several passes gets at least.
const LEAST: Duration = Duration::from_secs(2);

/// The time limit with `--wait-dead`: longer than the API server's cache and its leeway for clocks.
const WAIT_DEAD: Duration = Duration::from_secs(25);

/// The verb's command line.
pub const CALL: Call = Call {
    name: "revoke",
    about: "Revoke the job's tokens and prove that they are dead",
    after: "Without a flag: on GitHub, GitLab and Tekton every pass of this job; on a plain shell the one that $JOBPASS_LEASE names,
or the only one there is. With --service-account on GitLab and Tekton also the lease whose file is lost; --if-here leaves that out.
Only the flags --lease and --lease-file name another one: JOBPASS_LEASE and JOBPASS_LEASE_FILE do not.
Nothing to revoke is success, unless a flag names it.",
    settings: &[
        &o::LEASE,
        &o::LEASE_FILE,
        &o::ALL_LEASES,
        &o::IF_HERE,
        &o::SERVICE_ACCOUNT,
        &o::NAMESPACE,
        &o::STRICT,
        &o::WAIT_DEAD,
        &o::RECEIPT,
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

/// Finds the passes, ends each, and prints the receipts. On CI a job does not fail because of a pass that expires soon anyway.
/// `bad` are invalid settings that are ignored.
///
/// # Errors
/// When it is not clear which passes are meant, or, with `--strict`, when one could not be ended.
pub async fn revoke(context: &Context, bad: &[Failure], out: &Out) -> Result<ExitCode, Failure> {
    let limit = context.timeout().ok().flatten().unwrap_or(REVOKE);
    read_pipes(context, &pipes::LEASE, limit).await?;
    // Done before other settings are read: where there is nothing to revoke, an invalid one does not matter.
    let found = match selection::find(context) {
        // A post step fails its job only with `revoke: strict`.
        Err(failure) if context.is_post() => Found { unknown: vec![failure], ..Found::default() },
        found => found?,
    };
    if is_nothing(context, &found, bad, out) {
        return Ok(ExitCode::SUCCESS);
    }
    let wish = wish(context, out);
    if wish == Revoke::No {
        for lease in found.revocations.iter().map(|revocation| &revocation.lease) {
            let (account, valid) = (&lease.service_account, lease.validity());
            out.say(format!("the pass of service account `{account}` stays, as `revoke: false` asks: it is {valid}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let strict = wish == Revoke::Strict
        || tolerated(context, &o::STRICT, context.options.switch(&o::STRICT), out)?
        || !context.platform.tolerates_failed_revocation();
    let terms = terms(context, out)?;
    let mut unknown: Vec<_> = found.unknown.into_iter().map(|unknown| unknown.within("a pass may be left alive")).collect();
    if !strict {
        unknown.drain(..).for_each(|unknown| warn_of(out, &unknown, if context.is_post() { Telling::Annotated } else { Telling::Warned }));
    }
    let failed = end_all(context, &found.revocations, terms, strict, out).await?;
    tell_the_shell(context, &found.revocations, failed.is_none(), out);
    if !strict {
        return Ok(ExitCode::SUCCESS);
    }
    // The first one is returned as the error of this call, so it needs no warning.
    let mut failures = failed.into_iter().chain(unknown);
    let first = failures.next();
    failures.for_each(|unknown| warn_of(out, &unknown, Telling::Warned));
    first.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Says how a plain shell gets back what it had before a pass that is over: its variables still name that.
fn tell_the_shell(context: &Context, revocations: &[Revocation], is_over: bool, out: &Out) {
    let is_named = |revocation: &Revocation| context.env.get("JOBPASS_LEASE") == Some(&revocation.lease.id());
    if is_over && context.platform == Platform::Local && revocations.iter().any(is_named) {
        out.say(format!("  this shell still has its variables: `{RESTORE}` puts back what they were"));
    }
}

/// Reads the pipes that these flags name. Signals are handled only where there is one.
async fn read_pipes(context: &Context, settings: &[&'static Setting], limit: Duration) -> Result<(), Failure> {
    if settings.iter().all(|setting| context.options.flag(setting).is_none()) {
        return Ok(());
    }
    let mut signals = heard(Signals::ending())?;
    pipes::read(context, settings, limit, Some(&mut signals)).await
}

/// Reports what was found besides passes. Returns whether there is no pass.
fn is_nothing(context: &Context, found: &Found, bad: &[Failure], out: &Out) -> bool {
    if found.is_empty() && context.is_post() {
        // The main step has failed and has said why.
        out.say(NOTHING);
        return true;
    }
    for bad in bad.iter().chain(&found.passed_over) {
        passed_over(out, bad);
    }
    for note in &found.notes {
        out.warn(note);
    }
    // With `--if-here`, as in our GitLab template at the end of each job, "nothing to revoke" is the normal case and not worth a
    // line.
    if found.is_empty() && context.options.flag(&o::IF_HERE).is_none() {
        out.say(format!("{NOTHING}: {}", nowhere(context.platform, &found.looked)));
    }
    found.is_empty()
}

/// What our post step is to do. A pass that a flag names is ended in any case, and an input that has become invalid since the main
/// step keeps no pass alive.
fn wish(context: &Context, out: &Out) -> Revoke {
    let is_named = [&o::LEASE, &o::LEASE_FILE, &o::ALL_LEASES].iter().any(|setting| context.options.flag(setting).is_some());
    if !context.is_post() || is_named {
        return Revoke::Yes;
    }
    action::revoke(&context.env).unwrap_or_else(|failure| {
        out.warn(failure.brief());
        Revoke::Yes
    })
}

/// The time limit, and whether to wait for the token's death.
fn terms(context: &Context, out: &Out) -> Result<Terms, Failure> {
    let mut wait_dead = tolerated(context, &o::WAIT_DEAD, context.options.switch(&o::WAIT_DEAD), out)?;
    if context.is_post() && wait_dead {
        out.warn("`wait-dead` takes longer than a post step of GitHub has: the receipt says how far the revocation is proved");
        wait_dead = false;
    }
    let asked = tolerated(context, &o::TIMEOUT, context.timeout(), out)?;
    let usual = if wait_dead { WAIT_DEAD } else { REVOKE };
    // A variable may only lengthen the time: somebody who can set variables must not prevent a revocation.
    let timeout = asked.filter(|asked| *asked > usual || context.options.flag(&o::TIMEOUT).is_some()).unwrap_or(usual);
    // In the post step the input `timeout` is meant for the request, and all post steps of a job share their time.
    let timeout = if context.is_post() { timeout.min(REVOKE) } else { timeout };
    Ok(Terms { timeout, wait_dead })
}

/// The value of a setting. A variable or input that has become invalid since the pass was requested must not keep it alive: it is
/// ignored.
fn tolerated<T: Default>(context: &Context, setting: &Setting, read: Result<T, Failure>, out: &Out) -> Result<T, Failure> {
    let (value, bad) = match read {
        Err(failure) if context.is_post() => (T::default(), Some(failure)),
        read => context.options.tolerated(&[setting], read)?,
    };
    if let Some(bad) = bad {
        passed_over(out, &bad);
    }
    Ok(value)
}

/// Ends one pass after the other, and returns the first failure. The first signal does not interrupt that: it often comes while the
/// job is being cleaned up.
async fn end_all(context: &Context, revocations: &[Revocation], terms: Terms, strict: bool, out: &Out) -> Result<Option<Failure>, Failure> {
    let end = Instant::now() + terms.timeout;
    read_pipes(context, &pipes::IDENTITY, terms.timeout).await?;
    let work = async {
        let mut failed = None;
        for revocation in revocations {
            // The passes share the time limit, but each gets at least a little.
            let left = end.saturating_duration_since(Instant::now()).max(LEAST);
            let telling = match &failed {
                None if strict => Telling::Returned,
                Some(_) | None if context.is_post() && !strict => Telling::Annotated,
                Some(_) | None => Telling::Warned,
            };
            let new = end_one(context, revocation, Terms { timeout: left, ..terms }, telling, out).await?;
            failed = failed.or(new);
        }
        Ok(failed)
    };
    let ended = tokio::select! {
        failed = work => failed,
        notice = signals::repeated(|notice| out.say(format!("{notice}: revoking first"))) => {
            Err(Failure::new(Code::Interrupted, "cannot revoke the pass").cause(format!("interrupted by {notice} once more")))
        }
    }?;
    revoke_identity(context, revocations, ended.is_none(), out).await;
    Ok(ended)
}

/// Revokes the token that was given as the CI identity, where that is wished: the passes were ended as it, so it is the last.
async fn revoke_identity(context: &Context, revocations: &[Revocation], is_all_ended: bool, out: &Out) {
    let Some(last) = revocations.last().filter(|_| context.options.switch(&o::REVOKE_IDENTITY) == Ok(true)) else { return };
    if !is_all_ended {
        out.warn("the token of the CI identity is not revoked: a pass could not be ended, and it may be needed once more");
        return;
    }
    if let Ok(identity) = identity(context, last, |_| ()).and_then(|identity| on_its_way(context, identity, last, out)) {
        tell_returned(out, identity.give_back(When::Over).await);
    }
}

/// Ends one pass and reports the result. A failure is returned in the `Ok`, so that the next pass gets its turn.
///
/// # Errors
/// When there is no such lease, and only a flag has named it.
async fn end_one(
    context: &Context,
    revocation: &Revocation,
    terms: Terms,
    telling: Telling,
    out: &Out,
) -> Result<Option<Failure>, Failure> {
    let identity = identity(context, revocation, |bad| passed_over(out, bad));
    if let Ok(identity) = &identity {
        meet(out, identity);
    }
    let identity = identity.and_then(|identity| on_its_way(context, identity, revocation, out));
    let revoked = revocation.carry_out(identity, terms, out).await;
    let is_of_this_pod = |key: &str| context.platform == Platform::Tekton && !revocation.known && !holds_uuid(key);
    if revoked.receipt.proof == Proof::Absent && context.options.text(&o::JOB_KEY).is_some_and(is_of_this_pod) {
        // In a `finally` task the pass of another pod is meant, whose lease has another name.
        let failure =
            Failure::new(Code::LeaseOtherPod, "this pod has no pass of that job key, and a key without a UUID in it means no other pod's")
                .hint("give a pass that another pod is to end a key such as `$(context.pipelineRun.uid)/TASK`");
        if telling != Telling::Returned {
            warn(out, &[format!("a pass may be left alive: {}", failure.brief())], telling);
        }
        return Ok(Some(failure));
    }
    // What a mark tells of was there: then it is over.
    let was_begun = || marks::is_left(context, &revocation.lease.id());
    if revocation.is_hearsay() && revoked.receipt.proof == Proof::Absent && !was_begun() {
        return Err(Failure::new(Code::LeaseMissing, format!("there is no lease `{}`", revoked.receipt.lease))
            .cause("the API server has no Secret of that name in that namespace")
            .hint("check namespace and name; it may have been revoked already"));
    }
    if revoked.receipt.proof.is_success() {
        marks::take_away(context, &revocation.lease.name);
        for platform in &context.others {
            marks::take_away(&context.elsewhere(*platform), &revocation.lease.name);
        }
    }
    Ok(tell(context, revoked, telling, out))
}

/// The identity with the proxy and roots to its server. The post step uses those of its main step, whatever a step in between has
/// set.
fn on_its_way(context: &Context, mut identity: Identity, revocation: &Revocation, out: &Out) -> Result<Identity, Failure> {
    if context.is_post() {
        identity.ways = Ways::again(&context.env, revocation.lease.issuer_way.clone().unwrap_or_default());
    }
    identity.way = if context.is_post() {
        let fingerprint = revocation.lease.way.clone().unwrap_or_default();
        let (way, passed_over) = Way::again(&identity.address(), &context.env, &fingerprint)?;
        for what in passed_over {
            out.warn(what);
        }
        way
    } else {
        Way::of(&identity.address(), &context.env)?
    };
    Ok(identity)
}

/// The message part that says where no pass was found.
fn nowhere(platform: Platform, looked: &[String]) -> String {
    let whose = match platform {
        Platform::Github | Platform::Gitlab | Platform::Tekton => " of this job",
        Platform::Local => "",
    };
    format!("no pass{whose} in {}", one_line(&looked.join(" or ")))
}
