//! The questions that every authenticated user may ask about itself.

use serde_json::json;

use super::Context;
use crate::rbac::{Attributes, allowed, authorize, of_user};
use crate::status::{Answer, Handled};

/// `SelfSubjectReview`: whom the server takes the caller for.
pub(super) fn who_am_i(context: &Context<'_>) -> Handled {
    allow(context, "authentication.k8s.io", "selfsubjectreviews")?;
    context.call.object("authentication.k8s.io/v1", "SelfSubjectReview")?;
    Ok(Answer::json(
        201,
        json!({
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "status": {"userInfo": context.user.info()},
        }),
    ))
}

/// `SelfSubjectAccessReview`: whether the caller may; about one namespace's resources only. Nobody has rights outside the core group.
pub(super) fn may_i(context: &Context<'_>) -> Handled {
    allow(context, "authorization.k8s.io", "selfsubjectaccessreviews")?;
    let mut review = context.call.object("authorization.k8s.io/v1", "SelfSubjectAccessReview")?;
    let asked = review["spec"]["resourceAttributes"].clone();
    let text = |field: &str| asked[field].as_str().unwrap_or_default();
    let known = ["", "namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let fields = asked.as_object().map(|fields| fields.keys().all(|field| known.contains(&field.as_str())));
    if fields != Some(true) || text("namespace").is_empty() {
        return Err(context.call.refuse("about anything but the resources of a namespace"));
    }
    let wanted = Attributes {
        verb: text("verb"),
        group: "",
        resource: text("resource"),
        subresource: Some(text("subresource")).filter(|name| !name.is_empty()),
        namespace: Some(text("namespace")),
        name: text("name"),
    };
    let mut status = json!({"allowed": false});
    if text("group").is_empty() && allowed(context.world, &context.user, &wanted) {
        let namespace = text("namespace");
        let reason = format!("RBAC: allowed by RoleBinding \"sandbox/{namespace}\" of Role \"sandbox\" to User \"{}\"", context.user.name);
        status = json!({"allowed": true, "reason": reason});
    }
    review["kind"] = "SelfSubjectAccessReview".into();
    review["apiVersion"] = "authorization.k8s.io/v1".into();
    review["metadata"] = json!({});
    review["status"] = status;
    Ok(Answer::json(201, review))
}

/// `SelfSubjectRulesReview`: all that the caller may do in a namespace, with what every user may.
pub(super) fn my_rules(context: &Context<'_>) -> Handled {
    allow(context, "authorization.k8s.io", "selfsubjectrulesreviews")?;
    let review = context.call.object("authorization.k8s.io/v1", "SelfSubjectRulesReview")?;
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(context.call.refuse("without a namespace"));
    }
    let mut rules = vec![
        json!({
            "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        }),
        json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}),
    ];
    for rule in of_user(context.world, &context.user, namespace) {
        let mut said = json!({"verbs": [rule.verb], "apiGroups": [""], "resources": [rule.resource]});
        if !rule.names.is_empty() {
            said["resourceNames"] = json!(rule.names);
        }
        rules.push(said);
    }
    let others = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}]);
    Ok(Answer::json(
        201,
        json!({
            "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
            "status": {"resourceRules": rules, "nonResourceRules": others, "incomplete": context.world.rules_are_incomplete},
        }),
    ))
}

fn allow(context: &Context<'_>, group: &'static str, resource: &str) -> Result<(), Answer> {
    let wanted = Attributes { verb: "create", group, resource, subresource: None, namespace: None, name: "" };
    authorize(context.world, &context.user, &wanted)
}
