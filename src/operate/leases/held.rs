//! A lease as the API server holds it, read from metadata alone. All of it but namespace, name, times and identity is as the job has told
//! it, and may be anything.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::{lease::object, name};

/// What the API server's clocks (60 s) and its cache (10 s) add to the life of a token.
const LEEWAY: SignedDuration = SignedDuration::from_secs(70);

/// No pass outlives seven days, whatever its lease says.
const LONGEST: SignedDuration = SignedDuration::from_hours(8 * 24);

/// In seconds: the longest life that a lease may say.
const WEEK: u32 = 604_800;

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its tokens may be accepted.
    Alive,
    /// It has lived as long as it was to: it is left over.
    Over,
    /// It does not say how long it lives, and is not old enough to be over in any case.
    Unknown,
}

/// A lease.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The cluster: the context's name.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
    /// Its uid, so that no other one is ever deleted in its place.
    pub uid: String,
    /// Whose tokens it has.
    pub service_account: Option<String>,
    /// Who made it; the policy compares it with the user who asks.
    pub identity: Option<String>,
    /// Which of these fields the policies vouch for, where they are in force.
    pub verified: [&'static str; 1],
    /// The CI system.
    pub platform: Option<String>,
    /// The repository.
    pub repository: Option<String>,
    /// The page of the run.
    pub run_url: Option<String>,
    /// The run.
    pub run_id: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// When it was created, by the server's clock.
    pub created_at: Option<Timestamp>,
    /// When the last of its tokens is dead, by the server's clock.
    pub expires_at: Option<Timestamp>,
    /// How it stands now.
    pub state: State,
    /// Whether it was deleted already, and a finalizer holds it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}

impl Held {
    /// Reads one from its metadata; `now` is the server's time.
    pub fn of(cluster: &str, meta: ObjectMeta, now: Timestamp) -> Self {
        let note = |name: &str| meta.annotations.as_ref().and_then(|notes| notes.get(&format!("jobpass.dev/{name}"))).cloned();
        let created_at = meta.creation_timestamp.as_ref().map(|at| at.0);
        let after = |length: SignedDuration| created_at.and_then(|at| at.checked_add(length).ok());
        let expires_at = note(object::LIFETIME).as_deref().and_then(lifetime).and_then(|lifetime| after(lifetime + LEEWAY));
        let state = match expires_at {
            _ if after(LONGEST).is_some_and(|end| end <= now) => State::Over,
            Some(end) if end <= now => State::Over,
            Some(_) => State::Alive,
            None => State::Unknown,
        };
        Self {
            cluster: cluster.to_owned(),
            service_account: note("service-account"),
            identity: note(object::IDENTITY),
            verified: ["identity"],
            platform: note("platform"),
            repository: note("repository"),
            run_url: note("run-url"),
            run_id: meta.labels.as_ref().and_then(|labels| labels.get("jobpass.dev/run-id")).cloned(),
            commit: note("commit"),
            actor: note("actor"),
            created_at,
            expires_at,
            state,
            deleting: meta.deletion_timestamp.is_some(),
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
        }
    }

    /// Its name as the other verbs take it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether the name is a lease's. A list of metadata does not say the type; nothing with another name is ever deleted.
    pub fn has_a_leases_name(&self) -> bool {
        self.name.starts_with(name::PREFIX)
    }

    /// The name of the account, if the job has told one that can be in this namespace: no token of another one can have this lease.
    pub fn account(&self) -> Option<&str> {
        let (namespace, name) = self.service_account.as_deref()?.split_once('/')?;
        (namespace == self.namespace && crate::spec::is_subdomain(name)).then_some(name)
    }

    /// The repository and the run in it, as people of that platform write it.
    pub fn run(&self) -> String {
        let run = self.run_id.as_deref().map(|id| match self.platform.as_deref() {
            Some("github") => format!("#{id}"),
            Some("gitlab") => format!("job {id}"),
            Some(_) | None => id.to_owned(),
        });
        [self.repository.clone(), run].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The identity without what all service accounts have in common.
    pub fn who(&self) -> String {
        short(self.identity.as_deref().unwrap_or_default())
    }
}

/// A user name without what all service accounts have in common.
pub fn short(user: &str) -> String {
    user.strip_prefix("system:serviceaccount:").map_or_else(|| user.to_owned(), |account| account.replacen(':', "/", 1))
}

/// A number of seconds in the form that the policies demand: what is none, negative or too much says nothing.
fn lifetime(text: &str) -> Option<SignedDuration> {
    let is_number = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse::<u32>().ok().filter(|seconds| is_number && *seconds <= WEEK)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// The time of all these tests.
    pub fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().expect("a time")
    }

    /// A lease of this age in minutes with these annotations.
    pub fn held(name: &str, minutes: i64, notes: &[(&str, &str)]) -> Held {
        let annotations: BTreeMap<_, _> = notes.iter().map(|(name, text)| (format!("jobpass.dev/{name}"), (*text).to_owned())).collect();
        let meta = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("ci".to_owned()),
            uid: Some(format!("uid-of-{name}")),
            creation_timestamp: Some(Time(now() - SignedDuration::from_mins(minutes))),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        Held::of("main", meta, now())
    }

    #[test]
    fn a_lifetime_that_is_none_says_nothing() {
        for text in ["", "-1", "+5", "1e30", "soon", "604801", "0604800", "3 600", "3600.5", "٣٦٠٠"] {
            let lease = held("jobpass-1", 60, &[("lifetime", text)]);
            assert_eq!((lease.state, lease.expires_at), (State::Unknown, None), "{text}");
            assert_eq!(held("jobpass-1", 8 * 24 * 60, &[("lifetime", text)]).state, State::Over, "{text}");
        }
    }

    #[test]
    fn a_lease_is_over_seventy_seconds_after_its_life() {
        let of = |minutes| held("jobpass-1", minutes, &[("lifetime", "3600")]).state;
        assert_eq!([of(1), of(61), of(62), of(-600)], [State::Alive, State::Alive, State::Over, State::Alive]);
        assert_eq!(held("jobpass-1", 8 * 24 * 60, &[("lifetime", "604800")]).state, State::Over);
    }

    #[test]
    fn an_account_of_another_namespace_is_none_of_its() {
        let of = |account| held("jobpass-1", 1, &[("service-account", account)]).account().map(str::to_owned);
        assert_eq!(of("ci/deploy-bot").as_deref(), Some("deploy-bot"));
        for account in ["other/deploy-bot", "deploy-bot", "ci/", "ci/Deploy Bot", "ci/a/b"] {
            assert_eq!(of(account), None, "{account}");
        }
    }

    #[test]
    fn runs_and_identities_are_written_as_people_do() {
        let mut lease = held(
            "jobpass-1",
            1,
            &[("platform", "github"), ("repository", "acme/shop"), ("identity", "system:serviceaccount:jobpass:shop")],
        );
        lease.run_id = Some("471101".to_owned());
        assert_eq!((lease.run(), lease.who()), ("acme/shop #471101".to_owned(), "jobpass/shop".to_owned()));
        lease.platform = Some("gitlab".to_owned());
        assert_eq!((lease.run(), short("alice@acme.test")), ("acme/shop job 471101".to_owned(), "alice@acme.test".to_owned()));
    }
}
