//! The end of one lease by somebody else than its job: DELETE by its uid, so that no other Secret is ever deleted in its place.

use std::{cell::Cell, convert::Infallible, future::pending, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, PartialObjectMeta, Preconditions},
};

use super::held::Held;
use crate::{
    clock::ServerTime,
    failure::{Code, Failure},
    operate::server::{Question, Server},
    receipt::Proof,
    signals::Signals,
};

/// How many are deleted at the same time: enough to hide the way to the server, few enough for its fairness.
pub const AT_ONCE: usize = 16;

/// How long an API server's cache may hold a token, and a second because the server tells its time in whole ones.
const CACHE: SignedDuration = SignedDuration::from_secs(11);

/// The same where a finalizer holds the Secret: the server allows 60 s more.
const HELD: SignedDuration = SignedDuration::from_secs(71);

/// How long we wait before we ask again what a conflict was about.
const BEFORE_AGAIN: Duration = Duration::from_millis(200);

/// Does the work. A signal that ends this process is noted: what is under way is done, nothing more is begun, and what was done is told.
pub async fn until_told<T>(stopped: &Cell<bool>, work: impl Future<Output = T>) -> T {
    let mut signals = Signals::ending();
    let told = async {
        if let Some(signals) = &mut signals {
            signals.ending_one().await;
            stopped.set(true);
        }
        pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = told => match never {},
    }
}

/// Deletes a lease, and says how far its tokens are dead.
///
/// # Errors
/// When it could not be deleted.
pub async fn end(server: &Server, lease: &Held) -> Result<Proof, Failure> {
    let what = format!("cannot delete the lease `{}`", lease.id());
    // A list of metadata does not say the type: only what has a lease's name is deleted, whatever the server has listed.
    if !lease.has_a_leases_name() || lease.uid.is_empty() {
        let failure = Failure::new(Code::LeaseDoubtful, what).cause("it has no name or no uid of a lease");
        return Err(failure.hint("look at it, and delete it by `kubectl delete secret`"));
    }
    let right = format!("`delete` on `secrets` in namespace `{}`", lease.namespace);
    // Without its content, where a finalizer makes the server answer with the whole Secret.
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(server.client.clone(), &lease.namespace);
    let precondition = Preconditions { uid: Some(lease.uid.clone()), resource_version: None };
    let params = DeleteParams::background().preconditions(precondition);
    let question = Question { what: &what, right: &right };
    let mut tries = 0;
    loop {
        let until = |length| Some(ServerTime::said(server.now()).after(length));
        match server.ask(question, async || api.delete(&lease.name, &params).await).await {
            Ok(either) if either.as_ref().is_left() => return Ok(Proof::Deleting { until: until(HELD) }),
            Ok(_) => return Ok(Proof::Pending { until: until(CACHE) }),
            // Somebody else has deleted it, perhaps a try of our own whose answer was lost.
            Err(refused) if refused.status == Some(404) => return Ok(Proof::Absent),
            Err(refused) if refused.status == Some(409) && tries < 3 => {
                if is_another(server, lease).await? {
                    return Ok(Proof::Absent);
                }
                tries += 1;
                tokio::time::sleep(BEFORE_AGAIN).await;
            }
            Err(refused) => return Err(refused.failure),
        }
    }
}

/// Whether the name is another Secret's by now, so that the lease itself is gone.
async fn is_another(server: &Server, lease: &Held) -> Result<bool, Failure> {
    let api = super::pages::secrets(server, Some(&lease.namespace));
    let what = format!("cannot see what has become of the lease `{}`", lease.id());
    let question = Question { what: &what, right: "`get` on `secrets`" };
    let found = server.ask(question, async || api.get_metadata(&lease.name).await).await;
    match found {
        Ok(found) => Ok(found.metadata.uid.as_deref() != Some(&lease.uid)),
        Err(refused) if refused.status == Some(404) => Ok(true),
        Err(refused) => Err(refused.failure),
    }
}
