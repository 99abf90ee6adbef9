//! Which leases are meant: by what they say, and by the beginning of their names.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::held::{Held, State, short};
use crate::{
    failure::{Code, Failure},
    name::{self, Beginning},
    operate::when,
    spec,
};

/// The flags that choose leases. What a lease says is as its job has told it, except its namespace and its identity.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which")]
pub struct Filter {
    /// Of this service account, as the job says
    #[arg(short, long, value_name = "NAMESPACE/NAME")]
    pub service_account: Option<String>,
    /// Of these namespaces, separated by commas [default: all]
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',')]
    pub namespace: Vec<String>,
    /// Made by this CI identity: a user name, or NAMESPACE/NAME of a service account
    #[arg(long, value_name = "USER")]
    pub identity: Option<String>,
    /// Of this repository, as the job says
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// Of this run: its number, or the URL of its page
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Started by this person, as the job says
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Older than this, such as `2h`
    #[arg(long, value_name = "TIME")]
    pub older: Option<String>,
}

/// The filter, checked.
pub struct Chosen<'a> {
    filter: &'a Filter,
    older: Option<SignedDuration>,
    /// The namespaces to be asked; none means all.
    pub namespaces: Vec<Option<String>>,
}

impl Filter {
    /// Whether nothing is said, so that all leases are meant.
    pub fn is_empty(&self) -> bool {
        let Self { service_account, namespace, identity, repository, run, by, older } = self;
        namespace.is_empty() && [service_account, identity, repository, run, by, older].into_iter().all(Option::is_none)
    }

    /// Checks the flags.
    ///
    /// # Errors
    /// When a name cannot be one, or a length of time is none.
    pub fn chosen(&self) -> Result<Chosen<'_>, Failure> {
        let most = Duration::from_hours(24 * 3650);
        let older = self.older.as_deref().map(|text| when::parsed("--older", text, most)).transpose()?;
        let older = older.and_then(|length| SignedDuration::try_from(length).ok());
        let mut namespaces: BTreeSet<_> = self.namespace.iter().cloned().collect();
        if let Some(bad) = namespaces.iter().find(|name| !spec::is_label(name)) {
            return Err(Failure::new(Code::UsageValue, format!("`{bad}` is no name of a namespace")));
        }
        if let Some((namespace, _)) = self.account()? {
            if !namespaces.is_empty() && !namespaces.contains(namespace) {
                let what = "`--service-account` and `--namespace` name two namespaces";
                return Err(Failure::new(Code::UsageConflict, what).hint("give the namespace once"));
            }
            namespaces = BTreeSet::from([namespace.to_owned()]);
        }
        let namespaces = if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
        Ok(Chosen { filter: self, older, namespaces })
    }

    /// Namespace and name of the service account.
    ///
    /// # Errors
    /// When it is none.
    pub fn account(&self) -> Result<Option<(&str, &str)>, Failure> {
        let Some(text) = self.service_account.as_deref() else { return Ok(None) };
        let (namespace, name) = spec::parts(text);
        let parts = namespace.map(|namespace| (namespace, name));
        let parts = parts.filter(|(namespace, name)| spec::is_label(namespace) && spec::is_subdomain(name));
        let refused = || {
            Failure::new(Code::UsageValue, "`--service-account` names no service account")
                .hint("write NAMESPACE/NAME in lower-case letters, digits and hyphens, such as `ci/deploy-bot`")
        };
        parts.map(Some).ok_or_else(refused)
    }
}

impl Chosen<'_> {
    /// Whether a lease is meant; `now` is its server's time.
    pub fn has(&self, lease: &Held, now: Timestamp) -> bool {
        let Filter { service_account, identity, repository, run, by, .. } = self.filter;
        let is = |wanted: &Option<String>, said: &Option<String>| wanted.is_none() || wanted == said;
        let is_old = |older: SignedDuration| lease.created_at.is_some_and(|at| now.duration_since(at) >= older);
        let account = service_account.as_deref().map(|text| match spec::parts(text) {
            (Some(namespace), name) => format!("{namespace}/{name}"),
            (None, name) => name.to_owned(),
        });
        is(&account, &lease.service_account)
            && identity.as_deref().is_none_or(|user| lease.identity.as_deref().is_some_and(|said| said == user || short(said) == user))
            && is(repository, &lease.repository)
            && (is(run, &lease.run_id) || is(run, &lease.run_url))
            && is(by, &lease.actor)
            && self.older.is_none_or(is_old)
    }
}

/// A lease that somebody names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// By its name or the beginning of it.
    Beginning(Beginning<'a>),
    /// A Secret of a lease's type, by a name that jobpass gives to none.
    Foreign(Option<&'a str>, &'a str),
}

impl<'a> Named<'a> {
    /// Reads a name.
    ///
    /// # Errors
    /// When it cannot be one.
    pub fn parse(text: &'a str) -> Result<Self, Failure> {
        let (namespace, name) = text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
        let beginning = Beginning::of(text).map(Self::Beginning);
        let is_foreign = name.starts_with(name::PREFIX) && spec::is_subdomain(name);
        let named = beginning.or_else(|| is_foreign.then_some(Self::Foreign(namespace, name)));
        named.filter(|_| namespace.is_none_or(spec::is_label)).ok_or_else(|| {
            Failure::new(Code::UsageValue, format!("`{text}` is no name of a lease"))
                .hint("write its first digits, at least 4, as `jobpass leases list` shows them, or `NAMESPACE/jobpass-…`")
        })
    }

    /// The namespace, where it is said.
    pub fn namespace(&self) -> Option<&'a str> {
        match self {
            Self::Beginning(beginning) => beginning.namespace,
            Self::Foreign(namespace, _) => *namespace,
        }
    }

    /// Whether a lease has this name.
    pub fn is(&self, lease: &Held) -> bool {
        match self {
            Self::Beginning(beginning) => beginning.is_of(&lease.namespace, &lease.name),
            Self::Foreign(namespace, name) => lease.name == *name && namespace.is_none_or(|namespace| namespace == lease.namespace),
        }
    }
}

/// What a list shows of each name: the shortest beginning that no other one has. A name that is no lease's is shown whole.
pub fn shortest(leases: &[Held]) -> Vec<String> {
    let digits = |lease: &Held| lease.name.strip_prefix(name::PREFIX).filter(|_| name::is_name(&lease.name)).map(str::to_owned);
    // Sorted, the names that have most in common stand side by side.
    let sorted: Vec<_> = leases.iter().filter_map(digits).collect::<BTreeSet<_>>().into_iter().collect();
    let common = |one: &str, other: &str| one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let needed = |digits: &str| {
        let at = sorted.partition_point(|known| known.as_str() < digits);
        let neighbours = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten().filter_map(|at| sorted.get(at));
        neighbours.map(|other| common(digits, other) + 1).max().unwrap_or_default().max(name::SHOWN)
    };
    leases.iter().map(|lease| digits(lease).map_or_else(|| lease.name.clone(), |digits| digits[..needed(&digits)].to_owned())).collect()
}

/// In the state that is asked for.
pub fn is_left_over(lease: &Held) -> bool {
    match lease.state {
        State::Over => true,
        State::Alive | State::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::held::tests::{held, now},
        *,
    };

    #[test]
    fn names_are_read_and_what_is_none_is_refused() {
        let lease = held("jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6", 1, &[]);
        for text in ["7a24", "jobpass-7a24", "ci/jobpass-7a24c1", "ci/7a24", "jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6"] {
            assert!(Named::parse(text).expect(text).is(&lease), "{text}");
        }
        let foreign = Named::parse("ci/jobpass-of-somebody").expect("a name");
        assert!(foreign.is(&held("jobpass-of-somebody", 1, &[])) && !foreign.is(&held("jobpass-of-somebody-else", 1, &[])));
        assert!(!Named::parse("other/7a24").expect("a name").is(&lease));
        for text in [
            "",
            "7a2",
            "7A24",
            "jobpass-",
            "jobpass-A",
            "ci/",
            "a b/7a24",
            "../7a24",
            "7a24c1e09b5d4f38a6c2d1e0f9b8a7c600",
            "7a24*",
            "ci/x/7a24",
        ] {
            assert!(Named::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_shows_as_much_of_a_name_as_it_needs() {
        let names = ["7a24c1e0", "7a24c1f0", "c22de800", "00000000"].map(|start| format!("jobpass-{start:0<32}"));
        let leases: Vec<_> = names.iter().map(String::as_str).chain(["other"]).map(|name| held(name, 1, &[])).collect();
        assert_eq!(shortest(&leases), ["7a24c1e", "7a24c1f", "c22de8", "000000", "other"]);
        let twice = [leases[0].clone(), leases[0].clone()];
        assert_eq!(shortest(&twice), ["7a24c1", "7a24c1"], "one lease on two clusters has one name");
    }

    #[test]
    fn each_filter_leaves_out_the_others() {
        let lease = held(
            "jobpass-1",
            90,
            &[
                ("service-account", "ci/deploy-bot"),
                ("identity", "system:serviceaccount:jobpass:shop"),
                ("repository", "acme/shop"),
                ("actor", "octocat"),
            ],
        );
        let is = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.chosen().expect("valid").has(&lease, now())
        };
        assert!(is(|_| {}));
        assert!(
            is(|filter| filter.service_account = Some("ci/deploy-bot".into()))
                && !is(|filter| filter.service_account = Some("ci/x".into()))
        );
        assert!(is(|filter| filter.identity = Some("jobpass/shop".into())) && !is(|filter| filter.identity = Some("shop".into())));
        assert!(is(|filter| filter.identity = Some("system:serviceaccount:jobpass:shop".into())));
        assert!(is(|filter| filter.repository = Some("acme/shop".into())) && !is(|filter| filter.repository = Some("acme".into())));
        assert!(is(|filter| filter.by = Some("octocat".into())) && !is(|filter| filter.by = Some("alice".into())));
        assert!(is(|filter| filter.older = Some("1h".into())) && !is(|filter| filter.older = Some("2h".into())));
        assert!(!is(|filter| filter.run = Some("1".into())));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let refused = |filter: Filter| filter.chosen().map(drop).expect_err("refused").brief();
        assert!(refused(Filter { service_account: Some("deploy-bot".into()), ..Filter::default() }).contains("--service-account"));
        assert!(refused(Filter { namespace: vec!["A B".into()], ..Filter::default() }).contains("namespace"));
        assert!(refused(Filter { older: Some("soon".into()), ..Filter::default() }).contains("--older"));
        let both = Filter { service_account: Some("ci/x".into()), namespace: vec!["other".into()], ..Filter::default() };
        assert!(refused(both).contains("two namespaces"));
    }
}
