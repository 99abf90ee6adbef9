//! What a pass may do, told by the API server to the pass itself: the powers that make it more than a pass, and the whole as a table.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::authorization::v1::ResourceRule;
use serde_json::{Value, json};

use super::{
    may::{Grant, right},
    report::{Area, Report},
    unsaid,
};
use crate::{
    cluster::Cluster,
    operate::{
        finding::{Finding, Id},
        rights::{Rule, Way, ways},
        table::{Cell, Table},
    },
    out::one_line,
    spec::ServiceAccount,
};

/// The name of the check that holds the table.
const TABLE: &str = "rights";

/// API groups of questions about oneself, which everybody may ask.
const OF_EVERYBODY: [&str; 3] = ["authentication.k8s.io", "authorization.k8s.io", "user.openshift.io"];

/// Resources that every user may read, or have of its own.
const RESOURCES_OF_EVERYBODY: [&str; 4] = ["clustertrustbundles", "useroauthaccesstokens", "oauthaccesstokens", "oauthauthorizetokens"];

/// Each power in words.
const DOES: [(Id, &str); 5] = [
    (Id::RightsMint, "can create tokens that outlive it"),
    (Id::RightsImpersonate, "can act as somebody else"),
    (Id::RightsSecrets, "can read or write Secrets"),
    (Id::RightsEscalate, "can change who may do what"),
    (Id::RightsExec, "can run commands in pods, as their service accounts"),
];

/// Checks the rights in these namespaces; `own` is the connection as the pass.
pub(super) async fn check(own: &mut Cluster, account: &ServiceAccount, namespaces: &[&str], report: &mut Report) {
    let (mut rows, mut is_whole, mut is_well) = (Vec::new(), true, true);
    for namespace in namespaces {
        let rules = match own.rules(namespace).await {
            Ok(rules) => rules,
            Err(failure) => {
                unsaid(report, Area::Rights, TABLE, &failure);
                is_well = false;
                continue;
            }
        };
        is_whole &= !rules.incomplete;
        rows.extend(rules.resource_rules.iter().filter(|rule| !is_everybodys(rule)).map(|rule| row(namespace, rule)));
        let rules: Vec<_> = rules.resource_rules.into_iter().map(Rule::from).collect();
        for way in ways(&rules) {
            is_well = false;
            power(own, account, namespace, &way, report).await;
        }
    }
    let places = namespaces.join(", ");
    let count = rows.len();
    let part = if is_whole { "" } else { "; an authorizer of this cluster does not list its rules, so there may be more" };
    let text = match (is_well, count) {
        (true, 0) => format!("the pass has no right of its own in {places}{part}"),
        (true, _) => format!("{count} rules in {places}: no tokens, no Secrets, no commands in pods, no rights of others{part}"),
        (false, _) => format!("{count} rules in {places}{part}"),
    };
    report.ok(Area::Rights, TABLE, text).evidence = json!({"rules": rows, "complete": is_whole});
}

/// A power, with the binding that gives it, which the API server names to whoever has the right.
async fn power(own: &mut Cluster, account: &ServiceAccount, namespace: &str, way: &Way, report: &mut Report) {
    let Way { id, verb, group, resource, name } = way;
    let asked = own.may(right(namespace, verb, group, resource, name.as_deref().unwrap_or_default())).await;
    let reason = asked.ok().and_then(|status| status.reason).unwrap_or_default();
    let does = DOES.iter().find(|(known, _)| known == id).map_or("can do more than a pass should", |(_, does)| does);
    let by = Grant::of(&reason).map(|grant| format!(", by {grant}")).unwrap_or_default();
    let text = format!("the pass {does}: `{verb}` on `{resource}` in namespace `{namespace}`{by}");
    let fix = match Grant::of(&reason) {
        Some(_) => format!("{}: jobpass setup {account} --may deploy@{namespace} --apply", Grant::fix(&reason)),
        None => format!("bind a role without it: jobpass setup {account} --may deploy@{namespace} --apply"),
    };
    report.found(Area::Rights, Finding::new(*id, text).fix(fix)).evidence =
        json!({"verb": verb, "apiGroup": group, "resource": resource, "namespace": namespace, "reason": one_line(&reason)});
}

fn is_everybodys(rule: &ResourceRule) -> bool {
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    let resources = rule.resources.as_deref().unwrap_or_default();
    let is_known = |resource: &String| RESOURCES_OF_EVERYBODY.contains(&resource.as_str());
    !groups.is_empty() && groups.iter().all(|group| OF_EVERYBODY.contains(&group.as_str()))
        || !resources.is_empty() && resources.iter().all(is_known)
}

fn row(namespace: &str, rule: &ResourceRule) -> Value {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    json!({
        "namespace": namespace, "verbs": rule.verbs, "apiGroups": list(&rule.api_groups), "resources": list(&rule.resources),
        "resourceNames": list(&rule.resource_names),
    })
}

/// The table of all rights, a row a resource, if the pass was asked.
pub(super) fn table(report: &Report) -> Option<Table> {
    let rules = report.checks().iter().find(|check| check.id == TABLE).and_then(|check| check.evidence["rules"].as_array())?;
    let mut rights: BTreeMap<(String, String, String), BTreeSet<&str>> = BTreeMap::new();
    for rule in rules {
        let list = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let (names, verbs) = (list("resourceNames").join(","), list("verbs"));
        for resource in list("resources") {
            for group in list("apiGroups") {
                let whole = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
                let namespace = rule["namespace"].as_str().unwrap_or_default().to_owned();
                rights.entry((namespace, whole, names.clone())).or_default().extend(&verbs);
            }
        }
    }
    let mut table = Table::new(["NAMESPACE", "RESOURCE", "NAMES", "VERBS"]);
    for ((namespace, resource, names), verbs) in rights {
        let cells: [Cell; 4] = [namespace.into(), resource.into(), names.into(), verbs.into_iter().collect::<Vec<_>>().join(",").into()];
        table.row(cells);
    }
    Some(table).filter(|table| !table.is_empty())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::operate::table::Screen;

    #[test]
    fn the_table_has_a_row_a_resource() {
        let rule = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| json!({"namespace": "ci", "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names});
        let rules = [
            rule(&["get", "list"], &[""], &["pods", "pods/log"], &[]),
            rule(&["create", "get"], &[""], &["pods"], &[]),
            rule(&["get", "patch"], &["apps", "extensions"], &["deployments"], &["web"]),
        ];
        let mut report = Report::default();
        assert!(table(&report).is_none());
        report.ok(Area::Rights, TABLE, "3 rules in ci").evidence = json!({"rules": rules});
        let table = table(&report).expect("rights");
        let texts = [None, Some(80), Some(200)].map(|width| table.render(Screen { width, has_colours: false }));
        assert_snapshot!(texts.join("\n\n"));
    }
}
