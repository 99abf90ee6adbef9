//! Who has rights in a namespace beside the CI identities that are watched: the role of jobpass, and whatever else writes Secrets or makes
//! tokens.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::Api;
use serde_json::json;

use super::{IDENTITIES, api, objects};
use crate::{
    failure::Failure,
    operate::{
        doctor::{
            identity::is_watched,
            report::{Area, Report},
            unsaid,
        },
        finding::{Finding, Id},
        rights::Rule,
        server::Server,
    },
};

/// The name of the role that `deploy/rights.manifest` gives.
const ROLE: &str = "jobpass";

/// All bindings that count in a namespace, and the rules of their roles.
struct Bound {
    namespaced: Vec<RoleBinding>,
    everywhere: Vec<ClusterRoleBinding>,
    rules: BTreeMap<(String, String), Vec<Rule>>,
}

/// Checks both.
pub(super) async fn check(server: &Server, namespace: &str, report: &mut Report) {
    match Bound::read(server, namespace).await {
        Ok(bound) => {
            unwatched(&bound, namespace, report);
            others(&bound, namespace, report);
        }
        Err(failure) => {
            unsaid(report, Area::Namespace, Id::BoundUnwatched.name(), &failure);
            unsaid(report, Area::Namespace, Id::OthersWriteSecrets.name(), &failure);
        }
    }
}

impl Bound {
    async fn read(server: &Server, namespace: &str) -> Result<Self, Failure> {
        let client = &server.client;
        let roles = objects(server, &api::<Role>(client, namespace), "roles").await?;
        let cluster_roles = objects(server, &Api::<ClusterRole>::all(client.clone()), "clusterroles").await?;
        let ruled = |rules: Option<Vec<PolicyRule>>| rules.unwrap_or_default().into_iter().map(Rule::from).collect::<Vec<_>>();
        let named = roles.into_iter().map(|role| (("Role".to_owned(), role.metadata.name.unwrap_or_default()), ruled(role.rules)));
        let all =
            cluster_roles.into_iter().map(|role| (("ClusterRole".to_owned(), role.metadata.name.unwrap_or_default()), ruled(role.rules)));
        Ok(Self {
            namespaced: objects(server, &api::<RoleBinding>(client, namespace), "rolebindings").await?,
            everywhere: objects(server, &Api::<ClusterRoleBinding>::all(client.clone()), "clusterrolebindings").await?,
            rules: named.chain(all).collect(),
        })
    }

    fn writes(&self, role: &RoleRef) -> bool {
        let rules = self.rules.get(&(role.kind.clone(), role.name.clone())).map(Vec::as_slice).unwrap_or_default();
        rules
            .iter()
            .any(|rule| rule.lets(&["create", "update", "patch"], "", "secrets") || rule.lets(&["create"], "", "serviceaccounts/token"))
    }
}

/// Whether a binding gives the rights of a CI identity.
fn is_ours(binding: &RoleBinding) -> bool {
    let labels = binding.metadata.labels.as_ref();
    let is_labelled = labels.and_then(|labels| labels.get("app.kubernetes.io/part-of")).is_some_and(|part| part == "jobpass");
    binding.role_ref.kind == "Role" && (binding.role_ref.name == ROLE || is_labelled)
}

/// A subject in one word: `ServiceAccount ci/deploy-bot`.
fn named(subject: &Subject) -> String {
    match &subject.namespace {
        Some(namespace) => format!("{} {namespace}/{}", subject.kind, subject.name),
        None => format!("{} {}", subject.kind, subject.name),
    }
}

/// Whether the policies watch a subject. They know groups only: a user is watched by whatever groups it comes with, which nobody can see
/// here.
fn is_seen(subject: &Subject) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => subject.namespace.as_deref() == Some(IDENTITIES),
        "Group" => is_watched(&subject.name),
        _ => false,
    }
}

/// Whether it is a part of the cluster itself.
fn is_clusters(subject: &Subject) -> bool {
    let name = subject.name.as_str();
    let is_everybody = ["system:authenticated", "system:unauthenticated", "system:anonymous"].contains(&name)
        || name.starts_with("system:serviceaccounts");
    let place = subject.namespace.as_deref().unwrap_or_default();
    match subject.kind.as_str() {
        "ServiceAccount" => place == "kube-system" || place.starts_with("openshift"),
        _ => name.starts_with("system:") && !is_everybody,
    }
}

fn unwatched(bound: &Bound, namespace: &str, report: &mut Report) {
    let ours: Vec<_> = bound.namespaced.iter().filter(|binding| is_ours(binding)).collect();
    let mut seen = Vec::new();
    let mut is_well = true;
    for binding in &ours {
        let name = binding.metadata.name.clone().unwrap_or_default();
        for subject in binding.subjects.iter().flatten() {
            if is_seen(subject) {
                seen.push(named(subject));
                continue;
            }
            is_well = false;
            let text =
                format!("{} has the rights of a CI identity by RoleBinding {namespace}/{name}, and no policy watches it", named(subject));
            let fix = format!("take it out: kubectl edit rolebinding {name} -n {namespace}");
            report.found(Area::Namespace, Finding::new(Id::BoundUnwatched, text).fix(fix));
        }
    }
    if is_well {
        let all = if seen.is_empty() { "nobody".to_owned() } else { seen.join(", ") };
        report.ok(Area::Namespace, Id::BoundUnwatched.name(), format!("CI identities of {namespace}: {all}")).evidence =
            json!({"identities": seen});
    }
}

fn others(bound: &Bound, namespace: &str, report: &mut Report) {
    let of = |role: &RoleRef, subjects: Option<&Vec<Subject>>| -> Vec<String> {
        // Of a watched one the policies see to it what it writes.
        let others = subjects.into_iter().flatten().filter(|subject| !is_clusters(subject) && !is_seen(subject));
        others.map(|subject| format!("{} ({})", named(subject), role.name)).collect()
    };
    let writes = |role: &RoleRef| bound.writes(role);
    let here: Vec<_> = bound
        .namespaced
        .iter()
        .filter(|binding| !is_ours(binding) && writes(&binding.role_ref))
        .flat_map(|binding| of(&binding.role_ref, binding.subjects.as_ref()))
        .collect();
    let everywhere: Vec<_> = bound
        .everywhere
        .iter()
        .filter(|binding| writes(&binding.role_ref))
        .flat_map(|binding| of(&binding.role_ref, binding.subjects.as_ref()))
        .collect();
    let listed = |subjects: &[String]| if subjects.is_empty() { "no subjects found".to_owned() } else { subjects.join(", ") };
    let text = format!("in {namespace}, by RoleBindings: {}; by ClusterRoleBindings: {}", listed(&here), listed(&everywhere));
    let evidence = json!({"namespace": namespace, "roleBindings": here, "clusterRoleBindings": everywhere});
    if here.is_empty() && everywhere.is_empty() {
        report
            .ok(Area::Namespace, Id::OthersWriteSecrets.name(), format!("nobody else may write Secrets or create tokens {text}"))
            .evidence = evidence;
    } else {
        let finding = Finding::new(Id::OthersWriteSecrets, format!("others may write Secrets or create tokens {text}"));
        let fix = format!("kubectl get rolebindings -n {namespace} -o wide, and bind smaller roles");
        report.found(Area::Namespace, finding.fix(fix)).evidence = evidence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: &str, namespace: Option<&str>, name: &str) -> Subject {
        Subject { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned(), ..Subject::default() }
    }

    #[test]
    fn the_watched_are_told_from_others_and_from_the_cluster_itself() {
        for (subject, seen, clusters) in [
            (subject("ServiceAccount", Some("jobpass"), "ci"), true, false),
            (subject("ServiceAccount", Some("ci"), "default"), false, false),
            (subject("Group", None, "jobpass:ci:github:1"), true, false),
            (subject("Group", None, "jobpass:city"), false, false),
            (subject("User", None, "alice"), false, false),
            (subject("Group", None, "system:masters"), false, true),
            (subject("Group", None, "system:authenticated"), false, false),
            (subject("Group", None, "system:serviceaccounts:ci"), false, false),
            (subject("ServiceAccount", Some("kube-system"), "x"), false, true),
        ] {
            assert_eq!((is_seen(&subject), is_clusters(&subject)), (seen, clusters), "{}", named(&subject));
        }
    }
}
