//! `TokenRequest`: the checks in the server's order, and the token itself.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Context, namespace_lives, warned};
use crate::authn::ISSUER;
use crate::clock::{rfc3339, seconds};
use crate::jwt;
use crate::policy::Policies;
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Cause, Handled, Resource};
use crate::world::{Key, World, names, uid};

const API_VERSION: &str = "authentication.k8s.io/v1";
const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// What a token is bound to.
pub(crate) struct Bound {
    /// `secret` or `pod`: the claim's name.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

pub(super) fn request(context: Context<'_>, namespace: &str, name: &str) -> Handled {
    let Context { call, world, user, now } = context;
    let wanted =
        Attributes { verb: "create", group: "", resource: "serviceaccounts", subresource: Some("token"), namespace: Some(namespace), name };
    authorize(world, &user, &wanted)?;
    // A dry run is no dry run here: the token is real either way (facts, section 1).
    call.dry_run()?;
    let body = call.object(API_VERSION, "TokenRequest")?;
    let mut warnings = call.unknown_fields(unknown_fields(&body))?;
    namespace_lives(world, namespace, "serviceaccounts", name)?;
    let account = account(world, namespace, name, &body["metadata"])?;
    let spec = &body["spec"];
    let mut audiences = names(&spec["audiences"]);
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let mut lifetime = match &spec["expirationSeconds"] {
        Value::Null => DEFAULT_SECONDS,
        value => value.as_i64().ok_or_else(|| call.refuse("with an expirationSeconds that is no integer"))?,
    };
    check_lifetime(lifetime)?;
    let reference = &spec["boundObjectRef"];
    let lock = world.namespaces.get(namespace).and_then(|found| Policies::lock(&found.annotations, name, now));
    world.policies.request_token(&user, name, reference, lifetime, lock.as_deref())?;
    let bound = match reference {
        Value::Null => None,
        reference => Some(bind(call, world, (namespace, name), reference)?),
    };
    if let Some(most) = world.max_expiration.filter(|most| lifetime > *most) {
        warnings.push(format!("requested expiration of {lifetime} seconds shortened to {most} seconds"));
        lifetime = most;
    }
    let key = (namespace.to_owned(), name.to_owned());
    let token = mint(world, now, &key, bound.as_ref(), &audiences, lifetime);
    world.issued.push(token.clone());
    let mut answer = json!({
        "kind": "TokenRequest",
        "apiVersion": API_VERSION,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account,
            "creationTimestamp": rfc3339(now),
        },
        "spec": {"audiences": audiences, "expirationSeconds": lifetime, "boundObjectRef": null},
        "status": {"token": token, "expirationTimestamp": rfc3339(now + Duration::from_secs(lifetime.unsigned_abs()))},
    });
    if !reference.is_null() {
        // As it was sent: the server does not fill in the uid.
        answer["spec"]["boundObjectRef"] = reference.clone();
    }
    Ok(warned(Answer::json(201, answer), &warnings))
}

/// A token of a service account that exists.
pub(crate) fn mint(world: &World, now: Timestamp, account: &Key, bound: Option<&Bound>, audiences: &[String], lifetime: i64) -> String {
    let (namespace, name) = account;
    let since = now.as_second();
    let mut kubernetes = json!({
        "namespace": namespace,
        "serviceaccount": {"name": name, "uid": world.service_accounts[account].uid},
    });
    if let Some(bound) = bound {
        kubernetes[bound.kind] = json!({"name": bound.name, "uid": bound.uid});
    }
    world.people.accounts.sign(&json!({
        "aud": audiences,
        "exp": seconds(since.saturating_add(lifetime)).as_second(),
        "iat": since,
        "nbf": since,
        "iss": ISSUER,
        "jti": jwt::uuid(),
        "kubernetes.io": kubernetes,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    }))
}

/// The uid of the service account, unless the request is for another one or another incarnation.
fn account(world: &World, namespace: &str, name: &str, metadata: &Value) -> Result<String, Answer> {
    let kind = Resource { group: "authentication.k8s.io", name: "TokenRequest".to_owned() };
    for (field, value, path, why) in [
        ("name", name, "metadata.name", "must match the service account name if specified"),
        ("namespace", namespace, "metadata.namespace", "must match the service account namespace if specified"),
    ] {
        let sent = metadata[field].as_str().unwrap_or_default();
        if !sent.is_empty() && sent != value {
            return Err(status::invalid(&kind, name, &[Cause::invalid(path, &sent.into(), why)]));
        }
    }
    let found = world.service_accounts.get(&(namespace.to_owned(), name.to_owned()));
    let uid = &found.ok_or_else(|| status::not_found(&Resource::core("serviceaccounts"), name))?.uid;
    match metadata["uid"].as_str() {
        Some(sent) if !sent.is_empty() && sent != uid => {
            let why = format!("the UID in the token request ({sent}) does not match the UID of the service account ({uid})");
            Err(status::conflict(&kind, name, &why))
        }
        _ => Ok(uid.clone()),
    }
}

fn check_lifetime(lifetime: i64) -> Result<(), Answer> {
    let why = match lifetime {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let kind = Resource { group: "authentication.k8s.io", name: "TokenRequest".to_owned() };
    Err(status::invalid(&kind, "", &[Cause::invalid("spec.expirationSeconds", &lifetime.into(), why)]))
}

/// The bound object, read by the server itself: the caller needs no right on it.
fn bind(call: &Call, world: &World, (namespace, account): (&str, &str), reference: &Value) -> Result<Bound, Answer> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let claim = match (group, kind) {
        ("", "Secret") => "secret",
        ("", "Pod") => "pod",
        ("", "Node") => return Err(call.refuse("bound to a Node")),
        _ => {
            let message = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(status::bad_request(&message));
        }
    };
    if name.is_empty() {
        return Err(status::bad_request("Name parameter required."));
    }
    let key = (namespace.to_owned(), name.to_owned());
    let missing = || status::not_found(&Resource::core(if kind == "Pod" { "pods" } else { "secrets" }), name);
    let uid = if kind == "Pod" {
        let pod = world.pods.get(&key).ok_or_else(missing)?;
        if pod.service_account != account {
            let message = format!("cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name.");
            return Err(status::bad_request(&message));
        }
        pod.uid.clone()
    } else {
        uid(world.secrets.get(&key).ok_or_else(missing)?).unwrap_or_default().to_owned()
    };
    let sent = text("uid");
    if !sent.is_empty() && sent != uid {
        let why = format!(
            "the UID in the bound object reference ({sent}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(status::conflict(&Resource::core(kind), name, &why));
    }
    Ok(Bound { kind: claim, name: name.to_owned(), uid })
}

fn unknown_fields(body: &Value) -> Vec<String> {
    let groups: [(&str, &Value, &[&str]); 3] = [
        ("", body, &["apiVersion", "kind", "metadata", "spec", "status"]),
        ("spec.", &body["spec"], &["audiences", "expirationSeconds", "boundObjectRef"]),
        ("spec.boundObjectRef.", &body["spec"]["boundObjectRef"], &["apiVersion", "kind", "name", "uid"]),
    ];
    let fields = groups.into_iter().flat_map(|(path, value, known)| {
        let fields = value.as_object().into_iter().flatten().map(|(field, _)| field);
        fields.filter(move |field| !known.contains(&field.as_str())).map(move |field| format!("{path}{field}"))
    });
    fields.collect()
}
