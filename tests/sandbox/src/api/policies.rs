//! The admission policies of `deploy/policy.yaml`, for an operator who asks whether they are there.

use serde_json::{Value, json};

use super::Context;
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Handled, Resource};

const GROUP: &str = "admissionregistration.k8s.io";
const RESOURCE: &str = "validatingadmissionpolicies";

/// A policy by its name, with as much of its expressions as is played here.
pub(super) fn get(context: &Context<'_>, name: &str) -> Handled {
    let wanted = Attributes { verb: "get", group: GROUP, resource: RESOURCE, subresource: None, namespace: None, name };
    authorize(context.world, &context.user, &wanted)?;
    let expressions = context.world.policies.expressions(name);
    let expressions = expressions.ok_or_else(|| status::not_found(&Resource { group: GROUP, name: RESOURCE.to_owned() }, name))?;
    let variables: Vec<Value> = expressions.iter().map(|expression| json!({"name": "played", "expression": expression})).collect();
    Ok(Answer::json(
        200,
        json!({
            "kind": "ValidatingAdmissionPolicy", "apiVersion": format!("{GROUP}/v1"), "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "variables": variables, "validations": []},
        }),
    ))
}
