//! `/oauth/token`: a code in, a token out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

use super::login::{CLIENT, failed};
use super::store::{Oauth, s256};
use crate::api::Call;
use crate::status::Answer;

/// The shortest verifier of RFC 7636.
const SHORTEST: usize = 43;

pub(super) fn answer(oauth: &mut Oauth, issued: &mut Vec<String>, now: Timestamp, call: &Call) -> Answer {
    let form = |name: &str| {
        let pairs = form_urlencoded::parse(&call.body);
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).next()
    };
    if oauth.away {
        return failed("server_error");
    }
    let basic = call.authorization.as_deref().and_then(|header| STANDARD.decode(header.strip_prefix("Basic ")?).ok());
    let client = match basic.and_then(|pair| String::from_utf8(pair).ok()) {
        Some(pair) => pair.split_once(':').map(|(client, _)| client.to_owned()),
        // An empty secret counts if it is there.
        None => form("client_secret").and_then(|_| form("client_id")),
    };
    let Some(client) = client else { return failed("invalid_request") };
    if client != CLIENT {
        return failed("unauthorized_client");
    }
    match form("grant_type").as_deref() {
        Some("authorization_code") => {}
        Some("password") => return failed("access_denied"),
        _ => return failed("unsupported_grant_type"),
    }
    let Some(code) = oauth.redeem(now, &form("code").unwrap_or_default()) else { return failed("unauthorized_client") };
    if form("redirect_uri").is_some_and(|uri| uri != code.redirect_uri) {
        return failed("invalid_request");
    }
    if let Some((challenge, method)) = &code.challenge {
        let verifier = form("code_verifier").unwrap_or_default();
        if verifier.len() < SHORTEST {
            return failed("invalid_request");
        }
        let answer = if method == "S256" { s256(&verifier) } else { verifier };
        if answer != *challenge {
            return failed("invalid_grant");
        }
    }
    let token = oauth.grant(now, &code.user, &code.scope, CLIENT);
    issued.push(token.clone());
    Answer::json(200, json!({"access_token": token, "expires_in": oauth.max_age, "scope": code.scope, "token_type": "Bearer"}))
}
