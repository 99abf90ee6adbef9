//! A lease file: what is read is what was written, what is no lease is not repeated, and what this job has not written is not believed.

use jobpass::{
    context::Context,
    env::Env,
    lease::{Lease, seal::Seal},
    name::is_name,
    options::Options,
    origin::Word,
    platform::Platform,
    spec::{is_label, is_subdomain},
};

use serde_json::{Map, Value};

use crate::harmless::assert_harmless;

/// The one lease that this job has written.
const OURS: &str = include_str!("../seeds/lease/whole");

fn seal() -> Seal {
    let env: Env = [("CI_JOB_TOKEN", "glcbt-64_0123456789abcdef")].into_iter().collect();
    Seal::of(&Context::on(Platform::Gitlab, Options::default(), env))
}

/// The same as it stands in its file.
pub(crate) fn sealed() -> String {
    seal().json(&Lease::parse(OURS).expect("a lease"))
}

/// The text of a file; where it is an object of JSON, then also ours with what this says in the place of what ours says: everybody who
/// can write the file can leave the seal as it is.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    judge(text);
    if let Ok(Value::Object(changes)) = serde_json::from_str(text) {
        let mut changed: Map<String, Value> = serde_json::from_str(&sealed()).expect("JSON");
        changed.extend(changes);
        changed.retain(|_, value| !value.is_null());
        judge(&Value::Object(changed).to_string());
    }
}

fn judge(text: &str) {
    let seal = seal();
    let ours = Lease::parse(&sealed()).expect("a lease");
    match Lease::parse(text) {
        Ok(lease) => {
            assert_eq!(Lease::parse(&lease.json()).as_ref(), Ok(&lease));
            assert_eq!(lease.json().lines().count(), 1, "more than a line");
            assert!(is_name(&lease.name) && is_label(&lease.service_account.namespace), "{}", lease.id());
            assert!(is_subdomain(&lease.service_account.name), "{}", lease.service_account);
            // What is computed from its numbers, which may be any.
            let _ = (lease.accepted_until(), lease.begun(), lease.validity(), lease.longest());
            let is_ours = |seal: &Seal, platform| seal.word(platform, &lease) == Word::Ours;
            assert_eq!(is_ours(&seal, Platform::Gitlab), lease == ours, "{}", lease.json());
            assert!(!is_ours(&Seal::None, Platform::Gitlab) && !is_ours(&Seal::None, Platform::Tekton), "believed without a key");
        }
        Err(failure) => {
            let said = failure.to_string();
            assert_harmless(&said);
            assert!(said.len() < 400, "the file is repeated: {said}");
        }
    }
}
