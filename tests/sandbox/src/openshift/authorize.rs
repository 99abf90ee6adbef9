//! `/oauth/authorize`: a password in, a code (or at once a token) out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::login::{CLIENT, failed, sent_back};
use super::store::Oauth;
use crate::api::Call;
use crate::status::Answer;

/// The answer, and whom it is for.
pub(super) fn answer(oauth: &mut Oauth, now: Timestamp, call: &Call) -> (Answer, Option<String>) {
    let asked = |name: &str| call.query(name).unwrap_or_default();
    if oauth.away {
        return (failed("server_error"), None);
    }
    if asked("client_id") != CLIENT {
        return (failed("unauthorized_client"), None);
    }
    let redirect_uri = match asked("redirect_uri") {
        none if none.is_empty() => oauth.implicit(),
        own if own == oauth.implicit() => own,
        _ => return (failed("invalid_request"), None),
    };
    let kind = asked("response_type");
    if !["code", "token"].contains(&kind.as_str()) {
        return (sent_back(&redirect_uri, "unsupported_response_type", None), None);
    }
    let method = Some(asked("code_challenge_method")).filter(|method| !method.is_empty()).unwrap_or_else(|| "plain".to_owned());
    let challenge = Some(asked("code_challenge")).filter(|text| !text.is_empty()).map(|text| (text, method));
    if challenge.as_ref().is_some_and(|(_, method)| !["plain", "S256"].contains(&method.as_str())) {
        let words = "code_challenge_method transform algorithm not supported (rfc7636)";
        return (sent_back(&redirect_uri, "invalid_request", Some(words)), None);
    }
    let Some(user) = user_of(oauth, call) else { return (refused(oauth, call), None) };
    if oauth.users.get(&user) == Some(&None) {
        let words = format!("Error: users.user.openshift.io \"{user}\" not found\n");
        return (Answer::text(500, &words), Some(user));
    }
    let scope = Some(asked("scope")).filter(|scope| !scope.is_empty()).unwrap_or_else(|| "user:full".to_owned());
    let known = |scope: &str| ["user:full", "user:info", "user:check-access"].contains(&scope) || scope.starts_with("role:");
    if let Some(unknown) = scope.split(' ').find(|one| !known(one)) {
        let words = format!("[0]: Invalid value: \"{unknown}\": no scope handler found");
        return (sent_back(&redirect_uri, "invalid_scope", Some(&words)), Some(user));
    }
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let mark = if kind == "code" {
        pairs.append_pair("code", &oauth.code(now, (&user, &scope), challenge, &redirect_uri)).append_pair("state", &asked("state"));
        '?'
    } else {
        pairs.append_pair("access_token", &oauth.grant(now, &user, &scope, CLIENT));
        pairs.append_pair("expires_in", &oauth.max_age.to_string()).append_pair("scope", &scope).append_pair("token_type", "Bearer");
        '#'
    };
    let location = format!("{redirect_uri}{mark}{}", pairs.finish().replace("%7E", "~"));
    let answer = Answer::empty(302).header("Location", &location);
    (answer.header("Set-Cookie", "ssn=MTc2; Path=/; Max-Age=300; HttpOnly; Secure"), Some(user))
}

/// Who has shown a password that is right.
fn user_of(oauth: &Oauth, call: &Call) -> Option<String> {
    let encoded = call.authorization.as_deref()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    oauth.passwords.get(user).filter(|known| *known == password && !password.is_empty()).map(|_| user.to_owned())
}

/// Asks for a password, or says why it does not. It looks the same whether there was a wrong one or none.
fn refused(oauth: &Oauth, call: &Call) -> Answer {
    let issuer = &oauth.issuer;
    let (answer, words) = if !oauth.challenge {
        let words = format!("You must obtain an API token by visiting {issuer}/oauth/token/request");
        (Answer::text(401, &(words.clone() + "\n")).header("Link", &format!("<{issuer}/oauth/token/request>; rel=\"related\"")), words)
    } else if call.csrf_token.as_deref().unwrap_or_default().is_empty() {
        let words = "A non-empty X-CSRF-Token header is required to receive basic-auth challenges".to_owned();
        (Answer::text(401, &(words.clone() + "\n")), words)
    } else {
        return Answer::empty(401).header("WWW-Authenticate", "Basic realm=\"openshift\"");
    };
    answer.header("Warning", &format!("199 Origin \"{words}\""))
}
