//! The way to the API server: whether it answers, whether its certificate is checked and good for long, and what time it has.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Patient, connected, is_refusal,
    report::{Area, Report},
};
use crate::{
    clock::length,
    cluster::Cluster,
    identity::{Identity, server::path_of},
    net::{WRONG_SERVER, leaf},
    operate::finding::{Finding, Id},
    out::instant,
};

/// A certificate with less than this before its end is a finding, if that is also less than a part of its whole life: OpenShift renews
/// those that it makes for a month, and has less than this left of each.
const NEAR: SignedDuration = SignedDuration::from_hours(30 * 24);
const FULL: i32 = 5;

/// Clocks further apart are a finding.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// Checks the way; the connection, if there is one.
pub(super) async fn check(patient: &Patient<'_>, identity: Identity, report: &mut Report) -> Option<Cluster> {
    let authority = identity.authority.clone();
    let is_checked = identity.cluster.insecure_skip_tls_verify != Some(true);
    let server = identity.server().to_owned();
    let (cluster, version) = match connected(patient, identity).await {
        Ok(mut cluster) => {
            let version = cluster.version().await;
            (Some(cluster), version)
        }
        Err(failure) => (None, Err(failure)),
    };
    let version = match version {
        // A path that the API server does not know, it does not let anybody see either.
        Ok(None) if let Some(path) = path_of(&server) => {
            let text = format!("the address has the path `{path}`, where no API server answers; its address usually has none");
            report.found(Area::Reach, Finding::new(Id::ServerUnreachable, text).fix(WRONG_SERVER));
            return None;
        }
        Ok(version) => version,
        Err(failure) if is_refusal(&failure) => {
            report.ok(Area::Reach, Id::ServerUnreachable.name(), format!("{server} answers")).evidence = json!({"server": server});
            report.failed(Area::Identity, Id::IdentityRefused, &failure);
            return None;
        }
        Err(failure) => {
            let failure = match path_of(&server) {
                Some(path) => failure.cause(format!("the address has the path `{path}`; an API server's usually has none")),
                None => failure,
            };
            report.failed(Area::Reach, Id::ServerUnreachable, &failure);
            return None;
        }
    };
    let mut cluster = cluster?;
    // The second request has no handshake in it, which is one more round trip or two.
    let begun = Instant::now();
    let _ = cluster.version().await;
    let took = begun.elapsed().as_millis();
    let kubernetes =
        version.as_deref().map_or_else(|| "it does not tell its version".to_owned(), |version| format!("Kubernetes {version}"));
    report.ok(Area::Reach, Id::ServerUnreachable.name(), format!("{server}, {took} ms, {kubernetes}")).evidence =
        json!({"server": server, "milliseconds": u64::try_from(took).unwrap_or(u64::MAX), "version": version});
    trust(&cluster, is_checked, &authority, report).await;
    clock(&cluster, report);
    Some(cluster)
}

async fn trust(cluster: &Cluster, is_checked: bool, authority: &str, report: &mut Report) {
    let shown = cluster.certificate().await.and_then(|certificate| leaf::issuer_and_life(&certificate));
    if !is_checked {
        let finding =
            Finding::new(Id::TrustUnchecked, "the certificate of the API server is not checked: whoever answers there gets the credential");
        report
            .found(Area::Trust, finding.fix("take `--insecure-skip-tls-verify` away, and give the authority by `--certificate-authority`"));
    }
    let Some((issuer, begun, end)) = shown else {
        return report.skipped(Area::Trust, Id::TrustEnds.name(), "the API server's certificate cannot be read");
    };
    let checked = if is_checked { format!(", checked against {authority}") } else { String::new() };
    certificate(&issuer, (begun, end), cluster.now(), &checked, report);
}

/// The certificate that the API server has shown.
fn certificate(issuer: &str, (begun, end): (Timestamp, Timestamp), now: Timestamp, checked: &str, report: &mut Report) {
    let evidence = json!({"issuer": issuer, "notAfter": instant(end)});
    let left = end.duration_since(now);
    if left < NEAR && left < end.duration_since(begun) / FULL {
        let text = format!("the API server's certificate, issued by `{issuer}`, ends in {} ({})", length(left), instant(end));
        report.found(Area::Trust, Finding::new(Id::TrustEnds, text).fix("ask whoever runs the cluster to renew it")).evidence = evidence;
    } else {
        report.ok(Area::Trust, Id::TrustEnds.name(), format!("issued by `{issuer}`{checked}, ends in {}", length(left))).evidence =
            evidence;
    }
}

fn clock(cluster: &Cluster, report: &mut Report) {
    let Some(theirs) = cluster.told_time() else {
        return report.skipped(Area::Clock, Id::ClockSkew.name(), "the API server does not tell its time, or one that is days away");
    };
    let apart = Timestamp::now().duration_since(theirs).abs();
    let evidence = json!({"seconds": apart.as_secs()});
    match cluster.skew() {
        Some(skew) if apart > APART => {
            report.found(Area::Clock, Finding::new(Id::ClockSkew, skew).fix("set the clock of the machine that is wrong")).evidence =
                evidence;
        }
        // The server tells whole seconds.
        Some(_) | None if apart.as_secs() < 2 => report.ok(Area::Clock, Id::ClockSkew.name(), "less than 2 s apart").evidence = evidence,
        Some(_) | None => {
            report.ok(Area::Clock, Id::ClockSkew.name(), format!("{} s apart", apart.as_secs())).evidence = evidence;
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::operate::table::Screen;

    #[test]
    fn a_certificate_that_ends_soon_is_found() {
        let day = |day: i64| Timestamp::from_second(day * 86_400).expect("in range");
        let said = |begun, end| {
            let mut report = Report::default();
            certificate("CN=lb-signer", (day(begun), day(end)), day(0), ", checked against the authority of context `ci`", &mut report);
            report.render(Screen::default())
        };
        assert_snapshot!([said(-153, 212), said(-336, 29), said(-10, 20), said(-25, 5)].join("\n"));
    }
}
