//! Renders the kubeconfig of a pass.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    path::Path,
};

use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
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

/// How a client gets the token.
#[derive(Clone, Copy, Debug)]
pub enum Gives<'a> {
    /// From the kubeconfig, which holds it.
    Token(&'a Secret),
    /// From this program, `jobpass`, which the client runs as a credential plugin.
    Exec(&'a Path),
}

/// The kubeconfig as JSON, which every reader of YAML takes.
///
/// With the token it also holds the absolute path of the token file. client-go reads that file again when it changes. Other clients
/// know only one of the two fields, or resolve a relative path from their working directory. An extension marks it as the
/// kubeconfig of a pass, so that it is never taken for a CI identity.
#[must_use]
pub fn render(identity: &Identity, lease: &Lease, gives: Gives<'_>, token_file: &Path, namespace: &str) -> Secret {
    let token_path = token_file.to_string_lossy().into_owned();
    let user = match gives {
        Gives::Token(token) => AuthInfo { token: Some(token.clone().into()), token_file: Some(token_path), ..AuthInfo::default() },
        Gives::Exec(program) => AuthInfo { exec: Some(plugin(program, token_path)), ..AuthInfo::default() },
    };
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
    let token = match gives {
        Gives::Token(token) => token.size(),
        Gives::Exec(_) => 0,
    };
    let mut text = Zeroizing::new(Vec::with_capacity(ROOM + authority + token));
    let written = serde_json::to_writer_pretty(&mut *text, &config).and_then(|()| text.write_all(b"\n").map_err(serde_json::Error::io));
    Secret::of_parts(&[written.ok().and_then(|()| std::str::from_utf8(&text).ok()).unwrap_or_default()])
}

/// `jobpass credential` as a client runs it: <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>. The path of the token
/// is handed over by a variable, as the client may run it with an environment of its own.
fn plugin(program: &Path, token_file: String) -> ExecConfig {
    let variable = [("name", "JOBPASS_TOKEN_FILE".to_owned()), ("value", token_file)];
    ExecConfig {
        api_version: Some(EXEC_CREDENTIAL.to_owned()),
        command: Some(program.to_string_lossy().into_owned()),
        args: Some(vec!["credential".to_owned()]),
        env: Some(vec![variable.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>()]),
        drop_env: None,
        interactive_mode: Some(ExecInteractiveMode::Never),
        provide_cluster_info: false,
        cluster: None,
        install_hint: Some("jobpass gives this kubeconfig its token: put it on the PATH of whoever uses it".to_owned()),
        other: BTreeMap::default(),
    }
}

/// The version of the protocol between a client and its credential plugin.
pub const EXEC_CREDENTIAL: &str = "client.authentication.k8s.io/v1";

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
    use crate::{lease::tests::lease, origin::Origin, pass_extension::PassExtension};

    fn by(gives: Gives<'_>) -> String {
        let identity = Identity {
            cluster: Cluster {
                server: Some("https://s:6443".into()),
                certificate_authority_data: Some("Y2E=".into()),
                ..Cluster::default()
            },
            user: AuthInfo { token: Some("the-identity-s-own".to_owned().into()), ..AuthInfo::default() },
            ..Identity::new(Origin::InCluster, String::new())
        };
        render(&identity, &lease(), gives, Path::new("/run/token"), "prod").expose().to_owned()
    }

    fn rendered() -> String {
        by(Gives::Token(&Secret::new("tok".into())))
    }

    #[test]
    fn with_a_plugin_there_is_no_token_in_it() {
        let text = by(Gives::Exec(Path::new("/bin/jobpass")));
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            json["users"][0]["user"],
            serde_json::json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/jobpass", "args": ["credential"],
                "env": [{"name": "JOBPASS_TOKEN_FILE", "value": "/run/token"}], "interactiveMode": "Never", "provideClusterInfo": false,
                "installHint": "jobpass gives this kubeconfig its token: put it on the PATH of whoever uses it",
            }})
        );
        assert!(kube::config::Kubeconfig::from_yaml(&text).is_ok() && PassExtension::of_text(&text).is_some());
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
