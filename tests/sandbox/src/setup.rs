//! What a test puts into the sandbox before, and does behind the client's back: users, rights and objects.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{Bound, mint};
use crate::authn::{IDENTITY_AUDIENCE, IDENTITY_ISSUER, ISSUER, LEGACY};
use crate::eks;
use crate::jwt;
use crate::rbac::{Rule, Subject};
use crate::sandbox::Sandbox;
use crate::tls::Identity;
use crate::trust::{Trust, Trusted};
use crate::world::{Key, Namespace, Pod, SecretInfo, ServiceAccount, World, info, plain_secret, uid};

/// How long a token lives that was not asked for over HTTP.
const HOUR: i64 = 3600;

/// Users and their rights.
impl Sandbox {
    /// An admin of the cluster, who may do everything; returns the token.
    #[must_use]
    pub fn admin(&self) -> String {
        self.add_user("admin", &["system:masters"])
    }

    /// Writes an Event about the object with this uid.
    pub fn put_event(&self, namespace: &str, uid: &str, by: &str, message: &str) {
        let event = serde_json::json!({
            "metadata": {"name": format!("revoked-{uid}"), "namespace": namespace}, "reason": "Revoked", "message": message,
            "involvedObject": {"kind": "Secret", "namespace": namespace, "uid": uid}, "source": {"component": by}, "reportingComponent": "",
        });
        self.shared.world().events.push((namespace.to_owned(), event));
    }

    /// A user with a static bearer token, which is returned; a second call gives a second token.
    #[must_use]
    pub fn add_user(&self, user: &str, groups: &[&str]) -> String {
        let token = jwt::opaque();
        let people = &mut self.shared.world().people;
        people.groups.insert(user.to_owned(), groups.iter().map(|&group| group.to_owned()).collect());
        people.tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// Makes a static token unknown, as when it was rotated.
    pub fn forget_token(&self, token: &str) {
        self.shared.world().people.tokens.remove(token);
    }

    /// A user with an identity token, as a CI platform signs one; `claims` are laid over sound ones (`iss`, `sub`, `aud`,
    /// `iat`, `nbf`, `exp` in ten minutes, `jti`). The subject is the user's name unless `claims` say otherwise.
    #[must_use]
    pub fn add_jwt_user(&self, user: &str, claims: &Value) -> String {
        let now = self.now().as_second();
        let mut all = json!({
            "iss": IDENTITY_ISSUER, "sub": user, "aud": [IDENTITY_AUDIENCE],
            "iat": now, "nbf": now, "exp": now + 600, "jti": jwt::uuid(),
        });
        for (claim, value) in claims.as_object().into_iter().flatten() {
            all[claim] = value.clone();
        }
        let people = &mut self.shared.world().people;
        people.subjects.insert(all["sub"].as_str().unwrap_or(user).to_owned(), user.to_owned());
        people.identities.sign(&all)
    }

    /// Knows the user by the tokens of EKS that this key of AWS signs for the cluster with this name.
    pub fn add_aws_key(&self, user: &str, cluster: &str, id: &str, secret: &str) {
        let [user, cluster, id, secret] = [user, cluster, id, secret].map(str::to_owned);
        self.shared.world().people.eks.push(eks::Key { cluster, id, secret, user });
    }

    /// A client certificate by which the server knows the user.
    #[must_use]
    pub fn client_identity(&self, user: &str) -> Identity {
        let people = &mut self.shared.world().people;
        let groups = people.groups.get(user).map(Vec::as_slice).unwrap_or_default();
        let (identity, leaf) = self.authority.client(user, groups);
        people.certificates.insert(leaf, user.to_owned());
        identity
    }

    /// A kubeconfig with the CA and a bearer token of that user, both embedded.
    ///
    /// # Panics
    /// If the user has no static token.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> String {
        let world = self.shared.world();
        let token = world.people.tokens.iter().find(|(_, name)| *name == user).map(|(token, _)| token.clone());
        let token = token.expect("the user was added");
        drop(world);
        let (server, authority) = (self.url(), STANDARD.encode(self.ca_pem()));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n\
             clusters:\n- name: sandbox\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             users:\n- name: {user}\n  user:\n    token: {token}\n\
             contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: {user}\n"
        )
    }

    /// Gives a user a right in a namespace, or in all by `*`; no names means all. For a service account the user is
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub fn allow(&self, user: &str, namespace: &str, verb: &str, resource: &str, names: &[&str]) {
        self.add_rule(Subject::User(user.to_owned()), namespace, verb, resource, names);
    }

    fn add_rule(&self, subject: Subject, namespace: &str, verb: &str, resource: &str, names: &[&str]) {
        self.shared.world().rules.push(Rule {
            subject,
            namespace: namespace.to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        });
    }

    /// One of the authorizers cannot list its rules, as a webhook cannot.
    pub fn list_rules_in_part(&self) {
        self.shared.world().rules_are_incomplete = true;
    }

    /// Takes all rights of a user.
    pub fn revoke_rules(&self, user: &str) {
        self.shared.world().rules.retain(|rule| rule.subject != Subject::User(user.to_owned()));
    }

    /// Exactly what jobpass needs: to request this service account's tokens, to create and to delete Secrets, and to read why a pass was
    /// ended.
    pub fn grant_jobpass(&self, user: &str, namespace: &str, service_account: &str) {
        self.allow(user, namespace, "create", "serviceaccounts/token", &[service_account]);
        self.allow(user, namespace, "create", "secrets", &[]);
        self.allow(user, namespace, "delete", "secrets", &[]);
        self.allow(user, namespace, "list", "events", &[]);
    }

    /// The same for all members of a group.
    pub fn grant_jobpass_to_group(&self, group: &str, namespace: &str, service_account: &str) {
        let group = || Subject::Group(group.to_owned());
        self.add_rule(group(), namespace, "create", "serviceaccounts/token", &[service_account]);
        self.add_rule(group(), namespace, "create", "secrets", &[]);
        self.add_rule(group(), namespace, "delete", "secrets", &[]);
        self.add_rule(group(), namespace, "list", "events", &[]);
    }

    /// Trusts one more issuer, as a file of `deploy/oidc/` says.
    pub fn trust(&self, trust: Trust) {
        self.shared.world().people.trusted.push(Trusted::new(trust));
    }

    /// Applies `deploy/policy.yaml`: it holds for users of the group `jobpass:ci` and for the service accounts of the
    /// namespace `jobpass`, and denies with 403 Forbidden.
    pub fn enable_policies(&self) {
        self.shared.world().policies.enabled = true;
    }

    /// Takes them away again.
    pub fn disable_policies(&self) {
        self.shared.world().policies.enabled = false;
    }

    /// The policies deny with 422 Invalid, as where an operator left their `reason` out.
    pub fn deny_with_invalid(&self) {
        self.shared.world().policies.invalid = true;
    }

    /// The server's `--service-account-max-token-expiration`. The real one takes no less than an hour; here it may be
    /// seconds, for tests that renew.
    pub fn max_token_expiration(&self, seconds: i64) {
        self.shared.world().max_expiration = Some(seconds);
    }
}

/// Objects.
impl Sandbox {
    /// A namespace; the methods that add objects make theirs by themselves.
    pub fn add_namespace(&self, namespace: &str) {
        make_namespace(&mut self.shared.world(), namespace);
    }

    /// From now on nothing can be created in the namespace; what is there stays.
    pub fn terminate_namespace(&self, namespace: &str) {
        let mut world = self.shared.world();
        world.namespaces.entry(namespace.to_owned()).or_insert_with(Namespace::new).terminating = true;
    }

    /// A service account; one that exists is deleted and made anew. Returns its uid.
    pub fn add_service_account(&self, namespace: &str, name: &str) -> String {
        let created = self.now();
        let mut world = self.shared.world();
        make_namespace(&mut world, namespace);
        let uid = jwt::uuid();
        world.service_accounts.insert(key(namespace, name), ServiceAccount { uid: uid.clone(), created });
        world.collect();
        uid
    }

    /// Deletes a service account, and with it every token of it.
    pub fn delete_service_account(&self, namespace: &str, name: &str) {
        let mut world = self.shared.world();
        world.service_accounts.remove(&key(namespace, name));
        world.collect();
    }

    /// A pod that runs as the service account. Returns its uid.
    pub fn add_pod(&self, namespace: &str, name: &str, service_account: &str) -> String {
        let created = self.now();
        let mut world = self.shared.world();
        make_namespace(&mut world, namespace);
        let uid = jwt::uuid();
        let pod = Pod { uid: uid.clone(), created, service_account: service_account.to_owned() };
        world.pods.insert(key(namespace, name), pod);
        world.collect();
        uid
    }

    /// Deletes a pod; Secrets that it owns go with it.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        let mut world = self.shared.world();
        world.pods.remove(&key(namespace, name));
        world.collect();
    }

    /// An unbound token of a service account for one hour.
    ///
    /// # Panics
    /// If there is no such service account.
    #[must_use]
    pub fn service_account_token(&self, namespace: &str, name: &str) -> String {
        self.mint(&key(namespace, name), None)
    }

    /// A token of a service account without an end, held by a Secret, as guides have it made by hand.
    ///
    /// # Panics
    /// If there is no such service account.
    #[must_use]
    pub fn eternal_token(&self, namespace: &str, name: &str, secret: &str) -> String {
        let world = self.shared.world();
        let account = world.service_accounts.get(&key(namespace, name)).expect("the service account was added");
        let prefix = "kubernetes.io/serviceaccount";
        let token = world.people.accounts.sign(&json!({
            "iss": LEGACY,
            format!("{prefix}/namespace"): namespace,
            format!("{prefix}/secret.name"): secret,
            format!("{prefix}/service-account.name"): name,
            format!("{prefix}/service-account.uid"): account.uid,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        }));
        drop(world);
        self.put_secret(namespace, secret, "kubernetes.io/service-account-token", &[("token", &token)]);
        token
    }

    /// A token of a pod's service account for one hour, bound to the pod as the kubelet's are.
    ///
    /// # Panics
    /// If there is no such pod, or its service account does not exist.
    #[must_use]
    pub fn pod_token(&self, namespace: &str, pod: &str) -> String {
        let world = self.shared.world();
        let found = world.pods.get(&key(namespace, pod)).expect("the pod was added");
        let account = key(namespace, &found.service_account);
        let bound = Bound { kind: "pod", name: pod.to_owned(), uid: found.uid.clone() };
        drop(world);
        self.mint(&account, Some(&bound))
    }

    /// The Secrets of a namespace, by name.
    #[must_use]
    pub fn secrets(&self, namespace: &str) -> Vec<SecretInfo> {
        let world = self.shared.world();
        world.secrets.iter().filter(|((place, _), _)| place == namespace).map(|(key, secret)| info(key, secret)).collect()
    }

    /// A Secret of somebody else, whatever was there before. Returns its uid.
    pub fn put_secret(&self, namespace: &str, name: &str, type_: &str, data: &[(&str, &str)]) -> String {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value))).collect();
        self.store(&key(namespace, name), plain_secret(namespace, name, type_, &data))
    }

    /// Removes a Secret at once, finalizers or not.
    pub fn delete_secret(&self, namespace: &str, name: &str) {
        let mut world = self.shared.world();
        world.remove(&key(namespace, name));
        world.collect();
    }

    /// A Secret with this metadata beside its name, which the server would not take from everybody. Returns its uid.
    pub fn put_secret_with(&self, namespace: &str, name: &str, type_: &str, metadata: &Value) -> String {
        let mut secret = plain_secret(namespace, name, type_, &HashMap::new());
        for (field, value) in metadata.as_object().into_iter().flatten() {
            secret["metadata"][field] = value.clone();
        }
        let created = secret["metadata"]["creationTimestamp"].clone();
        let uid = self.store(&key(namespace, name), secret);
        if !created.is_null() {
            let mut world = self.shared.world();
            if let Some(stored) = world.secrets.get_mut(&key(namespace, name)) {
                stored["metadata"]["creationTimestamp"] = created;
            }
        }
        uid
    }

    /// Ends every watch, as an API server does from time to time.
    pub fn end_watches(&self) {
        self.shared.world().watches.end();
    }

    /// Forgets what has changed so far: a watch that begins before now is told that its version is too old.
    pub fn forget_changes(&self) {
        let mut world = self.shared.world();
        let revision = world.revise(&mut json!({}));
        world.watches.forget(revision);
    }

    /// Adds a finalizer to a Secret.
    ///
    /// # Panics
    /// If there is no such Secret.
    pub fn add_finalizer(&self, namespace: &str, name: &str, finalizer: &str) {
        let mut world = self.shared.world();
        let secret = world.secrets.get_mut(&key(namespace, name)).expect("the Secret is there");
        match secret["metadata"]["finalizers"].as_array_mut() {
            Some(finalizers) => finalizers.push(json!(finalizer)),
            None => secret["metadata"]["finalizers"] = json!([finalizer]),
        }
    }

    /// Deletes a Secret and makes one like it. Returns the new uid.
    ///
    /// # Panics
    /// If there is no such Secret.
    pub fn recreate_secret_same_name(&self, namespace: &str, name: &str) -> String {
        let key = key(namespace, name);
        let removed = self.shared.world().remove(&key);
        self.store(&key, removed.expect("the Secret is there"))
    }

    fn store(&self, key: &Key, mut secret: Value) -> String {
        let now = self.now();
        let mut world = self.shared.world();
        make_namespace(&mut world, &key.0);
        world.stamp(&mut secret, now, true);
        let uid = uid(&secret).unwrap_or_default().to_owned();
        world.put(key.clone(), secret);
        uid
    }

    fn mint(&self, account: &Key, bound: Option<&Bound>) -> String {
        let world = self.shared.world();
        assert!(world.service_accounts.contains_key(account), "the service account was added");
        mint(&world, self.now(), account, bound, &[ISSUER.to_owned()], HOUR)
    }
}

fn make_namespace(world: &mut World, namespace: &str) {
    world.namespaces.entry(namespace.to_owned()).or_insert_with(Namespace::new);
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}
