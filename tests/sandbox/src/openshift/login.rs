//! The OAuth server, from a request to what answers it.

use serde_json::json;

use super::{authorize, token};
use crate::api::Call;
use crate::server::Shared;
use crate::status::Answer;

/// The client that logs in by a password. It has no secret.
pub(super) const CLIENT: &str = "openshift-challenging-client";

pub(super) fn handle(shared: &Shared, call: &Call, number: usize) -> Answer {
    let now = shared.clock.now();
    let mut world = shared.world();
    let crate::world::World { oauth: Some(oauth), issued, .. } = &mut *world else { return Answer::empty(404) };
    let answer = match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/healthz") => Answer::text(200, "ok"),
        ("GET" | "POST", "/oauth/authorize") => {
            let (answer, user) = authorize::answer(oauth, now, call);
            if let Some(user) = user {
                shared.log.user(number, &user);
            }
            answer
        }
        ("GET" | "POST", "/oauth/token") => token::answer(oauth, issued, now, call),
        _ => json_empty(403),
    };
    answer.header("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
}

fn json_empty(status: u16) -> Answer {
    Answer::empty(status).header("Content-Type", "application/json")
}

/// An error in OAuth's own words.
pub(super) fn failed(error: &str) -> Answer {
    Answer::json(400, json!({"error": error, "error_description": description(error)}))
}

fn description(error: &str) -> &'static str {
    match error {
        "access_denied" => "The resource owner or authorization server denied the request.",
        "invalid_grant" => {
            "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token is invalid, expired, revoked, \
             does not match the redirection URI used in the authorization request, or was issued to another client."
        }
        "server_error" => "The authorization server encountered an unexpected condition that prevented it from fulfilling the request.",
        "unauthorized_client" => "The client is not authorized to request a token using this method.",
        "unsupported_response_type" => "The authorization server does not support obtaining a token using this method.",
        _ => {
            "The request is missing a required parameter, includes an invalid parameter value, includes a parameter more than once, \
             or is otherwise malformed."
        }
    }
}

/// The same error as a redirect, where the client is known by then.
pub(super) fn sent_back(redirect_uri: &str, error: &str, words: Option<&str>) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("error", error)
        .append_pair("error_description", words.unwrap_or_else(|| description(error)))
        .finish();
    Answer::empty(302).header("Location", &format!("{redirect_uri}?{query}"))
}
