//! GitHub's issuer, and the endpoint at which a job with `id-token: write` asks for a token.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use jobpass_sandbox::client::{self, Response};
use jobpass_sandbox::jwt;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::issuer::{Issuer, Keys, changed, now};
use crate::server::{Asked, Reply};

/// Seconds; it cannot be set: <https://github.com/actions/toolkit/issues/2048>.
const LIFETIME: i64 = 300;
/// A token is good from ten minutes before it was made, by the example of
/// <https://docs.github.com/en/actions/reference/security/oidc>.
const NOT_BEFORE: i64 = 600;
/// The form of the endpoint's path; the URL that a job gets has a query of its own.
const ENDPOINT: &str = "/78//idtoken/3f0c1f3e/5a0c";
const QUERY: &str = "api-version=2.0";

/// A job, as the endpoint knows it.
struct Known {
    changes: Value,
    answer: Answer,
    asked: usize,
    issued: Vec<String>,
}

struct Endpoint {
    keys: Arc<Keys>,
    issuer: Mutex<String>,
    /// By what a job shows to get a token.
    jobs: Mutex<HashMap<String, Known>>,
}

/// A GitHub that signs the tokens of jobs.
pub struct GitHub {
    issuer: Issuer,
    endpoint: Arc<Endpoint>,
}

/// A job with `id-token: write`.
#[derive(Clone)]
pub struct Job {
    endpoint: Arc<Endpoint>,
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub request_url: String,
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub request_token: String,
}

impl GitHub {
    /// Starts it on a free port.
    #[must_use]
    pub fn start() -> Self {
        // Where GitHub has its keys: https://token.actions.githubusercontent.com/.well-known/openid-configuration
        let keys = Arc::new(Keys::new("/.well-known/jwks"));
        let endpoint = Arc::new(Endpoint { keys: keys.clone(), issuer: Mutex::default(), jobs: Mutex::default() });
        let asked = endpoint.clone();
        let issuer = Issuer::start(keys, move |request| asked.answer(request));
        *endpoint.issuer.lock().expect("sound") = issuer.url();
        Self { issuer, endpoint }
    }

    /// A job whose tokens say this beside, or instead of, what they say otherwise; null takes a claim away.
    #[must_use]
    pub fn job(&self, changes: &Value) -> Job {
        // The runner's own token is a JWT too.
        let request_token = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", jwt::opaque(), jwt::opaque());
        let known = Known { changes: changes.clone(), answer: Answer::Token, asked: 0, issued: Vec::new() };
        self.endpoint.jobs.lock().expect("sound").insert(request_token.clone(), known);
        Job { endpoint: self.endpoint.clone(), request_url: format!("{}{ENDPOINT}?{QUERY}", self.url()), request_token }
    }

    /// Asks the endpoint as a job does that is not jobpass.
    #[must_use]
    pub fn ask(&self, job: &Job, audience: &str) -> Response {
        let audience: String = form_urlencoded::byte_serialize(audience.as_bytes()).collect();
        let path = format!("{ENDPOINT}?{QUERY}&audience={audience}");
        client::request(&self.url(), self.ca_pem(), "GET", &path, Some(&job.request_token), None).expect("the endpoint answers")
    }

    /// The token of a job of repository 74, on its branch main; `changes` are laid over its claims, null takes one away.
    #[must_use]
    pub fn mint(&self, audience: &str, changes: &Value) -> String {
        self.endpoint.mint(audience, changes)
    }
}

impl Deref for GitHub {
    type Target = Issuer;

    fn deref(&self) -> &Issuer {
        &self.issuer
    }
}

impl Job {
    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(self.endpoint.jobs.lock().expect("sound").get_mut(&self.request_token).expect("it was made here"))
    }

    /// How the endpoint answers it from now on.
    pub fn set_answer(&self, answer: Answer) {
        self.known(|known| known.answer = answer);
    }

    /// How often it has asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.known(|known| known.asked)
    }

    /// The tokens that it was given.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.known(|known| known.issued.clone())
    }
}

impl Endpoint {
    /// The claims and their types are those of <https://docs.github.com/en/actions/reference/security/oidc>: all but the times are strings.
    fn mint(&self, audience: &str, changes: &Value) -> String {
        let now = now();
        let claims = json!({
            "jti": jwt::uuid(), "aud": audience, "iss": *self.issuer.lock().expect("sound"),
            "iat": now, "nbf": now - NOT_BEFORE, "exp": now + LIFETIME,
            "repository": "acme/app", "repository_id": "74", "repository_owner": "acme", "repository_owner_id": "65",
            "repository_visibility": "private", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
            "sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c", "run_id": "9876543210", "run_number": "10", "run_attempt": "1",
            "actor": "octocat", "actor_id": "12", "workflow": "deploy", "event_name": "push", "head_ref": "", "base_ref": "",
            "runner_environment": "github-hosted", "workflow_sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
        });
        let mut claims = changed(claims, changes);
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let (repository, ref_) = (text("repository"), text("ref"));
        let workflow = format!("{repository}/.github/workflows/deploy.yml@{ref_}");
        let context = match (claims["environment"].as_str(), claims["event_name"].as_str()) {
            (Some(environment), _) => format!("environment:{environment}"),
            (None, Some("pull_request")) => "pull_request".to_owned(),
            (None, _) => format!("ref:{ref_}"),
        };
        // What follows from the others, unless it was given.
        for (claim, value) in
            [("sub", format!("repo:{repository}:{context}")), ("workflow_ref", workflow.clone()), ("job_workflow_ref", workflow)]
        {
            if changes.get(claim).is_none() {
                claims[claim] = value.into();
            }
        }
        self.keys.sign(&claims)
    }

    fn answer(&self, asked: &Asked) -> Option<Reply> {
        if asked.path != ENDPOINT || asked.method != "GET" {
            return None;
        }
        let mut jobs = self.jobs.lock().expect("sound");
        let known = asked.bearer.as_deref().and_then(|token| jobs.get_mut(token)).filter(|_| asked.parameter("api-version").is_some());
        let Some(known) = known else {
            return Some(Reply::json(401, &json!({"message": "Unauthorized"})));
        };
        known.asked += 1;
        // Without one it is the owner's URL, which no cluster should trust.
        let audience = asked.parameter("audience").unwrap_or_else(|| "https://github.com/acme".to_owned());
        let mut token = || {
            let token = self.mint(&audience, &known.changes);
            known.issued.push(token.clone());
            token
        };
        let value = |value: String| Reply::json(200, &json!({"count": value.len(), "value": value}));
        Some(known.answer.reply(|| value(token()), value))
    }
}

#[cfg(test)]
mod tests {
    use jobpass_sandbox::{Gate, jwt::claims};

    use super::*;

    #[test]
    fn a_job_gets_a_token_for_the_audience_that_it_asks_for() {
        let github = GitHub::start();
        let job = github.job(&json!({"run_id": "7", "environment": "production"}));
        let answer = github.ask(&job, "https://api.example:6443/?a=b&c");
        assert_eq!(answer.status, 200);
        let claims = claims(answer.json()["value"].as_str().expect("a token")).expect("a JWT");
        assert_eq!(claims["aud"], "https://api.example:6443/?a=b&c");
        assert_eq!((&claims["run_id"], &claims["sub"]), (&json!("7"), &json!("repo:acme/app:environment:production")));
        assert_eq!(job.asked(), 1);
    }

    #[test]
    fn nobody_else_gets_one() {
        let github = GitHub::start();
        let path = format!("{ENDPOINT}?{QUERY}");
        for token in [None, Some("x")] {
            let answer = client::request(&github.url(), github.ca_pem(), "GET", &path, token, None).expect("it answers");
            assert_eq!(answer.status, 401);
        }
    }

    #[test]
    fn each_job_is_answered_as_it_is_told() {
        let github = GitHub::start();
        let (job, other) = (github.job(&json!({})), github.job(&json!({})));
        job.set_answer(Answer::Status(403, "{}".to_owned()));
        assert_eq!((github.ask(&job, "a").status, github.ask(&other, "a").status), (403, 200));
        job.set_answer(Answer::Redirect("https://elsewhere.example/".to_owned()));
        assert_eq!(github.ask(&job, "a").header("location"), Some("https://elsewhere.example/"));
        job.set_answer(Answer::Huge);
        assert!(github.ask(&job, "a").body.len() > 10 << 20);
        job.set_answer(Answer::Value("a\nb".to_owned()));
        assert_eq!(github.ask(&job, "a").json()["value"], "a\nb");
    }

    #[test]
    fn an_answer_that_is_held_comes_when_the_gate_opens() {
        let github = GitHub::start();
        let job = github.job(&json!({}));
        let gate = Gate::new();
        job.set_answer(Answer::Held(gate.clone()));
        let status = std::thread::scope(|scope| {
            let asking = scope.spawn(|| github.ask(&job, "a").status);
            assert!(gate.wait(std::time::Duration::from_mins(1)));
            gate.release();
            asking.join().expect("it does not panic")
        });
        assert_eq!(status, 200);
    }
}
