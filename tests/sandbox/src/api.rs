//! From a request to the part of the API that answers it, behind authentication.

mod events;
mod lists;
mod namespaces;
mod openshift;
mod partial;
mod reviews;
mod secrets;
mod selector;
mod tokens;
mod validate;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::authn::{self, User};
use crate::clock::rfc3339;
use crate::rbac::{Attributes, authorize};
use crate::server::Shared;
use crate::status::{self, Answer, Body, Handled, Resource};
use crate::world::World;

pub(crate) use tokens::{Bound, mint};

/// A request as it came over the wire.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) csrf_token: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).next()
    }

    /// The sandbox cannot answer this as the real server would.
    fn refuse(&self, with: &str) -> Answer {
        status::not_implemented(format!("{} {} {with}", self.method, self.path).trim_end())
    }

    fn dry_run(&self) -> Result<bool, Answer> {
        match self.query("dryRun").as_deref() {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(self.refuse(&format!("with dryRun={other}"))),
        }
    }

    /// The body as an object of this kind. What is no such object is the sandbox's refusal, as the real server's words
    /// for it are those of Go's JSON decoder.
    fn object(&self, api_version: &str, kind: &str) -> Result<Value, Answer> {
        if let Some(other) = self.content_type.as_deref().filter(|content| !content.starts_with("application/json")) {
            return Err(self.refuse(&format!("with a body of {other}")));
        }
        let body: Value = serde_json::from_slice(&self.body).map_err(|_| self.refuse("with a body that is no JSON"))?;
        let is = |field: &str, expected: &str| body[field].is_null() || body[field] == expected;
        if !body.is_object() || !is("apiVersion", api_version) || !is("kind", kind) {
            return Err(self.refuse(&format!("with a body that is no {kind} of {api_version}")));
        }
        Ok(body)
    }

    /// The warnings that the server gives for fields it does not know, or the refusal to be as strict as asked.
    fn unknown_fields(&self, fields: Vec<String>) -> Result<Vec<String>, Answer> {
        match self.query("fieldValidation").as_deref() {
            _ if fields.is_empty() => Ok(fields),
            None | Some("" | "Warn") => Ok(fields.iter().map(|field| format!("unknown field \"{field}\"")).collect()),
            Some("Ignore") => Ok(Vec::new()),
            Some(_) => Err(self.refuse(&format!("strictly, with unknown fields: {}", fields.join(", ")))),
        }
    }
}

/// What a handler works with: one request of one user, at one moment.
pub(crate) struct Context<'a> {
    call: &'a Call,
    world: &'a mut World,
    user: User,
    now: Timestamp,
}

/// Answers a request and does what it asks.
pub(crate) fn handle(shared: &Shared, call: &Call, number: usize) -> Answer {
    let prefix = shared.prefix();
    let Some(path) = call.path.strip_prefix(&prefix) else {
        return Answer::text(404, "404 page not found\n");
    };
    let now = shared.clock.now();
    let mut world = shared.world();
    let user = authn::authenticate(&mut world, now, call.certificate.as_deref(), call.authorization.as_deref());
    let answer = user.and_then(|user| {
        shared.log.user(number, &user.name);
        route(path, Context { call, world: &mut world, user, now })
    });
    world.collect();
    let answer = answer.unwrap_or_else(|refusal| refusal);
    if let (501, Body::Json(body)) = (answer.status, &answer.body) {
        let message = body["message"].as_str().unwrap_or_default();
        world.unimplemented.push(message.trim_start_matches("the sandbox does not implement ").to_owned());
    }
    answer
}

fn route(path: &str, context: Context<'_>) -> Handled {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (context.call.method.as_str(), segments.as_slice()) {
        ("GET", ["version"]) => Ok(Answer::json(
            200,
            json!({
                "major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64",
            }),
        )),
        // As a server answers that does not serve the group: the policies of the sandbox are no objects.
        ("GET", ["apis", "admissionregistration.k8s.io", "v1"]) => Ok(Answer::text(404, "404 page not found\n")),
        ("GET", ["readyz" | "livez" | "healthz"]) => Ok(Answer::text(200, "ok")),
        ("GET", [".well-known", "oauth-authorization-server"]) => openshift::discovery(&context),
        ("GET" | "DELETE", ["apis", "oauth.openshift.io", "v1", resource @ ("oauthaccesstokens" | "useroauthaccesstokens"), name]) => {
            openshift::token(context, resource, name)
        }
        ("POST", ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"]) => reviews::who_am_i(&context),
        ("POST", ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]) => reviews::may_i(&context),
        ("GET", ["api", "v1", "namespaces", namespace, "pods"]) => pods(&context, namespace),
        ("GET", ["api", "v1", "namespaces", namespace, "events"]) => events::list(&context, namespace),
        ("POST", ["api", "v1", "namespaces", namespace, "events"]) => events::create(context, namespace),
        ("GET", ["api", "v1", "namespaces", name]) => namespaces::get(&context, name),
        ("PATCH", ["api", "v1", "namespaces", name]) => namespaces::patch(context, name),
        ("GET", ["api", "v1", "namespaces", namespace, "serviceaccounts", name]) => namespaces::account(&context, namespace, name),
        ("GET", ["api", "v1", "secrets"]) => lists::secrets(context, None),
        ("POST", ["api", "v1", "namespaces", namespace, "secrets"]) => secrets::create(context, namespace),
        ("GET", ["api", "v1", "namespaces", namespace, "secrets"]) => lists::secrets(context, Some(namespace)),
        ("GET", ["api", "v1", "namespaces", namespace, "secrets", name]) => secrets::get(&context, namespace, name),
        ("DELETE", ["api", "v1", "namespaces", namespace, "secrets", name]) => secrets::delete(context, namespace, name),
        ("POST", ["api", "v1", "namespaces", namespace, "serviceaccounts", name, "token"]) => tokens::request(context, namespace, name),
        _ => Err(context.call.refuse("")),
    }
}

/// For a demo that uses its token.
fn pods(context: &Context<'_>, namespace: &str) -> Handled {
    let wanted = Attributes { verb: "list", group: "", resource: "pods", subresource: None, namespace: Some(namespace), name: "" };
    authorize(context.world, &context.user, &wanted)?;
    if context.call.query("watch").is_some() {
        return Err(context.call.refuse("as a watch"));
    }
    let here = context.world.pods.iter().filter(|((place, _), _)| place == namespace);
    let items: Vec<Value> = here
        .map(|((_, name), pod)| {
            json!({
                "metadata": {"name": name, "namespace": namespace, "uid": pod.uid, "creationTimestamp": rfc3339(pod.created)},
                "spec": {"serviceAccountName": pod.service_account},
            })
        })
        .collect();
    Ok(list("PodList", &context.world.revision(), &items))
}

fn list(kind: &str, revision: &str, items: &[Value]) -> Answer {
    let body = json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": revision}, "items": items});
    Answer::json(200, body)
}

/// Admission's first question to everything that is created: does its namespace live?
fn namespace_lives(world: &World, namespace: &str, resource: &str, name: &str) -> Result<(), Answer> {
    match world.namespaces.get(namespace) {
        None => Err(status::not_found(&Resource::core("namespaces"), namespace)),
        Some(found) if found.terminating => Err(status::terminating(&Resource::core(resource), name, namespace)),
        Some(_) => Ok(()),
    }
}

/// The warnings of an answer, each in the form that RFC 7234 gives them.
fn warned(answer: Answer, warnings: &[String]) -> Answer {
    warnings.iter().fold(answer, |answer, warning| {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        answer.header("Warning", &format!("299 - \"{quoted}\""))
    })
}
