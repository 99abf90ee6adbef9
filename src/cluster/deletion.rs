//! What the DELETE of a lease did, according to an answer that is surely the API server's.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Cluster,
    answer::{Answer, Refusal},
};
use crate::{
    failure::Failure,
    lease::{Lease, named::Named},
};

/// How long after each 404 it is deleted again: the POST of a killed client may still arrive and create the Secret, and an API server
/// under load may be some time about it.
const BEFORE_NEXT_DELETE: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// The result of a DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The Secret is gone.
    Removed,
    /// The server has no Secret of that name.
    Absent,
    /// Another Secret (with another uid) has the name, and was not touched.
    Replaced,
    /// Another Secret had the name, but the name is ours alone, so it was deleted by name.
    Anew,
    /// A finalizer holds the Secret: the token lives 60 s more, and 10 s in the API server's cache.
    Deleting,
}

/// Those fields of a Status, or of a Secret that a finalizer holds, that say what became of which object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    kind: String,
    details: Object,
    metadata: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    name: Option<String>,
    uid: Option<String>,
}

impl Deleted {
    /// Reads the result from an answer. None where it is not an answer of the API server to this DELETE, such as a proxy's own 404.
    pub(super) fn of(answer: &Answer, name: &str, uid: Option<&str>) -> Option<Self> {
        let Answered { kind, details, metadata } = serde_json::from_slice(&answer.body).ok()?;
        if answer.is_success() {
            let (deleted, object) = match kind.as_str() {
                "Status" => (Self::Removed, details),
                "Secret" => (Self::Deleting, metadata),
                _ => return None,
            };
            let is_another = object.uid.is_some_and(|deleted| uid.is_some_and(|uid| deleted != uid));
            return Some(if is_another { Self::Replaced } else { deleted });
        }
        match answer.refusal() {
            _ if kind != "Status" => None,
            Refusal::LeaseMissing if details.name.as_deref() == Some(name) => Some(Self::Absent),
            Refusal::NamespaceMissing => Some(Self::Absent),
            Refusal::Conflict if uid.is_some() => Some(Self::Replaced),
            _ => None,
        }
    }
}

impl Cluster {
    /// Deletes a lease by its uid. Where another Secret has its name, deletes that one by name, provided the name is ours alone.
    /// Where no uid is known and the Secret is absent, deletes again a moment later, and once more: a POST that a killed or
    /// interrupted client has sent may still create it.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn delete_lease_for_good(&mut self, lease: &Lease, named: Named) -> Result<Deleted, Failure> {
        let deleted = self.delete_lease(lease, lease.uid.as_deref()).await?;
        match deleted {
            Deleted::Absent if lease.uid.is_none() => {
                for pause in BEFORE_NEXT_DELETE {
                    self.wait(pause).await;
                    if !self.has_time() {
                        break;
                    }
                    let again = self.delete_lease(lease, None).await?;
                    if again != Deleted::Absent {
                        return Ok(again);
                    }
                }
                Ok(deleted)
            }
            Deleted::Replaced if named.is_ours_alone() => Ok(match self.delete_lease(lease, None).await? {
                Deleted::Removed => Deleted::Anew,
                other => other,
            }),
            Deleted::Removed | Deleted::Absent | Deleted::Replaced | Deleted::Anew | Deleted::Deleting => Ok(deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::*;

    fn of(status: u16, body: &Value) -> Option<Deleted> {
        let body = Zeroizing::new(body.to_string().into_bytes());
        Deleted::of(&Answer { status, retry_after: None, date: None, warnings: vec![], after_another: false, body }, "jobpass-1", Some("u"))
    }

    #[test]
    fn only_the_servers_own_words_say_that_a_lease_is_gone() {
        let missing = |kind: &str, name: &str| json!({"kind": "Status", "details": {"kind": kind, "name": name}});
        assert_eq!(of(404, &missing("secrets", "jobpass-1")), Some(Deleted::Absent));
        assert_eq!(of(404, &missing("namespaces", "ci")), Some(Deleted::Absent));
        for body in [
            missing("secrets", "jobpass-2"),
            missing("pods", "jobpass-1"),
            json!({"kind": "Status", "message": "the server could not find the requested resource", "details": {}}),
            json!({"details": {"kind": "secrets", "name": "jobpass-1"}}),
            json!("404 page not found"),
            json!({"type": "error", "status": "404"}),
        ] {
            assert_eq!(of(404, &body), None, "{body}");
        }
        for body in [json!({}), json!([]), json!({"kind": "Page"}), json!("gone")] {
            assert_eq!(of(200, &body), None, "{body}");
        }
    }

    #[test]
    fn a_yes_for_another_secret_is_none_for_ours() {
        let gone = |uid: &str| json!({"kind": "Status", "status": "Success", "details": {"name": "jobpass-1", "uid": uid}});
        assert_eq!((of(200, &gone("u")), of(200, &gone("v"))), (Some(Deleted::Removed), Some(Deleted::Replaced)));
        let held = |uid: &str| json!({"kind": "Secret", "metadata": {"name": "jobpass-1", "uid": uid}});
        assert_eq!((of(200, &held("u")), of(200, &held("v"))), (Some(Deleted::Deleting), Some(Deleted::Replaced)));
        let another = "Precondition failed: the UID in the precondition (u) does not match the UID in record (v)";
        assert_eq!(of(409, &json!({"kind": "Status", "reason": "Conflict", "message": another})), Some(Deleted::Replaced));
        assert_eq!(of(409, &json!("conflict")), None);
    }
}
