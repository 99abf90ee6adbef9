//! What the CI identity must be allowed to do, and what must be refused to it: by RBAC, or by an admission policy.
//!
//! What is attempted changes nothing where it is let through: a dry run, or a token bound to a Secret that does not exist (a dry run of a
//! token request is real).

use http::Method;
use k8s_openapi::api::{authentication::v1::UserInfo, authorization::v1::ResourceAttributes};
use serde_json::{Value, json};

use super::{
    report::{Area, Report},
    unsaid,
};
use crate::{
    cluster::{Attempted, Cluster},
    lease::object,
    name::{PREFIX, random_hex},
    operate::finding::{Finding, Id},
    spec::ServiceAccount,
};

/// A right that no CI identity needs: verb, API group, resource, and the finding where it has it.
const NEVER: [(&str, &str, &str, Id); 11] = [
    ("get", "", "secrets", Id::IdentitySecrets),
    ("list", "", "secrets", Id::IdentitySecrets),
    ("watch", "", "secrets", Id::IdentitySecrets),
    ("update", "", "secrets", Id::IdentitySecrets),
    ("patch", "", "secrets", Id::IdentitySecrets),
    // Without a name: of all accounts of the namespace.
    ("create", "", "serviceaccounts/token", Id::IdentityMints),
    ("impersonate", "", "serviceaccounts", Id::IdentityPowers),
    ("impersonate", "", "users", Id::IdentityPowers),
    ("create", "", "pods", Id::IdentityPowers),
    ("create", "rbac.authorization.k8s.io", "rolebindings", Id::IdentityPowers),
    ("bind", "rbac.authorization.k8s.io", "roles", Id::IdentityPowers),
];

/// Checks both.
pub(super) async fn check(cluster: &mut Cluster, account: &ServiceAccount, who: &UserInfo, report: &mut Report) {
    let may_ask = may(cluster, account, report).await;
    never(cluster, account, report).await;
    let maker = who.username.clone().unwrap_or_default();
    let token = attacks(cluster, account, &maker, report).await;
    match token {
        Some(Attempted::NoAccount) => {
            let text = format!("there is no service account `{account}`");
            let fix = format!("jobpass setup {account} --apply");
            report.found(Area::Account, Finding::new(Id::AccountMissing, text).fix(fix));
        }
        Some(Attempted::NoNamespace) => {
            let text = format!("there is no namespace `{}`", account.namespace);
            report.found(Area::Account, Finding::new(Id::AccountMissing, text).fix("check its name, and that this is the right cluster"));
        }
        Some(Attempted::ByRbac) => not_granted(cluster, account, report).await,
        None if !may_ask => not_granted(cluster, account, report).await,
        Some(Attempted::LetThrough | Attempted::ByPolicy(_) | Attempted::ByWebhook | Attempted::Otherwise(_)) => {
            report.ok(Area::Account, Id::AccountMissing.name(), format!("{account} is there"));
        }
        None => report.skipped(Area::Account, Id::AccountMissing.name(), format!("it is not known whether {account} is there")),
    }
}

/// A question about one right in a namespace.
pub(super) fn right(namespace: &str, verb: &str, group: &str, resource: &str, name: &str) -> ResourceAttributes {
    let (resource, sub) = resource.split_once('/').map_or((resource, None), |(resource, sub)| (resource, Some(sub)));
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ResourceAttributes {
        namespace: text(namespace),
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        subresource: sub.map(str::to_owned),
        name: text(name),
        ..ResourceAttributes::default()
    }
}

/// The three rights of a CI identity; whether it may have tokens of the account, as far as is known.
async fn may(cluster: &mut Cluster, account: &ServiceAccount, report: &mut Report) -> bool {
    let ServiceAccount { namespace, name } = account;
    let needed = [("create", "serviceaccounts/token", name.as_str()), ("create", "secrets", ""), ("delete", "secrets", "")];
    let (mut missing, mut may_ask) = (Vec::new(), true);
    for (verb, resource, name) in needed {
        match cluster.may(right(namespace, verb, "", resource, name)).await {
            Ok(status) if status.allowed => {}
            Ok(_) => {
                may_ask &= name.is_empty();
                missing.push(if name.is_empty() {
                    format!("`{verb}` on `{resource}`")
                } else {
                    format!("`{verb}` on `{resource}` (resourceName `{name}`)")
                });
            }
            Err(failure) => {
                unsaid(report, Area::May, Id::PermissionMissing.name(), &failure);
                return true;
            }
        }
    }
    if missing.is_empty() {
        let text = format!("create tokens of {account}; create and delete Secrets in {namespace}");
        report.ok(Area::May, Id::PermissionMissing.name(), text);
    } else {
        let text = format!("it lacks {} in namespace `{namespace}`", missing.join(", "));
        let finding = Finding::new(Id::PermissionMissing, text).fix("ask a cluster admin for what `jobpass setup` gives");
        report.found(Area::May, finding).evidence = json!({"missing": missing});
    }
    may_ask
}

/// Rights that it must not have.
async fn never(cluster: &mut Cluster, account: &ServiceAccount, report: &mut Report) {
    let mut had: Vec<(Id, String, String)> = Vec::new();
    for (verb, group, resource, id) in NEVER {
        match cluster.may(right(&account.namespace, verb, group, resource, "")).await {
            Ok(status) if status.allowed => had.push((id, format!("`{verb}` on `{resource}`"), status.reason.unwrap_or_default())),
            Ok(_) => {}
            Err(failure) => return unsaid(report, Area::MayNot, Id::IdentityPowers.name(), &failure),
        }
    }
    let told = [
        (Id::IdentitySecrets, "read or change Secrets", "it may read or change Secrets"),
        (Id::IdentityMints, "ask for tokens of other service accounts", "it may ask for tokens of every service account"),
        (Id::IdentityPowers, "act as others, change rights or run pods", "it may do more than jobpass needs"),
    ];
    let mut well = Vec::new();
    for (id, good, bad) in told {
        let of: Vec<_> = had.iter().filter(|(had, ..)| *had == id).collect();
        let Some((_, _, reason)) = of.first() else {
            well.push(good);
            continue;
        };
        let rights: Vec<_> = of.iter().map(|(_, right, _)| right.as_str()).collect();
        let by = Grant::of(reason).map(|grant| format!(", by {grant}")).unwrap_or_default();
        let finding = Finding::new(id, format!("{bad}: {} in namespace `{}`{by}", rights.join(", "), account.namespace));
        report.found(Area::MayNot, finding.fix(Grant::fix(reason))).evidence = json!({"rights": rights});
    }
    if !well.is_empty() {
        report.ok(Area::MayNot, "identity-rights", well.join("; "));
    }
}

/// What is attempted: what it is, the finding's words where it is let through, and what became of it.
fn attack(report: &mut Report, what: &str, attempted: &Attempted) {
    let id = Id::PolicyMissing.name();
    let (state, by) = match attempted {
        Attempted::LetThrough => {
            let text = format!("nothing refuses {what}");
            let finding = Finding::new(Id::PolicyMissing, text).fix("as a cluster's admin: jobpass setup NAMESPACE/NAME --apply");
            report.found(Area::MayNot, finding).evidence = json!({"attack": what, "refusedBy": null});
            return;
        }
        Attempted::ByPolicy(name) => (format!("refused by the policy `{name}`"), name.as_str()),
        Attempted::ByWebhook => ("refused by a webhook".to_owned(), "webhook"),
        Attempted::ByRbac => ("refused by RBAC, before any policy was asked".to_owned(), "rbac"),
        Attempted::NoAccount | Attempted::NoNamespace => {
            return report.skipped(Area::MayNot, id, format!("{what}: not attempted, as there is no such account"));
        }
        Attempted::Otherwise(words) => return report.skipped(Area::MayNot, id, format!("{what}: {words}")),
    };
    report.ok(Area::MayNot, id, format!("{what}: {state}")).evidence = json!({"attack": what, "refusedBy": by});
}

/// Attempts what needs no pass; what became of the token request, which also tells whether the account is there.
async fn attacks(cluster: &mut Cluster, account: &ServiceAccount, maker: &str, report: &mut Report) -> Option<Attempted> {
    let secrets = format!("/api/v1/namespaces/{}/secrets?dryRun=All", account.namespace);
    let name = format!("{PREFIX}{}", random_hex());
    let opaque = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque"});
    let full = json!({
        "apiVersion": "v1", "kind": "Secret", "type": object::SECRET_TYPE, "data": {"x": ""},
        "metadata": {"name": name, "annotations": {"jobpass.dev/identity": maker, "jobpass.dev/lifetime": "600"}},
    });
    for (what, body) in [("a Secret of another type", &opaque), ("a lease that holds data", &full)] {
        match cluster.attempt(Method::POST, secrets.clone(), body).await {
            Ok(attempted) => attack(report, what, &attempted),
            Err(failure) => unsaid(report, Area::MayNot, Id::PolicyMissing.name(), &failure),
        }
    }
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", account.namespace, account.name);
    // The name is no lease's, so that the policy refuses it; and nobody's, so that nothing is issued where it does not.
    let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": format!("no-lease-{}", random_hex())});
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound, "expirationSeconds": 600},
    });
    match cluster.attempt(Method::POST, path, &body).await {
        Ok(attempted) => {
            attack(report, "a token that is bound to no lease", &attempted);
            Some(attempted)
        }
        Err(failure) => {
            unsaid(report, Area::MayNot, Id::PolicyMissing.name(), &failure);
            None
        }
    }
}

/// Attempts to delete a lease of ours so that the answer would show its content; a dry run.
pub(super) async fn attack_lease(cluster: &mut Cluster, namespace: &str, name: &str, report: &mut Report) {
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}?dryRun=All&propagationPolicy=Foreground");
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"], "propagationPolicy": "Foreground"});
    match cluster.attempt(Method::DELETE, path, &body).await {
        Ok(attempted) => attack(report, "a deletion that answers with the Secret", &attempted),
        Err(failure) => unsaid(report, Area::MayNot, Id::PolicyMissing.name(), &failure),
    }
}

/// It may have no tokens of this account: of which ones it may, and which one may be meant.
async fn not_granted(cluster: &mut Cluster, account: &ServiceAccount, report: &mut Report) {
    let ServiceAccount { namespace, name } = account;
    let text = format!("this identity may have no pass of `{account}`");
    let finding = |text: String| Finding::new(Id::AccountNotGranted, text);
    let ask = format!("check the name, or ask a cluster admin for what `jobpass setup {account}` gives");
    let Ok(allowed) = cluster.allowed(namespace).await else {
        report.found(Area::Account, finding(text).fix(ask));
        return;
    };
    // An authorizer that cannot list its rules may grant more.
    if allowed.is_incomplete {
        report.found(Area::Account, finding(text).fix(ask));
        return;
    }
    if allowed.names.is_empty() {
        report.found(Area::Account, finding(format!("{text}, nor of any other service account in `{namespace}`")).fix(ask));
        return;
    }
    let nearest = allowed.nearest(name);
    let mut listed = allowed.listed(nearest);
    if let Some(first) = listed.first_mut().filter(|_| nearest.is_some()) {
        first.push_str(" (did you mean that?)");
    }
    let fix = nearest.map_or(ask, |nearest| format!("jobpass doctor -s {namespace}/{nearest}"));
    let evidence = Value::from(allowed.names.clone());
    report.found(Area::Account, finding(format!("{text}; it may have: {}", listed.join(", "))).fix(fix)).evidence =
        json!({"granted": evidence});
}

/// Which binding gives a right, as RBAC's own reason names it.
pub(super) struct Grant {
    /// `rolebinding` or `clusterrolebinding`.
    kind: &'static str,
    namespace: Option<String>,
    name: String,
    role: String,
}

impl Grant {
    /// Reads the reason of an access review: `RBAC: allowed by RoleBinding "edit/ci" of ClusterRole "edit" to …`.
    pub(super) fn of(reason: &str) -> Option<Self> {
        let (_, rest) = reason.split_once("allowed by ")?;
        let (kind, rest) = rest.split_once(" \"")?;
        let (binding, rest) = rest.split_once("\" of ")?;
        let (role_kind, rest) = rest.split_once(" \"")?;
        let (role, _) = rest.split_once('"')?;
        let role = format!("{role_kind} {role}");
        match kind {
            "RoleBinding" => {
                let (name, namespace) = binding.rsplit_once('/')?;
                Some(Self { kind: "rolebinding", namespace: Some(namespace.to_owned()), name: name.to_owned(), role })
            }
            "ClusterRoleBinding" => Some(Self { kind: "clusterrolebinding", namespace: None, name: binding.to_owned(), role }),
            _ => None,
        }
    }

    /// What takes it away.
    pub(super) fn fix(reason: &str) -> String {
        match Self::of(reason) {
            Some(Self { kind, namespace, name, .. }) => {
                let place = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
                format!("kubectl delete {kind} {name}{place}, and bind a smaller role")
            }
            None => "take the right away; `kubectl auth can-i --list` shows the rules".to_owned(),
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let kind = if self.namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        write!(f, "{kind} {place}{} -> {}", self.name, self.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_is_read_from_the_reason() {
        let reason = r#"RBAC: allowed by RoleBinding "edit/ci" of ClusterRole "edit" to ServiceAccount "deploy-bot/ci""#;
        assert_eq!(Grant::of(reason).map(|grant| grant.to_string()).as_deref(), Some("RoleBinding ci/edit -> ClusterRole edit"));
        assert_eq!(Grant::fix(reason), "kubectl delete rolebinding edit -n ci, and bind a smaller role");
        let reason = r#"RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "view" to Group "g""#;
        assert_eq!(Grant::fix(reason), "kubectl delete clusterrolebinding x, and bind a smaller role");
        for none in ["", "allowed by a webhook", r#"allowed by Sandbox "x" of Role "y" to z"#] {
            assert!(Grant::of(none).is_none(), "{none}");
        }
    }
}
