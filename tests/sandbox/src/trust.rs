//! Issuers of others that the server trusts by `--authentication-config`, with the rules and mappings of `deploy/oidc/`.

use std::sync::Mutex;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::authn::User;
use crate::clock::seconds;
use crate::{client, jwt};

/// What the server's library allows for `nbf`; it allows nothing for `exp` (coreos/go-oidc v2.5.0, `verify.go`).
pub(crate) const LEEWAY: SignedDuration = SignedDuration::from_mins(1);
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// All jobs are in it, and in one of their own whose name begins so.
const GROUP: &str = "jobpass:ci";

/// One entry of an `AuthenticationConfiguration`.
pub struct Trust {
    /// The `iss` of its tokens.
    pub url: String,
    /// The authority of its certificate.
    pub ca_pem: String,
    /// One of them must be in the token.
    pub audiences: Vec<String>,
    /// Whose jobs get in.
    pub of: Of,
    /// The group of all jobs: `jobpass:ci` in the files, which the policies watch.
    pub group: String,
}

/// What was filled in.
pub enum Of {
    /// In `deploy/oidc/github.yaml`.
    GitHub {
        /// Of the repositories.
        repository_ids: Vec<String>,
        /// Of their owner.
        owner_id: String,
        /// The file of the workflow.
        workflow: String,
    },
    /// By single claims of GitHub, as a server does that has no expressions: `sub` is the name, the repository's number the group.
    GitHubByClaims {
        /// Of the only repository.
        repository_id: String,
    },
    /// In `deploy/oidc/gitlab.yaml`.
    GitLab {
        /// Of the projects.
        project_ids: Vec<String>,
        /// Of their group.
        namespace_id: String,
    },
}

/// An entry, and the keys as they were when they were last fetched.
pub(crate) struct Trusted {
    trust: Trust,
    keys: Mutex<Vec<Value>>,
}

impl Trusted {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, keys: Mutex::default() }
    }

    /// The user of a token of this issuer, if it is one and gets in. In the order of the server's library, the signature comes last.
    pub(crate) fn user(&self, now: Timestamp, token: &str) -> Option<User> {
        let claimed = jwt::claims(token)?;
        let is_in_time = seconds(claimed["exp"].as_i64()?) >= now && claimed["nbf"].as_i64().is_none_or(|nbf| seconds(nbf) <= now + LEEWAY);
        let is_for_us = match &claimed["aud"] {
            Value::String(one) => self.trust.audiences.contains(one),
            Value::Array(many) => many.iter().any(|one| self.trust.audiences.iter().any(|known| one == known)),
            _ => false,
        };
        if claimed["iss"] != self.trust.url.as_str() || !is_in_time || !is_for_us {
            return None;
        }
        let claims = self.verified(token)?;
        let mut user = match &self.trust.of {
            Of::GitHub { repository_ids, owner_id, workflow } => github(&claims, repository_ids, owner_id, workflow),
            Of::GitHubByClaims { repository_id } => github_by_claims(&claims, repository_id),
            Of::GitLab { project_ids, namespace_id } => gitlab(&claims, project_ids, namespace_id),
        }?;
        for group in &mut user.groups {
            *group = group.replace(GROUP, &self.trust.group);
        }
        Some(match claims["jti"].as_str() {
            Some(jti) => user.credential(format!("JTI={jti}")),
            None => user,
        })
    }

    /// By the keys that are known, else by those that the issuer serves now: it says no `Cache-Control`, so they are never too young.
    fn verified(&self, token: &str) -> Option<Value> {
        let mut keys = self.keys.lock().expect("sound");
        let verify = |keys: &[Value]| keys.iter().find_map(|key| jwt::verified_by(key, token));
        if let Some(claims) = verify(&keys) {
            return Some(claims);
        }
        *keys = self.fetched()?;
        verify(&keys)
    }

    fn fetched(&self) -> Option<Vec<Value>> {
        let get = |path: &str| {
            // The client blocks, which it must not do in the runtime that asks.
            let ask = || client::request(&self.trust.url, &self.trust.ca_pem, "GET", path, None, None).ok();
            let answer = thread::scope(|scope| scope.spawn(ask).join().ok().flatten())?;
            (answer.status == 200).then(|| answer.json())
        };
        let discovered = get(DISCOVERY)?;
        let path = discovered["jwks_uri"].as_str()?.strip_prefix(&self.trust.url)?.to_owned();
        get(&path)?["keys"].as_array().cloned()
    }
}

fn github(claims: &Value, repository_ids: &[String], owner_id: &str, workflow: &str) -> Option<User> {
    let claim = |name: &str| claims[name].as_str();
    let (repository, id, ref_) = (claim("repository")?, claim("repository_id")?, claim("ref")?);
    let gets_in = repository_ids.iter().any(|known| known == id)
        && claim("repository_owner_id")? == owner_id
        && ref_ == "refs/heads/main"
        && ["push", "schedule", "workflow_dispatch"].contains(&claim("event_name")?)
        && claim("job_workflow_ref")? == format!("{repository}/.github/workflows/{workflow}@{ref_}");
    let extra = [("run-id", claim("run_id")?), ("actor", claim("actor")?), ("ref", ref_)];
    gets_in.then(|| user(&format!("github:{repository}@{id}:{ref_}"), &format!("github:{id}"), extra))
}

fn github_by_claims(claims: &Value, repository_id: &str) -> Option<User> {
    let claim = |name: &str| claims[name].as_str();
    let gets_in = claim("repository_id")? == repository_id && claim("ref")? == "refs/heads/main";
    gets_in.then_some(User::authenticated(&format!("github:{}", claim("sub")?), vec![format!("{GROUP}:github:{repository_id}")]))
}

fn gitlab(claims: &Value, project_ids: &[String], namespace_id: &str) -> Option<User> {
    let claim = |name: &str| claims[name].as_str();
    let (project, id, ref_path) = (claim("project_path")?, claim("project_id")?, claim("ref_path")?);
    let host = claim("iss")?.replace("https://", "");
    let gets_in = project_ids.iter().any(|known| known == id)
        && claim("namespace_id")? == namespace_id
        && ref_path == "refs/heads/main"
        && claim("ref_protected")? == "true"
        && claim("ci_config_ref_uri")? == format!("{host}/{project}//.gitlab-ci.yml@{ref_path}");
    let extra = [("run-id", claim("job_id")?), ("actor", claim("user_login")?), ("ref", ref_path)];
    gets_in.then(|| user(&format!("gitlab:{project}@{id}:{ref_path}"), &format!("gitlab:{id}"), extra))
}

fn user(name: &str, group: &str, extra: [(&str, &str); 3]) -> User {
    let mut user = User::authenticated(name, vec![GROUP.to_owned(), format!("{GROUP}:{group}")]);
    user.extra = extra.into_iter().map(|(key, value)| (format!("jobpass.dev/{key}"), value.to_owned())).collect();
    user
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The expressions of `deploy/oidc/github.yaml`, in the order of the checks in [`github`].
    const GITHUB: [&str; 5] = [
        "claims.repository_id in [@REPOSITORY_IDS@]",
        "claims.repository_owner_id == @OWNER_ID@",
        "claims.ref == 'refs/heads/main'",
        "claims.event_name in ['push', 'schedule', 'workflow_dispatch']",
        "claims.job_workflow_ref == claims.repository + '/.github/workflows/' + @WORKFLOW@ + '@' + claims.ref",
    ];
    /// The same of `deploy/oidc/gitlab.yaml` and [`gitlab`].
    const GITLAB: [&str; 4] = [
        "claims.project_id in [@PROJECT_IDS@]",
        "claims.namespace_id == @NAMESPACE_ID@",
        "claims.ref_path == 'refs/heads/main' && claims.ref_protected == 'true'",
        "claims.ci_config_ref_uri == claims.iss.replace('https://', '') + '/' + claims.project_path + '//.gitlab-ci.yml@' + claims.ref_path",
    ];

    /// One that is added there, or changed, is to be added here.
    #[test]
    fn rules_and_mappings_are_those_of_the_files() {
        for (file, rules) in [
            (include_str!("../../../deploy/oidc/github.yaml"), &GITHUB[..]),
            (include_str!("../../../deploy/oidc/gitlab.yaml"), &GITLAB[..]),
        ] {
            let text: Vec<_> = file.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace).collect();
            let text = text.join(" ").replace(">- ", "");
            let (validations, mappings) = text.split_once("claimMappings:").expect("mappings");
            assert_eq!(validations.matches("- expression: ").count(), rules.len());
            for rule in rules {
                assert!(validations.contains(&format!("- expression: {rule} message: ")), "{rule}");
            }
            assert!(mappings.contains("\"['jobpass:ci', 'jobpass:ci:"));
            let keys: Vec<_> = mappings.split("- key: jobpass.dev/").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
            assert_eq!(keys, ["run-id", "actor", "ref"]);
        }
        assert!(
            user("a", "b", [("run-id", "1"), ("actor", "c"), ("ref", "d")]).info()["extra"]
                == json!({
                    "jobpass.dev/run-id": ["1"], "jobpass.dev/actor": ["c"], "jobpass.dev/ref": ["d"],
                })
        );
    }
}
