//! The Secret that every token of a lease is bound to.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Secret as LeaseSecret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::Lease;
use crate::{
    env::Env,
    identity::Identity,
    out::instant,
    platform::{Platform, Provenance, tekton},
    spec::TokenSpec,
};

/// The type of a lease Secret; admission policies know it by this.
pub const SECRET_TYPE: &str = "jobpass.dev/lease";

/// The Secret that the token is bound to: empty, and a note for the audit log of who made it for what.
#[must_use]
pub fn secret(lease: &Lease, spec: &TokenSpec, env: &Env, platform: Platform, identity: &Identity) -> LeaseSecret {
    let Provenance { run_id, repository, run_url, commit, actor } = platform.provenance(env);
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "jobpass".to_owned()),
        ("jobpass.dev/lease".to_owned(), "true".to_owned()),
    ]);
    labels.extend(run_id.filter(|id| is_label_value(id)).map(|id| ("jobpass.dev/run-id".to_owned(), id)));
    let notes = [
        ("expires-at", Some(instant(lease.expires_at))),
        ("service-account", Some(spec.service_account.to_string())),
        ("platform", Some(platform.to_string())),
        ("repository", repository),
        ("run-url", run_url),
        ("commit", commit),
        ("actor", actor),
    ];
    let notes = notes.into_iter().filter_map(|(name, text)| Some((format!("jobpass.dev/{name}"), text?.chars().take(1024).collect())));
    // An owner that the garbage collector does not find means collection at once: only where it surely is in this namespace.
    let owner = match (platform, &identity.pod_namespace, tekton::pod(env)) {
        (Platform::Tekton, Some(namespace), Some((name, uid))) if *namespace == lease.service_account.namespace => {
            Some(vec![OwnerReference { api_version: "v1".into(), kind: "Pod".into(), name, uid, ..OwnerReference::default() }])
        }
        _ => None,
    };
    LeaseSecret {
        metadata: ObjectMeta {
            name: Some(lease.name.clone()),
            namespace: Some(lease.service_account.namespace.clone()),
            labels: Some(labels),
            annotations: Some(notes.collect()),
            owner_references: owner,
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.into()),
        ..LeaseSecret::default()
    }
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_label_becomes_one() {
        assert!(is_label_value("9876543210") && is_label_value("a.b_c-d"));
        for text in ["", "-a", "a-", "a b", "a/b", &"a".repeat(64)] {
            assert!(!is_label_value(text), "{text}");
        }
    }
}
