//! Renders the kubeconfig of a pass.

use std::{io::Write as _, path::Path};

use kube::config::AuthInfo;
use zeroize::Zeroizing;

use crate::{
    identity::{self, Identity},
    jwt::Claims,
    lease::Lease,
    pass_extension::PassExtension,
    secret::Secret,
};

/// More than all of it takes but the authority and the token: names, addresses and paths, in bytes.
const ROOM: usize = 4 << 10;

/// The kubeconfig as JSON, which every reader of YAML takes.
///
/// It holds the token, and also the absolute path of the token file. client-go reads that file again when it changes. Other clients
/// know only one of the two fields, or resolve a relative path from their working directory. An extension marks it as the
/// kubeconfig of a pass, so that it is never taken for a CI identity.
#[must_use]
pub fn render(identity: &Identity, lease: &Lease, token: &Secret, token_file: &Path, namespace: &str) -> Secret {
    let user =
        AuthInfo { token: Some(token.clone().into()), token_file: Some(token_file.to_string_lossy().into_owned()), ..AuthInfo::default() };
    let mut config = identity::one(identity.cluster.clone(), user);
    for context in config.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        context.namespace = Some(namespace.to_owned());
    }
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        // The extensions are meant for the CI identity's exec plugin; the job does not need them.
        cluster.extensions = None;
    }
    let extension = PassExtension { lease: lease.id(), identity: Some(lease.identity.clone()) };
    config.api_version = Some("v1".into());
    config.kind = Some("Config".into());
    config.extensions = Some(vec![extension.named()]);
    // Room for all of it at once, so that no copy is left where it grew.
    let authority = identity.cluster.certificate_authority_data.as_ref().map_or(0, String::len);
    let mut text = Zeroizing::new(Vec::with_capacity(ROOM + authority + token.size()));
    let written = serde_json::to_writer_pretty(&mut *text, &config).and_then(|()| text.write_all(b"\n").map_err(serde_json::Error::io));
    Secret::of_parts(&[written.ok().and_then(|()| std::str::from_utf8(&text).ok()).unwrap_or_default()])
}

/// A kubeconfig's text with this token in place of every other token of the same pass; `None` if it holds none.
///
/// The job's tools may have rewritten the file as YAML, with fields that we do not know. So we only look for tokens in the text,
/// which no writer breaks up or escapes, and leave the rest as it is. That also finds the token that `oc login` was given.
#[must_use]
pub fn renewed(text: &str, lease: &Lease, token: &Secret) -> Option<Secret> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_ours = |word: &str| {
        let claims = Claims::of(&Secret::new(word.to_owned()));
        claims.is_some_and(|claims| claims.secret_uid().is_some() && claims.secret_uid() == lease.uid.as_deref())
    };
    let (mut renewed, mut rest, mut is_found) = (String::with_capacity(text.len() + token.size()), text, false);
    while let Some(start) = rest.find(is_of_token) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !is_of_token(c)).unwrap_or(word.len()));
        renewed.push_str(before);
        if is_ours(word) {
            is_found = true;
            renewed.push_str(token.expose());
        } else {
            renewed.push_str(word);
        }
        rest = after;
    }
    renewed.push_str(rest);
    let renewed = Secret::new(renewed);
    is_found.then_some(renewed)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use kube::config::Cluster;

    use super::*;
    use crate::{lease::tests::lease, net::Way, origin::Origin, pass_extension::PassExtension};

    fn rendered() -> String {
        let identity = Identity {
            origin: Origin::InCluster,
            why: String::new(),
            cluster: Cluster {
                server: Some("https://s:6443".into()),
                certificate_authority_data: Some("Y2E=".into()),
                ..Cluster::default()
            },
            user: AuthInfo { token: Some("the-identity-s-own".to_owned().into()), ..AuthInfo::default() },
            authority: String::new(),
            pod_namespace: None,
            way: Way::default(),
        };
        render(&identity, &lease(), &Secret::new("tok".into()), Path::new("/run/token"), "prod").expose().to_owned()
    }

    #[test]
    fn it_reaches_the_same_server_as_the_pass_and_nobody_else() {
        let config = kube::config::Kubeconfig::from_yaml(&rendered()).expect("YAML");
        let json: serde_json::Value = serde_json::from_str(&rendered()).expect("JSON");
        assert_eq!(json["clusters"][0]["cluster"]["server"], "https://s:6443");
        assert_eq!(json["users"][0]["user"], serde_json::json!({"token": "tok", "tokenFile": "/run/token"}));
        assert_eq!(config.contexts[0].context.as_ref().and_then(|context| context.namespace.as_deref()), Some("prod"));
        assert!(!rendered().contains("the-identity-s-own"));
    }

    /// A token that is bound to the Secret with this uid.
    fn token(uid: &str, jti: &str) -> String {
        let claims = serde_json::json!({"jti": jti, "kubernetes.io": {"namespace": "ci", "secret": {"name": lease().name, "uid": uid}}});
        format!("e30.{}.c2lnbmF0dXJl_-c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_renewed_one_differs_in_the_tokens_of_its_pass_only() {
        let lease = Lease { uid: Some("u".into()), ..lease() };
        let [old, older, new, other] = [("u", "1"), ("u", "0"), ("u", "2"), ("v", "1")].map(|(uid, jti)| token(uid, jti));
        // YAML as kubectl, oc and people write it.
        let text = |ours: &str, again: &str| {
            format!(
                "# mine\napiVersion: v1\ncontexts:\n- context: {{cluster: jobpass, namespace: x, user: jobpass}}\n  name: jobpass\n\
                 preferences: {{colors: true}}\nunknown: [1_000, 'on', ~]\nusers:\n- name: jobpass\n  user:\n    token: {ours}\n    \
                 tokenFile: /run/token\n- name: other\n  user: {{\"token\":\"{other}\"}}\n- name: copy\n  user:\n    token: '{again}'\n"
            )
        };
        let renewed = renewed(&text(&old, &older), &lease, &Secret::new(new.clone())).expect("ours");
        assert_eq!(renewed.expose(), text(&new, &new));
    }

    #[test]
    fn what_holds_no_token_of_the_pass_is_not_renewed() {
        let with_uid = Lease { uid: Some("u".into()), ..lease() };
        let new = Secret::new(token("u", "2"));
        for text in ["", "{", "users: []", &token("v", "1"), "a.b.c", "sha256~abc"] {
            assert_eq!(renewed(text, &with_uid, &new), None, "{text}");
        }
        assert_eq!(renewed(&token("u", "1"), &lease(), &new), None, "nothing is known of the lease's Secret");
    }

    #[test]
    fn it_is_known_as_a_pass() {
        let mark = PassExtension::of_text(&rendered()).expect("marked");
        assert_eq!((mark.lease, mark.identity), (lease().id(), Some(Origin::InCluster)));
        assert_eq!(PassExtension::of_text("{}"), None);
    }
}
