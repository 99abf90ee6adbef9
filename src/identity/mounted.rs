//! A pod's own credential: recognised under any path, and sent only to the pod's own API server.

use std::path::Path;

use kube::config::{AuthInfo, Kubeconfig};
use rustix::fs::stat;

use super::{Identity, in_cluster, server};
use crate::{
    env::Env,
    failure::{Code, Failure},
    files::{self, lies_in},
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

/// Whether a token is the one that this pod has mounted.
fn is_of_this_pod(token: &Secret) -> bool {
    let mounted = files::read_text(&Path::new(in_cluster::MOUNT).join("token"));
    mounted.is_ok_and(|mounted| !mounted.trim().is_empty() && Secret::new(mounted).trimmed() == token.trimmed())
}

/// Whether an identity's credential is the pod's own.
pub(super) fn is_own(identity: &Identity) -> bool {
    let AuthInfo { token, token_file, .. } = &identity.user;
    token_file.as_ref().is_some_and(|path| is_mounted(path.as_ref()))
        || token.as_ref().is_some_and(|token| is_of_this_pod(&token.clone().into()))
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
