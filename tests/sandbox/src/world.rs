//! What exists in the sandbox: namespaces, service accounts, pods and Secrets, and who may touch them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::authn::People;
use crate::clock::rfc3339;
use crate::jwt;
use crate::openshift::Oauth;
use crate::policy::Policies;
use crate::rbac::Rule;
use crate::watch::Watches;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Everything that a request can see or change; one lock guards it.
pub(crate) struct World {
    pub(crate) namespaces: BTreeMap<String, Namespace>,
    pub(crate) service_accounts: BTreeMap<Key, ServiceAccount>,
    pub(crate) pods: BTreeMap<Key, Pod>,
    /// Read it as you like; it is changed by [`World::put`] and [`World::remove`], so that watches see it.
    pub(crate) secrets: BTreeMap<Key, Value>,
    pub(crate) watches: Watches,
    /// Events, each with its namespace.
    pub(crate) events: Vec<(String, Value)>,
    pub(crate) people: People,
    pub(crate) rules: Vec<Rule>,
    /// Whether an authorizer cannot list its rules.
    pub(crate) rules_are_incomplete: bool,
    pub(crate) policies: Policies,
    /// The login of an OpenShift, if it is one.
    pub(crate) oauth: Option<Oauth>,
    pub(crate) max_expiration: Option<i64>,
    /// Every service-account token that was given out over HTTP.
    pub(crate) issued: Vec<String>,
    pub(crate) unimplemented: Vec<String>,
    revision: u64,
}

pub(crate) struct Namespace {
    pub(crate) uid: String,
    pub(crate) created: Timestamp,
    pub(crate) terminating: bool,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        Self { uid: jwt::uuid(), created: Timestamp::now(), terminating: false, annotations: BTreeMap::new() }
    }
}

pub(crate) struct ServiceAccount {
    pub(crate) uid: String,
    pub(crate) created: Timestamp,
}

pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) created: Timestamp,
    pub(crate) service_account: String,
}

/// A Secret as the test sees it; its values stay inside.
#[derive(Clone, PartialEq)]
pub struct SecretInfo {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid of this incarnation.
    pub uid: String,
    /// `jobpass.dev/lease`, `Opaque`, …
    pub type_: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Owner references, as they were sent.
    pub owner_references: Vec<Value>,
    /// Finalizers that still hold the Secret.
    pub finalizers: Vec<String>,
    /// The keys of its data.
    pub data_keys: Vec<String>,
    /// Whether it was deleted and waits for its finalizers.
    pub deleting: bool,
}

impl fmt::Debug for SecretInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecretInfo")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("uid", &self.uid)
            .field("type", &self.type_)
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("owner_references", &self.owner_references)
            .field("finalizers", &self.finalizers)
            .field("data_keys", &self.data_keys)
            .field("deleting", &self.deleting)
            .finish()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            namespaces: BTreeMap::from([("default".to_owned(), Namespace::new())]),
            service_accounts: BTreeMap::new(),
            pods: BTreeMap::new(),
            secrets: BTreeMap::new(),
            watches: Watches::default(),
            events: Vec::new(),
            people: People::new(),
            rules: Vec::new(),
            rules_are_incomplete: false,
            policies: Policies::default(),
            oauth: None,
            max_expiration: None,
            issued: Vec::new(),
            unimplemented: Vec::new(),
            revision: 1000,
        }
    }

    /// Gives a new object what the server gives: uid, creation time and, if it is kept, a resource version.
    pub(crate) fn stamp(&mut self, object: &mut Value, now: Timestamp, kept: bool) {
        let metadata = &mut object["metadata"];
        metadata["uid"] = jwt::uuid().into();
        metadata["creationTimestamp"] = rfc3339(now).into();
        if kept {
            self.revise(object);
        }
    }

    pub(crate) fn revise(&mut self, object: &mut Value) -> u64 {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.revision
    }

    /// Puts a Secret there, which has its resource version.
    pub(crate) fn put(&mut self, key: Key, secret: Value) {
        let kind = if self.secrets.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.watches.tell(self.revision, kind, &secret);
        self.secrets.insert(key, secret);
    }

    /// Takes a Secret away.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        let mut secret = self.secrets.remove(key)?;
        self.revise(&mut secret);
        self.watches.tell(self.revision, "DELETED", &secret);
        Some(secret)
    }

    pub(crate) fn revision(&self) -> String {
        self.revision.to_string()
    }

    /// Does what the garbage collector does, at once: owners that are gone take their Secrets along, and its own
    /// finalizers fall. Owners of kinds that the sandbox does not know are taken to exist.
    pub(crate) fn collect(&mut self) {
        loop {
            let dead: Vec<Key> =
                self.secrets.iter().filter(|(key, secret)| self.is_garbage(key, secret)).map(|(key, _)| key.clone()).collect();
            if dead.is_empty() {
                return;
            }
            for key in dead {
                self.remove(&key);
            }
        }
    }

    fn is_garbage(&self, (namespace, _): &Key, secret: &Value) -> bool {
        let metadata = &secret["metadata"];
        if !metadata["deletionTimestamp"].is_null() {
            let finalizers = metadata["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
            return finalizers.iter().all(|name| name == "foregroundDeletion" || name == "orphan");
        }
        let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        !owners.is_empty() && owners.iter().all(|owner| !self.owner_exists(namespace, owner))
    }

    fn owner_exists(&self, namespace: &str, owner: &Value) -> bool {
        let key = (namespace.to_owned(), owner["name"].as_str().unwrap_or_default().to_owned());
        let uid = match (owner["apiVersion"].as_str(), owner["kind"].as_str()) {
            (Some("v1"), Some("Pod")) => self.pods.get(&key).map(|pod| pod.uid.as_str()),
            (Some("v1"), Some("ServiceAccount")) => self.service_accounts.get(&key).map(|account| account.uid.as_str()),
            (Some("v1"), Some("Secret")) => self.secrets.get(&key).and_then(uid),
            _ => return true,
        };
        uid.is_some() && uid == owner["uid"].as_str()
    }
}

/// The uid of an object.
pub(crate) fn uid(object: &Value) -> Option<&str> {
    object["metadata"]["uid"].as_str()
}

pub(crate) fn info((namespace, name): &Key, secret: &Value) -> SecretInfo {
    let metadata = &secret["metadata"];
    let strings = |field: &str| {
        let pairs = metadata[field].as_object().into_iter().flatten();
        pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    SecretInfo {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: uid(secret).unwrap_or_default().to_owned(),
        type_: secret["type"].as_str().unwrap_or_default().to_owned(),
        labels: strings("labels"),
        annotations: strings("annotations"),
        owner_references: metadata["ownerReferences"].as_array().cloned().unwrap_or_default(),
        finalizers: names(&metadata["finalizers"]),
        data_keys: secret["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect(),
        deleting: !metadata["deletionTimestamp"].is_null(),
    }
}

/// A list of strings in JSON.
pub(crate) fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A Secret that was not made through HTTP.
pub(crate) fn plain_secret(namespace: &str, name: &str, type_: &str, data: &HashMap<String, String>) -> Value {
    let mut secret = json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "type": type_,
    });
    if !data.is_empty() {
        secret["data"] = json!(data);
    }
    secret
}
