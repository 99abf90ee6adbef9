//! What a token endpoint answers: a token, or why there is none.
//!
//! A token and a refusal are JSON: <https://www.rfc-editor.org/rfc/rfc8693#section-2.2>. Some endpoints refuse by a form, as OAuth's
//! drafts had it, and some by a page.

use std::time::Duration;

use http::header;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{TYPE, WHAT};
use crate::{
    failure::{Code, Failure},
    identity::issuer::Issued,
    jwt::Claims,
    net::fetch::Reply,
    out::instant,
    secret::Secret,
};

/// What the endpoint is called in messages.
pub(super) const WHO: &str = "the token endpoint";

/// In bytes: the longest of the endpoint's own words that are repeated.
const LONGEST: usize = 200;

/// In bytes: tokens that are shorter can be guessed, and runners would hide half of the log with them.
const SHORTEST: usize = 16;

const WRONG_ADDRESS: &str =
    "check `--exchange-url`: it is the address of the token endpoint itself, not of its issuer or a page for people";

/// What is granted.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    issued_token_type: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// In JSON it is a number; some endpoints write it as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

/// Why nothing is granted: <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// The token in an answer to somebody who has shown the subject's token. It is for this audience if one was asked for.
///
/// # Errors
/// When the endpoint gives none, or one with which no API server can be asked.
pub(super) fn read(reply: &Reply, subject: &Secret, audience: Option<&str>) -> Result<Issued, Failure> {
    let refused = |cause: String| Failure::new(Code::IdentityExchange, WHAT).cause(cause);
    if (300..400).contains(&reply.status) {
        return Err(refused(reply.brief(WHO)).hint(WRONG_ADDRESS));
    }
    if let Some(refusal) = refusal(reply) {
        return Err(refusal.failure(reply, subject));
    }
    if !reply.is_success() {
        let failure = refused(reply.brief(WHO));
        return Err(if reply.is_passing() { failure } else { failure.hint(WRONG_ADDRESS) });
    }
    let Ok(granted) = serde_json::from_slice::<Granted>(&reply.body) else {
        return Err(refused(format!("{}, and no token in JSON", reply.brief(WHO))).hint(WRONG_ADDRESS));
    };
    granted.issued(audience).map_err(refused)
}

/// The refusal in an answer, whatever its status says: some endpoints refuse with 200.
fn refusal(reply: &Reply) -> Option<Refusal> {
    let kind = reply.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if kind.starts_with(b"application/x-www-form-urlencoded") || reply.body.starts_with(b"error=") {
        return of_form(&String::from_utf8_lossy(&reply.body));
    }
    serde_json::from_slice(&reply.body).ok()
}

fn of_form(text: &str) -> Option<Refusal> {
    let value = |name: &str| {
        let (_, value) = text.trim().split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?;
        Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    };
    Some(Refusal { error: value("error")?, error_description: value("error_description") })
}

impl Refusal {
    fn failure(&self, reply: &Reply, subject: &Secret) -> Failure {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let error = Some(self.error.as_str()).filter(|error| error.len() <= 64 && error.chars().all(is_word));
        let error = error.map_or_else(|| ", an error that has no name".to_owned(), |error| format!(": {error}"));
        let said = self.error_description.as_deref().map(|said| format!(": {}", short(said))).unwrap_or_default();
        let failure = Failure::new(Code::IdentityExchange, WHAT);
        let failure = shown(subject).into_iter().fold(failure, Failure::cause).cause(reply.brief(WHO) + &error + &said);
        match hint(&self.error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What the endpoint was shown, as far as its trust may be about that.
fn shown(subject: &Secret) -> Option<String> {
    let claims = Claims::of(subject)?;
    let audiences: Vec<_> = claims.audiences().into_iter().map(|audience| format!("`{audience}`")).collect();
    let ends = claims.expires_at().map(|end| format!(", valid until {}", instant(end))).unwrap_or_default();
    let says = |name: &str, value: Option<&str>| value.map(|value| format!(" {name} `{value}`,")).unwrap_or_default();
    let (issuer, who) = (says("from", claims.iss.as_deref()), says("subject", claims.sub.as_deref()));
    Some(format!(
        "it was shown a token{issuer}{who} for {}{ends}",
        if audiences.is_empty() { "nobody".into() } else { audiences.join(", ") }
    ))
}

fn short(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(at, _)| &text[..at])
}

/// What can be done about an error: those of RFC 6749, 5.2, and of RFC 8693, 2.2.2.
fn hint(error: &str) -> Option<&'static str> {
    Some(match error {
        "invalid_request" => {
            "check what the endpoint wants: `--exchange-audience`, `--exchange-scope`, `--exchange-subject-type`; and whether it takes this job's issuer, audience and subject"
        }
        "invalid_client" => "name a client that the endpoint knows by `--exchange-client-id`; it must be one without a secret",
        "invalid_grant" | "invalid_token" => {
            "check that the endpoint trusts the issuer of this job's token, and takes its audience (`--oidc-audience`) and its subject"
        }
        "unauthorized_client" => "allow the client of `--exchange-client-id` to exchange tokens",
        "unsupported_grant_type" => "check `--exchange-url`, and that the endpoint exchanges tokens at all (RFC 8693)",
        "invalid_scope" => "correct `--exchange-scope`",
        "invalid_target" => "correct `--exchange-audience` or `--exchange-resource`: the endpoint gives no token for it",
        _ => return None,
    })
}

/// Whether it has the form of a bearer token: <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>.
fn is_bearer(token: &Secret) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    token.size() >= SHORTEST && token.expose().trim_end_matches('=').bytes().all(is_part)
}

impl Granted {
    fn issued(self, audience: Option<&str>) -> Result<Issued, String> {
        if let Some(kind) = self.token_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(format!("{WHO} gave a token of type `{}`: an API server takes a bearer token only", short(kind)));
        }
        let is_taken = |kind: &str| kind.strip_prefix(TYPE).is_some_and(|kind| matches!(kind, "access_token" | "id_token" | "jwt"));
        if let Some(kind) = self.issued_token_type.as_deref().filter(|kind| !is_taken(kind)) {
            return Err(format!("{WHO} gave a token of type `{}`, which no API server takes", short(kind)));
        }
        let token = self.access_token;
        if !is_bearer(&token) {
            return Err(format!("what {WHO} gave is no token"));
        }
        let claims = Claims::of(&token).unwrap_or_default();
        let audiences = claims.audiences();
        if audience.is_some_and(|audience| !audiences.is_empty() && !audiences.contains(&audience)) {
            // Whoever it is for would take it from the API server that we showed it to.
            return Err(format!("{WHO} gave a token for another audience than `--exchange-audience` asks for"));
        }
        let said = match self.expires_in {
            Some(Seconds::Number(seconds)) => Some(seconds),
            Some(Seconds::Text(text)) => text.trim().parse().ok(),
            None => claims.lifetime().and_then(|seconds| i32::try_from(seconds).ok()).map(f64::from),
        };
        let lifetime = said.filter(|seconds| *seconds >= 1.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Issued { token, lifetime })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    const TOKEN: &str = "ya29.opaque-token_~+/==";

    fn reply(status: u16, kind: &str, body: &str) -> Reply {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().expect("a header"))]);
        Reply { status, headers, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    fn granted(body: &serde_json::Value) -> Result<Issued, Failure> {
        read(&reply(200, "application/json", &body.to_string()), &Secret::new("x".to_owned()), Some("cluster"))
    }

    fn refused(status: u16, kind: &str, body: &str) -> String {
        let subject = Secret::new("e30.eyJhdWQiOiJzdHMiLCJpc3MiOiJjaSIsInN1YiI6InJlcG86YSIsImV4cCI6MX0.c2ln".to_owned());
        read(&reply(status, kind, body), &subject, None).map(|_| ()).expect_err(body).to_string()
    }

    #[test]
    fn a_bearer_token_is_taken_however_its_type_is_written() {
        for kind in ["Bearer", "bearer", "BEARER"] {
            let issued =
                granted(&json!({"access_token": TOKEN, "token_type": kind, "issued_token_type": format!("{TYPE}jwt"), "expires_in": 60}));
            let issued = issued.expect("a token");
            assert_eq!((issued.token.expose(), issued.lifetime), (TOKEN, Some(Duration::from_mins(1))));
        }
        let lifetime = |value| granted(&json!({"access_token": TOKEN, "expires_in": value})).expect("a token").lifetime;
        assert_eq!(lifetime(json!("300")), Some(Duration::from_mins(5)));
        for odd in [json!("soon"), json!(-1), json!(0), json!(1e300)] {
            assert_eq!(lifetime(odd), None);
        }
    }

    #[test]
    fn a_token_that_is_none_to_an_api_server_is_refused() {
        for (body, part) in [
            (json!({"access_token": TOKEN, "token_type": "N_A"}), "of type `N_A`"),
            (json!({"access_token": TOKEN, "token_type": "DPoP"}), "of type `DPoP`"),
            (json!({"access_token": TOKEN, "issued_token_type": format!("{TYPE}refresh_token")}), "which no API server takes"),
            (json!({"access_token": TOKEN, "issued_token_type": format!("{TYPE}saml2")}), "which no API server takes"),
            (json!({"access_token": "a\nb"}), "is no token"),
            (json!({"access_token": " "}), "is no token"),
            (json!({"access_token": "::add-mask::ordinary-words"}), "is no token"),
            (json!({"access_token": "short"}), "is no token"),
            (json!({"access_token": 1}), "no token in JSON"),
            (json!({"id_token": "t"}), "no token in JSON"),
            (json!({"access_token": "e30.eyJhdWQiOiJvdGhlciJ9.c2ln"}), "for another audience"),
        ] {
            let refused = granted(&body).map(|_| ()).expect_err("no token").to_string();
            assert!(refused.contains(part), "{body}: {refused}");
        }
        assert!(granted(&json!({"access_token": "e30.eyJhdWQiOlsib3RoZXIiLCJjbHVzdGVyIl19.c2ln"})).is_ok());
    }

    #[test]
    fn json_forms_and_pages_are_told_apart() {
        let json = json!({"error": "invalid_target", "error_description": "no\n::add-mask::such ##[x]"}).to_string();
        let said = refused(400, "application/json", &json);
        assert!(said.contains("it was shown a token from `ci`, subject `repo:a`, for `sts`, valid until 1970-01-01T00:00:01Z"), "{said}");
        assert!(said.contains("400 Bad Request: invalid_target: no ::add-mask::such ## [x]"), "{said}");
        assert!(said.contains("hint: correct `--exchange-audience`"), "{said}");
        let form = "error=invalid_client&error_description=who+are+you%3F";
        for kind in ["application/x-www-form-urlencoded; charset=utf-8", "text/plain"] {
            let said = refused(401, kind, form);
            assert!(said.contains("401 Unauthorized: invalid_client: who are you?"), "{said}");
        }
        assert!(refused(200, "application/x-www-form-urlencoded", form).contains("invalid_client"));
        assert!(refused(403, "text/html", "<html>").contains("403 Forbidden with a web page"));
        assert!(refused(200, "text/html", "<html>").contains("200 OK with a web page, and no token in JSON"));
        assert!(refused(200, "application/x-www-form-urlencoded", "access_token=abc").contains("no token in JSON"));
        assert!(refused(302, "text/html", "").contains("jobpass does not follow"));
        assert!(refused(404, "application/json", r#"{"error": {"code": 404}}"#).contains("404 Not Found"));
    }

    #[test]
    fn an_error_of_a_strange_form_is_not_repeated_and_a_long_text_is_cut() {
        let said = refused(400, "application/json", &json!({"error": "x y", "error_description": "é".repeat(10_000)}).to_string());
        assert!(said.contains("an error that has no name") && said.len() < 1000, "{said}");
        let token = format!("eyJ{}", "a".repeat(60));
        let said = refused(400, "application/json", &json!({"error": "invalid_grant", "error_description": token}).to_string());
        assert!(!said.contains(&token), "{said}");
    }
}
