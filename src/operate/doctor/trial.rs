//! A pass of its own: begun as the job begins one, but handed to nobody; used, asked for its rights, ended, and shown to be dead.
//!
//! It never outlives this process: whatever fails, and whatever signal comes, its lease is deleted as that of any other pass.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    Patient, interrupted, may,
    report::{Area, Report},
    rights,
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    handover::ForCommand,
    job::{begin, telling::tell_returned},
    operate::finding::{Finding, Id},
    options::human,
    pass::{Pass, Revoked, Terms},
    receipt::Proof,
    secret::Secret,
    signals::Signals,
    spec::TokenSpec,
};

/// How long ending it may take: the API server may remember its token for ten seconds.
const END: Duration = Duration::from_secs(25);

/// Whether a pass cannot be begun, as what was found says.
pub(super) fn is_hopeless(report: &Report) -> bool {
    [Id::PermissionMissing, Id::AccountMissing, Id::AccountNotGranted, Id::JobUnfit].into_iter().any(|id| report.has(id))
}

/// Begins a pass, uses it and ends it.
///
/// # Errors
/// When a signal has come. The pass is ended by then.
pub(super) async fn check(patient: &Patient<'_>, spec: TokenSpec, signals: &mut Signals, report: &mut Report) -> Result<(), Failure> {
    // As an operator's machine takes it for itself, a token for somebody else would say nothing.
    let spec = TokenSpec { audiences: Vec::new(), kubeconfig_out: None, registry: None, ..spec };
    // The time of its beginning counts from now on, and not from the start of the process.
    let context = Context { started: Instant::now(), ..patient.context.clone() };
    let handover = ForCommand::of(&context, patient.out);
    let begun = Instant::now();
    let mut pass = match Box::pin(begin(&context, &spec, &handover, signals, patient.out)).await {
        Ok(pass) => pass,
        Err(failure) if failure.code() == Code::Interrupted => return Err(failure),
        Err(failure) => {
            report.failed(Area::Account, Id::PassFailed, &failure);
            return Ok(());
        }
    };
    let took = begun.elapsed();
    let used = {
        let work = used(&mut pass, &spec, patient, report);
        tokio::select! {
            used = Box::pin(work) => Ok(used),
            notice = signals.ending_one() => Err(interrupted(notice)),
        }
    };
    let terms = match &used {
        Ok(_) => Terms { timeout: END, wait_dead: true },
        Err(_) => Terms { timeout: context.platform.signal_budget(), wait_dead: false },
    };
    let (granted, asked) = (pass.lifetime, spec.ttl);
    let ended = Instant::now();
    let mut revoked = Box::pin(pass.end(terms)).await;
    let refused = ended.elapsed();
    tell_returned(patient.out, std::mem::take(&mut revoked.returned));
    if revoked.receipt.proof.is_success() {
        handover.is_over();
    }
    let is_used = match used {
        Ok(used) => used,
        Err(interrupted) => {
            let left = revoked.failure.as_ref().map(Failure::brief);
            return Err(left.into_iter().fold(interrupted, Failure::cause));
        }
    };
    if granted < asked {
        let text = format!("asked for {}, but the API server grants {}", human(asked), human(granted));
        report.found(
            Area::Account,
            Finding::new(Id::TtlShortened, text).fix("ask for less by `--ttl`, or run long commands by `jobpass run`"),
        );
    } else {
        report.ok(Area::Account, Id::TtlShortened.name(), format!("a pass is granted for {}", human(granted)));
    }
    over(&revoked, is_used, (took, refused), report);
    Ok(())
}

/// Uses the pass, by a second token of it: the first one stays unknown to the API server's cache, so that its death can be seen at once.
/// Whether the API server takes it for the service account.
async fn used(pass: &mut Pass, spec: &TokenSpec, patient: &Patient<'_>, report: &mut Report) -> bool {
    let second = pass.renew(spec, patient.timeout).await.ok().flatten().map(|renewed| renewed.token);
    let token: Secret = second.unwrap_or_else(|| pass.token.clone());
    patient.out.hide(&token);
    if !patient.is_admin {
        may::attack_lease(&mut pass.cluster, &pass.lease.service_account.namespace, &pass.lease.name, report).await;
    }
    let account = pass.lease.service_account.clone();
    let wanted = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
    let who = match pass.cluster.again_as(&token, "the pass of this check").await {
        Ok(mut own) => match own.who().await {
            Ok(who) => Ok((own, who.username.unwrap_or_default())),
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    match who {
        Ok((mut own, name)) if name == wanted => {
            let mut namespaces = vec![account.namespace.as_str()];
            if spec.target_namespace != account.namespace {
                namespaces.push(&spec.target_namespace);
            }
            rights::check(&mut own, &account, &namespaces, report).await;
            true
        }
        Ok((_, name)) => {
            let text = format!("the API server takes the token of `{account}` for `{name}`");
            report.found(Area::Account, Finding::new(Id::PassFailed, text));
            false
        }
        Err(failure) => {
            report.failed(Area::Account, Id::PassFailed, &failure);
            false
        }
    }
}

/// What became of it.
fn over(revoked: &Revoked, is_used: bool, (took, refused): (Duration, Duration), report: &mut Report) {
    let lease = &revoked.receipt.lease;
    let seconds = |length: Duration| format!("{:.1} s", length.as_secs_f64());
    let evidence = json!({"lease": lease, "proof": revoked.receipt.proof});
    let used = if is_used { "used, " } else { "" };
    match &revoked.receipt.proof {
        Proof::Dead => {
            let text = format!("begun in {}, {used}revoked, refused after {}", seconds(took), seconds(refused));
            report.ok(Area::Account, Id::PassAlive.name(), text).evidence = evidence;
        }
        Proof::Pending { .. } => {
            let text = format!("its lease is deleted, and its token was still accepted {} later", seconds(refused));
            let fix = "ask whoever runs the cluster what authenticates for its API servers";
            report.found(Area::Account, Finding::new(Id::PassAlive, text).fix(fix)).evidence = evidence;
        }
        Proof::Removed | Proof::Absent | Proof::Deleting { .. } | Proof::Expired => {
            let text = format!("its end is not proved: {}", revoked.receipt.proof);
            report.skipped(Area::Account, Id::PassAlive.name(), text);
        }
        Proof::Failed { reason, .. } => {
            let life = revoked.life.as_ref().map(|life| format!("; {life}")).unwrap_or_default();
            let finding = Finding::new(Id::PassFailed, format!("the pass is not revoked: {reason}{life}"));
            report.found(Area::Account, finding.fix(format!("jobpass revoke --lease {lease}"))).evidence = evidence;
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{lease::tests::lease, operate::table::Screen, receipt::Receipt};

    #[test]
    fn each_end_of_a_pass_is_told() {
        let until = None;
        let failed = Proof::Failed { code: Code::ApiRbac, reason: "cannot revoke the lease: 403 Forbidden".to_owned(), until };
        let texts = [Proof::Dead, Proof::Pending { until }, Proof::Removed, Proof::Deleting { until }, failed].map(|proof| {
            let revoked = Revoked {
                receipt: Receipt::of(&lease(), true, None, proof),
                known: true,
                failure: None,
                life: None,
                warning: None,
                returned: Vec::new(),
                leftover: None,
            };
            let mut report = Report::default();
            over(&revoked, true, (Duration::from_millis(100), Duration::from_millis(300)), &mut report);
            report.render(Screen::default())
        });
        assert_snapshot!(texts.join("\n"));
    }
}
