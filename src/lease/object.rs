//! The Secret that every token of a lease is bound to.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Secret as LeaseSecret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::Lease;
use crate::{
    context::Context,
    out::instant,
    platform::{Platform, Provenance, tekton},
    spec::TokenSpec,
};

/// The `type` of a lease Secret, by which admission policies recognise it.
pub const SECRET_TYPE: &str = "jobpass.dev/lease";

/// The annotation with the user name that made a lease: the policies of `deploy/` let only that identity delete it.
pub const IDENTITY: &str = "identity";

/// The annotation with the longest life of any token of the lease: seconds from its creation, by the server's clock.
pub const LIFETIME: &str = "lifetime";

/// In bytes: the most that one text from outside may take. All annotations together then stay below the 16 kB that the policies of
/// `deploy/` allow.
const LONGEST: usize = 1024;

/// In bytes: a longer user name is left out. It cannot be shortened, as the policies compare it.
const LONGEST_NAME: usize = 4096;

/// The identity that makes a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maker {
    /// Our user name as the API server sees it, if it is known.
    pub name: Option<String>,
    /// The namespace of our pod, if we ask as its service account.
    pub pod_namespace: Option<String>,
}

/// The Secret as it is sent: it has no data, only labels and annotations that say for the audit log who made it for what.
#[must_use]
pub fn secret(lease: &Lease, spec: &TokenSpec, context: &Context, maker: &Maker) -> LeaseSecret {
    let Context { env, platform, .. } = context;
    let Provenance { run_id, repository, run_url, commit, actor } = platform.provenance(env);
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "jobpass".to_owned()),
        ("jobpass.dev/lease".to_owned(), "true".to_owned()),
    ]);
    labels.extend(run_id.filter(|id| is_label_value(id)).map(|id| ("jobpass.dev/run-id".to_owned(), id)));
    let name = maker.name.clone().filter(|name| name.len() <= LONGEST_NAME && !name.contains(char::is_control));
    let notes = [
        (LIFETIME, Some(spec.lifetime.unwrap_or(spec.ttl).as_secs().to_string())),
        (IDENTITY, name),
        // Only for people: programs use the lifetime, as our clock may be wrong.
        ("expires-at", Some(instant(lease.expires_at))),
        ("service-account", Some(spec.service_account.to_string())),
        ("platform", Some(platform.to_string())),
        ("repository", repository.as_deref().map(plain)),
        ("run-url", run_url.as_deref().map(plain)),
        ("commit", commit.as_deref().map(plain)),
        ("actor", actor.as_deref().map(plain)),
    ];
    let notes = notes.into_iter().filter_map(|(name, text)| Some((format!("jobpass.dev/{name}"), text?)));
    // The garbage collector deletes an object at once if its owner does not exist in the namespace. So the pod becomes the owner
    // only where it surely is there.
    let pod = match platform {
        Platform::Tekton if maker.pod_namespace.as_ref() == Some(&lease.service_account.namespace) => tekton::pod(env),
        Platform::Tekton | Platform::Github | Platform::Gitlab | Platform::Local => None,
    };
    let owner = pod
        .map(|(name, uid)| vec![OwnerReference { api_version: "v1".into(), kind: "Pod".into(), name, uid, ..OwnerReference::default() }]);
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

/// A text from outside without control characters, cut to the longest length.
fn plain(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(LONGEST));
    text
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
    use std::time::Duration;

    use super::{super::tests::lease, *};
    use crate::context::context;

    fn annotations(env: &[(&str, &str)], lifetime: Option<Duration>, name: &str) -> BTreeMap<String, String> {
        let context = context(Platform::Gitlab, &[("service-account", "ci/deploy-bot")], env).expect("valid");
        let spec = TokenSpec::of(&context).expect("valid");
        let maker = Maker { name: Some(name.to_owned()), pod_namespace: None };
        let secret = secret(&lease(), &TokenSpec { lifetime, ..spec }, &context, &maker);
        secret.metadata.annotations.expect("there are some")
    }

    #[test]
    fn how_long_it_lives_is_a_number_of_seconds_and_no_moment_of_our_clock() {
        let of = |lifetime| annotations(&[], lifetime, "u")["jobpass.dev/lifetime"].clone();
        assert_eq!((of(None), of(Some(Duration::from_hours(168)))), ("3600".to_owned(), "604800".to_owned()));
    }

    #[test]
    fn foreign_texts_are_cut_and_hold_no_control_characters() {
        let long = "\u{1b}[31mü".repeat(4000);
        let names = ["CI_PROJECT_PATH", "CI_JOB_URL", "CI_COMMIT_SHA", "GITLAB_USER_LOGIN", "CI_JOB_ID"];
        let notes = annotations(&names.map(|name| (name, long.as_str())), None, &"n".repeat(4096));
        assert!(notes.iter().map(|(key, text)| key.len() + text.len()).sum::<usize>() < 16 * 1024 - 512);
        assert!(notes.values().all(|text| !text.contains(char::is_control)));
    }

    #[test]
    fn a_user_name_is_whole_or_not_there() {
        assert_eq!(annotations(&[], None, "system:serviceaccount:ci:x")["jobpass.dev/identity"], "system:serviceaccount:ci:x");
        for name in ["a\nb", &"n".repeat(4097)] {
            assert!(!annotations(&[], None, name).contains_key("jobpass.dev/identity"), "{name}");
        }
    }

    #[test]
    fn only_a_valid_label_becomes_one() {
        assert!(is_label_value("9876543210") && is_label_value("a.b_c-d"));
        for text in ["", "-a", "a-", "a b", "a/b", &"a".repeat(64)] {
            assert!(!is_label_value(text), "{text}");
        }
    }
}
