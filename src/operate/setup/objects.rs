//! The objects of a cluster, made of the files of `deploy/`: in three parts, of which each is applied after the one before.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    object::Object,
    wish::{IDENTITIES, Identity, Right, Role, SWEEPER, Team, Wish},
};

const POLICY: &str = include_str!("../../../deploy/policy.yaml");
const ACCOUNTS: &str = include_str!("../../../deploy/accounts.yaml");
const RIGHTS: &str = include_str!("../../../deploy/rights.manifest");
const SWEEPERS: &str = include_str!("../../../deploy/sweeper.manifest");
const ROLE: &str = include_str!("../../../deploy/deploy-role.yaml");

const RBAC: &str = "rbac.authorization.k8s.io";

/// What a cluster gets.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// First: what limits the rights.
    pub policies: Vec<Object>,
    /// Then: namespaces and accounts, which have no right yet.
    pub accounts: Vec<Object>,
    /// Last, once the policies are seen to be in force.
    pub rights: Vec<Object>,
}

/// The labels by which what we have made is known.
#[must_use]
pub fn labels() -> Value {
    json!({"app.kubernetes.io/managed-by": "jobpass", "app.kubernetes.io/part-of": "jobpass"})
}

/// The role that we ship, with its comments.
#[must_use]
pub fn role_text() -> &'static str {
    ROLE
}

/// The text of the policies, with their comments, and with the life of a token and the keys that are asked for.
#[must_use]
pub fn policy_text(wish: &Wish) -> String {
    let text = POLICY.replace("expression: \"3600\"", &format!("expression: \"{}\"", wish.max_ttl.as_secs()));
    if wish.allowed_keys.is_empty() {
        return text;
    }
    let keys: Vec<_> = wish.allowed_keys.iter().map(|key| format!("'{key}'")).collect();
    text.replace("expression: \"['']\"", &format!("expression: \"[{}]\"", keys.join(", ")))
}

/// The objects of one of the files.
fn objects(text: &str) -> Vec<Object> {
    // They are a part of this program: a test reads each of them.
    serde_saphyr::from_multiple::<Value>(text).unwrap_or_default().into_iter().map(Object).collect()
}

fn of_kind(objects: &[Object], kind: &str, name: Option<&str>) -> Object {
    let is_it = |object: &&Object| object.kind() == kind && name.is_none_or(|name| object.name() == name);
    objects.iter().find(is_it).cloned().unwrap_or(Object(Value::Null))
}

impl Plan {
    /// All that this wish means in one cluster.
    #[must_use]
    pub fn of(wish: &Wish) -> Self {
        let mut plan = Self { policies: objects(&policy_text(wish)), ..Self::default() };
        plan.accounts(wish);
        for team in &wish.teams {
            plan.rights_of(team);
        }
        if let Some(image) = &wish.sweeper {
            plan.sweeper(image, &wish.namespaces());
        }
        plan
    }

    /// All objects, in the order in which they are applied.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        [&self.policies, &self.accounts, &self.rights].into_iter().flatten()
    }

    fn accounts(&mut self, wish: &Wish) {
        let known = objects(ACCOUNTS);
        let mut labels = labels();
        labels["jobpass.dev/identities"] = json!("true");
        let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": labels, "name": IDENTITIES}});
        self.accounts.push(Object(home));
        for namespace in wish.namespaces() {
            self.accounts.push(of_kind(&known, "Namespace", None).named(None, namespace));
        }
        for team in &wish.teams {
            let account = of_kind(&known, "ServiceAccount", Some("deploy-bot"));
            self.accounts.push(labelled(account.named(Some(&team.account.namespace), &team.account.name), team));
        }
        let identities: BTreeSet<_> = wish.teams.iter().flat_map(|team| &team.identities).collect();
        for name in identities.into_iter().filter_map(Identity::account) {
            let kind = if name == "tekton" { name } else { "ci" };
            self.accounts.push(of_kind(&known, "ServiceAccount", Some(kind)).named(Some(IDENTITIES), name));
        }
    }

    /// The right to ask for passes of an account, and what these may do.
    fn rights_of(&mut self, team: &Team) {
        let known = objects(RIGHTS);
        let (namespace, name) = (team.account.namespace.as_str(), team.account.name.as_str());
        let own = format!("jobpass-{name}");
        let mut role = of_kind(&known, "Role", None).named(Some(namespace), &own);
        for rule in role.0["rules"].as_array_mut().into_iter().flatten().filter(|rule| rule.get("resourceNames").is_some()) {
            rule["resourceNames"] = json!([name]);
        }
        self.rights.push(labelled(role, team));
        let subjects: Vec<_> = team.identities.iter().map(Identity::subject).collect();
        let binding = of_kind(&known, "RoleBinding", None).named(Some(namespace), &own);
        self.rights.push(labelled(binding.with("/roleRef/name", json!(own)).with("/subjects", json!(subjects)), team));
        for right in &team.rights {
            if right.role == Role::Deploy && !self.rights.iter().any(|object| object.kind() == "ClusterRole") {
                self.rights.extend(objects(ROLE));
            }
            let bindings: Vec<_> = right.namespaces.iter().map(|target| binding_of(team, right, target)).collect();
            self.rights.extend(bindings);
        }
    }

    fn sweeper(&mut self, image: &str, namespaces: &[&str]) {
        for object in objects(SWEEPERS) {
            match object.kind() {
                "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" => self.policies.push(object),
                "Namespace" | "ServiceAccount" => self.accounts.push(object),
                "CronJob" => {
                    let container = "/spec/jobTemplate/spec/template/spec/containers/0";
                    let arguments = json!(["leases", "sweep", "-n", namespaces.join(",")]);
                    let object = object.with(&format!("{container}/image"), json!(image));
                    self.rights.push(object.with(&format!("{container}/args"), arguments));
                }
                _ => self.rights.extend(namespaces.iter().map(|namespace| object.clone().named(Some(namespace), SWEEPER))),
            }
        }
    }
}

fn labelled(object: Object, team: &Team) -> Object {
    match &team.name {
        Some(name) => object.labelled("jobpass.dev/team", name),
        None => object,
    }
}

/// The name has what makes it one of a kind: several accounts may have rights in one namespace, and no part of it can have a colon but
/// the role.
fn binding_of(team: &Team, right: &Right, namespace: &str) -> Object {
    let account = &team.account;
    let (kind, role, tail) = match &right.role {
        Role::Deploy => ("ClusterRole", "jobpass-deploy", "deploy".to_owned()),
        Role::OfCluster(name) => ("ClusterRole", name.as_str(), format!("clusterrole:{name}")),
        Role::OfNamespace(name) => ("Role", name.as_str(), format!("role:{name}")),
    };
    let name = format!("jobpass:{}:{}:{tail}", account.namespace, account.name);
    let subject = json!({"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace});
    let binding = json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "RoleBinding",
        "metadata": {"labels": labels(), "name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [subject],
    });
    labelled(Object(binding), team)
}

impl Identity {
    /// The name of the service account in `jobpass`, if it is one.
    fn account(&self) -> Option<&str> {
        match self {
            Self::Account(name) => Some(name),
            Self::Github(_) | Self::Gitlab(_) => None,
        }
    }

    /// As whom RBAC knows it.
    fn subject(&self) -> Value {
        match self {
            Self::Account(name) => json!({"kind": "ServiceAccount", "name": name, "namespace": IDENTITIES}),
            Self::Github(_) | Self::Gitlab(_) => json!({"apiGroup": RBAC, "kind": "Group", "name": format!("jobpass:ci:{self}")}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::setup::{given::usual_identities, wish};

    fn wish() -> Wish {
        let account = wish::account("ci/deploy-bot").expect("one");
        let team = Team { name: None, account, clusters: Vec::new(), rights: Vec::new(), identities: usual_identities() };
        Wish { teams: vec![team], max_ttl: wish::USUAL, allowed_keys: Vec::new(), sweeper: None }
    }

    #[test]
    fn what_is_set_up_is_what_the_files_say() {
        let plan = Plan::of(&wish());
        assert_eq!(plan.policies, objects(POLICY));
        // `deploy/apply` makes this namespace by itself, as it looks first whose it is.
        let (home, accounts) = plan.accounts.split_first().expect("some");
        assert_eq!(accounts, objects(ACCOUNTS));
        assert_eq!(plan.rights, objects(RIGHTS));
        let apply = include_str!("../../../deploy/apply").replace("$identities", "jobpass");
        let (_, text) = apply.split_once("<<NAMESPACE").expect("it is there");
        let (text, _) = text.split_once("\nNAMESPACE").expect("it ends");
        let (_, text) = text.split_once('\n').expect("a line");
        assert_eq!([home.clone()].as_slice(), objects(text));
    }

    #[test]
    fn the_sweeper_is_what_its_file_says() {
        let plan = Plan::of(&Wish { sweeper: Some("registry.example.com/jobpass:0.1.0".into()), ..wish() });
        let is_known = |object: &&Object| {
            !objects(POLICY).contains(object) && !objects(ACCOUNTS).contains(object) && !objects(RIGHTS).contains(object)
        };
        let own: Vec<_> = plan.all().filter(is_known).filter(|object| object.name() != "jobpass").cloned().collect();
        assert_eq!(own, objects(SWEEPERS));
    }

    #[test]
    fn no_two_objects_have_one_name() {
        let mut wish = wish();
        let right = |text: &str| wish::right(text).expect("a right");
        let rights = vec![right("deploy@a,b"), right("clusterrole/deploy@a"), right("role/deploy@a"), right("clusterrole/role:deploy@a")];
        let other = Team { account: wish::account("c/i-deploy-bot").expect("one"), rights: rights.clone(), ..wish.teams[0].clone() };
        wish.teams[0].rights = rights;
        wish.teams.push(other);
        let plan = Plan::of(&wish);
        let all: Vec<_> = plan.all().map(Object::path).collect();
        let unique: BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len(), "{all:?}");
        assert!(all.iter().all(|path| !path.contains("//") && !path.ends_with('/')), "{all:?}");
    }

    #[test]
    fn a_longer_token_is_allowed_where_it_is_asked_for() {
        let keys = vec!["policies.kyverno.io/".to_owned(), "a/b".to_owned()];
        let plan = Plan::of(&Wish { max_ttl: std::time::Duration::from_hours(2), allowed_keys: keys, ..wish() });
        let secrets = of_kind(&plan.policies, "ValidatingAdmissionPolicy", Some("jobpass-lease-secrets"));
        assert_eq!(secrets.0["spec"]["variables"][0], json!({"name": "allowedKeys", "expression": "['policies.kyverno.io/', 'a/b']"}));
        let tokens = of_kind(&plan.policies, "ValidatingAdmissionPolicy", Some("jobpass-tokens"));
        assert_eq!(tokens.0["spec"]["variables"][0], json!({"name": "maxSeconds", "expression": "7200"}));
    }
}
