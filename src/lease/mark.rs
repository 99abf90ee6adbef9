//! The mark of a pass: a small file that `request` leaves in the platform's own directory. It tells `revoke` that there was a pass,
//! even if the store is gone, or the variable that names its directory.
//!
//! The mark is an unsigned hint: it makes `revoke` look in one more place and report a pass that it does not find. It never ends a
//! pass.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BREATH, Lease};
use crate::{
    failure::{Code, Failure},
    name::is_name,
    out::API_VERSION,
    platform::Base,
    spec::{ServiceAccount, is_label, is_subdomain},
    store,
};

/// What is known of a pass that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    api_version: String,
    kind: String,
    /// The name of the lease.
    pub name: String,
    /// The service account whose token the job got.
    pub service_account: ServiceAccount,
    /// The job that requested the pass, by the platform's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The path of the store.
    #[serde(rename = "place")]
    pub store: String,
    /// The last moment that any of its tokens may live, by this machine's clock. That is good enough for a hint, which the same
    /// machine reads.
    pub expires_at: Timestamp,
}

impl Mark {
    /// The mark of a lease.
    #[must_use]
    pub fn of(lease: &Lease, job: Option<String>) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: "Mark".into(),
            name: lease.name.clone(),
            service_account: lease.service_account.clone(),
            job,
            store: lease.store.clone(),
            expires_at: Timestamp::now()
                .saturating_add(lease.expires_at.duration_since(lease.issued_at).saturating_add(BREATH))
                .unwrap_or(Timestamp::MAX),
        }
    }

    /// Writes the mark where possible. A job does not fail because a hint cannot be written.
    pub fn leave(&self, base: &Base) {
        if let Ok(text) = serde_json::to_string(self) {
            let _ = store::write_mark(base, &self.name, &text);
        }
    }

    /// Removes the mark.
    pub fn remove(base: &Base, name: &str) {
        store::remove_mark(base, name);
    }

    /// All marks of passes that may still live.
    #[must_use]
    pub fn all(base: &Base) -> Vec<Self> {
        let now = Timestamp::now();
        let marks = store::read_marks(base).into_iter().filter_map(|text| serde_json::from_str::<Self>(&text).ok());
        marks.filter(|mark| mark.is_sound() && now <= mark.expires_at).collect()
    }

    fn is_sound(&self) -> bool {
        let ServiceAccount { namespace, name } = &self.service_account;
        self.api_version == API_VERSION && self.kind == "Mark" && is_name(&self.name) && is_label(namespace) && is_subdomain(name)
    }

    /// The lease's id: `namespace/name` of the Secret.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.service_account.namespace, self.name)
    }

    /// The failure for a pass whose lease is neither in the store that the mark names nor anywhere else.
    #[must_use]
    pub fn lost(&self) -> Failure {
        let id = self.id();
        Failure::new(Code::LeaseLost, format!("this job had a pass for service account `{}`, and it is not found", self.service_account))
            .cause(format!("its lease `{id}` was kept in `{}`", self.store))
            .hint(format!("end it by `jobpass revoke --lease {id}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lease, *};

    #[test]
    fn what_is_left_is_found_until_the_pass_is_over_and_nothing_else_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = Base::at(directory.path().to_owned());
        let mark = Mark::of(&Lease { expires_at: Timestamp::MAX, ..lease() }, Some("job".into()));
        mark.leave(&base);
        assert_eq!(Mark::all(&base), std::slice::from_ref(&mark));
        Mark { name: "jobpass-../../x".into(), ..mark.clone() }.leave(&base);
        let name = mark.name.replace('0', "1");
        Mark { expires_at: Timestamp::UNIX_EPOCH, name: name.clone(), ..mark.clone() }.leave(&base);
        assert_eq!(Mark::all(&base), std::slice::from_ref(&mark));
        Mark::remove(&base, &mark.name);
        assert_eq!(Mark::all(&base), []);
    }
}
