//! The login itself, as `oc login` does it: the OAuth server gives a code for the password, and a token for the code.
//!
//! Two requests after the look at where that server is: it takes the password unasked. No redirect is followed.
//! <https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/authentication_and_authorization/configuring-internal-oauth>

use std::{sync::Mutex, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::digest;
use serde::Deserialize;

use super::{
    super::issuer::{Asking, Issued, Issuer, Issuing, Returning, When},
    token,
};
use crate::{
    failure::{Code, Failure},
    name::random_hex,
    net::{
        self, Target, Trust,
        fetch::{Fetch, Reply, split},
    },
    secret::Secret,
};

/// The client of OpenShift's that logs in by a password. It has no secret.
const CLIENT: &str = "openshift-challenging-client";

const DISCOVERY: &str = "/.well-known/oauth-authorization-server";

/// What a form's value may have as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// In bytes: the longest part of a refusal that is repeated.
const LONGEST: usize = 200;

/// A user who logs in.
pub(super) struct Login {
    user: String,
    password: Secret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The tokens that are not revoked yet, and how long each lives.
    made: Vec<(Secret, Option<Duration>)>,
    /// Why the password was refused. It is not tried again: some providers lock a user after a few wrong ones.
    refused: Option<Failure>,
}

/// Why there is no token.
enum Refusal {
    /// The user and password are not taken.
    Wrong(Failure),
    /// The code is not known any more: a redemption was carried out, and its answer was lost.
    Lost(Failure),
    /// Anything else.
    Other(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Where the OAuth server is: <https://www.rfc-editor.org/rfc/rfc8414>.
#[derive(Deserialize)]
struct Metadata {
    authorization_endpoint: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    /// In seconds; 0 is for ever.
    #[serde(default)]
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// The OAuth server and its two paths.
struct Server {
    target: Target,
    authorize: String,
    token: String,
}

impl Login {
    pub(super) fn of(user: String, password: Secret) -> Self {
        Self { user, password, state: Mutex::default() }
    }

    fn what(&self) -> String {
        format!("cannot log in to OpenShift as `{}`", self.user)
    }

    fn failed(&self, cause: impl std::fmt::Display) -> Failure {
        Failure::new(Code::IdentityLogin, self.what()).cause(cause)
    }

    async fn log_in(&self, asking: &Asking<'_>) -> Result<Issued, Refusal> {
        if matches!(asking.api_server.trust, Trust::Everybody) {
            let failure = self.failed("a password is sent to nobody whose certificate is not checked");
            return Err(failure.hint("give the certificate authority by `--certificate-authority`").into());
        }
        let server = self.discover(asking).await?;
        let verifier = random_hex() + &random_hex();
        let code = self.code(&server, &verifier, asking).await?;
        self.redeem(&server, &code, &verifier, asking).await
    }

    /// Asks the API server where the OAuth server is.
    async fn discover(&self, asking: &Asking<'_>) -> Result<Server, Failure> {
        let target = Target { what: self.what(), ..asking.api_server.clone() };
        let fetch = Fetch { target: &target, method: Method::GET, path: DISCOVERY, headers: marked(), body: None };
        let reply = fetch.send(asking.limit, |reply| !reply.is_passing()).await?;
        if matches!(reply.status, 401 | 403 | 404) {
            return Err(self.failed(format!("{}: this cluster has no OAuth server", reply.brief(target.noun))).hint(
                "it may be no OpenShift (Kubernetes and MicroShift have none), or trust an OIDC provider of its own in its place: \
                 then take a service account's token, or `--identity oidc` or `exchange`",
            ));
        }
        let metadata = Some(&reply).filter(|reply| reply.is_success());
        let metadata: Option<Metadata> = metadata.and_then(|reply| serde_json::from_slice(&reply.body).ok());
        let Some(metadata) = metadata else {
            return Err(self.failed(format!("{} to the question where its OAuth server is", reply.brief(target.noun))));
        };
        // Where the password goes is not chosen by whoever may answer without TLS.
        let at = |url: &str| split(url, "the address of the OAuth server").map_err(|failure| self.failed(failure.brief()));
        let (host, authorize) = at(&metadata.authorization_endpoint)?;
        let (other, token) = at(&metadata.token_endpoint)?;
        if host != other {
            return Err(self.failed("the API server names two hosts for its OAuth server"));
        }
        let target = Target {
            what: self.what(),
            noun: "OpenShift's OAuth server",
            // The OAuth server stands behind the cluster's ingress, whose certificate is often a public one or has an authority of its own.
            trust: match &asking.api_server.trust {
                Trust::Authority(pem) | Trust::SystemAnd(pem) => Trust::SystemAnd(pem.clone()),
                Trust::System | Trust::Everybody => Trust::System,
            },
            authority: format!("{}, and the system's roots", asking.api_server.authority),
            server_name: None,
            has_own_proxy: false,
            way: asking.ways.to(&host)?,
            server: host,
        };
        Ok(Server { target, authorize, token })
    }

    /// Shows the password, and gets a code.
    async fn code(&self, server: &Server, verifier: &str, asking: &Asking<'_>) -> Result<Secret, Refusal> {
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let and = if server.authorize.contains('?') { '&' } else { '?' };
        let path =
            format!("{}{and}client_id={CLIENT}&response_type=code&code_challenge={challenge}&code_challenge_method=S256", server.authorize);
        let mut headers = marked();
        headers.insert(header::AUTHORIZATION, self.basic(&self.user, &self.password)?);
        let fetch = Fetch { target: &server.target, method: Method::GET, path: &path, headers, body: None };
        let reply = fetch.send(asking.limit, |reply| !is_passing(reply)).await?;
        let brief = reply.brief(server.target.noun);
        match reply.status {
            302 | 303 => self.code_in(&reply, &server.target),
            401 => {
                let asks = reply.headers.contains_key(header::WWW_AUTHENTICATE);
                let failure = if asks {
                    self.failed(format!("{brief}: user or password is wrong"))
                } else {
                    self.failed(format!(
                        "{brief}: user or password is wrong, or its identity provider takes no password but from a browser"
                    ))
                };
                Err(Refusal::Wrong(failure.hint("it is not tried again; check both with `oc login`, or take a service account's token")))
            }
            // The user's object was deleted, and the identity was not.
            500 if is_about_user(&reply) => Err(Refusal::Wrong(self.failed(format!("{brief}: this user does not exist any more")))),
            _ => Err(self.failed(brief + &said(&reply)).into()),
        }
    }

    /// The code in the address that the answer leads to.
    fn code_in(&self, reply: &Reply, target: &Target) -> Result<Secret, Refusal> {
        let location = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let place = split(location, "where the OAuth server leads to").ok().map(|(host, _)| host);
        if place.is_some_and(|place| place != target.server) {
            return Err(self.failed(format!("{} leads to another server, where jobpass does not follow", target.noun)).into());
        }
        let value = |name: &str| {
            let query = location.split_once('?')?.1;
            let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
            percent_decode_str(&value.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
        };
        if let Some(error) = value("error") {
            let words = value("error_description").map(|words| format!(": {words}")).unwrap_or_default();
            return Err(self.failed(format!("{} refuses: {}", target.noun, bounded(&(error + &words)))).into());
        }
        match value("code").filter(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_graphic())) {
            Some(code) => Ok(Secret::new(code)),
            None => Err(self
                .failed(format!("{} gives no code for the password: it leads to a page for browsers", target.noun))
                .hint("its identity provider may have no login by password: take a service account's token")
                .into()),
        }
    }

    /// Exchanges the code for a token.
    async fn redeem(&self, server: &Server, code: &Secret, verifier: &str, asking: &Asking<'_>) -> Result<Issued, Refusal> {
        let encoded = utf8_percent_encode(code.expose(), FORM).to_string();
        let body = Secret::of_parts(&["grant_type=authorization_code&code=", &encoded, "&code_verifier=", verifier]);
        let mut headers = marked();
        headers.insert(header::AUTHORIZATION, self.basic(CLIENT, &Secret::new(String::new()))?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let fetch = Fetch { target: &server.target, method: Method::POST, path: &server.token, headers, body: Some(body) };
        let reply = fetch.send(asking.limit, |reply| !is_passing(reply)).await?;
        let brief = reply.brief(server.target.noun);
        if !reply.is_success() {
            let failure = self.failed(brief + &said(&reply));
            let is_lost = refused(&reply).is_some_and(|refused| matches!(refused.error.as_str(), "unauthorized_client" | "invalid_grant"));
            return Err(if is_lost { Refusal::Lost(failure) } else { Refusal::Other(failure) });
        }
        let granted = serde_json::from_slice::<Granted>(&reply.body).ok();
        let is_token = |token: &Secret| !token.is_blank() && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        let Some(granted) = granted.filter(|granted| is_token(&granted.access_token)) else {
            return Err(self.failed(format!("{brief}, but with no token")).into());
        };
        let lifetime = Some(granted.expires_in).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Issued { token: granted.access_token, lifetime })
    }

    fn basic(&self, user: &str, password: &Secret) -> Result<HeaderValue, Failure> {
        let pair = Secret::of_parts(&[user, ":", password.expose()]);
        net::header("Basic", &Secret::new(STANDARD.encode(pair.expose()))).ok_or_else(|| self.failed("the password cannot be sent"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Issuer for Login {
    fn issue<'a>(&'a self, asking: Asking<'a>) -> Issuing<'a> {
        Box::pin(async move {
            if let Some(refused) = self.state().refused.clone() {
                return Err(refused);
            }
            let logged_in = match self.log_in(&asking).await {
                Err(Refusal::Lost(_)) => self.log_in(&asking).await,
                logged_in => logged_in,
            };
            match logged_in {
                Ok(issued) => {
                    self.state().made.push((issued.token.clone(), issued.lifetime));
                    Ok(issued)
                }
                Err(Refusal::Wrong(failure)) => {
                    self.state().refused = Some(failure.clone());
                    Err(failure)
                }
                Err(Refusal::Lost(failure) | Refusal::Other(failure)) => Err(failure),
            }
        })
    }

    fn secrets(&self) -> Vec<Secret> {
        let pair = Secret::of_parts(&[&self.user, ":", self.password.expose()]);
        vec![self.password.clone(), Secret::new(STANDARD.encode(pair.expose()))]
    }

    fn outstanding(&self) -> Vec<String> {
        self.state().made.iter().map(|(token, _)| token::name(token)).collect()
    }

    fn give_back<'a>(&'a self, asking: Asking<'a>, _: When) -> Returning<'a> {
        Box::pin(async move {
            let made = std::mem::take(&mut self.state().made);
            let mut said = Vec::new();
            if let Some((token, _)) = made.first() {
                let whose = format!("of an earlier login of `{}`", self.user);
                for name in asking.leftover {
                    said.extend(token::revoke_by_name(name, token, &whose, &asking).await);
                }
            }
            for (token, lifetime) in made {
                let whose = format!("of the login of `{}`", self.user);
                let revoked = token::revoke(&token, &whose, lifetime, &asking).await;
                if revoked.is_err() {
                    // It is tried once more when the pass ends.
                    self.state().made.push((token, lifetime));
                }
                said.push(revoked);
            }
            said
        })
    }
}

/// The header without which the OAuth server takes a request for one of a page that somebody else has put into a browser.
fn marked() -> HeaderMap {
    [(HeaderName::from_static("x-csrf-token"), HeaderValue::from_static("1"))].into_iter().collect()
}

fn refused(reply: &Reply) -> Option<Refused> {
    serde_json::from_slice(&reply.body).ok()
}

/// What an error says of itself, as far as it is in OAuth's words.
fn said(reply: &Reply) -> String {
    refused(reply).map(|refused| format!(": {}", bounded(&format!("{}: {}", refused.error, refused.error_description)))).unwrap_or_default()
}

fn bounded(text: &str) -> String {
    text.chars().take(LONGEST).collect::<String>().trim_end_matches([':', ' ']).to_owned()
}

/// Whether it may pass. Where the server of the tokens is away, the answer blames the client.
fn is_passing(reply: &Reply) -> bool {
    let is_server_error = reply.status == 400 && refused(reply).is_some_and(|refused| refused.error == "server_error");
    (reply.is_passing() && !is_about_user(reply)) || is_server_error
}

/// Whether it is the refusal of a user whose object was deleted, which looks like an error of the server.
fn is_about_user(reply: &Reply) -> bool {
    reply.status == 500 && std::str::from_utf8(&reply.body).is_ok_and(|text| text.starts_with("Error: users.user.openshift.io "))
}
