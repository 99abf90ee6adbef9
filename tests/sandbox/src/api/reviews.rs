//! The questions that every authenticated user may ask about itself.

use serde_json::json;

use super::Context;
use crate::rbac::{Attributes, allowed, authorize};
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

/// `SelfSubjectAccessReview`: whether the caller may; about one namespace's resources only.
pub(super) fn may_i(context: &Context<'_>) -> Handled {
    allow(context, "authorization.k8s.io", "selfsubjectaccessreviews")?;
    let mut review = context.call.object("authorization.k8s.io/v1", "SelfSubjectAccessReview")?;
    let asked = review["spec"]["resourceAttributes"].clone();
    let text = |field: &str| asked[field].as_str().unwrap_or_default();
    let known = ["", "namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let fields = asked.as_object().map(|fields| fields.keys().all(|field| known.contains(&field.as_str())));
    if fields != Some(true) || !text("group").is_empty() || text("namespace").is_empty() {
        return Err(context.call.refuse("about anything but the core resources of a namespace"));
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
    if allowed(context.world, &context.user, &wanted) {
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

fn allow(context: &Context<'_>, group: &'static str, resource: &str) -> Result<(), Answer> {
    let wanted = Attributes { verb: "create", group, resource, subresource: None, namespace: None, name: "" };
    authorize(context.world, &context.user, &wanted)
}
