//! The two admission policies (`ValidatingAdmissionPolicy`) of `deploy/policy.yaml`, as the server would enforce them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::authn::User;
use crate::status::{self, Answer, Resource};

const SECRETS: &str = "jobpass-lease-secrets";
const TOKENS: &str = "jobpass-tokens";
const LEASE: &str = "jobpass.dev/lease";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const PREFIX: &str = "jobpass-";
const LONGEST: i64 = 3600;
/// The CI identities, nobody else is affected: the members of these groups, and of those that begin with the last.
const GROUPS: [&str; 3] = ["system:serviceaccounts:jobpass", "jobpass:ci", "jobpass:ci:"];
/// Which run a user is, by the extra that the authentication configuration maps, and which a lease is of, by its label.
const RUN: &str = "jobpass.dev/run-id";

const TYPE: &str = "jobpass policy: a CI identity may create and delete only leases; use a Secret of type jobpass.dev/lease";
const NAME: &str = "jobpass policy: the name of a lease must start with jobpass-";
const DATA: &str = "jobpass policy: a lease must hold no data; leave out data and stringData";
const FINALIZERS: &str = "jobpass policy: a lease must have no finalizers, because its tokens would outlive it; leave them out";
const BACKGROUND: &str = "jobpass policy: delete a lease with propagationPolicy Background, or leave it out";
const IDENTITY: &str =
    "jobpass policy: a lease must say who makes it, in the annotation jobpass.dev/identity; use a jobpass that writes it";
const FOREIGN: &str = "jobpass policy: only the CI identity that made a lease may delete it";
const RUN_MISSING: &str =
    "jobpass policy: a lease must say which run makes it, in the label jobpass.dev/run-id: the run of the job's own token";
const RUN_FOREIGN: &str = "jobpass policy: only the run that made a lease may delete it";
const LIFE: &str = "jobpass policy: a lease must say how long it lives, in the annotation jobpass.dev/lifetime: seconds, at most 604800";
const SIZE: &str = "jobpass policy: the labels and annotations of a lease must not take more than 16 kB";
/// The first part is followed by the key.
const KEYS: [&str; 2] = [
    "jobpass policy: a lease must not have the label or annotation ",
    "; where a tool of the cluster adds it to every object, write it into allowedKeys at the head of the policy jobpass-lease-secrets",
];
const OWNER: &str = "jobpass policy: a lease may be owned by nothing but a Pod";
const BOUND: &str = "jobpass policy: bind the token to a lease, a Secret whose name starts with jobpass-, so that it can be revoked";
const LIFETIME: &str = "jobpass policy: ask for a token of at most 3600 s (--ttl), or have maxSeconds raised in the policy \
    jobpass-tokens";
/// The annotations of a namespace that lock it, and what is said of them.
const LOCK: &str = "jobpass.dev/locked-until";
const LOCK_REASON: &str = "jobpass.dev/locked-reason";
const LOCKED: &str = "jobpass policy: locked until ";
const UNREASONED: &str = "no reason was given";

/// Off by default, as on a cluster where nobody has applied them.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) enabled: bool,
    /// Without `reason: Forbidden` in the validations the server answers 422 Invalid for 403.
    pub(crate) invalid: bool,
}

impl Policies {
    pub(crate) fn create_secret(&self, user: &User, name: &str, secret: &Value) -> Result<(), Answer> {
        let metadata = &secret["metadata"];
        let foreign = pairs(metadata).map(|(key, _)| key).find(|key| !key.starts_with("jobpass.dev/") && *key != MANAGED_BY);
        let foreign_message = format!("{}{}{}", KEYS[0], foreign.unwrap_or_default(), KEYS[1]);
        let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        let checks = [
            (secret["type"] == LEASE, TYPE),
            (name.starts_with(PREFIX), NAME),
            (is_empty(&secret["data"]), DATA),
            (is_empty(&metadata["finalizers"]), FINALIZERS),
            (note(secret, "identity") == Some(user.name.as_str()), IDENTITY),
            (is_run(user, secret), RUN_MISSING),
            (note(secret, "lifetime").is_some_and(is_lifetime), LIFE),
            (pairs(metadata).map(|(key, value)| key.len() + value.len()).sum::<usize>() <= 16_384, SIZE),
            (foreign.is_none(), foreign_message.as_str()),
            (owners.iter().all(|owner| owner["apiVersion"] == "v1" && owner["kind"] == "Pod"), OWNER),
        ];
        self.check(user, SECRETS, &Resource::core("secrets"), name, &checks)
    }

    /// `plain` means: in the background, and so with no finalizer and no object in the answer.
    pub(crate) fn delete_secret(&self, user: &User, name: &str, secret: &Value, plain: bool) -> Result<(), Answer> {
        let checks = [
            (secret["type"] == LEASE, TYPE),
            (name.starts_with(PREFIX), NAME),
            (is_empty(&secret["data"]), DATA),
            (plain, BACKGROUND),
            (note(secret, "identity").is_none_or(|maker| *maker == user.name), FOREIGN),
            (is_run(user, secret), RUN_FOREIGN),
        ];
        self.check(user, SECRETS, &Resource::core("secrets"), name, &checks)
    }

    pub(crate) fn request_token(&self, user: &User, account: &str, bound: &Value, seconds: i64, lock: Option<&str>) -> Result<(), Answer> {
        let to_lease = bound["kind"] == "Secret" && bound["name"].as_str().is_some_and(|name| name.starts_with(PREFIX));
        let checks = [(lock.is_none(), lock.unwrap_or_default()), (to_lease, BOUND), (seconds <= LONGEST, LIFETIME)];
        self.check(user, TOKENS, &Resource::core("serviceaccounts"), account, &checks)
    }

    /// What a policy's expressions are about; none where there is no such policy.
    pub(crate) fn expressions(&self, name: &str) -> Option<Vec<&'static str>> {
        match name {
            SECRETS if self.enabled => Some(vec![LEASE]),
            TOKENS if self.enabled => Some(vec![LOCK]),
            _ => None,
        }
    }

    /// What the policy says where a lock in the namespace's annotations holds for the account. What is no time always holds.
    pub(crate) fn lock(notes: &BTreeMap<String, String>, account: &str, now: Timestamp) -> Option<String> {
        let is_over = |until: &str| until.len() == 20 && until.parse::<Timestamp>().is_ok_and(|until| until <= now);
        [String::new(), format!(".{account}")].iter().find_map(|suffix| {
            let until = notes.get(&format!("{LOCK}{suffix}")).filter(|until| !is_over(until))?;
            let reason = notes.get(&format!("{LOCK_REASON}{suffix}")).map_or(UNREASONED, String::as_str);
            Some(format!("{LOCKED}{until}: {reason}"))
        })
    }

    /// The first check that fails is the one that is reported.
    fn check(&self, user: &User, policy: &str, resource: &Resource, name: &str, checks: &[(bool, &str)]) -> Result<(), Answer> {
        let [accounts, users, part] = GROUPS;
        let is_watched = |group: &String| group == accounts || group == users || group.starts_with(part);
        if !self.enabled || !user.groups.iter().any(is_watched) {
            return Ok(());
        }
        let Some((_, message)) = checks.iter().find(|(good, _)| !good) else {
            return Ok(());
        };
        let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {message}");
        let (code, reason) = if self.invalid { (422, "Invalid") } else { (403, "Forbidden") };
        let mut details = status::details(resource, name);
        details["causes"] = json!([{"message": why}]);
        let message = status::forbidden_message(resource, name, &why);
        Err(status::failure(code, reason, &message, Some(details)))
    }
}

/// An annotation of ours.
fn note<'a>(secret: &'a Value, name: &str) -> Option<&'a str> {
    secret["metadata"]["annotations"][format!("jobpass.dev/{name}")].as_str()
}

/// Whether a lease is of the run that the user is, if the user is one run.
fn is_run(user: &User, secret: &Value) -> bool {
    let mut runs = user.extra.iter().filter(|(key, _)| key == RUN).map(|(_, run)| run.as_str());
    runs.all(|run| secret["metadata"]["labels"][RUN] == run)
}

/// A number of seconds, a week at most.
fn is_lifetime(text: &str) -> bool {
    (1..=6).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse().is_ok_and(|seconds: u32| seconds <= 604_800)
}

/// All labels, then all annotations.
fn pairs(metadata: &Value) -> impl Iterator<Item = (&str, &str)> {
    let of = |field: &str| metadata[field].as_object().into_iter().flatten();
    of("labels").chain(of("annotations")).map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are those of the manifest that operators apply, or a test of jobpass's messages proves nothing.
    #[test]
    fn names_groups_and_messages_are_those_of_the_manifest() {
        let manifest = include_str!("../../../deploy/policy.yaml");
        for message in [TYPE, NAME, DATA, FINALIZERS, BACKGROUND, IDENTITY, FOREIGN, RUN_MISSING, RUN_FOREIGN, LIFE, SIZE, OWNER, BOUND] {
            assert!(manifest.contains(&format!("message: \"{message}\"\n")), "{message}");
        }
        let folded = manifest.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in LIFETIME.split("3600").chain(KEYS) {
            assert!(folded.contains(part.trim()), "{part}");
        }
        for word in GROUPS.into_iter().chain([LEASE, MANAGED_BY, RUN]) {
            assert!(manifest.contains(&format!("'{word}'")), "{word}");
        }
        for word in [LOCK, LOCK_REASON, LOCKED, UNREASONED] {
            assert!(manifest.contains(&format!("'{word}'")), "{word}");
        }
        for policy in [SECRETS, TOKENS] {
            assert!(manifest.contains(&format!("policyName: {policy}\n")), "{policy}");
        }
        assert!(manifest.contains(&format!("expression: \"{LONGEST}\"\n")));
    }
}
