//! GitLab's issuer: the tokens that a job gets by `id_tokens:`.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::issuer::{Issuer, Keys, changed, now};

/// The lifetime where the job has no timeout; else it is the job's timeout (`lib/gitlab/ci/jwt.rb` in gitlab-org/gitlab).
const LIFETIME: i64 = 300;

/// A GitLab that signs the tokens of jobs.
pub struct GitLab {
    issuer: Issuer,
}

impl GitLab {
    /// Starts it on a free port.
    #[must_use]
    pub fn start() -> Self {
        // Where GitLab has its keys: https://docs.gitlab.com/ci/secrets/id_token_authentication/
        let keys = Arc::new(Keys::new("/oauth/discovery/keys"));
        Self { issuer: Issuer::start(keys, |_| None) }
    }

    /// The token of a job of project 42, on its protected branch main; `changes` are laid over its claims, null takes one away.
    ///
    /// The claims and their types are those of <https://docs.gitlab.com/ci/secrets/id_token_authentication/>: ids are strings, but for
    /// the runner's.
    #[must_use]
    pub fn mint(&self, audience: &str, changes: &Value) -> String {
        let now = now();
        let host = self.url().trim_start_matches("https://").to_owned();
        let claims = json!({
            "namespace_id": "72", "namespace_path": "acme", "project_id": "42", "project_path": "acme/app", "project_visibility": "private",
            "user_id": "1", "user_login": "tanuki", "user_email": "tanuki@example.com", "user_access_level": "developer",
            "pipeline_id": "574", "pipeline_source": "push", "job_id": "4711",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "runner_id": 1, "runner_environment": "self-hosted", "sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
            "jti": jobpass_sandbox::jwt::uuid(), "iat": now, "nbf": now - 5, "exp": now + LIFETIME, "iss": self.url(), "aud": audience,
        });
        let mut claims = changed(claims, changes);
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let (project, ref_path, kind, name) = (text("project_path"), text("ref_path"), text("ref_type"), text("ref"));
        // What follows from the others, unless it was given.
        for (claim, value) in [
            ("sub", format!("project_path:{project}:ref_type:{kind}:ref:{name}")),
            ("ci_config_ref_uri", format!("{host}/{project}//.gitlab-ci.yml@{ref_path}")),
            ("ci_config_sha", text("sha")),
        ] {
            if changes.get(claim).is_none() {
                claims[claim] = value.into();
            }
        }
        self.sign(&claims)
    }
}

impl Deref for GitLab {
    type Target = Issuer;

    fn deref(&self) -> &Issuer {
        &self.issuer
    }
}

#[cfg(test)]
mod tests {
    use jobpass_sandbox::jwt::claims;

    use super::*;

    #[test]
    fn a_token_has_the_claims_of_a_job() {
        let gitlab = GitLab::start();
        let claims = claims(&gitlab.mint("https://api.example", &json!({}))).expect("a JWT");
        assert_eq!(claims["iss"], gitlab.url().as_str());
        assert_eq!(claims["sub"], "project_path:acme/app:ref_type:branch:ref:main");
        assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(end, begin)| end - begin), Some(300));
        assert!(claims["ci_config_ref_uri"].as_str().is_some_and(|uri| uri.ends_with("/acme/app//.gitlab-ci.yml@refs/heads/main")));
    }

    #[test]
    fn a_change_goes_into_what_follows_from_it() {
        let gitlab = GitLab::start();
        let changes = json!({"project_path": "acme/other", "ref_protected": null, "sub": "x"});
        let claims = claims(&gitlab.mint("a", &changes)).expect("a JWT");
        assert_eq!((&claims["sub"], &claims["ref_protected"]), (&json!("x"), &Value::Null));
        assert!(claims["ci_config_ref_uri"].as_str().is_some_and(|uri| uri.contains("acme/other//")));
    }
}
