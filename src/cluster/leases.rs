//! The lease Secret: created, and deleted, with which every token that is bound to it ends.

use http::Method;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret as LeaseSecret,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use serde::Deserialize;

use super::{Cluster, Deleted, answer::Refusal, parsed, request::Request, unasked};
use crate::{clock::ServerTime, failure::Failure, lease::Lease, spec::ServiceAccount};

/// A lease Secret that was created.
pub struct Made {
    /// The uid of the Secret.
    pub uid: String,
    /// When the server created it (`creationTimestamp`), if it says so.
    pub at: Option<ServerTime>,
    /// Whether a Secret that had its name was deleted for it.
    pub replaced: bool,
}

#[derive(Deserialize)]
struct Created {
    metadata: CreatedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedMetadata {
    uid: String,
    creation_timestamp: Option<Timestamp>,
}

impl Cluster {
    /// Creates the lease Secret.
    ///
    /// If the name is taken, the Secret is ours: of an answer that was lost, or a run that was killed. The name has 128 bits of our
    /// own, and policies let this identity create nothing else under it. So it is deleted, which kills every token bound to it, and
    /// created again.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn create_lease(&mut self, lease: &Lease, secret: &LeaseSecret) -> Result<Made, Failure> {
        let account = &lease.service_account;
        let request = Request::new(
            Method::POST,
            secrets(lease),
            format!("cannot create the lease `{}` for service account `{account}`", lease.id()),
            format!("`create` on `secrets` in namespace `{}`", account.namespace),
        );
        let request = request.without_account(check_account(account)).creating();
        let mut replaced = false;
        loop {
            let answer = self.ask(&request, secret).await?;
            if answer.refusal() == Refusal::AlreadyExists && !replaced {
                replaced = true;
                self.left_something = true;
                self.may_have_token = true;
                let deleted = self.delete_lease(lease, None).await;
                deleted.map_err(|failure| failure.within(request.what()).cause("its name is taken, and what has it cannot be deleted"))?;
                continue;
            }
            if !answer.is_success() {
                return Err(answer.failure(&request, &self.shown()));
            }
            let Created { metadata } = parsed(&answer, &request)?;
            let at = metadata.creation_timestamp.map(ServerTime::said);
            self.hear(at, &answer);
            return Ok(Made { uid: metadata.uid, at, replaced });
        }
    }

    /// Deletes the lease Secret, which ends every token that is bound to it.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn delete_lease(&mut self, lease: &Lease, uid: Option<&str>) -> Result<Deleted, Failure> {
        let request = Request::new(
            Method::DELETE,
            format!("{}/{}", secrets(lease), lease.name),
            format!("cannot revoke the lease `{}`", lease.id()),
            format!("`delete` on `secrets` in namespace `{}`", lease.service_account.namespace),
        );
        let request = request.without_account("nothing is left to revoke");
        let options = DeleteOptions {
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() }),
            // Foreground and Orphan would add a finalizer, and the token would live 60 s more.
            propagation_policy: Some("Background".into()),
            ..DeleteOptions::default()
        };
        let answer = self.ask(&request, &options).await?;
        self.hear(None, &answer);
        match Deleted::of(&answer, &lease.name, uid) {
            // An earlier copy of this request deleted it, but its answer was lost.
            Some(Deleted::Absent) if answer.after_another && uid.is_some() => Ok(Deleted::Removed),
            Some(deleted) => Ok(deleted),
            None if answer.is_success() => Err(unasked(&answer, &request)),
            None => Err(answer.failure(&request, &self.shown())),
        }
    }
}

/// What to do where a service account is missing that a pass is for.
pub(super) fn create_account(account: &ServiceAccount) -> String {
    format!("create it with `kubectl create serviceaccount {} -n {}`; tokens of a deleted one stay dead", account.name, account.namespace)
}

/// The same where the account was never seen: its name may be mistyped.
pub(super) fn check_account(account: &ServiceAccount) -> String {
    format!("check the name, or {}", create_account(account))
}

fn secrets(lease: &Lease) -> String {
    format!("/api/v1/namespaces/{}/secrets", lease.service_account.namespace)
}
