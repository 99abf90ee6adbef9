//! Secrets: created, read and deleted as the real registry does it, holes included.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Context, namespace_lives, partial, validate, warned};
use crate::clock::rfc3339;
use crate::jwt;
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Handled, Resource};
use crate::world::{Key, uid};

const RESOURCE: &str = "secrets";

pub(super) fn create(context: Context<'_>, namespace: &str) -> Handled {
    allow(&context, "create", namespace, "")?;
    let Context { call, world, user, now } = context;
    let dry_run = call.dry_run()?;
    let body = call.object("v1", "Secret")?;
    let warnings = call.unknown_fields(unknown_fields(&body))?;
    let mut secret = normalised(&body, namespace).map_err(|what| call.refuse(what))?;
    let sent = body["metadata"]["namespace"].as_str().unwrap_or_default();
    if !sent.is_empty() && sent != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(status::bad_request(message));
    }
    let asked = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    namespace_lives(world, namespace, RESOURCE, &asked)?;
    let name = match (asked.as_str(), body["metadata"]["generateName"].as_str()) {
        ("", Some(prefix)) if !prefix.is_empty() => {
            secret["metadata"]["generateName"] = prefix.into();
            format!("{prefix}{}", suffix())
        }
        _ => asked,
    };
    secret["metadata"]["name"] = name.as_str().into();
    let causes = validate::metadata(&secret["metadata"]);
    if !causes.is_empty() {
        return Err(status::invalid(&Resource::core("Secret"), &name, &causes));
    }
    world.policies.create_secret(&user, &name, &secret)?;
    let type_ = secret["type"].as_str().unwrap_or_default();
    if type_.starts_with("kubernetes.io/") || type_.starts_with("bootstrap.kubernetes.io/") {
        // Their validation and their controllers are not here.
        return Err(call.refuse(&format!("of type {type_}")));
    }
    let key = (namespace.to_owned(), name.clone());
    if world.secrets.contains_key(&key) {
        return Err(status::already_exists(&Resource::core(RESOURCE), &name));
    }
    world.stamp(&mut secret, now, !dry_run);
    if !dry_run {
        world.put(key, secret.clone());
    }
    Ok(warned(Answer::json(201, secret), &warnings))
}

pub(super) fn get(context: &Context<'_>, namespace: &str, name: &str) -> Handled {
    allow(context, "get", namespace, name)?;
    let secret = context.world.secrets.get(&key(namespace, name));
    secret
        .map(|secret| Answer::json(200, partial::object(context.call, secret)))
        .ok_or_else(|| status::not_found(&Resource::core(RESOURCE), name))
}

pub(super) fn delete(context: Context<'_>, namespace: &str, name: &str) -> Handled {
    allow(&context, "delete", namespace, name)?;
    let Context { call, world, user, now } = context;
    let options = if call.body.is_empty() { json!({}) } else { call.object("v1", "DeleteOptions")? };
    let dry_run = call.dry_run()? || options["dryRun"] == json!(["All"]);
    let propagation = match options["propagationPolicy"].as_str() {
        Some(policy) => Some(policy.to_owned()),
        None => call.query("propagationPolicy"),
    };
    let finalizer = match propagation.as_deref() {
        None | Some("" | "Background") => None,
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        Some(other) => return Err(call.refuse(&format!("with propagationPolicy={other}"))),
    };
    if !options["orphanDependents"].is_null() || call.query("orphanDependents").is_some() {
        return Err(call.refuse("with orphanDependents"));
    }
    let key = key(namespace, name);
    let stored = world.secrets.get(&key).ok_or_else(|| status::not_found(&Resource::core(RESOURCE), name))?;
    check_preconditions(name, stored, &options["preconditions"])?;
    world.policies.delete_secret(&user, name, stored, finalizer.is_none())?;
    let mut secret = stored.clone();
    let uid = uid(stored).unwrap_or_default().to_owned();
    let metadata = &mut secret["metadata"];
    if let Some(finalizer) = finalizer {
        let mut all = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        all.retain(|name| name != "foregroundDeletion" && name != "orphan");
        all.push(finalizer.into());
        metadata["finalizers"] = all.into();
    }
    if metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty()) {
        if metadata["deletionTimestamp"].is_null() {
            metadata["deletionTimestamp"] = rfc3339(now).into();
            metadata["deletionGracePeriodSeconds"] = 0.into();
        }
        // The whole Secret goes back, data included, in a dry run too: that is the hole of facts, section 4.
        if !dry_run {
            world.revise(&mut secret);
            world.put(key, secret.clone());
        }
        return Ok(Answer::json(200, secret));
    }
    if dry_run {
        return Ok(success(&json!({"name": name, "kind": "Secret"}), Some(200)));
    }
    world.remove(&key);
    Ok(success(&json!({"name": name, "kind": RESOURCE, "uid": uid}), None))
}

fn check_preconditions(name: &str, stored: &Value, preconditions: &Value) -> Result<(), Answer> {
    for (field, words) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let record = stored["metadata"][field].as_str().unwrap_or_default();
        let Some(sent) = preconditions[field].as_str().filter(|sent| *sent != record) else {
            continue;
        };
        let why = format!(
            "the {words} in the precondition ({sent}) does not match the {words} in record ({record}). The object might have \
             been {}",
            if field == "uid" { "deleted and then recreated" } else { "modified" }
        );
        return Err(status::conflict(&Resource::core("Secret"), name, &why));
    }
    Ok(())
}

fn success(details: &Value, code: Option<u16>) -> Answer {
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    if let Some(code) = code {
        body["code"] = code.into();
    }
    Answer::json(200, body)
}

/// What the server keeps of a Secret that was sent; the rest it sets itself.
fn normalised(body: &Value, namespace: &str) -> Result<Value, &'static str> {
    let mut metadata = Map::from_iter([("namespace".to_owned(), Value::from(namespace))]);
    for field in ["labels", "annotations"] {
        let Some(pairs) = body["metadata"][field].as_object().filter(|pairs| !pairs.is_empty()) else {
            continue;
        };
        if pairs.values().any(|value| !value.is_string()) {
            return Err("with labels or annotations that are no strings");
        }
        metadata.insert(field.to_owned(), pairs.clone().into());
    }
    for field in ["ownerReferences", "finalizers"] {
        if let Some(items) = body["metadata"][field].as_array().filter(|items| !items.is_empty()) {
            metadata.insert(field.to_owned(), items.clone().into());
        }
    }
    if !body["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        return Err("with a resourceVersion");
    }
    let mut data = body["data"].as_object().cloned().unwrap_or_default();
    if data.values().any(|value| value.as_str().is_none_or(|text| STANDARD.decode(text).is_err())) {
        return Err("with data that is no base64");
    }
    for (key, value) in body["stringData"].as_object().into_iter().flatten() {
        let text = value.as_str().ok_or("with stringData that is no string")?;
        data.insert(key.clone(), STANDARD.encode(text).into());
    }
    let type_ = body["type"].as_str().filter(|type_| !type_.is_empty()).unwrap_or("Opaque");
    let mut secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "type": type_});
    if !data.is_empty() {
        secret["data"] = data.into();
    }
    if body["immutable"].is_boolean() {
        secret["immutable"] = body["immutable"].clone();
    }
    Ok(secret)
}

fn unknown_fields(body: &Value) -> Vec<String> {
    let known = ["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];
    let fields = body.as_object().into_iter().flatten().map(|(field, _)| field.clone());
    fields.filter(|field| !known.contains(&field.as_str())).collect()
}

/// Five characters without vowels, so that no word comes out.
pub(super) fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    jwt::random::<5>().iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

fn allow(context: &Context<'_>, verb: &str, namespace: &str, name: &str) -> Result<(), Answer> {
    let wanted = Attributes { verb, group: "", resource: RESOURCE, subresource: None, namespace: Some(namespace), name };
    authorize(context.world, &context.user, &wanted)
}
