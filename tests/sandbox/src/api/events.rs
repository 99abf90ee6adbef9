//! Events: what somebody has written about an object, for whoever asks who has deleted it.

use serde_json::Value;

use super::secrets::suffix;
use super::selector::selector;
use super::{Context, list as list_of, namespace_lives};
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Handled, Resource};

const RESOURCE: &str = "events";

pub(super) fn list(context: &Context<'_>, namespace: &str) -> Handled {
    allow(context, "list", namespace)?;
    let call = context.call;
    let terms = selector(&call.query("fieldSelector").unwrap_or_default()).map_err(|what| call.refuse(what))?;
    let pointer = |key: &str| format!("/{}", key.replace('.', "/"));
    if terms.iter().any(|term| !term.key.starts_with("involvedObject.") && !["reason", "type"].contains(&term.key.as_str())) {
        return Err(call.refuse("with that fieldSelector"));
    }
    let has = |event: &Value| terms.iter().all(|term| term.holds(event.pointer(&pointer(&term.key)).and_then(Value::as_str)));
    let here = context.world.events.iter().filter(|(place, event)| place == namespace && has(event));
    let items: Vec<Value> = here.map(|(_, event)| event.clone()).collect();
    Ok(list_of("EventList", &context.world.revision(), &items))
}

pub(super) fn create(context: Context<'_>, namespace: &str) -> Handled {
    allow(&context, "create", namespace)?;
    let Context { call, world, now, .. } = context;
    let mut event = call.object("v1", "Event")?;
    namespace_lives(world, namespace, RESOURCE, "")?;
    let about = event["involvedObject"]["namespace"].as_str().unwrap_or_default();
    if about != namespace {
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        let cause = status::Cause::invalid("involvedObject.namespace", &about.into(), "does not match event.namespace");
        return Err(status::invalid(&Resource::core("Event"), name, &[cause]));
    }
    if let Some(prefix) = event["metadata"]["generateName"].as_str() {
        event["metadata"]["name"] = format!("{prefix}{}", suffix()).into();
    }
    event["metadata"]["namespace"] = namespace.into();
    event["kind"] = "Event".into();
    event["apiVersion"] = "v1".into();
    world.stamp(&mut event, now, true);
    if !call.dry_run()? {
        world.events.push((namespace.to_owned(), event.clone()));
    }
    Ok(Answer::json(201, event))
}

fn allow(context: &Context<'_>, verb: &str, namespace: &str) -> Result<(), Answer> {
    let wanted = Attributes { verb, group: "", resource: RESOURCE, subresource: None, namespace: Some(namespace), name: "" };
    authorize(context.world, &context.user, &wanted)
}
