//! The Status bodies of the API server, word for word.

use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

/// What goes back to the client.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) headers: Vec<(String, String)>,
}

/// An answer's body; only objects are JSON, some answers are plain text on the real server too.
pub(crate) enum Body {
    Json(Value),
    Text(String),
    /// A watch: a line for each change, until somebody ends it.
    Lines(UnboundedReceiver<Bytes>),
    Empty,
}

/// An answer, or the refusal that ended the request early.
pub(crate) type Handled = Result<Answer, Answer>;

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Body::Json(body), headers: Vec::new() }
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, body: Body::Text(body.to_owned()), headers: Vec::new() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: Body::Empty, headers: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A field that does not validate, for a 422.
pub(crate) struct Cause {
    field: &'static str,
    reason: &'static str,
    message: String,
}

impl Cause {
    /// `value` is shown as Go's JSON: strings quoted, numbers bare.
    pub(crate) fn invalid(field: &'static str, value: &Value, why: &str) -> Self {
        Self { field, reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}") }
    }

    pub(crate) fn required(field: &'static str, why: &str) -> Self {
        Self { field, reason: "FieldValueRequired", message: format!("Required value: {why}") }
    }

    pub(crate) fn too_long(field: &'static str, why: &str) -> Self {
        Self { field, reason: "FieldValueTooLong", message: format!("Too long: {why}") }
    }
}

pub(crate) fn unauthorized() -> Answer {
    failure(401, "Unauthorized", "Unauthorized", None)
}

pub(crate) fn bad_request(message: &str) -> Answer {
    failure(400, "BadRequest", message, None)
}

/// `name` is empty where the URL has none, as in the creation of a Secret.
pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Answer {
    failure(403, "Forbidden", &forbidden_message(resource, name, why), Some(details(resource, name)))
}

/// RBAC's refusal of a path that is no resource.
pub(crate) fn forbidden_path(user: &str, path: &str) -> Answer {
    failure(403, "Forbidden", &format!("forbidden: User \"{user}\" cannot get path \"{path}\""), Some(json!({})))
}

pub(crate) fn forbidden_message(resource: &Resource, name: &str, why: &str) -> String {
    if name.is_empty() { format!("{resource} is forbidden: {why}") } else { format!("{resource} \"{name}\" is forbidden: {why}") }
}

pub(crate) fn not_found(resource: &Resource, name: &str) -> Answer {
    failure(404, "NotFound", &format!("{resource} \"{name}\" not found"), Some(details(resource, name)))
}

pub(crate) fn already_exists(resource: &Resource, name: &str) -> Answer {
    failure(409, "AlreadyExists", &format!("{resource} \"{name}\" already exists"), Some(details(resource, name)))
}

pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Answer {
    let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
    failure(409, "Conflict", &message, Some(details(resource, name)))
}

pub(crate) fn invalid(kind: &Resource, name: &str, causes: &[Cause]) -> Answer {
    // The server folds equal errors into one and brackets only what stays plural.
    let mut lines: Vec<String> = Vec::new();
    for cause in causes {
        let line = format!("{}: {}", cause.field, cause.message);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let all = if lines.len() == 1 { lines.concat() } else { format!("[{}]", lines.join(", ")) };
    let mut details = details(kind, name);
    let listed = causes.iter().map(|cause| json!({"field": cause.field, "reason": cause.reason, "message": cause.message}));
    details["causes"] = listed.collect();
    failure(422, "Invalid", &format!("{kind} \"{name}\" is invalid: {all}"), Some(details))
}

/// Admission's refusal in a namespace that is going away.
pub(crate) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Answer {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut details = details(resource, name);
    details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    failure(403, "Forbidden", &forbidden_message(resource, name, &why), Some(details))
}

/// The sandbox's own refusal; the real server would have answered something that is not written here.
pub(crate) fn not_implemented(what: &str) -> Answer {
    failure(501, "NotImplemented", &format!("the sandbox does not implement {what}"), None)
}

/// A failure with the fields that every Status has; an empty reason is left out, as Go does.
pub(crate) fn failure(code: u16, reason: &str, message: &str, details: Option<Value>) -> Answer {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    if !reason.is_empty() {
        body["reason"] = reason.into();
    }
    if let Some(details) = details {
        body["details"] = details;
    }
    Answer::json(code, body)
}

/// A resource (or, where the server says so, a kind) with its API group; the core group is empty.
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) name: String,
}

impl Resource {
    pub(crate) fn core(name: &str) -> Self {
        Self { group: "", name: name.to_owned() }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)?;
        if self.group.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.group) }
    }
}

pub(crate) fn details(resource: &Resource, name: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", resource.group), ("kind", &resource.name)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(details)
}
