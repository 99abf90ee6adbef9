//! Hints for a refusal by an admission policy; the policies of `deploy/policy.yaml` are recognised by the words of their messages.

/// Words of a policy's message, and the hint for them. The messages of our policies say what is wrong; the hint says who can fix
/// it.
const HINTS: [(&str, &str); 9] = [
    (
        "policy: locked",
        "an operator has locked this service account: wait until that time, or ask them to end it by `jobpass unlock`; asking again before changes nothing",
    ),
    (
        "annotation jobpass.dev/identity",
        "check that whatever stands between this job and the API server lets it ask who it is (`SelfSubjectReview`), and that both are of one cluster",
    ),
    (
        "only the CI identity that made a lease",
        "revoke as the CI identity that requested the pass, or let an operator end it by `jobpass leases revoke`",
    ),
    (
        "the run of the job's own token",
        "leave `GITHUB_RUN_ID`, or GitLab's `CI_JOB_ID`, as the CI system sets it: the job's OIDC token is of another run than it says",
    ),
    ("only the run that made a lease", "revoke in the run that requested the pass, or let an operator end it by `jobpass leases revoke`"),
    (
        "allowedKeys",
        "ask the cluster's admins to write that key into `allowedKeys` at the head of the policy `jobpass-lease-secrets` (`deploy/policy.yaml`)",
    ),
    ("labels and annotations of a lease must not take", "ask the cluster's admins which tool adds so much to every object"),
    ("ask for a token of at most", "ask for less by `--ttl`, or run the command by `jobpass run`, which renews the token"),
    ("jobpass policy: ", "ask the cluster's admins: their `deploy/policy.yaml` and this jobpass are of different versions"),
];

/// The hint for a policy that is not ours: it may well have said what to do.
const OTHERS: &str = "do what its message says, or ask the cluster's admins, whose admission policy says no";

/// The hint for this message of an admission policy.
pub(super) fn hint(message: &str) -> &'static str {
    let known = HINTS.iter().find(|(words, _)| message.contains("jobpass policy: ") && message.contains(words));
    known.map_or(OTHERS, |(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_manifest_and_of_nobody_else() {
        let manifest = include_str!("../../deploy/policy.yaml").split_whitespace().collect::<Vec<_>>().join(" ");
        for (words, text) in HINTS {
            assert!(manifest.contains(words.trim()), "{words}");
            assert_eq!(hint(&format!("jobpass policy: {words}")), text);
        }
        assert_eq!(hint("annotation jobpass.dev/identity"), OTHERS);
    }
}
