//! What would become of one cluster: looked at before anything is changed, and refused where it would be unsafe.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use serde_json::Value;

use super::{
    judge,
    live::{Change, Live},
    object::Object,
    objects::Plan,
    wish::{IDENTITIES, Team, Wish},
};
use crate::{
    failure::{Code, Failure},
    operate::{finding::Finding, server::Server},
    out::Out,
};

/// How many requests are under way to one cluster.
pub const AT_ONCE: usize = 8;

/// One cluster, and what is to become of it.
pub struct Survey {
    /// Its name: the context's.
    pub name: String,
    /// The cluster.
    pub server: Server,
    /// What of the input is for it.
    pub wish: Wish,
    /// Whether it has admission policies.
    pub has_policies: bool,
    /// Each object with what becomes of it, in the order in which they are applied.
    pub policies: Vec<(Object, Change)>,
    /// The same of the namespaces and accounts.
    pub accounts: Vec<(Object, Change)>,
    /// The same of the rights.
    pub rights: Vec<(Object, Change)>,
    /// What is found of each team's roles.
    pub findings: Vec<Vec<Finding>>,
    /// Objects of ours that the input has no more, with their uid.
    pub left: Vec<(Object, String)>,
    /// How many requests it took.
    pub requests: usize,
}

/// How a cluster is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Whether fields of others are taken over.
    pub is_forced: bool,
    /// Whether a cluster without admission policies is set up all the same.
    pub without_policies: bool,
    /// Whether what the input has no more is looked for.
    pub is_pruning: bool,
}

impl Survey {
    /// Looks at a cluster.
    ///
    /// # Errors
    /// When it cannot be set up. Nothing was changed.
    pub async fn of(name: &str, server: Server, wish: Wish, how: How, out: &Out) -> Result<Self, Failure> {
        let has_policies = has_policies(&Live::new(&server, false)).await?;
        if !has_policies && !how.without_policies {
            return Err(Failure::new(Code::ApiNoPath, format!("`{name}` has no ValidatingAdmissionPolicy; nothing was changed"))
                .cause("without it the rights of jobpass are a way to tokens that never end")
                .hint("Kubernetes 1.30 and OpenShift 4.17 have it; `--without-policies` sets up a cluster all the same, for trials"));
        }
        let mut plan = Plan::of(&wish);
        if !has_policies {
            plan.policies.clear();
        }
        let live = Live::new(&server, how.is_forced);
        check_home(&live, out).await?;
        let bar = ProgressBar::new(plan.all().count() as u64);
        let namespaces: Vec<_> = plan.accounts.iter().filter(|object| object.kind() == "Namespace").cloned().collect();
        let mut new = BTreeSet::new();
        for namespace in namespaces {
            if live.get(&namespace.path(), &namespace.id()).await?.is_none() {
                new.insert(namespace.name().to_owned());
            }
        }
        let changes = async |objects: Vec<Object>| -> Result<Vec<(Object, Change)>, Failure> {
            let each = objects.into_iter().map(async |object| {
                // In a namespace that is not there yet nothing can be tried.
                let is_new = object.namespace().is_some_and(|namespace| new.contains(namespace));
                let change = if is_new { Change::New } else { live.compare(&object).await? };
                bar.inc(1);
                Ok((object, change))
            });
            stream::iter(each).buffered(AT_ONCE).try_collect().await
        };
        let Plan { policies, accounts, rights } = plan;
        let (policies, accounts) = (changes(policies).await?, changes(accounts).await?);
        let rights = changes(rights).await?;
        let mut findings = Vec::new();
        for team in &wish.teams {
            findings.push(judge::online(team, &live).await?);
        }
        let known: BTreeSet<_> = [&policies, &accounts, &rights].into_iter().flatten().map(|(object, _)| object.path()).collect();
        let left = if how.is_pruning { left(&live, &known).await? } else { Vec::new() };
        bar.finish_and_clear();
        let requests = live.requests();
        Ok(Self { name: name.to_owned(), server, wish, has_policies, policies, accounts, rights, findings, left, requests })
    }

    /// All objects with what becomes of them.
    pub fn all(&self) -> impl Iterator<Item = &(Object, Change)> {
        [&self.policies, &self.accounts, &self.rights].into_iter().flatten()
    }

    /// How many objects become something else.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.all().filter(|(_, change)| *change != Change::Same).count()
    }

    /// The objects of some teams, with what becomes of them. What several teams share counts for each.
    pub fn of_teams<'a>(&'a self, teams: &[Team]) -> impl Iterator<Item = &'a (Object, Change)> {
        let own = self.own(teams);
        self.accounts.iter().chain(&self.rights).filter(move |(object, _)| own.contains(&object.path()))
    }

    /// What is no team's alone, without the policies: the namespace of the CI identities, the role that we ship, the sweeper.
    pub fn shared(&self) -> impl Iterator<Item = &(Object, Change)> {
        let own = self.own(&self.wish.teams);
        self.accounts.iter().chain(&self.rights).filter(move |(object, _)| !own.contains(&object.path()))
    }

    fn own(&self, teams: &[Team]) -> BTreeSet<String> {
        let plan = Plan::of(&Wish { teams: teams.to_vec(), sweeper: None, ..self.wish.clone() });
        let is_own = |object: &&Object| object.name() != IDENTITIES && object.kind() != "ClusterRole";
        plan.accounts.iter().chain(&plan.rights).filter(is_own).map(Object::path).collect()
    }
}

async fn has_policies(live: &Live<'_>) -> Result<bool, Failure> {
    let served = live.get("/apis/admissionregistration.k8s.io/v1", "whether the API server has admission policies").await?;
    let resources = served.unwrap_or_default()["resources"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| resources.iter().any(|resource| resource["name"] == name);
    Ok(has("validatingadmissionpolicies") && has("validatingadmissionpolicybindings"))
}

/// Whoever has made another namespace of that name may have accounts of his own in it.
async fn check_home(live: &Live<'_>, out: &Out) -> Result<(), Failure> {
    let path = format!("/api/v1/namespaces/{IDENTITIES}");
    let Some(home) = live.get(&path, &format!("the namespace `{IDENTITIES}`")).await? else { return Ok(()) };
    if home["metadata"]["labels"]["jobpass.dev/identities"] != "true" {
        let name = &live.server.name;
        return Err(Failure::new(
            Code::ApiNameTaken,
            format!("the namespace `{IDENTITIES}` of `{name}` is somebody else's; nothing was changed"),
        )
        .cause("whoever can use a service account in it would get the tokens of the jobs")
        .hint(format!(
            "see what is in it; then remove it, or label it as yours: `kubectl label namespace {IDENTITIES} jobpass.dev/identities=true`"
        )));
    }
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{IDENTITIES}/rolebindings");
    let others = live.get(&path, &format!("the role bindings of `{IDENTITIES}`")).await?.unwrap_or_default();
    let names: Vec<_> = others["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect();
    if !names.is_empty() {
        out.warn(format!(
            "others have rights in the namespace `{IDENTITIES}`, by the role bindings {}: see that none of them can use a service account there",
            names.join(", ")
        ));
    }
    Ok(())
}

/// Objects that carry our labels and a name of ours, and are not asked for any more. Namespaces and policies are never among them.
async fn left(live: &Live<'_>, known: &BTreeSet<String>) -> Result<Vec<(Object, String)>, Failure> {
    const KINDS: [(&str, &str, &str); 4] = [
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "/apis/rbac.authorization.k8s.io/v1/rolebindings"),
        ("rbac.authorization.k8s.io/v1", "Role", "/apis/rbac.authorization.k8s.io/v1/roles"),
        ("batch/v1", "CronJob", "/apis/batch/v1/cronjobs"),
        ("v1", "ServiceAccount", "/api/v1/serviceaccounts"),
    ];
    const LEASES: &str = "/api/v1/secrets?fieldSelector=type%3Djobpass.dev%2Flease";
    let leases = live.metadata(LEASES, "the leases").await?;
    let mut left = Vec::new();
    for (version, kind, path) in KINDS {
        for mut item in live.ours(path).await? {
            let uid = item["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            // Items of a list do not say what they are.
            (item["apiVersion"], item["kind"]) = (version.into(), kind.into());
            let object = Object(item);
            if known.contains(&object.path()) || uid.is_empty() || !is_named_by_us(&object) || is_in_use(&object, &leases) {
                continue;
            }
            left.push((object, uid));
        }
    }
    Ok(left)
}

/// Anybody can write labels: of what gives rights, the name has to be one that we give.
fn is_named_by_us(object: &Object) -> bool {
    match object.kind() {
        "Role" | "RoleBinding" => object.name().starts_with("jobpass-") || object.name().starts_with("jobpass:"),
        "CronJob" => object.name() == "sweeper",
        _ => true,
    }
}

/// Whether passes of a service account live, or passes that a CI identity has made: without it they cannot be ended.
fn is_in_use(object: &Object, leases: &[Value]) -> bool {
    let (Some(namespace), "ServiceAccount") = (object.namespace(), object.kind()) else { return false };
    let account = format!("{namespace}/{}", object.name());
    let user = format!("system:serviceaccount:{namespace}:{}", object.name());
    leases.iter().any(|lease| {
        let notes = &lease["metadata"]["annotations"];
        notes["jobpass.dev/service-account"] == account.as_str() || notes["jobpass.dev/identity"] == user.as_str()
    })
}
