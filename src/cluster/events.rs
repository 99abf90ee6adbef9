//! What the cluster's Events say about a lease: who deleted it, and why, where somebody has written that down.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

use tokio::time::timeout;

use super::{Cluster, request::Request, told};
use crate::{lease::Lease, out::one_line};

/// How long we ask for it: it is only for a message.
const TIME: Duration = Duration::from_secs(3);

/// The same where a job is at its end, and its runner may be about to kill it.
const IN_PASSING: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Events {
    items: Vec<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    reason: Option<String>,
    message: Option<String>,
    reporting_component: Option<String>,
    source: Source,
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    component: Option<String>,
}

impl Cluster {
    /// The last Event about a lease's Secret, in words; none where there is none, or where the CI identity may not read Events.
    pub async fn told_of(&mut self, lease: &Lease) -> Option<String> {
        self.extend(TIME);
        self.events_of(lease).await?.last().and_then(Event::words)
    }

    /// What an operator has said who ended a pass by `leases revoke`; within the deadline that there is.
    pub async fn told_by_operator(&mut self, lease: &Lease) -> Option<String> {
        let events = timeout(IN_PASSING, self.events_of(lease)).await.ok()??;
        events.iter().rfind(|event| event.is_operators()).and_then(Event::words)
    }

    /// The Events about a lease's Secret, in the order of their creation.
    async fn events_of(&mut self, lease: &Lease) -> Option<Vec<Event>> {
        let uid = lease.uid.as_deref().filter(|uid| uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))?;
        let namespace = &lease.service_account.namespace;
        let request = Request::new(
            Method::GET,
            format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.uid%3D{uid}&limit=50"),
            format!("cannot read the Events of the lease `{}`", lease.id()),
            format!("`list` on `events` in namespace `{namespace}`"),
        );
        let answer = self.ask(&request, &()).await.ok().filter(super::Answer::is_success)?;
        let mut events: Events = serde_json::from_slice(&answer.body).ok()?;
        events.items.sort_by_key(|event| event.metadata.creation_timestamp);
        Some(events.items)
    }
}

impl Event {
    /// Whether it has the form in which `leases revoke` says why. Whoever may write Events can write that, too: it is only for a message.
    fn is_operators(&self) -> bool {
        let by = |component: &Option<String>| component.as_deref() == Some(told::COMPONENT);
        self.reason.as_deref() == Some(told::REASON) && (by(&self.reporting_component) || by(&self.source.component))
    }

    fn words(&self) -> Option<String> {
        let message = one_line(self.message.as_deref()?);
        if self.is_operators() {
            return Some(message);
        }
        // The server fills in what an older client leaves out with nothing.
        let by = [&self.reporting_component, &self.source.component].into_iter().flatten().find(|by| !by.is_empty());
        let by = by.map(|by| format!(" by `{}`", one_line(by))).unwrap_or_default();
        let reason = self.reason.as_deref().map(|reason| format!(" `{}`", one_line(reason))).unwrap_or_default();
        Some(format!("an Event{reason}{by} says: {message}"))
    }
}
