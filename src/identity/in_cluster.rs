//! A CI identity that is the service account of the pod that we run in.

use std::path::Path;

use kube::config::{AuthInfo, Cluster};

use super::{
    Identity,
    rank::Rank,
    source::{Kind, Source},
    token_of,
};
use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure},
    files,
    origin::{Origin, Word},
    secret::Secret,
};

/// Where kubelet mounts the pod's service account token.
/// See <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api>.
pub(super) const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The service account of our pod as the CI identity.
pub(super) struct Pod;

impl Source for Pod {
    fn name(&self) -> Option<&'static str> {
        Some("service account of a pod")
    }

    fn kind(&self) -> Kind {
        Kind::InCluster
    }

    fn again(&self, _: &Origin, context: &Context, _: Word) -> Result<Option<Identity>, Failure> {
        self.offered(context)
    }

    fn offered(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        find(&context.env, Path::new(MOUNT))
    }

    fn rank(&self, _: &Identity, _: &Context) -> Rank {
        Rank::Pod
    }
}

/// The pod's service account, if we run in a pod that has one mounted.
pub(super) fn find(env: &Env, mount: &Path) -> Result<Option<Identity>, Failure> {
    let token = mount.join("token");
    let (Some(host), true) = (env.get("KUBERNETES_SERVICE_HOST"), token.exists()) else { return Ok(None) };
    let port = env.get("KUBERNETES_SERVICE_PORT").unwrap_or("443");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let read = |name: &str| {
        let path = mount.join(name);
        let failed = |error| {
            Failure::new(Code::IdentityPod, "cannot use the service account of this pod").cause(format!("`{}`: {error}", path.display()))
        };
        files::read_text(&path).map_err(failed)
    };
    Ok(Some(Identity {
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: Some(mount.join("ca.crt").to_string_lossy().into_owned()),
            ..Cluster::default()
        },
        user: AuthInfo {
            token: Some(token_of(&Secret::new(read("token")?))),
            // Kubelet renews the file; after a 401 it is read again.
            token_file: Some(token.to_string_lossy().into_owned()),
            ..AuthInfo::default()
        },
        authority: "the certificate authority that this pod has mounted".to_owned(),
        pod_namespace: read("namespace").ok().map(|text| text.trim().to_owned()),
        ..Identity::new(Origin::InCluster, "the service account of this pod".to_owned())
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pod() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in [("token", "tok\n"), ("ca.crt", "pem"), ("namespace", "ci\n")] {
            #[expect(clippy::disallowed_methods, reason = "the mount of a pod is made here")]
            fs::write(directory.path().join(name), text).expect("written");
        }
        directory
    }

    #[test]
    fn a_pod_is_one_with_a_mounted_token() {
        let pod = pod();
        let env: Env = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "6443")].into_iter().collect();
        let identity = find(&env, pod.path()).expect("readable").expect("here");
        assert_eq!(identity.cluster.server.as_deref(), Some("https://10.0.0.1:6443"));
        assert_eq!(identity.pod_namespace.as_deref(), Some("ci"));
        assert!(find(&env, Path::new("/nowhere")).expect("readable").is_none());
        assert!(find(&Env::default(), pod.path()).expect("readable").is_none());
    }

    #[test]
    fn an_address_of_version_six_is_put_in_brackets() {
        let env: Env = [("KUBERNETES_SERVICE_HOST", "fd00::1")].into_iter().collect();
        let pod = pod();
        let identity = find(&env, pod.path()).expect("readable").expect("here");
        assert_eq!(identity.cluster.server.as_deref(), Some("https://[fd00::1]:443"));
    }
}
