//! One object of the API: what it is called, and where it lies.

use serde_json::{Value, json};

/// An object as it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(pub Value);

/// The kinds that are set up, each with the plural of its path.
const KINDS: [(&str, &str); 9] = [
    ("Namespace", "namespaces"),
    ("ServiceAccount", "serviceaccounts"),
    ("Role", "roles"),
    ("RoleBinding", "rolebindings"),
    ("ClusterRole", "clusterroles"),
    ("CronJob", "cronjobs"),
    ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    ("Secret", "secrets"),
];

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its namespace, if it lies in one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0["metadata"]["namespace"].as_str()
    }

    /// Its kind and name, with the namespace, in one line.
    #[must_use]
    pub fn id(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{}", self.kind(), self.name()),
            None => format!("{} {}", self.kind(), self.name()),
        }
    }

    /// The path of all objects of its kind, in its namespace.
    #[must_use]
    pub fn collection(&self) -> String {
        let version = self.0["apiVersion"].as_str().unwrap_or_default();
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let plural = KINDS.iter().find(|(kind, _)| *kind == self.kind()).map_or("", |(_, plural)| plural);
        match self.namespace() {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }

    /// Its own path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name())
    }

    /// The same with another name, in another namespace where it lies in one.
    #[must_use]
    pub fn named(mut self, namespace: Option<&str>, name: &str) -> Self {
        self.0["metadata"]["name"] = json!(name);
        if let Some(namespace) = namespace {
            self.0["metadata"]["namespace"] = json!(namespace);
        }
        self
    }

    /// The same with a value at this place.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        if let Some(place) = self.0.pointer_mut(pointer) {
            *place = value;
        }
        self
    }

    /// The same with a label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = json!(value);
        self
    }
}
