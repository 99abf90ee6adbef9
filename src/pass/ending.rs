//! The end of a pass: the lease deleted, the token's death proved, the files removed.

use std::{path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    cluster::{Cluster, Deleted, Patience, Probed},
    env::Env,
    failure::Failure,
    identity::{Identity, kubeconfig::marked},
    lease::Lease,
    out::Out,
    place::{self, Place},
    receipt::{Proof, Receipt},
    secret::Secret,
};

/// How long after the DELETE a probe waits: a token that is shown before the API server has seen the deletion is cached for 10 s.
const BEFORE_PROBE: Duration = Duration::from_millis(250);

/// How long the API server remembers a token that it has accepted.
const CACHE: SignedDuration = SignedDuration::from_secs(10);

/// How long a token lives on when a finalizer holds its Secret: `jwt.DefaultLeeway` and the cache.
const HELD: SignedDuration = SignedDuration::from_secs(70);

/// What is known of a pass that is to end.
#[derive(Debug)]
pub struct Ending {
    /// Its lease; of one whose file is lost only the names are true.
    pub lease: Lease,
    /// Whether more than its name is known.
    pub known: bool,
    /// Its directory, if it is on this machine.
    pub place: Option<Place>,
    /// Its token, if we have it ourselves.
    pub token: Option<Secret>,
}

/// How a pass was ended.
#[derive(Debug)]
pub struct Ended {
    /// What was done, and how far it is proved.
    pub receipt: Receipt,
    /// Why the lease could not be deleted.
    pub failure: Option<Failure>,
    /// What could not be cleared away here; the pass is ended all the same.
    pub leftover: Option<Failure>,
}

/// How long ending may take, and how sure it must be.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// For everything.
    pub timeout: Duration,
    /// Whether to wait until the API server refuses the token.
    pub wait_dead: bool,
}

impl Ending {
    /// Deletes the lease, asks what the API server says to the token, and removes the files.
    pub async fn end(&self, identity: Result<Identity, Failure>, env: &Env, terms: Terms, out: &Out) -> Ended {
        match self.connected(identity, env, terms, out).await {
            Ok(mut cluster) => self.end_over(&mut cluster, terms).await,
            Err(why) => self.ended(Timestamp::now(), Err(why)),
        }
    }

    /// The same over a connection that is there.
    pub(super) async fn end_over(&self, cluster: &mut Cluster, terms: Terms) -> Ended {
        let mut revoked_at = Timestamp::now();
        let proof = self.delete(cluster, terms, &mut revoked_at).await;
        self.ended(revoked_at, proof)
    }

    /// What became of it. The files go in any case.
    fn ended(&self, revoked_at: Timestamp, proof: Result<Proof, Failure>) -> Ended {
        let (proof, failure) = match proof {
            Ok(proof) => (proof, None),
            Err(_) if self.known && self.lease.is_over(Timestamp::now()) => (Proof::Expired, None),
            Err(why) => (Proof::Failed { reason: why.brief(), until: self.lease.accepted_until() }, Some(why)),
        };
        let leftover = self.remove_files(proof.is_success()).err();
        Ended { receipt: Receipt::of(&self.lease, self.known, revoked_at, proof), failure, leftover }
    }

    async fn connected(&self, identity: Result<Identity, Failure>, env: &Env, terms: Terms, out: &Out) -> Result<Cluster, Failure> {
        let identity = identity?;
        if self.known && identity.server() != self.lease.server {
            return Err(Failure::new(format!("cannot revoke the lease `{}`", self.lease.id()))
                .cause(format!("it is on `{}`, but the CI identity is for `{}`", self.lease.server, identity.server()))
                .hint("name the right CI identity: a lease decides neither the server nor the credential"));
        }
        Cluster::connect(identity, env, terms.timeout, Patience::Whole, out).await
    }

    async fn delete(&self, cluster: &mut Cluster, terms: Terms, revoked_at: &mut Timestamp) -> Result<Proof, Failure> {
        let deleted = cluster.delete_lease_for_good(&self.lease).await?;
        let now = Timestamp::now();
        *revoked_at = now;
        let after = |length| now.saturating_add(length).unwrap_or(Timestamp::MAX);
        let unproved = match deleted {
            Deleted::Removed => Proof::Removed,
            Deleted::Absent | Deleted::Replaced if !terms.wait_dead => return Ok(Proof::Absent),
            Deleted::Absent | Deleted::Replaced => Proof::Absent,
            Deleted::Deleting => return Ok(Proof::Deleting { until: after(HELD) }),
        };
        let Some(token) = self.token() else { return Ok(unproved) };
        let mut proof = unproved;
        loop {
            cluster.wait(BEFORE_PROBE).await;
            match cluster.probe(&token).await {
                Probed::Dead => return Ok(Proof::Dead),
                Probed::Accepted => proof = Proof::Pending { until: after(CACHE) },
                // The last answer that there was still stands.
                Probed::Unknown(_) => {}
            }
            if !terms.wait_dead || !cluster.has_time() {
                return Ok(proof);
            }
        }
    }

    /// The token, if the file still holds the one that the lease knows.
    fn token(&self) -> Option<Secret> {
        if let Some(token) = &self.token {
            return Some(token.clone()).filter(|token| self.lease.holds(token));
        }
        let text = self.place.as_ref()?.read(place::TOKEN).ok()??;
        Some(Secret::new(text)).filter(|token| self.lease.holds(token))
    }

    /// After a failure the lease stays, so that it can be tried again; the secrets go in any case.
    fn remove_files(&self, ended: bool) -> Result<(), Failure> {
        if let Some(path) = &self.lease.kubeconfig_out {
            let ours = |text: &str| marked(text).is_some_and(|mark| mark.lease == self.lease.id());
            // Another pass's, or another program's by now: not ours to remove.
            let _ = place::remove_named(&PathBuf::from(path), ours);
        }
        match &self.place {
            Some(place) if ended => place.clear(),
            Some(place) => place.remove(place::SECRETS),
            None => Ok(()),
        }
    }
}
