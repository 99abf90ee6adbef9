//! What a role would let a pass do that makes it more than a pass: found before it is bound.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use super::{
    live::Live,
    wish::{Right, Role, Team},
};
use crate::{
    failure::Failure,
    operate::{
        finding::{Finding, Id},
        rights::{Rule, powers},
    },
};

/// What the roles that every cluster has let somebody do; `view` has none of it.
fn known(role: &Role) -> Option<Vec<Id>> {
    let Role::OfCluster(name) = role else { return None };
    let edit = [Id::RightsMint, Id::RightsImpersonate, Id::RightsSecrets];
    match name.as_str() {
        "view" => Some(Vec::new()),
        "edit" => Some(edit.into_iter().chain([Id::RightsExec]).collect()),
        "admin" | "cluster-admin" => Some(edit.into_iter().chain([Id::RightsEscalate, Id::RightsExec]).collect()),
        _ => None,
    }
}

/// What each power is called beside the role that has it.
const WORDS: [(Id, &str); 5] = [
    (Id::RightsMint, "may create tokens of service accounts, which outlive the pass"),
    (Id::RightsImpersonate, "may act as others"),
    (Id::RightsSecrets, "may read or write Secrets"),
    (Id::RightsEscalate, "may change who may do what"),
    (Id::RightsExec, "may run commands in pods, as their service accounts"),
];

/// What is found of a team's rights without asking a cluster; and the roles of which nothing is known.
pub fn offline(team: &Team) -> (Vec<Finding>, Vec<String>) {
    let (mut findings, mut unknown) = (Vec::new(), Vec::new());
    for right in &team.rights {
        match known(&right.role) {
            Some(powers) => findings.extend(of(right, powers)),
            None if right.role == Role::Deploy => {}
            None => unknown.push(right.role.to_string()),
        }
    }
    (findings, unknown)
}

/// The same, with the roles as the cluster has them.
///
/// # Errors
/// When one of them is not there, or cannot be read.
pub async fn online(team: &Team, live: &Live<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for right in &team.rights {
        let mut all = Vec::new();
        match &right.role {
            Role::Deploy => {}
            Role::OfCluster(name) => all.extend(powers(&rules(&live.role(None, name).await?))),
            Role::OfNamespace(name) => {
                for namespace in &right.namespaces {
                    all.extend(powers(&rules(&live.role(Some(namespace), name).await?)));
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        findings.extend(of(right, all));
    }
    Ok(findings)
}

fn rules(role: &Value) -> Vec<Rule> {
    let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone()).unwrap_or_default();
    rules.into_iter().map(Rule::from).collect()
}

fn of(right: &Right, powers: impl IntoIterator<Item = Id>) -> Vec<Finding> {
    let (role, places) = (&right.role, right.namespaces.join("`, `"));
    let finding = |id: Id| {
        let what = WORDS.iter().find(|(known, _)| *known == id).map_or(id.means(), |(_, words)| words);
        let fix = format!("--may deploy@{}", right.namespaces.join(","));
        Finding::new(id, format!("`{role}` in `{places}` {what}")).fix(fix)
    };
    powers.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::setup::{given::usual_identities, objects::role_text, wish};

    fn team(rights: &[&str]) -> Team {
        Team {
            name: None,
            account: wish::account("ci/deploy-bot").expect("one"),
            clusters: Vec::new(),
            rights: rights.iter().map(|text| wish::right(text).expect("one")).collect(),
            identities: usual_identities(),
        }
    }

    #[test]
    fn our_own_role_has_no_power() {
        let role: Value = serde_saphyr::from_str(role_text()).expect("YAML");
        let rules = rules(&role);
        assert!(rules.len() > 8);
        assert!(powers(&rules).is_empty());
    }

    #[test]
    fn the_roles_of_every_cluster_are_known() {
        let ids = |right: &str| offline(&team(&[right])).0.iter().map(|finding| finding.id.name()).collect::<Vec<_>>();
        assert_eq!(ids("deploy@a"), [""; 0]);
        assert_eq!(ids("view@a"), [""; 0]);
        assert_eq!(ids("edit@a"), ["rights-mint", "rights-impersonate", "rights-secrets", "rights-exec"]);
        assert_eq!(ids("admin@a").len(), 5);
        assert_eq!(offline(&team(&["own@a", "role/own@a"])).1, ["own", "role/own"]);
    }
}
