//! An OAuth token of OpenShift: how it is recognised, what its object is called, and how it is revoked.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, header};
use ring::digest;
use serde::Deserialize;

use super::super::issuer::Asking;
use crate::{
    failure::{Code, Failure},
    net::{
        self, Target,
        fetch::{Fetch, Limit, Reply},
    },
    options::human,
    secret::Secret,
};

const PREFIX: &str = "sha256~";

/// How long an API server may take a revoked token: it remembers a review for 30 s, as OpenShift's operator sets it, and what it has
/// accepted for 10 s.
const REMEMBERED: Duration = Duration::from_secs(40);

const GROUP: &str = "oauth.openshift.io";

/// The resources by which a token is deleted: by its own user, and by whoever OpenShift lets.
const RESOURCES: [&str; 2] = ["useroauthaccesstokens", "oauthaccesstokens"];

/// An answer about a token's object: the object itself, or a refusal.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    group: String,
}

/// Whether it has the form of such a token. The name of one has it too, and cannot be told from it.
pub(super) fn is_one(token: &Secret) -> bool {
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    token.expose().strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 43 && rest.bytes().all(of_base64))
}

/// The name of a token's object. It is no secret: the token cannot be had from it.
pub(super) fn name(token: &Secret) -> String {
    let text = token.expose();
    let hash = digest::digest(&digest::SHA256, text.strip_prefix(PREFIX).unwrap_or(text).as_bytes());
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(hash))
}

/// Deletes the object of a token, as its own user, and looks whether the API server still takes it. Returns what is to be said of it.
///
/// Only the answer to the deletion proves anything: where the server of the tokens is away, the API server refuses every token that it
/// does not remember. `oc logout` would send the token as the name, where it is none of these.
pub(super) async fn revoke(token: &Secret, whose: &str, lifetime: Option<Duration>, asking: &Asking<'_>) -> Result<String, Failure> {
    match delete(&name(token), token, whose, asking).await? {
        Ok(true) => Ok(format!("revoked the OpenShift token {whose}: {}", taken(token, whose, asking).await)),
        Ok(false) => Ok(format!("the OpenShift token {whose} is gone already")),
        Err(cause) => {
            let failure = Failure::new(Code::IdentityUnrevoked, what(whose)).cause(cause);
            Err(match lifetime {
                Some(lifetime) => failure.cause(format!("it ends by itself, {} after the login", human(lifetime))),
                None => failure,
            })
        }
    }
}

/// Deletes the object of another token of the same user, of which only the name is known. Says nothing where it is gone.
pub(super) async fn revoke_by_name(name: &str, by: &Secret, whose: &str, asking: &Asking<'_>) -> Option<Result<String, Failure>> {
    // What stands in a lease file becomes a part of a path.
    if !is_one(&Secret::new(name.to_owned())) {
        return None;
    }
    match delete(name, by, whose, asking).await {
        Ok(Ok(true)) => Some(Ok(format!("revoked the OpenShift token {whose}"))),
        Ok(Ok(false)) => None,
        Ok(Err(cause)) => Some(Err(Failure::new(Code::IdentityUnrevoked, what(whose)).cause(cause))),
        Err(failure) => Some(Err(failure)),
    }
}

fn what(whose: &str) -> String {
    format!("cannot revoke the OpenShift token {whose}")
}

/// Deletes an object by its name. Returns whether it was there, or why it may still be there.
async fn delete(name: &str, by: &Secret, whose: &str, asking: &Asking<'_>) -> Result<Result<bool, String>, Failure> {
    let target = &Target { what: what(whose), ..asking.api_server.clone() };
    let mut last = String::new();
    for resource in RESOURCES {
        let path = format!("/apis/{GROUP}/v1/{resource}/{name}");
        let reply = send(target, Method::DELETE, &path, by, None, asking.limit).await?;
        let said = serde_json::from_slice::<Said>(&reply.body).ok();
        match (reply.status, said) {
            // The answer is the token itself, and no Status, also where it is gone for good.
            (200, Some(said)) if said.kind == "OAuthAccessToken" && said.metadata.name == name => return Ok(Ok(true)),
            (404, Some(said)) if said.details.group == GROUP && resource == RESOURCES[1] => return Ok(Ok(false)),
            (_, said) => {
                let words = said.map(|said| said.message).filter(|words| !words.is_empty() && words.len() < 300);
                last = reply.brief(target.noun) + &words.map(|words| format!(": {words}")).unwrap_or_default();
            }
        }
    }
    Ok(Err(last))
}

/// What the API server says to a token that is deleted, in words.
async fn taken(token: &Secret, whose: &str, asking: &Asking<'_>) -> String {
    let target = &Target { what: what(whose), ..asking.api_server.clone() };
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    match send(target, Method::POST, path, token, Some(Secret::new(body.to_owned())), asking.limit).await {
        Ok(reply) if reply.status == 401 => "the API server refuses it".to_owned(),
        Ok(reply) if reply.is_success() => format!("the API server may accept it for {} more, from its cache", human(REMEMBERED)),
        Ok(_) | Err(_) => "its object is deleted".to_owned(),
    }
}

async fn send(
    target: &Target,
    method: Method,
    path: &str,
    token: &Secret,
    body: Option<Secret>,
    limit: Limit<'_>,
) -> Result<Reply, Failure> {
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.extend(net::header("Bearer", token).map(|value| (header::AUTHORIZATION, value)));
    Fetch { target, method, path, headers, body }.send(limit, |reply| !reply.is_passing()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form_and_its_object_by_its_hash() {
        let token = Secret::new(format!("sha256~{}", "a".repeat(43)));
        assert!(is_one(&token));
        assert_eq!(name(&token), "sha256~ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA");
        for other in ["", "sha256~", "sha256~short", "eyJ.eyJ.x", &format!("sha256~{}", "a".repeat(44))] {
            assert!(!is_one(&Secret::new(other.to_owned())), "{other}");
        }
    }
}
