//! What an API server asks of an issuer: the discovery document and the keys; and the keys themselves, which can be changed.

use std::sync::{Arc, Mutex};

use jobpass_sandbox::{Gate, jwt::Signer};
use serde_json::{Value, json};

use crate::server::{Asked, Reply, Server};

/// Where every issuer has it: <https://openid.net/specs/openid-connect-discovery-1_0.html>, 4.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The keys of an issuer and whether it answers.
pub(crate) struct Keys {
    /// The last one signs, all of them are served.
    signers: Mutex<Vec<Signer>>,
    is_down: Mutex<bool>,
    /// The paths of the key set: GitHub's and GitLab's differ.
    path: &'static str,
}

impl Keys {
    pub(crate) fn new(path: &'static str) -> Self {
        Self { signers: Mutex::new(vec![Signer::new()]), is_down: Mutex::new(false), path }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.signers.lock().expect("sound").last().expect("one at least").sign(claims)
    }

    /// The keys that are served.
    pub(crate) fn jwks(&self) -> Vec<Value> {
        self.signers.lock().expect("sound").iter().map(Signer::jwk).collect()
    }

    pub(crate) fn is_down(&self) -> bool {
        *self.is_down.lock().expect("sound")
    }

    /// The answer of the issuer itself, if that is what was asked.
    fn answer(&self, issuer: &str, asked: &Asked) -> Option<Reply> {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", DISCOVERY) => Some(Reply::json(
                200,
                &json!({
                    "issuer": issuer, "jwks_uri": format!("{issuer}{}", self.path), "subject_types_supported": ["public"],
                    "response_types_supported": ["id_token"], "id_token_signing_alg_values_supported": ["ES256"], "scopes_supported": ["openid"],
                }),
            )),
            ("GET", path) if path == self.path => Some(Reply::json(200, &json!({"keys": self.jwks()}))),
            _ => None,
        }
    }
}

/// An issuer that runs: what GitHub's and GitLab's have in common.
pub struct Issuer {
    pub(crate) keys: Arc<Keys>,
    server: Server,
}

impl Issuer {
    /// `more` answers what is not asked of every issuer.
    pub(crate) fn start(keys: Arc<Keys>, more: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let known = keys.clone();
        let url = Arc::new(Mutex::new(String::new()));
        let own = url.clone();
        let server = Server::start(Arc::new(move |asked| {
            if known.is_down() {
                return Reply::broken();
            }
            let issuer = own.lock().expect("sound").clone();
            let reply = known.answer(&issuer, asked).or_else(|| more(asked));
            reply.unwrap_or_else(|| Reply::new(404, "text/plain", "Not Found"))
        }));
        *url.lock().expect("sound") = server.url();
        Self { keys, server }
    }

    /// The `iss` of its tokens: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The authority of its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.server.ca_pem
    }

    /// Signs exactly these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.keys.sign(claims)
    }

    /// Signs with a new key from now on; the ones before are still served, so that tokens which are under way stay good.
    pub fn rotate(&self) {
        self.keys.signers.lock().expect("sound").push(Signer::new());
    }

    /// Serves the newest key only.
    pub fn forget_old_keys(&self) {
        let mut signers = self.keys.signers.lock().expect("sound");
        let old = signers.len() - 1;
        signers.drain(..old);
    }

    /// Breaks every connection off from now on, or answers again.
    pub fn set_down(&self, is_down: bool) {
        *self.keys.is_down.lock().expect("sound") = is_down;
    }

    /// Lets requests wait at this gate before they are answered.
    pub fn hold(&self, gate: &Gate) {
        self.server.hold(gate);
    }

    /// What was asked so far, each request as its method and path.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.server.requests()
    }
}

/// The claims with those of `changes` laid over them; null takes one away.
pub(crate) fn changed(mut claims: Value, changes: &Value) -> Value {
    let all = claims.as_object_mut().expect("claims are an object");
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// The server's time, in seconds since the epoch.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use jobpass_sandbox::client;

    use super::*;
    use crate::GitLab;

    fn keys(issuer: &Issuer) -> Vec<Value> {
        let get = |path: &str| client::request(&issuer.url(), issuer.ca_pem(), "GET", path, None, None).expect("it answers").json();
        let set = get(DISCOVERY)["jwks_uri"].as_str().expect("a URL").to_owned();
        get(set.strip_prefix(&issuer.url()).expect("its own"))["keys"].as_array().cloned().expect("a list")
    }

    #[test]
    fn keys_come_and_go() {
        let gitlab = GitLab::start();
        let old = keys(&gitlab);
        gitlab.rotate();
        let both = keys(&gitlab);
        assert_eq!((old.len(), both.len()), (1, 2));
        gitlab.forget_old_keys();
        assert_eq!(keys(&gitlab), both[1..]);
    }

    #[test]
    fn an_issuer_that_is_down_answers_nothing() {
        let gitlab = GitLab::start();
        gitlab.set_down(true);
        assert!(client::request(&gitlab.url(), gitlab.ca_pem(), "GET", DISCOVERY, None, None).is_err());
        gitlab.set_down(false);
        assert_eq!(keys(&gitlab).len(), 1);
    }

    #[test]
    fn null_takes_a_claim_away() {
        assert_eq!(changed(json!({"a": 1, "b": 2}), &json!({"a": null, "c": 3})), json!({"b": 2, "c": 3}));
    }
}
