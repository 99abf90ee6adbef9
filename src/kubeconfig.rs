//! Renders the kubeconfig of a pass.

use std::path::Path;

use kube::config::{AuthInfo, NamedExtension};

use crate::{
    identity::{
        self, Identity,
        kubeconfig::{EXTENSION, Mark},
    },
    lease::Lease,
    secret::Secret,
};

/// The kubeconfig as JSON, which every reader of YAML takes.
///
/// It names the token's file, which client-go reads again when it changes, and holds the token too if there will be no other: some
/// clients know only the one or the other. It says that it is a pass, so that it is never taken for a CI identity.
#[must_use]
pub fn render(identity: &Identity, lease: &Lease, token: Option<&Secret>, token_file: &Path, namespace: &str) -> Secret {
    let user = AuthInfo {
        token: token.map(|token| token.expose().to_owned().into()),
        token_file: Some(token_file.to_string_lossy().into_owned()),
        ..AuthInfo::default()
    };
    let mut config = identity::one(identity.cluster.clone(), user);
    for context in config.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
        context.namespace = Some(namespace.to_owned());
    }
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        // What the CI identity's exec plugin is told is not the job's business.
        cluster.extensions = None;
    }
    let mark = Mark { lease: lease.id(), identity: Some(lease.identity.clone()) };
    config.api_version = Some("v1".into());
    config.kind = Some("Config".into());
    config.extensions = Some(vec![NamedExtension { name: EXTENSION.into(), extension: serde_json::to_value(mark).unwrap_or_default() }]);
    Secret::new(serde_json::to_string_pretty(&config).unwrap_or_default() + "\n")
}

#[cfg(test)]
mod tests {
    use kube::config::Cluster;

    use super::*;
    use crate::{
        identity::{Origin, kubeconfig::marked},
        lease::tests::lease,
    };

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
        };
        render(&identity, &lease(), Some(&Secret::new("tok".into())), Path::new("token"), "prod").expose().to_owned()
    }

    #[test]
    fn it_reaches_the_same_server_as_the_pass_and_nobody_else() {
        let config = kube::config::Kubeconfig::from_yaml(&rendered()).expect("YAML");
        let json: serde_json::Value = serde_json::from_str(&rendered()).expect("JSON");
        assert_eq!(json["clusters"][0]["cluster"]["server"], "https://s:6443");
        assert_eq!(json["users"][0]["user"], serde_json::json!({"token": "tok", "tokenFile": "token"}));
        assert_eq!(config.contexts[0].context.as_ref().and_then(|context| context.namespace.as_deref()), Some("prod"));
        assert!(!rendered().contains("the-identity-s-own"));
    }

    #[test]
    fn it_is_known_as_a_pass() {
        let mark = marked(&rendered()).expect("marked");
        assert_eq!((mark.lease, mark.identity), (lease().id(), Some(Origin::InCluster)));
        assert_eq!(marked("{}"), None);
    }
}
