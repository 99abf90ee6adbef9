//! What is wrong in a cluster: a name that scripts may rely on, how bad it is, what it means, and what to do about it.

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Untidy, or to be known.
    Low,
    /// A way to more than was meant, for somebody who has something already.
    Medium,
    /// A way to tokens that outlive their pass, or to other people's secrets.
    High,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Declares each kind of finding once; [`Id::ALL`], its name, severity and page follow.
macro_rules! findings {
    ($($id:ident $name:literal $severity:ident: $means:literal, $remedy:literal;)*) => {
        /// The kind of a finding. Its name stays the same from version to version, whatever the words are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each says what it means in `means`")]
        pub enum Id {
            $($id,)*
        }

        impl Id {
            /// All of them, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$id => $name,)*
                }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$id => Severity::$severity,)*
                }
            }

            /// What it means, in a sentence for the page.
            #[must_use]
            pub fn means(self) -> &'static str {
                match self {
                    $(Self::$id => $means,)*
                }
            }

            /// What to do about it, in a sentence for the page.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$id => $remedy,)*
                }
            }
        }
    };
}

findings! {
    RightsMint "rights-mint" High:
        "The pass, or the role that is to be given, can create tokens of service accounts. They outlive the pass: a revocation does not end them.",
        "Bind a role without `serviceaccounts/token`, such as the one of `jobpass setup --show-role deploy`.";
    RightsImpersonate "rights-impersonate" High:
        "The pass, or the role that is to be given, can act as somebody else.",
        "Bind a role without the verb `impersonate`.";
    RightsSecrets "rights-secrets" High:
        "The pass, or the role that is to be given, can read Secrets, or write them, which is a way to tokens that never end.",
        "Bind a role without `secrets`.";
    RightsEscalate "rights-escalate" High:
        "The pass, or the role that is to be given, can change who may do what.",
        "Bind a role without rights on roles, role bindings, certificate requests, webhooks and admission policies.";
    RightsExec "rights-exec" Medium:
        "The pass, or the role that is to be given, can run commands in pods, and so use their service accounts.",
        "Bind a role without `pods/exec`, `pods/attach` and `pods/ephemeralcontainers`.";
    ServerUnreachable "server-unreachable" High:
        "The API server cannot be reached or trusted, or something else answers at its address. Nothing else can be checked then.",
        "Follow the hint beside it; [the codes of failures](errors.md) say more.";
    TrustUnchecked "trust-unchecked" High:
        "The certificate of the API server is not checked: whoever answers at its address gets the CI identity's credential.",
        "Take `--insecure-skip-tls-verify` away, and give the cluster's authority by `--certificate-authority`.";
    TrustEnds "trust-ends" Medium:
        "The certificate of the API server ends in less than 30 days, and has less than a fifth of its life left. Then every job fails.",
        "Ask whoever runs the cluster to renew it.";
    ClockSkew "clock-skew" Medium:
        "The clocks of this machine and of the API server are more than a minute apart: tokens begin and end at other times than they say.",
        "Set the clock of the machine that is wrong, by NTP.";
    IdentityRefused "identity-refused" High:
        "The API server does not take the credential of the CI identity.",
        "Follow the hint beside it; a credential with an end has to be made anew: `jobpass setup identity`.";
    IdentityUnwatched "identity-unwatched" High:
        "The CI identity is in none of the groups that the policies watch, so its rights are a way to tokens that never end.",
        "Use a service account of the namespace `jobpass`, or put the user into a group whose name begins with `jobpass:ci:`.";
    CredentialEternal "credential-eternal" Medium:
        "The credential of the CI identity never ends: whoever has read it once can use it for ever.",
        "Give it an end (`jobpass setup identity`), or let the cluster trust the CI system's own tokens ([oidc.md](oidc.md)).";
    CredentialEnds "credential-ends" Low:
        "The credential of the CI identity ends within a week.",
        "Make a new one: `jobpass setup identity`.";
    PermissionMissing "permission-missing" High:
        "The CI identity lacks a right without which there is no pass: create tokens of the service account, create and delete Secrets beside it.",
        "Ask a cluster admin for `jobpass setup NAMESPACE/NAME --apply`.";
    IdentitySecrets "identity-secrets" High:
        "The CI identity may read or change Secrets. jobpass needs neither.",
        "Take the role away that gives it; jobpass needs `create` and `delete` only.";
    IdentityMints "identity-mints" High:
        "The CI identity may create tokens of service accounts that nobody has named for it.",
        "Limit its role to the service account by `resourceNames`.";
    IdentityPowers "identity-powers" High:
        "The CI identity may act as somebody else, change rights, or run pods: more than it needs, and out of the policies' sight.",
        "Take the roles away that jobpass does not need.";
    PolicyMissing "policy-missing" High:
        "Nothing refuses what no CI identity may do: a way to Secrets or to tokens that never end.",
        "Apply the policies: `jobpass setup NAMESPACE/NAME --apply`.";
    AccountNotGranted "account-not-granted" High:
        "The CI identity may have no token of this service account.",
        "Check the name; else ask a cluster admin for `jobpass setup NAMESPACE/NAME --apply`.";
    AccountMissing "account-missing" High:
        "There is no such service account, or no such namespace.",
        "Check the name, or create it: `kubectl create serviceaccount`.";
    TtlShortened "ttl-shortened" Low:
        "The API server grants tokens for less time than is asked for.",
        "Ask for less by `--ttl`, or run long commands by `jobpass run`, which renews the token.";
    PassFailed "pass-failed" High:
        "A pass could not be begun, used or ended.",
        "Follow the hint beside it; [the codes of failures](errors.md) say more.";
    PassAlive "pass-alive" High:
        "The token of a pass was still accepted when its pass was ended and the API server's cache was over.",
        "Ask whoever runs the cluster what answers for the API server: a webhook that authenticates, or a server without its etcd.";
    JobUnfit "job-unfit" High:
        "The CI system does not give the job what a pass needs: a directory outside the workspace, a key that names the job, its runner's files.",
        "Follow the hint beside it.";
    PolicyUnbound "policy-unbound" High:
        "A policy is there and refuses nothing: it has no binding with `Deny`, or lets through what it cannot judge.",
        "Apply the policies anew: `jobpass setup NAMESPACE/NAME --apply`.";
    PolicyOutdated "policy-outdated" Medium:
        "A policy differs from the one of this jobpass.",
        "Compare them, and apply the new one: first the jobs' jobpass, then the policy.";
    OthersWriteSecrets "others-write-secrets" Medium:
        "Others than the CI identities may write Secrets or create tokens in the namespace: they can make tokens of its service accounts.",
        "Take these rights away, or keep the service accounts of jobs in a namespace of their own.";
    BoundUnwatched "bound-unwatched" High:
        "Somebody has the rights of a CI identity whom the policies do not watch.",
        "Take the subject out of the role binding, or put it into a group that is watched.";
    NamespaceShared "namespace-shared" Low:
        "Beside leases there are other Secrets in the namespace, or pods may run in it: whoever breaks one fence is at the other.",
        "Give the service accounts of jobs a namespace that holds nothing else.";
    LeasesLeftOver "leases-left-over" Low:
        "Leases are left over whose tokens are dead. They do no harm.",
        "`jobpass leases sweep`";
    EternalTokens "eternal-tokens" Medium:
        "The namespace holds token Secrets: tokens of its service accounts that never end.",
        "See who still uses them, then delete the Secrets ([operators.md](operators.md#eternal-tokens)).";
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its kind.
    pub id: Id,
    /// How bad it is here: the kind's own severity, or less.
    pub severity: Severity,
    /// What was found, in a sentence without full stop.
    pub text: String,
    /// What to type, or whom to ask, if there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// A finding as bad as its kind.
    #[must_use]
    pub fn new(id: Id, text: impl Into<String>) -> Self {
        Self { id, severity: id.severity(), text: text.into(), fix: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// The worst of them.
#[must_use]
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Severity> {
    findings.into_iter().map(|finding| finding.severity).max()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let names: BTreeSet<_> = Id::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), Id::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn the_worst_counts() {
        let finding = |id| Finding::new(id, "x");
        assert_eq!(worst(&[finding(Id::RightsExec), finding(Id::RightsMint)]), Some(Severity::High));
        assert_eq!(worst(&[]), None);
    }
}
