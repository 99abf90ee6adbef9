//! A token endpoint that exchanges a job's token for one of its own: RFC 8693, and what that refuses.

use std::sync::{Arc, Mutex};

use jobpass_sandbox::jwt;
use serde_json::{Value, json};

use crate::Issuer;
use crate::answer::Answer;
use crate::issuer::{Keys, now};
use crate::server::{Asked, Reply, Server};

const PATH: &str = "/realms/acme/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// In seconds, as the answer says it.
const LIFETIME: i64 = 300;

type Mint = Box<dyn Fn(&Value) -> String + Send + Sync>;

struct Endpoint {
    /// Of the issuer whose tokens it takes.
    keys: Arc<Keys>,
    issuer: String,
    /// For which target it gives tokens.
    target: String,
    /// Makes the token for what a job's own says.
    mint: Mint,
    url: Mutex<String>,
    answer: Mutex<Answer>,
    /// The forms that came.
    asked: Mutex<Vec<Vec<(String, String)>>>,
}

/// A token endpoint that runs.
pub struct Exchange {
    endpoint: Arc<Endpoint>,
    server: Server,
}

/// Why nothing is given: the status, the error, and the description.
type Refused = (u16, &'static str, &'static str);

impl Exchange {
    /// The only client that may exchange. It has no secret.
    pub const CLIENT: &'static str = "ci";
    /// The scopes that it knows.
    pub const SCOPES: [&'static str; 2] = ["openid", "kubernetes"];

    /// An endpoint that takes tokens of this issuer and gives those of `mint` for this target.
    #[must_use]
    pub fn start(issuer: &Issuer, target: &str, mint: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        let endpoint = Arc::new(Endpoint {
            keys: issuer.keys.clone(),
            issuer: issuer.url(),
            target: target.to_owned(),
            mint: Box::new(mint),
            url: Mutex::default(),
            answer: Mutex::new(Answer::Token),
            asked: Mutex::default(),
        });
        let asked = endpoint.clone();
        let server = Server::start(Arc::new(move |request| asked.reply(request)));
        *endpoint.url.lock().expect("sound") = server.url();
        Self { endpoint, server }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{PATH}", self.server.url())
    }

    /// The authority of its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.server.ca_pem
    }

    /// How it answers from now on.
    pub fn set_answer(&self, answer: Answer) {
        *self.endpoint.answer.lock().expect("sound") = answer;
    }

    /// The parameters of each request so far, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Vec<(String, String)>> {
        self.endpoint.asked.lock().expect("sound").clone()
    }

    /// How many requests came, of whatever kind.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.server.requests()
    }
}

impl Endpoint {
    fn reply(&self, asked: &Asked) -> Reply {
        if asked.path != PATH {
            return Reply::new(404, "text/plain", "Not Found");
        }
        if asked.method != "POST" {
            return Reply::new(405, "text/plain", "Method Not Allowed");
        }
        let form: Vec<_> = form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        self.asked.lock().expect("sound").push(form.clone());
        let claims = match self.claims(asked, &form) {
            Ok(claims) => claims,
            Err((status, error, description)) => {
                return uncached(Reply::json(status, &json!({"error": error, "error_description": description})));
            }
        };
        let grant = |token: String| {
            let kind = format!("{TYPE}access_token");
            uncached(Reply::json(
                200,
                &json!({"access_token": token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": LIFETIME}),
            ))
        };
        let answer = self.answer.lock().expect("sound").clone();
        answer.reply(|| grant((self.mint)(&claims)), grant)
    }

    /// The claims of the token that is exchanged, if the request is good: <https://www.rfc-editor.org/rfc/rfc8693#section-2.1>. The
    /// errors are those of 2.2.2 there, and of <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>.
    fn claims(&self, asked: &Asked, form: &[(String, String)]) -> Result<Value, Refused> {
        let invalid = |description| (400, "invalid_request", description);
        if asked.kind.split(';').next() != Some("application/x-www-form-urlencoded") {
            return Err(invalid("the body is no form"));
        }
        let all = |name: &str| form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        // Only these two may be there more than once.
        if form.iter().any(|(name, _)| all(name).len() > 1 && name != "audience" && name != "resource") {
            return Err(invalid("a parameter is there twice"));
        }
        let one = |name: &str| all(name).first().copied().filter(|value| !value.is_empty());
        match one("grant_type") {
            None => return Err(invalid("grant_type is missing")),
            Some(GRANT) => {}
            Some(_) => return Err((400, "unsupported_grant_type", "only tokens are exchanged here")),
        }
        if one("client_id") != Some(Exchange::CLIENT) {
            return Err((401, "invalid_client", "nobody knows this client"));
        }
        let (Some(token), Some(kind)) = (one("subject_token"), one("subject_token_type")) else {
            return Err(invalid("the subject is missing"));
        };
        if one("actor_token").is_some() || one("actor_token_type").is_some() {
            return Err(invalid("nobody acts for another one here"));
        }
        let known = |kind: &str, types: &[&str]| kind.strip_prefix(TYPE).is_some_and(|kind| types.contains(&kind));
        if !known(kind, &["jwt", "id_token"]) {
            return Err(invalid("no token of this type is taken"));
        }
        if !one("requested_token_type").is_none_or(|kind| known(kind, &["access_token", "jwt"])) {
            return Err(invalid("no token of this type is given"));
        }
        if !one("scope").is_none_or(|scope| scope.split(' ').all(|scope| Exchange::SCOPES.contains(&scope))) {
            return Err((400, "invalid_scope", "nobody knows this scope"));
        }
        if all("audience").into_iter().chain(all("resource")).any(|target| target != self.target) {
            return Err((400, "invalid_target", "no token is given for this target"));
        }
        self.verified(token).ok_or(invalid("the subject is not accepted"))
    }

    fn verified(&self, token: &str) -> Option<Value> {
        let claims = self.keys.jwks().iter().find_map(|key| jwt::verified_by(key, token))?;
        let url = self.url.lock().expect("sound").clone();
        let is_for_us = claims["aud"].as_str().is_some_and(|audience| audience == url || audience == format!("{url}{PATH}"));
        let is_in_time = claims["exp"].as_i64().is_some_and(|end| end > now());
        (claims["iss"] == self.issuer && is_for_us && is_in_time).then_some(claims)
    }
}

/// As it must be for whatever holds a token.
fn uncached(mut reply: Reply) -> Reply {
    reply.headers.push(("cache-control", "no-store".to_owned()));
    reply
}

#[cfg(test)]
mod tests {
    use jobpass_sandbox::client::{self, Response};

    use super::*;
    use crate::GitHub;

    const TARGET: &str = "https://api.example:6443";

    fn start() -> (GitHub, Exchange) {
        let github = GitHub::start();
        let exchange = Exchange::start(&github, TARGET, |claims| format!("token of {}", claims["run_id"]));
        (github, exchange)
    }

    fn post(exchange: &Exchange, form: &[(&str, &str)]) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        client::send(&exchange.server.url(), exchange.ca_pem(), "POST", PATH, &[], Some(&body)).expect("it answers")
    }

    fn good(token: &str) -> Vec<(&str, &str)> {
        vec![
            ("grant_type", GRANT),
            ("client_id", Exchange::CLIENT),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("audience", TARGET),
            ("scope", "openid kubernetes"),
        ]
    }

    #[test]
    fn a_token_is_given_for_one_that_is_meant_for_the_endpoint() {
        let (github, exchange) = start();
        for audience in [exchange.url(), exchange.server.url()] {
            let token = github.mint(&audience, &json!({"run_id": "7"}));
            let answer = post(&exchange, &good(&token));
            assert_eq!((answer.status, &answer.json()["access_token"]), (200, &json!("token of \"7\"")));
            assert_eq!((answer.header("cache-control"), &answer.json()["token_type"]), (Some("no-store"), &json!("Bearer")));
        }
        assert_eq!(exchange.asked().len(), 2);
    }

    #[test]
    fn the_rest_is_refused_by_the_standards_word_for_it() {
        let (github, exchange) = start();
        let token = github.mint(&exchange.url(), &json!({}));
        let with = |without: &str, more: Option<(&'static str, &'static str)>| {
            let mut form: Vec<_> = good(&token).into_iter().filter(|(known, _)| *known != without).collect();
            form.extend(more);
            let answer = post(&exchange, &form);
            (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
        };
        for name in ["grant_type", "subject_token", "subject_token_type"] {
            assert_eq!(with(name, None), (400, "invalid_request".to_owned()), "no {name}");
        }
        assert_eq!(with("client_id", None), (401, "invalid_client".to_owned()));
        for (name, value, status, error) in [
            ("grant_type", "password", 400, "unsupported_grant_type"),
            ("client_id", "other", 401, "invalid_client"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2", 400, "invalid_request"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2", 400, "invalid_request"),
            ("actor_token_type", "urn:ietf:params:oauth:token-type:jwt", 400, "invalid_request"),
            ("audience", "https://other.example", 400, "invalid_target"),
            ("resource", "https://other.example", 400, "invalid_target"),
            ("scope", "root", 400, "invalid_scope"),
        ] {
            assert_eq!(with(name, Some((name, value))), (status, error.to_owned()), "{name}={value}");
        }
        assert_eq!(with("", Some(("scope", "openid"))), (400, "invalid_request".to_owned()), "twice");
        let other = GitHub::start();
        for token in [
            github.mint("https://other.example", &json!({})),
            github.mint(&exchange.url(), &json!({"exp": now() - 1})),
            other.mint(&exchange.url(), &json!({"iss": github.url()})),
        ] {
            assert_eq!(post(&exchange, &good(&token)).json()["error"], "invalid_request");
        }
        let answer = client::request(&exchange.server.url(), exchange.ca_pem(), "POST", PATH, None, Some(&json!({})));
        assert_eq!(answer.expect("it answers").json()["error"], "invalid_request", "no form");
    }
}
