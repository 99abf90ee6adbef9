//! Who may do what: rules of one user or group each, and the refusal in the server's words.

use crate::authn::User;
use crate::status::{self, Answer, Resource};
use crate::world::World;

/// Who has a right.
#[derive(PartialEq, Eq)]
pub(crate) enum Subject {
    User(String),
    Group(String),
}

/// A right of one user or group in one namespace, or in all.
pub(crate) struct Rule {
    pub(crate) subject: Subject,
    /// `*` means all, and what belongs to none.
    pub(crate) namespace: String,
    pub(crate) verb: String,
    pub(crate) resource: String,
    /// Empty means all, and also what has no name yet.
    pub(crate) names: Vec<String>,
}

/// What a request wants to do.
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'static str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: Option<&'a str>,
    /// `None` for what belongs to the whole cluster.
    pub(crate) namespace: Option<&'a str>,
    /// Empty when the URL has none: that is why resourceNames cannot limit the creation of Secrets.
    pub(crate) name: &'a str,
}

impl Attributes<'_> {
    fn full_resource(&self) -> String {
        match self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.to_owned(),
        }
    }
}

pub(crate) fn authorize(world: &World, user: &User, wanted: &Attributes<'_>) -> Result<(), Answer> {
    if allowed(world, user, wanted) {
        return Ok(());
    }
    let place = match wanted.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let why = format!(
        "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        user.name,
        wanted.verb,
        wanted.full_resource(),
        wanted.group,
    );
    let resource = Resource { group: wanted.group, name: wanted.resource.to_owned() };
    Err(status::forbidden(&resource, wanted.name, &why))
}

pub(crate) fn allowed(world: &World, user: &User, wanted: &Attributes<'_>) -> bool {
    // Before any rule, as on the real server.
    if user.groups.iter().any(|group| group == "system:masters") {
        return true;
    }
    // `system:basic-user`, which every authenticated user has.
    let basic = ["selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    if basic.contains(&wanted.resource) {
        return wanted.verb == "create" && !user.is_anonymous();
    }
    if let Some(oauth) = world.oauth.as_ref().filter(|_| wanted.group == "oauth.openshift.io") {
        // OpenShift's own `basic-user` and `system:oauth-token-deleter`.
        let is_own = wanted.resource == "useroauthaccesstokens";
        return !user.is_anonymous() && (is_own || oauth.deleters && wanted.verb == "delete");
    }
    let resource = wanted.full_resource();
    of_user(world, user, wanted.namespace.unwrap_or_default()).any(|rule| {
        rule.verb == wanted.verb
            && rule.resource == resource
            && (rule.names.is_empty() || rule.names.iter().any(|name| name == wanted.name))
    })
}

/// The rules of a user in a namespace.
pub(crate) fn of_user<'w>(world: &'w World, user: &'w User, namespace: &'w str) -> impl Iterator<Item = &'w Rule> {
    let is_subject = |rule: &&Rule| match &rule.subject {
        Subject::User(name) => *name == user.name,
        Subject::Group(name) => user.groups.contains(name),
    };
    world.rules.iter().filter(is_subject).filter(move |rule| rule.namespace == "*" || rule.namespace == namespace)
}
