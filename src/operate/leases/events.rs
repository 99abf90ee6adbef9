//! Events about a lease: what is known of it besides, and who has ended it and why, for the job and for whoever looks later.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde::Serialize;

use super::held::Held;
use crate::{
    cluster::told,
    failure::Failure,
    operate::server::{Question, Server},
    out::one_line,
};

/// How many are shown.
const LAST: usize = 5;

/// An Event, as far as it is shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What kind.
    pub reason: String,
    /// What it says.
    pub message: String,
}

/// The last Events about a lease.
///
/// # Errors
/// When we may not read them.
pub async fn last(server: &Server, lease: &Held) -> Result<Vec<Told>, Failure> {
    let api: Api<Event> = Api::namespaced(server.client.clone(), &lease.namespace);
    let params = ListParams::default().fields(&format!("involvedObject.uid={}", lease.uid)).limit(50);
    let right = format!("`list` on `events` in namespace `{}`", lease.namespace);
    let question = Question { what: "cannot read the Events of the lease", right: &right };
    let found = server.ask(question, async || api.list(&params).await).await.map_err(|refused| refused.failure)?;
    let mut told: Vec<_> = found
        .items
        .into_iter()
        .map(|event| Told {
            at: event.metadata.creation_timestamp.map(|at| at.0),
            reason: one_line(&event.reason.unwrap_or_default()),
            message: one_line(&event.message.unwrap_or_default()),
        })
        .collect();
    told.sort_by_key(|event| event.at);
    Ok(told.split_off(told.len().saturating_sub(LAST)))
}

/// Who ends leases, why, and when.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The user name, as the API server knows it.
    pub by: String,
    /// Why, as it is to be repeated.
    pub reason: String,
}

impl Ending {
    /// What the Event on a lease says; the job repeats it.
    fn message(&self, at: Timestamp) -> String {
        told::message(&self.by, &self.reason, at)
    }

    /// Writes it down on the lease.
    ///
    /// # Errors
    /// When we may not.
    pub async fn tell_lease(&self, server: &Server, lease: &Held, at: Timestamp) -> Result<(), Failure> {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(lease.namespace.clone()),
            name: Some(lease.name.clone()),
            uid: Some(lease.uid.clone()),
            ..ObjectReference::default()
        };
        self.tell(server, about, self.message(at), at).await
    }

    /// Writes it down on the service account, where `kubectl describe` shows it. Nothing is written where there is no such account.
    ///
    /// # Errors
    /// When we may not.
    pub async fn tell_account(
        &self,
        server: &Server,
        (namespace, name): (&str, &str),
        leases: &[String],
        at: Timestamp,
    ) -> Result<(), Failure> {
        let api: Api<ServiceAccount> = Api::namespaced(server.client.clone(), namespace);
        let right = format!("`get` on `serviceaccounts` in namespace `{namespace}`");
        let question = Question { what: "cannot write an Event on the service account", right: &right };
        let account = match server.ask(question, async || api.get_metadata(name).await).await {
            Ok(account) => account.metadata,
            Err(refused) if refused.status == Some(404) => return Ok(()),
            Err(refused) => return Err(refused.failure),
        };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ServiceAccount".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: account.uid,
            ..ObjectReference::default()
        };
        let of = leases.iter().take(LAST).cloned().collect::<Vec<_>>().join(", ");
        let more = leases.len().checked_sub(LAST + 1).map(|more| format!(" and {} more", more + 1)).unwrap_or_default();
        self.tell(server, about, format!("{} ({of}{more})", self.message(at)), at).await
    }

    async fn tell(&self, server: &Server, about: ObjectReference, message: String, at: Timestamp) -> Result<(), Failure> {
        let namespace = about.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(server.client.clone(), &namespace);
        let event = Event {
            // With a name of its own, so that a request that is sent twice makes one.
            metadata: ObjectMeta { name: Some(format!("jobpass-{}", crate::name::random_hex())), ..ObjectMeta::default() },
            involved_object: about,
            reason: Some(told::REASON.to_owned()),
            message: Some(message),
            type_: Some("Warning".to_owned()),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            count: Some(1),
            reporting_component: Some(told::COMPONENT.to_owned()),
            source: Some(EventSource { component: Some(told::COMPONENT.to_owned()), ..EventSource::default() }),
            ..Event::default()
        };
        let right = format!("`create` on `events` in namespace `{namespace}`");
        let question = Question { what: "cannot write the reason into an Event", right: &right };
        match server.ask(question, async || api.create(&PostParams::default(), &event).await).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.status == Some(409) => Ok(()),
            Err(refused) => Err(refused.failure),
        }
    }
}
