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
