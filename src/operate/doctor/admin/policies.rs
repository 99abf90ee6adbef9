//! Whether the two admission policies are there, refuse, and are those of this jobpass.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::Api;
use serde::Serialize;
use serde_json::Value;

use super::objects;
use crate::operate::{
    doctor::{
        report::{Area, Report},
        unsaid,
    },
    finding::{Finding, Id},
    server::Server,
};

/// The policies of this jobpass, each with its binding.
const OURS: &str = include_str!("../../../../deploy/policy.yaml");

/// Variables whose values an admin may set.
const SETTINGS: [&str; 2] = ["allowedKeys", "maxSeconds"];

const FIX: &str = "jobpass setup NAMESPACE/NAME --apply";

/// Checks them.
pub(super) async fn check(server: &Server, report: &mut Report) {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(server.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(server.client.clone());
    let listed = async {
        let policies = objects(server, &policies, "validatingadmissionpolicies").await?;
        Ok((policies, objects(server, &bindings, "validatingadmissionpolicybindings").await?))
    };
    match listed.await {
        Ok((policies, bindings)) => judge(&values(&policies), &values(&bindings), report),
        Err(failure) => unsaid(report, Area::Policies, Id::PolicyMissing.name(), &failure),
    }
}

fn values(objects: &[impl Serialize]) -> Vec<Value> {
    objects.iter().filter_map(|object| serde_json::to_value(object).ok()).collect()
}

/// The policies of this jobpass.
fn ours() -> Vec<Value> {
    let objects = OURS.split("\n---\n").filter_map(|text| serde_saphyr::from_str::<Value>(text).ok());
    objects.filter(|object| object["kind"] == "ValidatingAdmissionPolicy").collect()
}

fn judge(policies: &[Value], bindings: &[Value], report: &mut Report) {
    for ours in ours() {
        let name = ours["metadata"]["name"].as_str().unwrap_or_default();
        let Some(theirs) = policies.iter().find(|policy| policy["metadata"]["name"] == name) else {
            let text = format!("the policy `{name}` is not there: nothing limits the rights of a CI identity");
            report.found(Area::Policies, Finding::new(Id::PolicyMissing, text).fix(FIX));
            continue;
        };
        let is_bound = |binding: &&Value| {
            let spec = &binding["spec"];
            let denies = spec["validationActions"].as_array().is_some_and(|actions| actions.iter().any(|action| action == "Deny"));
            // One that holds for some namespaces or objects only is none.
            spec["policyName"] == name && denies && is_everywhere(&spec["matchResources"])
        };
        let failing = theirs["spec"]["failurePolicy"].as_str().unwrap_or("Fail");
        let unbound = match bindings.iter().find(is_bound) {
            None => Some("no binding of it denies everywhere"),
            Some(_) if failing != "Fail" => Some("it lets through what it cannot judge (failurePolicy is not `Fail`)"),
            Some(_) => None,
        };
        if let Some(why) = unbound {
            report.found(
                Area::Policies,
                Finding::new(Id::PolicyUnbound, format!("the policy `{name}` refuses nothing for sure: {why}")).fix(FIX),
            );
            continue;
        }
        if let Some(place) = difference(&ours["spec"], &theirs["spec"], "spec") {
            let text = format!("the policy `{name}` is not the one of jobpass {}: `{place}` differs", env!("CARGO_PKG_VERSION"));
            report.found(
                Area::Policies,
                Finding::new(Id::PolicyOutdated, text).fix("first the jobs' jobpass, then: jobpass setup NAMESPACE/NAME --apply"),
            );
        } else {
            let text = format!("`{name}` is this jobpass's, bound with Deny, and refuses what it cannot judge");
            report.ok(Area::Policies, Id::PolicyOutdated.name(), text);
        }
    }
}

/// Whether a binding holds for all that its policy matches: the server fills in empty selectors.
fn is_everywhere(resources: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    ["namespaceSelector", "objectSelector", "resourceRules", "excludeResourceRules"].iter().all(|field| is_empty(&resources[*field]))
}

/// The first place where theirs is not what ours asks for. What the server adds by itself is no difference.
fn difference(ours: &Value, theirs: &Value, place: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let is_setting = ours.get("name").and_then(Value::as_str).is_some_and(|name| SETTINGS.contains(&name));
            let fields = ours.iter().filter(|(field, _)| !(is_setting && *field == "expression"));
            let mut found = fields
                .filter_map(|(field, value)| difference(value, theirs.get(field).unwrap_or(&Value::Null), &format!("{place}.{field}")));
            found.next()
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            if ours.len() != theirs.len() {
                return Some(place.to_owned());
            }
            let mut pairs = ours.iter().zip(theirs).enumerate();
            pairs.find_map(|(at, (ours, theirs))| difference(ours, theirs, &format!("{place}[{at}]")))
        }
        // A folded text may end in a line break, or not.
        (Value::String(ours), Value::String(theirs)) if ours.trim() == theirs.trim() => None,
        (ours, theirs) => (ours != theirs).then(|| place.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::operate::table::Screen;

    /// As the server holds them: with what it fills in.
    fn applied() -> (Vec<Value>, Vec<Value>) {
        let objects: Vec<Value> = OURS.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML")).collect();
        let (mut policies, bindings): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object["kind"] == "ValidatingAdmissionPolicy");
        for policy in &mut policies {
            policy["spec"]["matchConstraints"]["matchPolicy"] = json!("Equivalent");
            policy["spec"]["matchConstraints"]["objectSelector"] = json!({});
        }
        (policies, bindings)
    }

    fn judged(change: impl Fn(&mut Vec<Value>, &mut Vec<Value>)) -> String {
        let (mut policies, mut bindings) = applied();
        change(&mut policies, &mut bindings);
        let mut report = Report::default();
        judge(&policies, &bindings, &mut report);
        report.render(Screen::default())
    }

    #[test]
    fn what_was_applied_is_well_and_what_was_changed_is_found() {
        let texts = [
            judged(|_, _| {}),
            judged(|policies, _| policies[0]["spec"]["variables"][0]["expression"] = json!("['policies.kyverno.io/']")),
            judged(|policies, _| drop(policies.remove(1))),
            judged(|policies, _| policies[0]["spec"]["failurePolicy"] = json!("Ignore")),
            judged(|_, bindings| bindings[0]["spec"]["validationActions"] = json!(["Warn", "Audit"])),
            judged(|_, bindings| {
                bindings[1]["spec"]["matchResources"] = json!({"namespaceSelector": {"matchLabels": {"x": "y"}}});
            }),
            judged(|policies, _| drop(policies[0]["spec"]["validations"].as_array_mut().expect("a list").pop())),
            judged(|policies, _| policies[1]["spec"]["matchConditions"][0]["expression"] = json!("false")),
        ];
        assert_snapshot!(texts.join("\n\n"));
    }
}
