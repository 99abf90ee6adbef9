//! A pod's own credential: recognised under any path, and sent only to the pod's own API server.

use std::path::Path;

use kube::config::{AuthInfo, Kubeconfig};
use rustix::fs::stat;

use super::{Identity, in_cluster, server};
use crate::{
    env::Env,
    failure::{Code, Failure},
    files::{self, lies_in},
    jwt::Claims,
    net::certificates,
    secret::Secret,
};

/// The directories under which a pod's tokens are mounted; on nearly every system the first is a link to the second.
const SECRETS: [&str; 2] = ["/var/run/secrets", "/run/secrets"];

/// The names under which every pod can reach its own API server.
const NAMES: [&str; 4] = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// Whether a file is one of the pod's mounted secrets, whatever path names it.
fn is_mounted(path: &Path) -> bool {
    let token = Path::new(in_cluster::MOUNT).join("token");
    let is_same = || stat(path).is_ok_and(|one| stat(&token).is_ok_and(|other| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)));
    SECRETS.iter().any(|directory| lies_in(path, directory.as_ref())) || is_same()
}

/// The token that this pod has mounted, if it has one.
fn own() -> Option<Secret> {
    let text = files::read_text(&Path::new(in_cluster::MOUNT).join("token")).ok();
    text.filter(|text| !text.trim().is_empty()).map(|text| Secret::new(text).trimmed())
}

/// Whether a token is the one that this pod has mounted, or another one for the same API server.
fn is_of_this_pod(token: &Secret) -> bool {
    own().is_some_and(|own| own == token.trimmed() || is_like(token, &own))
}

/// Whether both tokens are of one pod, and for one audience. Their issuers say nothing: many clusters have the same.
fn is_like(token: &Secret, other: &Secret) -> bool {
    let (Some(token), Some(other)) = (Claims::of(token), Claims::of(other)) else { return false };
    let is_one = token.pod_uid().is_some() && token.pod_uid() == other.pod_uid();
    is_one && token.audiences().iter().any(|audience| other.audiences().contains(audience))
}

/// Whether a mounted token says that it is not for the pod's own API server, but for somebody else: its audiences are neither that
/// server's nor its issuer, which is what kubelet asks for where a volume names none.
/// See <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>.
fn is_for_another(token: &Secret) -> bool {
    let claims = Claims::of(token).unwrap_or_default();
    let is_its = |audience: &&str| claims.iss.as_deref() == Some(audience) || audience.contains("kubernetes.default.svc");
    !claims.audiences().is_empty() && !claims.audiences().iter().any(is_its) && !is_of_this_pod(token)
}

/// Whether an identity's credential is the pod's own.
pub(super) fn is_own(identity: &Identity) -> bool {
    let AuthInfo { token, token_file, .. } = &identity.user;
    let token = token.clone().map(Secret::from);
    let is_mounted = token_file.as_ref().is_some_and(|path| is_mounted(path.as_ref()));
    is_mounted && !token.as_ref().is_some_and(is_for_another) || token.as_ref().is_some_and(is_of_this_pod)
}

/// The audiences of a token that is mounted in the pod and is for somebody else: who reads it there could use it there.
pub(super) fn for_another(identity: &Identity) -> Option<Vec<String>> {
    let AuthInfo { token: Some(token), token_file: Some(path), .. } = &identity.user else { return None };
    let token = Secret::from(token.clone());
    let audiences = || Claims::of(&token).unwrap_or_default().audiences().into_iter().map(str::to_owned).collect();
    (is_mounted(path.as_ref()) && is_for_another(&token)).then(audiences)
}

/// If the identity token is this pod's own, sets the pod's own API server and certificate authority.
pub(super) fn directed(mut identity: Identity, env: &Env) -> Result<Identity, Failure> {
    if is_own(&identity) {
        let pod = in_cluster::find(env, Path::new(in_cluster::MOUNT))?;
        let pod = pod.ok_or_else(|| {
            Failure::new(Code::IdentityMisdirected, format!("cannot use {}", identity.why))
                .cause("it is a pod's own token, and there is no API server of this pod (`KUBERNETES_SERVICE_HOST`)")
                .hint("keep a token that is meant for another API server outside of `/var/run/secrets`")
        })?;
        (identity.cluster, identity.authority, identity.pod_namespace) = (pod.cluster, pod.authority, pod.pod_namespace);
    }
    Ok(identity)
}

/// Refuses to send a pod's own token, whoever named it, to any server but the pod's own API server.
pub(super) fn guard(identity: &Identity, env: &Env) -> Result<(), Failure> {
    if !is_own(identity) {
        return Ok(());
    }
    let pod = in_cluster::find(env, Path::new(in_cluster::MOUNT))?;
    let own = pod.as_ref().and_then(|pod| server::plain(pod.cluster.server.as_deref()?, "this pod").ok());
    let is_named = NAMES.iter().any(|name| identity.server() == format!("https://{name}"));
    if (own.as_deref() == Some(identity.server()) || is_named) && is_checked_by_the_pods(identity) {
        return Ok(());
    }
    Err(stray(identity))
}

/// The same for a token that a credential plugin printed: here it is enough that the pod's certificate authority checks the server.
pub(super) fn guard_token(identity: &Identity, token: &Secret, token_is_from: &str) -> Result<(), Failure> {
    if !is_of_this_pod(token) || is_checked_by_the_pods(identity) {
        return Ok(());
    }
    Err(stray(identity).cause(token_is_from))
}

fn stray(identity: &Identity) -> Failure {
    Failure::new(Code::IdentityMisdirected, format!("cannot use {}", identity.why))
        .cause("its token is a pod's own, which goes to the pod's own API server only, checked by the authority that the pod has mounted")
        .hint("hand over an identity that is meant for this API server; keep its token outside of `/var/run/secrets`")
}

fn is_checked_by_the_pods(identity: &Identity) -> bool {
    let mounted = files::read_text(&Path::new(in_cluster::MOUNT).join("ca.crt")).ok();
    let own = server::pem_of(&identity.cluster).ok().flatten();
    let is_checked = identity.cluster.insecure_skip_tls_verify != Some(true);
    is_checked && mounted.zip(own).is_some_and(|(mounted, own)| certificates(mounted.as_bytes()) == certificates(&own))
}

/// Refuses a kubeconfig that was given as text if it names files that are mounted in the pod: its author need not be the pod's.
pub(super) fn names_none(config: &Kubeconfig) -> Result<(), Failure> {
    let users = config.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let of_users = users.flat_map(|user| {
        [("tokenFile", &user.token_file), ("client-certificate", &user.client_certificate), ("client-key", &user.client_key)]
    });
    let clusters = config.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let of_clusters = clusters.map(|cluster| ("certificate-authority", &cluster.certificate_authority));
    for (field, path) in of_users.chain(of_clusters) {
        if path.as_ref().is_some_and(|path| is_mounted(path.as_ref())) {
            return Err(Failure::new(Code::IdentityMisdirected, format!("its `{field}` names a file that belongs to this pod"))
                .hint("leave it out: in a pod its own service account is found without a kubeconfig"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    fn token(claims: &Value) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn two_tokens_of_one_pod_for_one_server_are_alike() {
        let of = |pod: &str, audience: &str| token(&json!({"aud": [audience], "kubernetes.io": {"pod": {"name": "x", "uid": pod}}}));
        assert!(is_like(&of("1", "a"), &of("1", "a")));
        assert!(!is_like(&of("1", "a"), &of("1", "b")) && !is_like(&of("1", "a"), &of("2", "a")));
        // As two clusters with the same issuer have them.
        let of = |issuer: &str| token(&json!({"iss": issuer, "aud": [issuer]}));
        assert!(!is_like(&of("https://kubernetes.default.svc.cluster.local"), &of("https://kubernetes.default.svc.cluster.local")));
    }

    #[test]
    fn a_mounted_token_is_the_pods_own_unless_it_says_otherwise() {
        for own in [json!({}), json!({"iss": "https://a", "aud": ["https://a"]}), json!({"aud": "https://kubernetes.default.svc"})] {
            assert!(!is_for_another(&token(&own)), "{own}");
        }
        assert!(!is_for_another(&Secret::new("opaque".to_owned())));
        for other in [json!({"iss": "https://a", "aud": ["sts.amazonaws.com"]}), json!({"aud": "https://api.example:6443"})] {
            assert!(is_for_another(&token(&other)), "{other}");
        }
    }
}
