//! Lists and watches of Secrets: in one namespace or all, in pieces, and with metadata alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::selector::{Term, selector};
use super::{Call, Context, partial};
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Body, Handled};
use crate::watch::Watched;
use crate::world::Key;

const RESOURCE: &str = "secrets";

/// Lists or watches Secrets.
pub(super) fn secrets(context: Context<'_>, namespace: Option<&str>) -> Handled {
    let is_watch = context.call.query("watch").is_some_and(|watch| watch != "false" && watch != "0");
    let verb = if is_watch { "watch" } else { "list" };
    let wanted = Attributes { verb, group: "", resource: RESOURCE, subresource: None, namespace, name: "" };
    authorize(context.world, &context.user, &wanted)?;
    let chosen = Chosen::of(context.call, namespace)?;
    if is_watch { watch(context, chosen) } else { list(&context, &chosen) }
}

/// What is asked for.
struct Chosen {
    namespace: Option<String>,
    labels: Vec<Term>,
    fields: Vec<Term>,
}

impl Chosen {
    fn of(call: &Call, namespace: Option<&str>) -> Result<Self, Answer> {
        let terms = |name| selector(&call.query(name).unwrap_or_default()).map_err(|what| call.refuse(what));
        let (labels, fields) = (terms("labelSelector")?, terms("fieldSelector")?);
        if fields.iter().any(|term| !["type", "metadata.name", "metadata.namespace"].contains(&term.key.as_str())) {
            return Err(call.refuse("with that fieldSelector"));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), labels, fields })
    }

    fn has(&self, secret: &Value) -> bool {
        let field = |name: &str| match name {
            "type" => secret["type"].as_str().map(str::to_owned),
            _ => secret["metadata"][name.trim_start_matches("metadata.")].as_str().map(str::to_owned),
        };
        let label = |key: &str| secret["metadata"]["labels"][key].as_str().map(str::to_owned);
        self.namespace.as_deref().is_none_or(|namespace| secret["metadata"]["namespace"] == namespace)
            && self.labels.iter().all(|term| term.holds(label(&term.key).as_deref()))
            && self.fields.iter().all(|term| term.holds(field(&term.key).as_deref()))
    }
}

fn list(context: &Context<'_>, chosen: &Chosen) -> Handled {
    let Context { call, world, .. } = context;
    let limit = call.query("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let from = call.query("continue").filter(|token| !token.is_empty()).map(|token| start(&token)).transpose()?;
    let is_next = |key: &Key| from.as_ref().is_none_or(|from| key > from);
    let mut rest = world.secrets.iter().filter(|(key, secret)| is_next(key) && chosen.has(secret));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut metadata = json!({"resourceVersion": world.revision()});
    if let (Some((last, _)), left @ 1..) = (page.last(), rest.count()) {
        metadata["continue"] = token(last).into();
        // The server counts only where it need not look at each object.
        if chosen.labels.is_empty() && chosen.fields.is_empty() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    let (kind, version) = if partial::is_asked(call) { ("PartialObjectMetadataList", "meta.k8s.io/v1") } else { ("SecretList", "v1") };
    let item = |secret: &Value| if partial::is_asked(call) { partial::metadata(secret) } else { without_type(secret.clone()) };
    let items: Vec<Value> = page.into_iter().map(|(_, secret)| item(secret)).collect();
    Ok(Answer::json(200, json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})))
}

fn watch(context: Context<'_>, chosen: Chosen) -> Handled {
    let Context { call, world, .. } = context;
    let from = call.query("resourceVersion").filter(|version| !version.is_empty() && version != "0");
    let from: Option<u64> = from.map(|version| version.parse().map_err(|_| call.refuse("from such a resourceVersion"))).transpose()?;
    let form = if partial::is_asked(call) { partial::metadata } else { Value::clone };
    let is_wanted = Box::new(move |secret: &Value| chosen.has(secret));
    let now: Vec<Value> = if from.is_some() { Vec::new() } else { world.secrets.values().cloned().collect() };
    let lines = world.watches.begin(Watched { is_wanted, form }, from, &now);
    Ok(Answer { status: 200, body: Body::Lines(lines), headers: Vec::new() })
}

/// The token for what comes after an object.
fn token((namespace, name): &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "start": format!("{namespace}/{name}")}).to_string())
}

/// What a token was made for.
fn start(token: &str) -> Result<Key, Answer> {
    let read = || {
        let token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (namespace, name) = token["start"].as_str()?.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    };
    read().ok_or_else(|| status::bad_request("invalid continue token: continue key is not valid"))
}

/// The items of a list do not say their kind.
fn without_type(mut secret: Value) -> Value {
    if let Some(fields) = secret.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    secret
}
