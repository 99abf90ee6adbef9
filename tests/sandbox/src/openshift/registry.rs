//! An image registry as OpenShift's own: it knows nobody, and asks the API server whom a token is of.

use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::api::Call;
use crate::client;
use crate::listen::Listener;
use crate::server::{Shared, Site};
use crate::status::Answer;
use crate::tls::Authority;

/// A registry in front of an API server, be it the sandbox or a real one.
pub struct Registry {
    authority: Authority,
    listener: Listener,
}

impl Registry {
    /// Starts one on a free port of loopback.
    #[must_use]
    pub fn start(api_server: &str, ca_pem: &str) -> Self {
        let authority = Authority::new();
        let (url, ca) = (api_server.to_owned(), ca_pem.to_owned());
        let answer = move |_: &Shared, call: &Call, _: usize| answer(call, &url, &ca);
        let listener = Listener::start(Site::of(&Arc::new(Shared::new()), Some("registry"), answer), &authority);
        Self { authority, listener }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.listener.address.to_string()
    }

    /// The certificate of its authority.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem().to_owned()
    }
}

fn answer(call: &Call, url: &str, ca: &str) -> Answer {
    let header = call.authorization.as_deref();
    let token = header.and_then(|header| header.strip_prefix("Bearer ").map(str::to_owned).or_else(|| password(header)));
    match (call.method.as_str(), call.path.as_str(), token) {
        ("GET", "/openshift/token", None) => given("anonymous"),
        ("GET", "/openshift/token", Some(token)) if token.is_empty() => {
            Answer::json(401, json!({"details": "unable to validate token: Forbidden"}))
        }
        ("GET", "/openshift/token", Some(token)) => {
            if is_taken(&token, url, ca) {
                given(&token)
            } else {
                Answer::empty(401)
            }
        }
        (_, "/openshift/token", _) => Answer::empty(405),
        ("GET", "/v2/", Some(token)) if is_taken(&token, url, ca) => Answer::json(200, json!({})),
        ("GET", "/v2/", _) => {
            let host = call.host.as_deref().unwrap_or_default();
            Answer::empty(401).header("WWW-Authenticate", &format!("Bearer realm=\"https://{host}/openshift/token\""))
        }
        _ => Answer::empty(404),
    }
}

fn given(token: &str) -> Answer {
    Answer::json(200, json!({"access_token": token, "token": token}))
}

/// The password of a header; the user's name does not count.
fn password(header: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Asks the API server, on a thread that has no runtime yet.
fn is_taken(token: &str, url: &str, ca: &str) -> bool {
    thread::scope(|scope| scope.spawn(|| client::whoami(url, ca, token)).join())
        .expect("the question ends in peace")
        .is_ok_and(|who| who.status == 201)
}
