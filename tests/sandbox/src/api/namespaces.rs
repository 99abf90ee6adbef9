//! Namespaces and service accounts, as far as an operator reads them, and the annotations of a namespace, which an operator writes.

use serde_json::{Value, json};

use super::{Context, partial};
use crate::clock::rfc3339;
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Handled, Resource};
use crate::world::Namespace;

pub(super) fn get(context: &Context<'_>, name: &str) -> Handled {
    allow(context, "get", name)?;
    let namespace = context.world.namespaces.get(name).ok_or_else(|| missing(name))?;
    Ok(Answer::json(200, partial::object(context.call, &object(name, namespace))))
}

pub(super) fn list(context: &Context<'_>) -> Handled {
    let wanted = Attributes { verb: "list", group: "", resource: "namespaces", subresource: None, namespace: None, name: "" };
    authorize(context.world, &context.user, &wanted)?;
    let Context { call, world, .. } = context;
    if ["continue", "labelSelector", "fieldSelector", "watch"].iter().any(|name| call.query(name).is_some_and(|value| !value.is_empty())) {
        return Err(call.refuse("in pieces, by a selector or as a watch"));
    }
    let (kind, version) = if partial::is_asked(call) { ("PartialObjectMetadataList", "meta.k8s.io/v1") } else { ("NamespaceList", "v1") };
    let items: Vec<_> = world.namespaces.iter().map(|(name, namespace)| partial::object(call, &object(name, namespace))).collect();
    let metadata = json!({"resourceVersion": world.revision()});
    Ok(Answer::json(200, json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})))
}

/// A merge patch of the annotations.
pub(super) fn patch(context: Context<'_>, name: &str) -> Handled {
    allow(&context, "patch", name)?;
    let Context { call, world, .. } = context;
    let is_dry = call.dry_run()?;
    if call.content_type.as_deref() != Some("application/merge-patch+json") {
        return Err(call.refuse("by anything but a merge patch"));
    }
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| call.refuse("with a body that is no JSON"))?;
    let is_only = |value: &Value, field: &str| value.as_object().is_some_and(|fields| fields.keys().all(|key| key == field));
    if !is_only(&body, "metadata") || !is_only(&body["metadata"], "annotations") {
        return Err(call.refuse("of more than its annotations"));
    }
    let namespace = world.namespaces.get_mut(name).ok_or_else(|| missing(name))?;
    let mut annotations = namespace.annotations.clone();
    for (key, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(text) => annotations.insert(key.clone(), text.to_owned()),
            None => annotations.remove(key),
        };
    }
    if !is_dry {
        namespace.annotations = annotations;
    }
    let patched = object(name, namespace);
    Ok(Answer::json(200, partial::object(call, &patched)))
}

pub(super) fn account(context: &Context<'_>, namespace: &str, name: &str) -> Handled {
    let wanted = Attributes { verb: "get", group: "", resource: "serviceaccounts", subresource: None, namespace: Some(namespace), name };
    authorize(context.world, &context.user, &wanted)?;
    let found = context.world.service_accounts.get(&(namespace.to_owned(), name.to_owned()));
    let found = found.ok_or_else(|| status::not_found(&Resource::core("serviceaccounts"), name))?;
    let metadata = json!({"name": name, "namespace": namespace, "uid": found.uid, "creationTimestamp": rfc3339(found.created)});
    Ok(Answer::json(200, partial::object(context.call, &json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata}))))
}

fn object(name: &str, namespace: &Namespace) -> Value {
    let mut metadata = json!({
        "name": name, "uid": namespace.uid, "creationTimestamp": rfc3339(namespace.created),
        "labels": {"kubernetes.io/metadata.name": name},
    });
    if !namespace.annotations.is_empty() {
        metadata["annotations"] = json!(namespace.annotations);
    }
    let phase = if namespace.terminating { "Terminating" } else { "Active" };
    json!({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": {"phase": phase}})
}

fn missing(name: &str) -> Answer {
    status::not_found(&Resource::core("namespaces"), name)
}

fn allow(context: &Context<'_>, verb: &str, name: &str) -> Result<(), Answer> {
    // RBAC is asked with the namespace's own name as its namespace.
    let wanted = Attributes { verb, group: "", resource: "namespaces", subresource: None, namespace: Some(name), name };
    authorize(context.world, &context.user, &wanted)
}
