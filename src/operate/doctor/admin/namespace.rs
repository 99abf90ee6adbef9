//! What is in a namespace of jobs' service accounts beside leases: other Secrets, tokens that never end, what is left over, a lock.

use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::{Api, api::ListParams};
use serde_json::json;

use super::{api, metadata};
use crate::{
    failure::Failure,
    lease::object,
    operate::{
        doctor::{
            report::{Area, Report},
            unsaid,
        },
        finding::{Finding, Id},
        leases::{
            held::{Held, State},
            pages::Pages,
        },
        locks::{self, Lock},
        server::Server,
    },
};

/// Types of Secrets that are no neighbours: our own, OpenShift's for its registry, and tokens, which are told by themselves.
const KNOWN: [&str; 4] =
    [object::SECRET_TYPE, "kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson", "kubernetes.io/service-account-token"];

/// Service accounts that every namespace has.
const ACCOUNTS: [&str; 3] = ["default", "builder", "deployer"];

/// How many names a line shows.
const SHOWN: usize = 10;

/// Checks it.
pub(super) async fn check(server: &Server, namespace: &str, report: &mut Report) {
    let tokens = secrets(server, namespace, "type=kubernetes.io/service-account-token").await;
    match tokens {
        Ok(names) if names.is_empty() => {
            report.ok(Area::Namespace, Id::EternalTokens.name(), format!("no token Secrets in {namespace}"));
        }
        Ok(names) => {
            let text = format!("token Secrets in {namespace}, whose tokens never end: {}", shown(&names));
            let fix = format!("see who uses them, then: kubectl delete secret NAME -n {namespace}");
            report.found(Area::Namespace, Finding::new(Id::EternalTokens, text).fix(fix)).evidence = json!({"secrets": names});
        }
        Err(failure) => unsaid(report, Area::Namespace, Id::EternalTokens.name(), &failure),
    }
    shared(server, namespace, report).await;
    left_over(server, namespace, report).await;
    lock(server, namespace, report).await;
}

/// The names of the Secrets that a selector of fields takes.
async fn secrets(server: &Server, namespace: &str, fields: &str) -> Result<Vec<String>, Failure> {
    let params = ListParams::default().fields(fields);
    let found = metadata(server, &api::<Secret>(&server.client, namespace), &params, "secrets").await?;
    Ok(found.into_iter().filter_map(|secret| secret.metadata.name).collect())
}

async fn shared(server: &Server, namespace: &str, report: &mut Report) {
    let fields = KNOWN.map(|known| format!("type!={known}")).join(",");
    let accounts = metadata(server, &api::<ServiceAccount>(&server.client, namespace), &ListParams::default(), "serviceaccounts").await;
    let (secrets, accounts) = match (secrets(server, namespace, &fields).await, accounts) {
        (Ok(secrets), Ok(accounts)) => (secrets, accounts),
        (Err(failure), _) | (_, Err(failure)) => return unsaid(report, Area::Namespace, Id::NamespaceShared.name(), &failure),
    };
    let accounts = accounts.into_iter().filter_map(|account| account.metadata.name).filter(|name| !ACCOUNTS.contains(&name.as_str()));
    let accounts: Vec<_> = accounts.collect();
    let evidence = json!({"secrets": secrets, "serviceAccounts": accounts});
    if secrets.is_empty() {
        let text = format!("no other Secrets in {namespace}; service accounts: {}", shown(&accounts));
        report.ok(Area::Namespace, Id::NamespaceShared.name(), text).evidence = evidence;
    } else {
        let text = format!("other Secrets in {namespace}, beside the leases: {}", shown(&secrets));
        let fix = "give the service accounts of jobs a namespace that holds nothing else";
        report.found(Area::Namespace, Finding::new(Id::NamespaceShared, text).fix(fix)).evidence = evidence;
    }
}

async fn left_over(server: &Server, namespace: &str, report: &mut Report) {
    let leases = match Pages::of(server, Some(namespace)).collected(|_| true).await {
        Ok(leases) => leases,
        Err(failure) => return unsaid(report, Area::Namespace, Id::LeasesLeftOver.name(), &failure),
    };
    leases_of(&leases, namespace, report);
}

fn leases_of(leases: &[Held], namespace: &str, report: &mut Report) {
    let over: Vec<_> = leases.iter().filter(|lease| lease.state == State::Over).map(|lease| lease.name.clone()).collect();
    let evidence = json!({"leases": leases.len(), "over": over});
    if over.is_empty() {
        let text = format!("{} leases in {namespace}, none left over", leases.len());
        report.ok(Area::Namespace, Id::LeasesLeftOver.name(), text).evidence = evidence;
    } else {
        let text = format!("leases left over in {namespace}: {} of {}", over.len(), leases.len());
        report.found(Area::Namespace, Finding::new(Id::LeasesLeftOver, text).fix("jobpass leases sweep")).evidence = evidence;
    }
}

async fn lock(server: &Server, namespace: &str, report: &mut Report) {
    let found = match Api::<Namespace>::all(server.client.clone()).get_metadata(namespace).await {
        Ok(found) => found,
        Err(error) => {
            let failure = server.failed("cannot read the namespace", &format!("`get` on namespace `{namespace}`"), &error);
            return unsaid(report, Area::Namespace, "lock", &failure);
        }
    };
    let notes = found.metadata.annotations.unwrap_or_default();
    let locks: Vec<_> = locks::of(&server.name, namespace, &notes, server.now()).iter().map(Lock::line).collect();
    let text = if locks.is_empty() { format!("{namespace} is not locked") } else { locks.join(", ") };
    report.ok(Area::Namespace, "lock", text).evidence = json!({"locks": locks});
}

/// The first of some names, and how many more there are.
fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
