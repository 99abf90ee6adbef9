//! What a set of RBAC rules lets somebody do to a cluster's tokens: the powers that make a pass more than a pass.

use std::collections::BTreeSet;

use k8s_openapi::api::{authorization::v1::ResourceRule, rbac::v1::PolicyRule};

use super::finding::Id;

/// A rule, whether it comes from a role or from the review of a user's own rights.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    verbs: Vec<String>,
}

impl From<PolicyRule> for Rule {
    fn from(rule: PolicyRule) -> Self {
        let or_none = Option::unwrap_or_default;
        Self {
            groups: or_none(rule.api_groups),
            resources: or_none(rule.resources),
            names: or_none(rule.resource_names),
            verbs: rule.verbs,
        }
    }
}

impl From<ResourceRule> for Rule {
    fn from(rule: ResourceRule) -> Self {
        let or_none = Option::unwrap_or_default;
        Self {
            groups: or_none(rule.api_groups),
            resources: or_none(rule.resources),
            names: or_none(rule.resource_names),
            verbs: rule.verbs,
        }
    }
}

impl Rule {
    /// Whether it lets one of these verbs be used on this resource of this API group. `*` stands for all, `*/token` for the subresource
    /// of all.
    #[must_use]
    pub fn lets(&self, verbs: &[&str], group: &str, resource: &str) -> bool {
        let is_any = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let of_all = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        verbs.iter().any(|verb| is_any(&self.verbs, verb))
            && is_any(&self.groups, group)
            && (is_any(&self.resources, resource) || of_all.is_some_and(|all| self.resources.contains(&all)))
    }

    /// The names of objects to which it is limited; none where it holds for all of them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const WRITES: [&str; 3] = ["create", "update", "patch"];

/// Verbs, the API group and the resource on which each gives a power.
const POWERS: [(Id, &[&str], &str, &[&str]); 9] = [
    (Id::RightsMint, &["create"], "", &["serviceaccounts/token"]),
    (Id::RightsImpersonate, &["impersonate"], "", &["users", "groups", "serviceaccounts"]),
    // `delete` reads as well: a dry run with Foreground answers with the whole Secret.
    (Id::RightsSecrets, &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"], "", &["secrets"]),
    (
        Id::RightsEscalate,
        &["create", "update", "patch", "bind", "escalate"],
        RBAC,
        &["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    ),
    (
        Id::RightsEscalate,
        &WRITES,
        ADMISSION,
        &["validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingwebhookconfigurations"],
    ),
    (Id::RightsEscalate, &["delete", "deletecollection"], ADMISSION, &["validatingadmissionpolicies", "validatingadmissionpolicybindings"]),
    (Id::RightsEscalate, &["create", "approve", "update", "patch"], "certificates.k8s.io", &["certificatesigningrequests/approval"]),
    (Id::RightsExec, &["create", "get"], "", &["pods/exec", "pods/attach"]),
    (Id::RightsExec, &["update", "patch"], "", &["pods/ephemeralcontainers"]),
];

/// One way in which rules give a power: it is asked for by this verb on this resource of this API group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The power.
    pub id: Id,
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: &'static str,
    /// The name of an object for which it holds, where it does not hold for all of them.
    pub name: Option<String>,
}

/// The powers that these rules give, each by its first way.
#[must_use]
pub fn ways(rules: &[Rule]) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for (id, verbs, group, resources) in POWERS.iter().copied() {
        let mut all = resources.iter().flat_map(|resource| verbs.iter().map(move |verb| (*verb, *resource)));
        let given = all.find_map(|(verb, resource)| {
            let rule = rules.iter().find(|rule| rule.lets(&[verb], group, resource))?;
            Some(Way { id, verb, group, resource, name: rule.names().first().cloned() })
        });
        ways.extend(given.filter(|way| ways.iter().all(|known| known.id != way.id)));
    }
    ways
}

/// The powers that these rules give.
#[must_use]
pub fn powers(rules: &[Rule]) -> BTreeSet<Id> {
    let given = |(_, verbs, group, resources): &(Id, &[&str], &str, &[&str])| {
        rules.iter().any(|rule| resources.iter().any(|resource| rule.lets(verbs, group, resource)))
    };
    POWERS.iter().filter(|power| given(power)).map(|(id, ..)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(group: &str, resource: &str, verb: &str) -> Rule {
        let one = |text: &str| vec![text.to_owned()];
        Rule { groups: one(group), resources: one(resource), names: Vec::new(), verbs: one(verb) }
    }

    fn of(group: &str, resource: &str, verb: &str) -> Vec<Id> {
        powers(&[rule(group, resource, verb)]).into_iter().collect()
    }

    #[test]
    fn each_power_is_seen_whatever_way_it_is_given() {
        let mint = [Id::RightsMint];
        assert_eq!(of("", "serviceaccounts/token", "create"), mint);
        assert_eq!(of("", "*/token", "*"), mint);
        assert_eq!(of("", "serviceaccounts", "impersonate"), [Id::RightsImpersonate]);
        assert_eq!(of("", "secrets", "delete"), [Id::RightsSecrets]);
        assert_eq!(of("rbac.authorization.k8s.io", "roles", "escalate"), [Id::RightsEscalate]);
        assert_eq!(of("", "pods/exec", "create"), [Id::RightsExec]);
        assert_eq!(of("*", "*", "*").len(), 5);
    }

    #[test]
    fn each_power_is_told_with_one_way_to_it() {
        let ways = ways(&[rule("", "secrets", "*"), rule("", "pods/exec", "create"), rule("", "pods/attach", "create")]);
        let told: Vec<_> = ways.iter().map(|way| (way.id, way.verb, way.resource)).collect();
        assert_eq!(told, [(Id::RightsSecrets, "get", "secrets"), (Id::RightsExec, "create", "pods/exec")]);
    }

    #[test]
    fn what_only_deploys_has_no_power() {
        for (group, resource, verb) in [
            ("apps", "deployments", "*"),
            ("", "configmaps", "*"),
            ("", "serviceaccounts", "get"),
            ("", "pods", "create"),
            ("apps", "*", "*"),
        ] {
            assert_eq!(of(group, resource, verb), [], "{verb} {group}/{resource}");
        }
    }
}
