//! Variables that look like settings but are none: the user gets a warning, with the setting that was probably meant.

use super::ALL;
use crate::{env::Env, out::one_line};

/// The prefix of all our variables.
const PREFIX: &str = "JOBPASS_";

/// Names with our prefix that are no settings: what we export, what our manifests set, what our template reads.
const OURS: &[&str] = &[
    "JOBPASS_COMMIT",
    "JOBPASS_CURL",
    "JOBPASS_EXPIRES_AT",
    "JOBPASS_IDENTITY_ID_TOKEN",
    "JOBPASS_PASS_CA_FILE",
    "JOBPASS_PASS_NAMESPACE",
    "JOBPASS_PASS_SERVER",
    "JOBPASS_POD_NAME",
    "JOBPASS_POD_UID",
    "JOBPASS_REPOSITORY",
    "JOBPASS_RUN_NAME",
    "JOBPASS_SHA256",
    "JOBPASS_TOKEN_FILE",
    "JOBPASS_URL",
];

/// In characters: a longer name is not repeated in a message.
const LONGEST: usize = 60;

/// How many typing errors a name may have to be taken for another one; fewer in short names.
const NEAR: usize = 3;

/// One warning for each variable that is no setting; never with its value.
#[must_use]
pub fn warnings(env: &Env) -> Vec<String> {
    let names: Vec<_> = ALL.iter().map(|setting| setting.variable()).chain(OURS.iter().map(|&name| name.to_owned())).collect();
    let unknown = env.names_like(PREFIX).filter(|name| !names.iter().any(|known| known == name) && !is_of_a_service(name));
    unknown.map(|name| warning(name, &names)).collect()
}

fn warning(name: &str, names: &[String]) -> String {
    let is_plain = name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_plain {
        return format!("a variable whose name begins with `{}` is no setting of jobpass", one_line(&name[..PREFIX.len()]));
    }
    let capitals = name.to_ascii_uppercase();
    let near = NEAR.min((name.len() - PREFIX.len()) / 3).max(1);
    let nearest = names.iter().map(|known| (distance(&capitals, known), known)).min().filter(|(distance, _)| *distance <= near);
    let meant = nearest.map_or_else(String::new, |(_, known)| format!(": did you mean `{known}`?"));
    format!("`{name}` is no setting of jobpass{meant}")
}

/// Whether Kubernetes has set the variable for a Service named `jobpass` in the pod's namespace.
/// See <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_of_a_service(name: &str) -> bool {
    let name = &name[PREFIX.len() - 1..];
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_PORT_"].iter().any(|part| name.contains(part))
}

/// The edit distance: how many characters must be added, removed, changed or swapped with their neighbour.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        rows.rotate_left(1);
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[1][j] + usize::from(a != b)).min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[0][j - 1] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
    }
    rows[2][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Vec<String> {
        warnings(&names.iter().map(|name| (*name, "hunter2")).collect())
    }

    #[test]
    fn the_nearest_name_is_asked_for() {
        for (name, meant) in [
            ("JOBPASS_SERVICE_ACOUNT", "JOBPASS_SERVICE_ACCOUNT"),
            ("JOBPASS_SERVICEACCOUNT", "JOBPASS_SERVICE_ACCOUNT"),
            ("JOBPASS_SEVRER", "JOBPASS_SERVER"),
            ("JOBPASS_server", "JOBPASS_SERVER"),
            ("jobpass_server", "JOBPASS_SERVER"),
        ] {
            assert_eq!(of(&[name]), [format!("`{name}` is no setting of jobpass: did you mean `{meant}`?")]);
        }
        for name in ["JOBPASS_ACTION", "JOBPASS_FOO", "JOBPASS_"] {
            assert_eq!(of(&[name]), [format!("`{name}` is no setting of jobpass")]);
        }
    }

    #[test]
    fn what_is_ours_or_a_services_is_not_warned_of() {
        assert_eq!(of(&["JOBPASS_TTL", "JOBPASS_URL", "JOBPASS_LEASE", "JOBPASS_SERVICE_HOST", "JOBPASS_PORT_443_TCP_ADDR", "X"]), [""; 0]);
        assert_eq!(of(&["JOBPASS_API_SERVICE_PORT_HTTPS", "JOBPASS_PORT"]), [""; 0]);
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_not_repeated() {
        for name in ["JOBPASS_A B".to_owned(), format!("JOBPASS_{}", "A".repeat(99)), "JOBPASS_::error".to_owned()] {
            assert_eq!(of(&[&name]), ["a variable whose name begins with `JOBPASS_` is no setting of jobpass"]);
        }
    }

    #[test]
    fn two_neighbours_that_changed_places_are_one_change() {
        assert_eq!(["abcd", "abdc", "abc", "abcde", "xbcd", ""].map(|other| distance("abcd", other)), [0, 1, 1, 1, 1, 4]);
    }
}
