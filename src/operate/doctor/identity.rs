//! As whom the job asks: whom the API server takes it for, when its credential ends, and whether the policies watch it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::json;

use super::{
    is_refusal,
    report::{Area, Report},
    unsaid,
};
use crate::{
    clock::length,
    cluster::Cluster,
    jwt::Claims,
    net::leaf,
    operate::finding::{Finding, Id},
    out::instant,
};

/// The groups that the policies of `deploy/policy.yaml` watch; the last is a beginning.
const WATCHED: [&str; 2] = ["system:serviceaccounts:jobpass", "jobpass:ci"];
const WATCHED_BELOW: &str = "jobpass:ci:";

/// An end within this time is worth a line, of a credential that was made for longer.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whether the policies watch the members of this group.
pub(super) fn is_watched(group: &str) -> bool {
    WATCHED.contains(&group) || group.starts_with(WATCHED_BELOW)
}

/// Checks it; who it is, if the API server says so.
pub(super) async fn check(cluster: &mut Cluster, report: &mut Report) -> Option<UserInfo> {
    let who = match cluster.who().await {
        Ok(who) => who,
        Err(failure) if is_refusal(&failure) => {
            report.failed(Area::Identity, Id::IdentityRefused, &failure);
            return None;
        }
        Err(failure) => {
            unsaid(report, Area::Identity, Id::IdentityRefused.name(), &failure);
            return None;
        }
    };
    let name = who.username.clone().unwrap_or_default();
    let groups = who.groups.clone().unwrap_or_default();
    report.ok(Area::Identity, Id::IdentityRefused.name(), &name).evidence = json!({"user": name, "groups": groups});
    credential(cluster, report);
    if groups.iter().any(|group| is_watched(group)) {
        report.ok(Area::Identity, Id::IdentityUnwatched.name(), "in a group that the policies watch");
    } else {
        let text = format!("`{name}` is in none of the groups that the policies watch: nothing limits what it makes of its rights");
        let fix = "use a service account of the namespace `jobpass`, or a group whose name begins with `jobpass:ci:`";
        report.found(Area::Identity, Finding::new(Id::IdentityUnwatched, text).fix(fix));
    }
    Some(who)
}

/// When the credential ends.
fn credential(cluster: &Cluster, report: &mut Report) {
    let now = cluster.now();
    let claims = cluster.identity_token().and_then(Claims::of);
    // The API server prefers a certificate to a token.
    if let Some(certificate) = cluster.identity().certificate() {
        let Some((_, begun, end)) = leaf::issuer_and_life(&certificate) else {
            return report.skipped(Area::Identity, Id::CredentialEnds.name(), "its client certificate cannot be read");
        };
        return ends(report, "client certificate", Some(begun), end, now);
    }
    let Some(claims) = claims else {
        let why = if cluster.identity_token().is_some() { "its token does not say" } else { "its credential is no token: it does not say" };
        return report.skipped(Area::Identity, Id::CredentialEternal.name(), format!("{why} when it ends"));
    };
    token(&claims, now, report);
}

/// When a token ends.
fn token(claims: &Claims, now: Timestamp, report: &mut Report) {
    if let Some(end) = claims.expires_at() {
        return ends(report, "token", claims.issued_at(), end, now);
    }
    // What the controller writes into a token Secret has no end; any other token without one is as bad.
    let is_legacy = claims.iss.as_deref() == Some("kubernetes/serviceaccount");
    eternal(report, if is_legacy { "a token Secret" } else { "a token without an end" }, claims.service_account());
}

fn eternal(report: &mut Report, what: &str, account: Option<String>) {
    // Another namespace's accounts no policy watches, and so `setup identity` refuses them.
    let account = account.filter(|account| account.starts_with("jobpass/")).unwrap_or_else(|| "jobpass/ci".to_owned());
    let finding = Finding::new(Id::CredentialEternal, format!("its credential never ends: it is {what}"));
    let fix = format!("jobpass setup identity {account} --ttl 90d, or let the cluster trust the CI system's own tokens");
    report.found(Area::Identity, finding.fix(fix));
}

fn ends(report: &mut Report, what: &str, begun: Option<Timestamp>, end: Timestamp, now: Timestamp) {
    let left = end.duration_since(now);
    let is_short = begun.is_some_and(|begun| end.duration_since(begun) <= SOON);
    let evidence = json!({"kind": what, "expiresAt": instant(end)});
    let text = format!("its {what} ends in {}", length(left));
    if left < SOON && !is_short {
        let fix = "make a new one: jobpass setup identity";
        report.found(Area::Identity, Finding::new(Id::CredentialEnds, text).fix(fix)).evidence = evidence;
    } else {
        report.ok(Area::Identity, Id::CredentialEternal.name(), text).evidence = evidence;
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::operate::table::Screen;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).expect("in range")
    }

    fn found(begun: Option<i64>, end: i64) -> bool {
        let mut report = Report::default();
        ends(&mut report, "token", begun.map(at), at(end), at(0));
        report.has(Id::CredentialEnds)
    }

    #[test]
    fn an_end_that_is_near_is_told_of_what_was_made_for_long() {
        assert!(found(Some(-2000), 100));
        assert!(found(None, 100));
        assert!(!found(Some(-1), 1), "a job's own token");
        assert!(!found(Some(-2000), 200));
    }

    #[test]
    fn a_token_without_an_end_is_told() {
        let said = |claims: &str| {
            let mut report = Report::default();
            token(&serde_json::from_str(claims).expect("claims"), at(0), &mut report);
            report.render(Screen::default())
        };
        let of = r#""sub":"system:serviceaccount:jobpass:shop""#;
        let texts = [
            said(&format!(r#"{{"iss":"kubernetes/serviceaccount",{of}}}"#)),
            said(&format!(r#"{{"iss":"https://kubernetes.default.svc",{of}}}"#)),
            said(&format!(r#"{{"exp":7200,"iat":0,{of}}}"#)),
        ];
        assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn the_groups_are_those_of_the_manifest() {
        let manifest = include_str!("../../../deploy/policy.yaml");
        for group in WATCHED.into_iter().chain([WATCHED_BELOW]) {
            assert!(manifest.contains(&format!("'{group}'")), "{group}");
        }
        let told =
            ["jobpass:ci", "jobpass:ci:github:1", "system:serviceaccounts:jobpass", "jobpass:city", "system:serviceaccounts:jobpass2"];
        assert_eq!(told.map(is_watched), [true, true, true, false, false]);
    }
}
