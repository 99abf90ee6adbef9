//! The two admission policies (`ValidatingAdmissionPolicy`) of `deploy/policy.yaml`, as the server would enforce them.

use serde_json::{Value, json};

use crate::authn::User;
use crate::status::{self, Answer, Resource};

const SECRETS: &str = "jobpass-lease-secrets";
const TOKENS: &str = "jobpass-tokens";
const LEASE: &str = "jobpass.dev/lease";
const PREFIX: &str = "jobpass-";
const LONGEST: i64 = 3600;
/// The CI identities: nobody else is affected.
const GROUPS: [&str; 2] = ["system:serviceaccounts:jobpass", "jobpass:ci"];

const TYPE: &str = "jobpass policy: a CI identity may create and delete only leases; use a Secret of type jobpass.dev/lease";
const NAME: &str = "jobpass policy: the name of a lease must start with jobpass-";
const DATA: &str = "jobpass policy: a lease must hold no data; leave out data and stringData";
const FINALIZERS: &str = "jobpass policy: a lease must have no finalizers, because its tokens would outlive it; leave them out";
const BACKGROUND: &str = "jobpass policy: delete a lease with propagationPolicy Background, or leave it out";
const BOUND: &str = "jobpass policy: bind the token to a lease, a Secret whose name starts with jobpass-, so that it can be revoked";
const LIFETIME: &str = "jobpass policy: ask for a token of at most 3600 s (--ttl), or have maxSeconds raised in the policy \
    jobpass-tokens";

/// Off by default, as on a cluster where nobody has applied them.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) enabled: bool,
    /// Without `reason: Forbidden` in the validations the server answers 422 Invalid for 403.
    pub(crate) invalid: bool,
}

impl Policies {
    pub(crate) fn create_secret(&self, user: &User, name: &str, secret: &Value) -> Result<(), Answer> {
        let checks = [
            (secret["type"] == LEASE, TYPE),
            (name.starts_with(PREFIX), NAME),
            (is_empty(&secret["data"]), DATA),
            (is_empty(&secret["metadata"]["finalizers"]), FINALIZERS),
        ];
        self.check(user, SECRETS, &Resource::core("secrets"), name, &checks)
    }

    /// `plain` means: in the background, and so with no finalizer and no object in the answer.
    pub(crate) fn delete_secret(&self, user: &User, name: &str, secret: &Value, plain: bool) -> Result<(), Answer> {
        let checks =
            [(secret["type"] == LEASE, TYPE), (name.starts_with(PREFIX), NAME), (is_empty(&secret["data"]), DATA), (plain, BACKGROUND)];
        self.check(user, SECRETS, &Resource::core("secrets"), name, &checks)
    }

    pub(crate) fn request_token(&self, user: &User, account: &str, bound: &Value, seconds: i64) -> Result<(), Answer> {
        let to_lease = bound["kind"] == "Secret" && bound["name"].as_str().is_some_and(|name| name.starts_with(PREFIX));
        let checks = [(to_lease, BOUND), (seconds <= LONGEST, LIFETIME)];
        self.check(user, TOKENS, &Resource::core("serviceaccounts"), account, &checks)
    }

    /// The first check that fails is the one that is reported.
    fn check(&self, user: &User, policy: &str, resource: &Resource, name: &str, checks: &[(bool, &str)]) -> Result<(), Answer> {
        if !self.enabled || !user.groups.iter().any(|group| GROUPS.contains(&group.as_str())) {
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
        for message in [TYPE, NAME, DATA, FINALIZERS, BACKGROUND, BOUND] {
            assert!(manifest.contains(&format!("message: \"{message}\"\n")), "{message}");
        }
        for part in LIFETIME.split("3600") {
            assert!(manifest.contains(part), "{part}");
        }
        for word in GROUPS.into_iter().chain([LEASE]) {
            assert!(manifest.contains(&format!("'{word}'")), "{word}");
        }
        for policy in [SECRETS, TOKENS] {
            assert!(manifest.contains(&format!("policyName: {policy}\n")), "{policy}");
        }
        assert!(manifest.contains(&format!("expression: \"{LONGEST}\"\n")));
    }
}
