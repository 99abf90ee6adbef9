//! The docker configuration by which a registry takes the token of a pass as a password; OpenShift's own registry does.
//!
//! Other programs change that file, too: `docker login` adds registries, and keeps of ours what it understands. So there is no mark in it: what
//! is ours is known by its user and by the lease that its token is bound to.

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::{files::Change, jwt::Claims, secret::Secret};

/// The name that docker's programs look for in the directory that `DOCKER_CONFIG` names.
pub const NAME: &str = "config.json";

/// The user whom a registry sees. OpenShift's does not look at it.
const USER: &str = "jobpass:";

/// What is known of such a file without reading its passwords.
#[derive(Deserialize)]
struct Configuration {
    auths: BTreeMap<String, Option<IgnoredAny>>,
    #[serde(flatten)]
    others: BTreeMap<String, Option<IgnoredAny>>,
}

/// The whole file: <https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties>, and
/// containers-auth.json(5) for the programs that read `REGISTRY_AUTH_FILE`.
#[must_use]
pub fn render(hosts: &[String], token: &Secret) -> Secret {
    let auth = auth(token);
    let keys: Vec<_> = hosts.iter().map(|host| serde_json::to_string(host).unwrap_or_default()).collect();
    let mut parts = vec!["{\n  \"auths\": {\n"];
    for (at, key) in keys.iter().enumerate() {
        parts.extend(["    ", key, ": { \"auth\": \"", auth.expose(), "\" }", if at + 1 < keys.len() { ",\n" } else { "\n" }]);
    }
    parts.push("  }\n}\n");
    Secret::of_parts(&parts)
}

/// The same with another token; none if there is no token of this lease in it.
#[must_use]
pub fn renewed(text: &str, lease: &str, token: &Secret) -> Option<Secret> {
    exchanged(text, lease, auth(token).expose())
}

/// What becomes of the file when the pass is over: it goes, unless somebody has put more into it; then only the tokens go. None if
/// there is no token of this lease in it.
#[must_use]
pub fn without(text: &str, lease: &str) -> Option<Change> {
    let left = exchanged(text, lease, &STANDARD.encode(USER))?;
    let is_ours = |token: &Secret| is_of(token, lease);
    Some(if is_all(text, is_ours) { Change::Remove } else { Change::Replace(left) })
}

/// Whether everything in it is of passes, so that a new pass may replace it.
#[must_use]
pub fn is_of_passes(text: &str) -> bool {
    is_all(text, |token| Claims::of(token).is_some_and(|claims| claims.lease().is_some()))
}

fn is_all(text: &str, is_ours: impl Fn(&Secret) -> bool) -> bool {
    let Ok(Configuration { auths, others }) = serde_json::from_str(text) else { return false };
    let ours = words(text).filter_map(|(_, word)| token_in(word)).filter(is_ours).count();
    others.is_empty() && !auths.is_empty() && ours == auths.len()
}

/// The text with other words in the place of those that hold a token of this lease; none if there is none.
fn exchanged(text: &str, lease: &str, by: &str) -> Option<Secret> {
    let (mut parts, mut end) = (Vec::new(), 0);
    for (at, word) in words(text).filter(|(_, word)| token_in(word).is_some_and(|token| is_of(&token, lease))) {
        parts.extend([&text[end..at], by]);
        end = at + word.len();
    }
    let is_found = !parts.is_empty();
    parts.push(&text[end..]);
    is_found.then(|| Secret::of_parts(&parts))
}

/// Each run of characters of base64, and where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let mut at = 0;
    text.split_inclusive(move |c| !is_part(c)).map(move |piece| {
        let begin = at;
        at += piece.len();
        (begin, piece.trim_end_matches(|c| !is_part(c)))
    })
}

/// The token in a word, if it is an `auth` of ours.
fn token_in(word: &str) -> Option<Secret> {
    let pair = Zeroizing::new(STANDARD.decode(word).ok()?);
    std::str::from_utf8(&pair).ok()?.strip_prefix(USER).map(|token| Secret::of_parts(&[token]))
}

fn is_of(token: &Secret, lease: &str) -> bool {
    Claims::of(token).and_then(|claims| claims.lease()).as_deref() == Some(lease)
}

fn auth(token: &Secret) -> Secret {
    let mut pair = Zeroizing::new(Vec::with_capacity(USER.len() + token.size()));
    let written = pair.write_all(USER.as_bytes()).and_then(|()| pair.write_all(token.expose().as_bytes()));
    Secret::new(written.map(|()| STANDARD.encode(&*pair)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const HOSTS: [&str; 2] = ["image-registry.openshift-image-registry.svc:5000", "registry.apps.example.com"];

    /// A token bound to the lease with this digit in its name.
    fn token(lease: char, id: &str) -> Secret {
        let lease = name(lease);
        let claims = format!(r#"{{"jti":"{id}","kubernetes.io":{{"namespace":"ci","secret":{{"name":"{lease}","uid":"u"}}}}}}"#);
        Secret::new(format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims)))
    }

    fn name(digit: char) -> String {
        format!("jobpass-{}", digit.to_string().repeat(32))
    }

    fn id(digit: char) -> String {
        format!("ci/{}", name(digit))
    }

    fn rendered(token: &Secret) -> String {
        render(&HOSTS.map(str::to_owned), token).expose().to_owned()
    }

    #[test]
    fn it_holds_the_token_as_the_password_of_each_registry() {
        let token = token('1', "1");
        let config: serde_json::Value = serde_json::from_str(&rendered(&token)).expect("JSON");
        for host in HOSTS {
            let auth = config["auths"][host]["auth"].as_str().expect("an auth");
            assert_eq!(STANDARD.decode(auth).expect("base64"), format!("jobpass:{}", token.expose()).as_bytes());
        }
    }

    #[test]
    fn a_renewed_token_takes_the_place_of_its_own_pass_only() {
        let (old, new, other) = (token('1', "1"), token('1', "2"), token('2', "1"));
        assert_eq!(renewed(&rendered(&old), &id('1'), &new).map(|text| text.expose().to_owned()), Some(rendered(&new)));
        assert!(renewed(&rendered(&other), &id('1'), &new).is_none());
        assert!(renewed("{}", &id('1'), &new).is_none());
    }

    #[test]
    fn it_goes_with_its_pass_and_what_others_have_put_there_stays() {
        let ours = rendered(&token('1', "1"));
        assert!(matches!(without(&ours, &id('1')), Some(Change::Remove)));
        assert!(without(&ours, &id('2')).is_none());
        let theirs = r#""docker.io": { "auth": "dTpw" }"#;
        let both = ours.replacen("{\n    ", &format!("{{\n    {theirs}, "), 1);
        match without(&both, &id('1')) {
            Some(Change::Replace(left)) => assert!(left.expose().contains(theirs) && !left.expose().contains("c2lnbmF0")),
            _ => panic!("it is removed, or left as it was"),
        }
        let more = ours.replacen('{', "{ \"credHelpers\": {},", 1);
        assert!(matches!(without(&more, &id('1')), Some(Change::Replace(_))));
        assert!(is_of_passes(&ours) && !is_of_passes(&both) && !is_of_passes(&more) && !is_of_passes("{\"auths\": {}}"));
    }
}
