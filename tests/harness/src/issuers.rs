//! GitHub and GitLab on loopback, and the repository or project there that is one world's own.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
};

use jobpass_issuers::{Exchange, GitHub, GitLab, Issuer};
use jobpass_sandbox::{Of, Sandbox, Trust};
use serde_json::{Value, json};

use super::{random, root};

/// The workflow that gets in; GitLab has one pipeline a project.
const WORKFLOW: &str = "deploy.yml";
/// The owner of the repository, and the group of the project, as the issuers say them where nothing else is asked for.
const OWNER: &str = "65";
const NAMESPACE: &str = "72";

/// The group of the jobs in `deploy/oidc/`.
const WATCHED: &str = "jobpass:ci";

/// One issuer of each shape.
pub(crate) struct Issuers {
    pub(crate) github: GitHub,
    pub(crate) gitlab: GitLab,
}

impl Issuers {
    pub(crate) fn start() -> Self {
        Self { github: GitHub::start(), gitlab: GitLab::start() }
    }

    /// The entries of an authentication configuration for these tenants, made from `deploy/oidc/`.
    fn entries(&self, tenants: &[&Tenant]) -> [String; 2] {
        let ids: Vec<_> = tenants.iter().map(|tenant| format!("'{}', '{}'", tenant.id, tenant.other)).collect();
        let audiences: Vec<_> = tenants.iter().map(|tenant| format!("'{}'", tenant.audience)).collect();
        let (ids, audiences, group) = (ids.join(", "), audiences.join(", "), tenants[0].group());
        let fill = |file: &str, url: &str, issuer: &Issuer, values: &[(&str, &str)]| {
            let path = root().join("deploy/oidc").join(file);
            let text = fs::read_to_string(&path).expect("a file of deploy/oidc");
            let (_, entry) = text.split_once("\njwt:\n").expect("a list of issuers");
            let ca = issuer.ca_pem().trim_end().replace('\n', "\n      ");
            let own = format!("    url: {}\n    certificateAuthority: |\n      {ca}\n    audienceMatchPolicy: MatchAny\n", issuer.url());
            let mut entry = replaced(entry, &format!("    url: {url}\n"), &own);
            for (name, value) in values.iter().chain(&[("AUDIENCE", audiences.as_str())]) {
                entry = replaced(&entry, &format!("@{name}@"), value);
            }
            let entry = replaced(&entry, WATCHED, group);
            // Whose it is: another process may have its port later.
            format!("# {} of {}\n{entry}", issuer.url(), std::process::id())
        };
        let quoted = |text: &str| format!("'{text}'");
        [
            fill(
                "github.yaml",
                "https://token.actions.githubusercontent.com",
                &self.github,
                &[("REPOSITORY_IDS", &ids), ("OWNER_ID", &quoted(OWNER)), ("WORKFLOW", &quoted(WORKFLOW))],
            ),
            fill("gitlab.yaml", "https://gitlab.com", &self.gitlab, &[("PROJECT_IDS", &ids), ("NAMESPACE_ID", &quoted(NAMESPACE))]),
        ]
    }
}

/// An entry for GitHub in the words of a server that has no expressions, as docs/oidc.md gives it for EKS.
fn by_claims(entry: &str, id: &str) -> String {
    let (issuer, _) = entry.split_once("  claimValidationRules:\n").expect("rules");
    format!(
        "{issuer}  claimValidationRules:\n  - claim: repository_id\n    requiredValue: '{id}'\n  - claim: ref\n    requiredValue: refs/heads/main\n  \
         claimMappings:\n    username:\n      claim: sub\n      prefix: 'github:'\n    groups:\n      claim: repository_id\n      prefix: 'jobpass:ci:github:'\n"
    )
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "deploy/oidc has no {from}");
    text.replace(from, to)
}

/// What a world wants of its issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Other worlds may have the same.
    Shared,
    /// No other world has the same.
    Alone,
    /// Their jobs are in groups that no policy watches.
    Unwatched,
    /// Of GitHub's tokens the server maps single claims, as one does that has no expressions.
    ByClaims,
}

/// What is one world's of them.
pub(crate) struct Tenant {
    kind: Kind,
    pub(crate) issuers: Arc<Issuers>,
    /// The number of its repository at GitHub, and of its project at GitLab.
    pub(crate) id: String,
    /// That of another one, which has no right.
    pub(crate) other: String,
    /// The server's address as jobpass sees it.
    pub(crate) audience: String,
}

impl Tenant {
    /// With the socket on which the world's relay is to listen.
    pub(crate) fn new(issuers: &Arc<Issuers>, kind: Kind) -> (Self, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let audience = format!("https://{}", listener.local_addr().expect("a bound socket has an address"));
        let [id, other] = [random(), random()].map(|hex| (1_000_000_000 + u64::from_str_radix(&hex, 16).expect("hex")).to_string());
        (Self { kind, issuers: issuers.clone(), id, other, audience }, listener)
    }

    /// A token endpoint whose tokens the server takes, and a GitHub that only this endpoint trusts. What it gives is told to `seen`.
    /// The tokens are those of the project, for the run that the job's own token names.
    pub(crate) fn exchange(&self, seen: impl Fn(&str) + Send + Sync + 'static) -> (GitHub, Exchange) {
        let github = GitHub::start();
        let (issuers, id, audience) = (self.issuers.clone(), self.id.clone(), self.audience.clone());
        let exchange = Exchange::start(&github, &self.audience, move |claims| {
            let token =
                issuers.gitlab.mint(&audience, &json!({"project_id": id, "job_id": claims["run_id"], "user_login": claims["actor"]}));
            seen(&token);
            token
        });
        (github, exchange)
    }

    /// What the groups of its jobs begin with.
    fn group(&self) -> &'static str {
        match self.kind {
            Kind::Shared | Kind::Alone | Kind::ByClaims => WATCHED,
            Kind::Unwatched => "unwatched",
        }
    }

    /// A token of a job of each issuer.
    pub(crate) fn tokens(&self) -> [String; 2] {
        let none = json!({});
        [
            self.issuers.github.mint(&self.audience, &self.github_claims(&none)),
            self.issuers.gitlab.mint(&self.audience, &self.gitlab_claims(&none)),
        ]
    }

    /// The groups of the jobs of its repository and project.
    pub(crate) fn groups(&self) -> [String; 2] {
        ["github", "gitlab"].map(|issuer| format!("{}:{issuer}:{}", self.group(), self.id))
    }

    /// Has a sandbox trust them.
    pub(crate) fn trusted_by(&self, sandbox: &Sandbox) {
        let trust = |issuer: &Issuer, of: Of| {
            let (audiences, group) = (vec![self.audience.clone()], self.group().to_owned());
            sandbox.trust(Trust { url: issuer.url(), ca_pem: issuer.ca_pem().to_owned(), audiences, of, group });
        };
        let ids = || vec![self.id.clone(), self.other.clone()];
        let (owner_id, workflow) = (OWNER.to_owned(), WORKFLOW.to_owned());
        let of_github = match self.kind {
            Kind::Shared | Kind::Alone | Kind::Unwatched => Of::GitHub { repository_ids: ids(), owner_id, workflow },
            Kind::ByClaims => Of::GitHubByClaims { repository_id: self.id.clone() },
        };
        trust(&self.issuers.github, of_github);
        trust(&self.issuers.gitlab, Of::GitLab { project_ids: ids(), namespace_id: NAMESPACE.to_owned() });
    }

    /// What a token of a job of its repository says beside what all say, with these changes.
    pub(crate) fn github_claims(&self, changes: &Value) -> Value {
        laid_over(json!({"repository_id": self.id}), changes)
    }

    /// The same of its project.
    pub(crate) fn gitlab_claims(&self, changes: &Value) -> Value {
        laid_over(json!({"project_id": self.id}), changes)
    }
}

fn laid_over(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

/// The issuers that the real control plane trusts, and the tenants that no world has taken yet. All of them are written into its
/// configuration at once, because it takes ten seconds to read one.
pub(crate) struct Pool {
    tenants: Vec<(Kind, Vec<(Tenant, TcpListener)>)>,
}

impl Pool {
    /// With so many tenants of each kind; and the entries for all of them.
    pub(crate) fn new(counts: &[(Kind, usize)]) -> (Self, Vec<String>) {
        let mut entries = Vec::new();
        let tenants = counts.iter().map(|(kind, count)| {
            let (issuers, each) = match kind {
                Kind::Shared | Kind::Unwatched => (1, *count),
                Kind::Alone | Kind::ByClaims => (*count, 1),
            };
            let mut all = Vec::new();
            for issuers in (0..issuers).map(|_| Arc::new(Issuers::start())) {
                let tenants: Vec<_> = (0..each).map(|_| Tenant::new(&issuers, *kind)).collect();
                let [github, gitlab] = issuers.entries(&tenants.iter().map(|(tenant, _)| tenant).collect::<Vec<_>>());
                let github = match kind {
                    Kind::Shared | Kind::Alone | Kind::Unwatched => github,
                    Kind::ByClaims => by_claims(&github, &tenants[0].0.id),
                };
                entries.extend([github, gitlab]);
                all.extend(tenants);
            }
            (*kind, all)
        });
        let tenants = tenants.collect();
        (Self { tenants }, entries)
    }

    pub(crate) fn take(&mut self, kind: Kind) -> (Tenant, TcpListener) {
        let (_, tenants) = self.tenants.iter_mut().find(|(known, _)| *known == kind).expect("every kind was asked for");
        tenants.pop().expect("more worlds trust issuers than this process has tenants: see ControlPlane::tenant")
    }

    /// A token of each issuer: when the control plane takes these, it has read all.
    pub(crate) fn probes(&self) -> Vec<String> {
        let tenants = self.tenants.iter().flat_map(|(kind, tenants)| match kind {
            Kind::Shared | Kind::Unwatched => &tenants[..1],
            Kind::Alone | Kind::ByClaims => tenants,
        });
        tenants.flat_map(|(tenant, _)| tenant.tokens()).collect()
    }
}
