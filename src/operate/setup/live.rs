//! A cluster as `setup` sees it: reads an object, applies one, and tells what would change.

use std::{cell::Cell, time::Duration};

use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::object::Object;
use crate::{
    failure::{Code, Failure},
    operate::server::Server,
};

/// As whom the API server notes what we have written.
const MANAGER: &str = "jobpass";

/// How often a request is sent that is answered by "not now".
const TRIES: u32 = 5;

/// A cluster, and how it is written to.
pub struct Live<'s> {
    /// The cluster.
    pub server: &'s Server,
    /// Whether fields are taken over that others have set.
    pub is_forced: bool,
    requests: Cell<usize>,
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is made.
    New,
    /// It changes, in these parts: what it is and what it will be.
    Changed {
        /// The parts, as `subjects`.
        parts: Vec<String>,
        /// As it is.
        from: Value,
        /// As it will be.
        to: Value,
    },
    /// It is there already.
    Same,
}

impl Change {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed { .. } => "changed",
            Self::Same => "same",
        }
    }
}

impl<'s> Live<'s> {
    /// This cluster.
    #[must_use]
    pub fn new(server: &'s Server, is_forced: bool) -> Self {
        Self { server, is_forced, requests: Cell::new(0) }
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.get()
    }

    /// One request; sent again where the server says that it has no time now.
    async fn send(&self, request: impl Fn() -> Result<Request<Vec<u8>>, http::Error>) -> Result<Value, kube::Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.requests.set(self.requests.get() + 1);
            let request = request().map_err(kube::Error::HttpError)?;
            match self.server.client.request::<Value>(request).await {
                Err(kube::Error::Api(status)) if matches!(status.code, 429 | 500 | 502..=504) && tries < TRIES => {
                    sleep(Duration::from_millis(250) * tries).await;
                }
                answer => return answer,
            }
        }
    }

    /// What lies at a path; none where nothing is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, path: &str, what: &str) -> Result<Option<Value>, Failure> {
        match self.send(|| Request::get(path).body(Vec::new())).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.server.failed(&format!("cannot read {what}"), &format!("`get` on `{path}`"), &error)),
        }
    }

    /// All objects of a path that carry our labels.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn ours(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let selector = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Djobpass,app.kubernetes.io%2Fpart-of%3Djobpass";
        let found = self.get(&format!("{path}?{selector}"), &format!("`{path}`")).await?.unwrap_or_default();
        Ok(found["items"].as_array().cloned().unwrap_or_default())
    }

    /// The metadata of Secrets: their content is not asked for.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn metadata(&self, path: &str, what: &str) -> Result<Vec<Value>, Failure> {
        const FORM: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let found = self.send(|| Request::get(path).header(ACCEPT, FORM).body(Vec::new())).await;
        let found = found.map_err(|error| self.server.failed(&format!("cannot list {what}"), "`list` on `secrets`", &error))?;
        Ok(found["items"].as_array().cloned().unwrap_or_default())
    }

    /// A role of the cluster, or of a namespace.
    ///
    /// # Errors
    /// When it is not there: what binds it would bind whatever gets its name later.
    pub async fn role(&self, namespace: Option<&str>, name: &str) -> Result<Value, Failure> {
        let (kind, path) = match namespace {
            None => ("cluster role", format!("clusterroles/{name}")),
            Some(namespace) => ("role", format!("namespaces/{namespace}/roles/{name}")),
        };
        let found = self.get(&format!("/apis/rbac.authorization.k8s.io/v1/{path}"), &format!("the {kind} `{name}`")).await?;
        found.ok_or_else(|| {
            Failure::new(Code::UsageValue, format!("there is no {kind} `{name}`{}", of(namespace)))
                .hint("correct its name, or let the pass have `deploy`")
        })
    }

    /// Applies an object, or asks what would become of it.
    ///
    /// # Errors
    /// When the server refuses it, or others have set a field of it.
    pub async fn apply(&self, object: &Object, is_dry: bool) -> Result<Value, Failure> {
        let dry = if is_dry { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldManager={MANAGER}&force={}{dry}", object.path(), self.is_forced);
        let body = serde_json::to_vec(&object.0).unwrap_or_default();
        let request =
            || Request::builder().method(Method::PATCH).uri(&path).header(CONTENT_TYPE, "application/apply-patch+yaml").body(body.clone());
        self.send(request).await.map_err(|error| self.unapplied(object, &error))
    }

    fn unapplied(&self, object: &Object, error: &kube::Error) -> Failure {
        let what = format!("cannot apply {}", object.id());
        match error {
            kube::Error::Api(status) if status.code == 409 => Failure::new(Code::ApiBusy, what)
                .cause(&status.message)
                .hint("see who has set these fields and why; `--force-conflicts` takes them over"),
            kube::Error::Api(status) if status.code == 404 && object.namespace().is_some() => {
                let namespace = object.namespace().unwrap_or_default();
                Failure::new(Code::ApiNoNamespace, what)
                    .cause(&status.message)
                    .hint(format!("create the namespace `{namespace}`, or leave it out"))
            }
            error => {
                let permission = format!("`get`, `create` and `patch` on `{}`", object.collection());
                self.server.failed(&what, &permission, error)
            }
        }
    }

    /// What would become of an object: nothing is changed.
    ///
    /// # Errors
    /// When the server would refuse it.
    pub async fn compare(&self, object: &Object) -> Result<Change, Failure> {
        let found = self.get(&object.path(), &object.id()).await?;
        let to = plain(self.apply(object, true).await?);
        let Some(from) = found.map(plain) else { return Ok(Change::New) };
        if from == to {
            return Ok(Change::Same);
        }
        Ok(Change::Changed { parts: parts(&from, &to), from, to })
    }

    /// Deletes an object, if it is still the one that was looked at.
    ///
    /// # Errors
    /// When the server refuses. It is no error if it is gone.
    pub async fn delete(&self, object: &Object, uid: &str) -> Result<(), Failure> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": uid},
        });
        let (path, body) = (object.path(), options.to_string().into_bytes());
        let request = || Request::delete(&path).header(CONTENT_TYPE, "application/json").body(body.clone());
        match self.send(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                let permission = format!("`delete` on `{}`", object.collection());
                Err(self.server.failed(&format!("cannot delete {}", object.id()), &permission, &error))
            }
        }
    }
}

/// One question as somebody else, on a connection of its own. Ok is a yes.
pub async fn as_other(client: &Client, user: &str, group: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json").header("Impersonate-User", user);
    // An admin who acts as a member of the group: RBAC lets him through, so that whoever refuses is a policy.
    let request = request.header("Impersonate-Group", group).header("Impersonate-Group", "system:masters");
    client.request(request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?).await
}

/// The words for where it lies, if it lies in a namespace.
fn of(namespace: Option<&str>) -> String {
    namespace.map(|namespace| format!(" in `{namespace}`")).unwrap_or_default()
}

/// An object without what the server alone writes.
fn plain(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
            metadata.remove(key);
        }
        if let Some(notes) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            // kubectl's copy of the object that it has applied.
            notes.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// The parts that differ, by the shortest names that say something.
fn parts(from: &Value, to: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (from, to) = (from.as_object().unwrap_or(&empty), to.as_object().unwrap_or(&empty));
    let mut parts = Vec::new();
    for key in from.keys().chain(to.keys().filter(|key| !from.contains_key(*key))) {
        let (one, other) = (from.get(key).unwrap_or(&Value::Null), to.get(key).unwrap_or(&Value::Null));
        match (one != other, key.as_str()) {
            (false, _) => {}
            (true, "metadata" | "spec") => parts.extend(self::parts(one, other)),
            (true, key) => parts.push(key.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_writes_is_no_difference() {
        let from =
            json!({"kind": "Role", "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "managedFields": []}, "rules": [1]});
        let to = json!({"kind": "Role", "metadata": {"name": "a", "uid": "2", "resourceVersion": "8"}, "rules": [2]});
        assert_eq!(plain(from.clone())["metadata"], plain(to.clone())["metadata"]);
        assert_eq!(parts(&plain(from), &plain(to)), ["rules"]);
        let (from, to) = (json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {}, "subjects": []}));
        assert_eq!(parts(&from, &to), ["labels", "subjects"]);
    }
}
