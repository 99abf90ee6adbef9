//! What is asked for: whose jobs get passes of which service account, and what these may do.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    failure::{Code, Failure},
    options::human,
    spec::{self, ServiceAccount, is_label, is_subdomain},
};

/// The namespace of the CI identities, which the policies watch.
pub const IDENTITIES: &str = "jobpass";

/// The namespace of the sweeper.
pub const SWEEPER: &str = "jobpass-sweeper";

/// The role that we ship, as it is asked for.
pub const DEPLOY: &str = "deploy";

/// The life of a token that the policy allows where nothing else is asked for.
pub const USUAL: Duration = Duration::from_hours(1);

/// The shortest and longest life of a token that the policy may be made to allow.
const BOUNDS: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(24));

/// All that is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Each service account with its rights, and whose it is.
    pub teams: Vec<Team>,
    /// The longest life of one token.
    pub max_ttl: Duration,
    /// Keys of labels and annotations that leases may carry beside our own.
    pub allowed_keys: Vec<String>,
    /// The image of the sweeper, if there is to be one.
    pub sweeper: Option<String>,
}

/// A service account of which jobs get passes.
#[derive(Clone, Debug)]
pub struct Team {
    /// Whose it is, if that is said.
    pub name: Option<String>,
    /// The service account.
    pub account: ServiceAccount,
    /// The contexts of the clusters that it is for; none: all.
    pub clusters: Vec<String>,
    /// What its passes may do.
    pub rights: Vec<Right>,
    /// Who may ask for them.
    pub identities: Vec<Identity>,
}

/// A role, bound in some namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// The role.
    pub role: Role,
    /// Where.
    pub namespaces: Vec<String>,
}

/// What may be bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The one that we ship.
    Deploy,
    /// A `ClusterRole` of the cluster.
    OfCluster(String),
    /// A Role of the namespace.
    OfNamespace(String),
}

/// Who may ask for passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A service account of the namespace `jobpass`.
    Account(String),
    /// The jobs of a repository at GitHub, by its number.
    Github(u64),
    /// The jobs of a project at GitLab, by its number.
    Gitlab(u64),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy => f.write_str(DEPLOY),
            Self::OfCluster(name) => f.write_str(name),
            Self::OfNamespace(name) => write!(f, "role/{name}"),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.role, self.namespaces.join(", "))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(name) => write!(f, "{IDENTITIES}/{name}"),
            Self::Github(number) => write!(f, "github:{number}"),
            Self::Gitlab(number) => write!(f, "gitlab:{number}"),
        }
    }
}

/// Why a text of the user's is none of what was asked for, and what to write.
pub type Refused = (String, &'static str);

/// A service account of which passes are given: `NAMESPACE/NAME`, in a namespace of its own.
pub fn account(text: &str) -> Result<ServiceAccount, Refused> {
    const HINT: &str = "write NAMESPACE/NAME in lower-case letters, digits and hyphens, such as `ci/deploy-bot`";
    let (namespace, name) = spec::parts(text);
    let namespace = namespace.unwrap_or_default();
    if !is_label(namespace) || !is_subdomain(name) {
        return Err((format!("`{text}` names no service account"), HINT));
    }
    let is_taken = [IDENTITIES, SWEEPER, "default"].contains(&namespace);
    if is_taken || namespace.starts_with("kube-") || namespace.starts_with("openshift-") {
        let hint =
            "give the service accounts of passes a namespace of their own: the leases lie in it, and the sweeper reads all its Secrets";
        return Err((format!("the namespace `{namespace}` is for other things"), hint));
    }
    Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// A CI identity that is a service account: `jobpass/NAME`.
pub fn identity(text: &str) -> Result<Identity, Refused> {
    let (namespace, name) = spec::parts(text);
    let namespace = namespace.unwrap_or_default();
    if !is_label(namespace) || !is_subdomain(name) {
        return Err((format!("`{text}` names no service account"), "write `jobpass/NAME`"));
    }
    if namespace != IDENTITIES {
        let hint =
            "the policies watch the service accounts of the namespace `jobpass` only: name one in it, which is made if it is not there";
        return Err((format!("`{text}` would be a CI identity that no policy watches"), hint));
    }
    Ok(Identity::Account(name.to_owned()))
}

/// The number of a repository or project.
pub fn number(text: &str) -> Result<u64, Refused> {
    let hint = "a name can be given up and taken by somebody else: write the number, as `gh api repos/OWNER/NAME --jq .id` or the \
                project's page at GitLab shows it";
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| (format!("`{text}` is no number of a repository or project"), hint))
}

/// A right: `ROLE@NAMESPACE,NAMESPACE`.
pub fn right(text: &str) -> Result<Right, Refused> {
    let hint = "write ROLE@NAMESPACE, such as `deploy@shop-prod,shop-stage`; `role/NAME@NAMESPACE` is a Role of the namespace";
    let (name, namespaces) = text.split_once('@').ok_or_else(|| (format!("`{text}` says no namespace"), hint))?;
    let role = match name.split_once('/') {
        Some(("role", name)) => role(name, Role::OfNamespace)?,
        Some(("clusterrole", name)) => role(name, Role::OfCluster)?,
        Some(_) => return Err((format!("`{name}` names no role"), hint)),
        None if name == DEPLOY => Role::Deploy,
        None => role(name, Role::OfCluster)?,
    };
    let namespaces = namespaces.split(',').map(|name| target(name).map(str::to_owned)).collect::<Result<_, _>>()?;
    Ok(Right { role, namespaces })
}

/// A role by its name, which is a part of a path.
pub fn role(name: &str, kind: impl Fn(String) -> Role) -> Result<Role, Refused> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if name.is_empty() || name.len() > 200 || !name.chars().all(is_fit) || name.starts_with('.') {
        return Err((format!("`{name}` names no role"), "write its name, such as `edit`"));
    }
    Ok(kind(name.to_owned()))
}

/// A namespace in which passes may do something.
pub fn target(name: &str) -> Result<&str, Refused> {
    if !is_label(name) {
        return Err((format!("`{name}` names no namespace"), "write lower-case letters, digits and hyphens"));
    }
    if [IDENTITIES, SWEEPER].contains(&name) {
        return Err((format!("a pass may do nothing in `{name}`"), "whoever may do something there could become a CI identity"));
    }
    Ok(name)
}

/// Whose it is: it becomes a label.
pub fn team(name: &str) -> Result<String, Refused> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > 63 || !name.chars().all(is_fit) || !is_end(name.chars().next()) || !is_end(name.chars().last()) {
        return Err((format!("`{name}` cannot be the value of a label"), "write at most 63 letters, digits, hyphens and dots"));
    }
    Ok(name.to_owned())
}

/// A key of a label or annotation, or the beginning of several, which goes into an expression.
pub fn key(text: &str) -> Result<String, Refused> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if text.is_empty() || text.len() > 317 || !text.chars().all(is_fit) {
        return Err((
            format!("`{text}` is no key of a label or annotation"),
            "write it as `policies.kyverno.io/` or `field.cattle.io/projectId`",
        ));
    }
    Ok(text.to_owned())
}

/// The name of an image, which goes into YAML.
pub fn image(name: &str) -> Result<String, Refused> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '@');
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_fit) || !name.contains(['/', ':', '@']) {
        return Err((format!("`{name}` names no image"), "write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…"));
    }
    Ok(name.to_owned())
}

/// A length of time; also in days, as kubectl has none.
pub fn duration(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).map(|days| Duration::from_hours(24) * days);
    let seconds = || text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let length = || text.parse::<jiff::SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    days.or_else(seconds).or_else(length).map(|length| Duration::from_secs(length.as_secs()))
}

/// The longest life of one token.
pub fn max_ttl(text: &str) -> Result<Duration, Refused> {
    let length = duration(text).filter(|length| (BOUNDS.0..=BOUNDS.1).contains(length));
    let (least, most) = (human(BOUNDS.0), human(BOUNDS.1));
    length.ok_or_else(|| (format!("`{text}` is no length of time from {least} to {most}"), "write it as `1h` or `90m`"))
}

/// A failure of a flag.
pub fn of_flag(flag: &str, (why, hint): Refused) -> Failure {
    Failure::new(Code::UsageValue, format!("`{flag}`: {why}")).hint(hint)
}

impl Wish {
    /// What of it is for the cluster of this context.
    #[must_use]
    pub fn on(&self, context: &str) -> Self {
        let is_meant = |team: &&Team| team.clusters.is_empty() || team.clusters.iter().any(|cluster| cluster == context);
        Self { teams: self.teams.iter().filter(is_meant).cloned().collect(), ..self.clone() }
    }

    /// The contexts that it names.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<&str> {
        self.teams.iter().flat_map(|team| &team.clusters).map(String::as_str).collect()
    }

    /// The namespaces of the service accounts, in which the leases lie.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.teams.iter().map(|team| team.account.namespace.as_str()).filter(|name| seen.insert(*name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_unsafe_is_no_account_and_no_identity() {
        for text in
            ["jobpass/x", "jobpass-sweeper/x", "kube-system/x", "default/x", "openshift-gitops/x", "x", "/", "a/b/c", "A/b", "ci/", ""]
        {
            assert!(account(text).is_err(), "{text}");
        }
        assert_eq!(account("ci/deploy-bot").expect("one").to_string(), "ci/deploy-bot");
        for text in ["ci/x", "x", "jobpass/", "jobpass/X"] {
            assert!(identity(text).is_err(), "{text}");
        }
        assert_eq!(identity("jobpass/shop"), Ok(Identity::Account("shop".to_owned())));
    }

    #[test]
    fn jobs_of_a_platform_are_named_by_number() {
        assert_eq!(number("123456789"), Ok(123_456_789));
        for text in ["acme/app", "", "0", "-1", "1.5", "1e9"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_right_is_a_role_in_namespaces() {
        let shown = |text: &str| right(text).map(|right| right.to_string());
        assert_eq!(shown("deploy@a,b").as_deref(), Ok("deploy in a, b"));
        assert_eq!(right("deploy@a").expect("one").role, Role::Deploy);
        assert_eq!(right("clusterrole/deploy@a").expect("one").role, Role::OfCluster("deploy".to_owned()));
        assert_eq!(shown("role/own@a").as_deref(), Ok("role/own in a"));
        assert_eq!(shown("system:image-puller@a").as_deref(), Ok("system:image-puller in a"));
        for text in ["deploy", "deploy@", "@a", "deploy@a,", "deploy@A", "x/y@a", "../x@a", "deploy@jobpass"] {
            assert!(right(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_length_of_time_may_be_in_days() {
        assert_eq!(duration("90d"), Some(Duration::from_hours(2160)));
        assert_eq!(duration("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("601"), Some(Duration::from_secs(601)));
        assert_eq!([duration("x"), duration(""), duration("-1h"), duration("d")], [None; 4]);
        assert_eq!([max_ttl("9m").is_err(), max_ttl("25h").is_err(), max_ttl("24h").is_ok()], [true; 3]);
    }
}
