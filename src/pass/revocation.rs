//! The end of a pass: deletes the lease, proves that the token is dead, removes the files.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    clock::ServerTime,
    cluster::{Cluster, Deleted, Patience, Probed},
    failure::{Code, Failure},
    fault::Watch,
    identity::{Identity, issuer::When},
    lease::{Lease, named::Named},
    origin::Word,
    out::{Out, one_line},
    receipt::{Proof, Receipt},
    secret::Secret,
    store::{self, Store},
};

/// How long the probe waits after the DELETE: a token that is shown to an API server that has not yet seen the deletion is cached
/// there for 10 s.
const BEFORE_PROBE: Duration = Duration::from_millis(250);

/// How long the API server caches a token that it has accepted, plus a second, as its `Date` has whole seconds only.
const CACHE: SignedDuration = SignedDuration::from_secs(10 + 1);

/// How long a token lives on while a finalizer holds its Secret: `jwt.DefaultLeeway` (60 s) and the cache (10 s), plus a second.
const HELD: SignedDuration = SignedDuration::from_secs(70 + 1);

/// The token of the pass that is ended, in messages.
const ITSELF: &str = "the pass's own token";

/// A pass that is to be revoked, as far as it is known.
#[derive(Debug)]
pub struct Revocation {
    /// The lease. If only its name is known, the other fields are placeholders.
    pub lease: Lease,
    /// Where the lease's name comes from: it decides whether another Secret of that name may be deleted.
    pub named: Named,
    /// How far the lease file is believed.
    pub word: Word,
    /// Whether the lease file or state was found; otherwise only the name is known.
    pub known: bool,
    /// The store, if it is on this machine.
    pub store: Option<Store>,
    /// The token, if this process holds it itself.
    pub token: Option<Secret>,
}

/// How the revocation of a pass went.
#[derive(Debug)]
pub struct Revoked {
    /// What was done, and how far the token's death is proved.
    pub receipt: Receipt,
    /// Whether more than the lease's name was known.
    pub known: bool,
    /// Why the lease could not be deleted.
    pub failure: Option<Failure>,
    /// If the pass is not ended: how long its token lives, in words, as far as that is known.
    pub life: Option<String>,
    /// A warning for the person who reads the log.
    pub warning: Option<String>,
    /// What is to be said of a credential of the CI identity that was given back.
    pub returned: Vec<Result<String, Failure>>,
    /// Why files could not be removed here. The pass is ended nevertheless.
    pub leftover: Option<Failure>,
}

/// What became of the lease, and when, by the server's clock.
struct Outcome {
    proof: Result<Proof, Failure>,
    at: Option<ServerTime>,
    warning: Option<String>,
}

/// The connection over which a pass is ended.
struct Reached {
    cluster: Cluster,
    /// Why it is the pass's own and not the CI identity's.
    refused: Option<Failure>,
}

/// The conditions of a revocation.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The time limit for all steps together.
    pub timeout: Duration,
    /// Whether to wait until the API server refuses the token (`--wait-dead`).
    pub wait_dead: bool,
}

impl Revocation {
    /// Whether nothing but a name is known, which somebody gave by a flag and may have mistyped.
    #[must_use]
    pub fn is_hearsay(&self) -> bool {
        !self.known && self.named == Named::Flag
    }

    /// Deletes the lease, probes whether the API server still accepts the token, and removes the files.
    pub async fn carry_out(&self, identity: Result<Identity, Failure>, terms: Terms, out: &Out) -> Revoked {
        // The connection may become the pass's own; what was issued for the identity is given back in any case.
        let kept = identity.as_ref().ok().filter(|identity| identity.issuer.is_some()).cloned();
        let mut revoked = match Box::pin(self.connected(identity, terms, out)).await {
            Ok(Reached { mut cluster, refused }) => {
                let elsewhere = self.is_said_elsewhere(cluster.identity()).then(|| {
                    let (told, ours) = (one_line(&self.lease.server), cluster.identity().server());
                    format!("the lease file names the API server `{told}`: it is passed over, and the lease is ended on `{ours}`")
                });
                let revoked = match refused {
                    None => self.carry_out_over(&mut cluster, terms).await,
                    Some(refused) => Box::pin(self.carry_out_itself(&mut cluster, terms, refused)).await,
                };
                Revoked { warning: revoked.warning.or(elsewhere), ..revoked }
            }
            Err(why) => self.revoked(Outcome { proof: Err(why), at: None, warning: None }),
        };
        if let Some(mut identity) = kept {
            if self.word == Word::Ours {
                identity.leftover.clone_from(&self.lease.issued);
            }
            revoked.returned = identity.give_back(When::Unneeded).await;
        }
        revoked
    }

    /// The same over an existing connection.
    pub(super) async fn carry_out_over(&self, cluster: &mut Cluster, terms: Terms) -> Revoked {
        let _watch = Watch::over(&self.lease, self.named, cluster, self.store.as_ref());
        let mut outcome = Outcome { proof: Ok(Proof::Removed), at: None, warning: None };
        outcome.proof = Box::pin(self.delete(cluster, terms, &mut outcome)).await;
        if let Err(refused) = &outcome.proof
            && cluster.was_refused()
            && let Some(token) = self.token_for(cluster.identity())
        {
            let refused = refused.clone();
            let itself = async {
                let mut own = cluster.again_as(&token, ITSELF).await.ok()?;
                Some(self.carry_out_itself(&mut own, terms, refused).await)
            };
            if let Some(revoked) = Box::pin(itself).await {
                return revoked;
            }
        }
        if outcome.proof.is_err() {
            outcome.at = cluster.server_time(&self.lease);
        }
        self.revoked(outcome)
    }

    /// The same with the pass's own token, where the CI identity is refused or cannot be had. Nothing of ours gives it the right to
    /// that, but somebody else may have; otherwise the reason for the first refusal counts.
    async fn carry_out_itself(&self, own: &mut Cluster, terms: Terms, refused: Failure) -> Revoked {
        let _watch = Watch::over(&self.lease, self.named, own, self.store.as_ref());
        let mut outcome = Outcome { proof: Ok(Proof::Removed), at: None, warning: None };
        let deleted = Box::pin(self.delete(own, terms, &mut outcome)).await;
        match deleted {
            Ok(proof) => {
                outcome.proof = Ok(proof);
                outcome.warning = Some(format!("{ITSELF} has ended it, as the CI identity could not: {}", refused.brief()));
            }
            Err(own) => {
                outcome.proof = Err(refused.cause(match own.code() {
                    Code::ApiRbac => format!("{ITSELF} may not end it either"),
                    _ => format!("{ITSELF} was tried, too: {}", own.brief()),
                }));
            }
        }
        if outcome.proof.is_err() {
            outcome.at = own.server_time(&self.lease);
        }
        self.revoked(outcome)
    }

    /// Makes the result of an outcome, and removes the files: the secret ones in any case.
    fn revoked(&self, outcome: Outcome) -> Revoked {
        let Outcome { proof, at, warning } = outcome;
        let (proof, failure) = match proof {
            Ok(proof) => (proof, None),
            Err(_) if self.is_over(at) => (Proof::Expired, None),
            Err(why) => (
                Proof::Failed { code: why.code(), reason: why.brief(), until: self.lease.accepted_until().filter(|_| self.known) },
                Some(why),
            ),
        };
        let life = failure.as_ref().filter(|_| self.known).map(|_| self.life(at));
        // If there is no such lease, the name may be mistyped, and the files here may belong to another pass: they stay.
        let is_nobodys = self.is_hearsay() && proof == Proof::Absent;
        let leftover = if is_nobodys { None } else { self.remove_files(proof.is_success()).err() };
        Revoked {
            receipt: Receipt::of(&self.lease, self.known, at, proof),
            known: self.known,
            failure,
            life,
            warning,
            returned: Vec::new(),
            leftover,
        }
    }

    /// Whether no token of it can live any more. Only the server's clock counts, and only times that nobody else can have written.
    fn is_over(&self, now: Option<ServerTime>) -> bool {
        self.known && self.word == Word::Ours && self.named.vouches_for_times() && now.is_some_and(|now| self.lease.is_over(now))
    }

    /// How long its token lives on, in words. The minutes that are left can be told only by the server's clock.
    fn life(&self, now: Option<ServerTime>) -> String {
        match (self.lease.accepted_until(), now) {
            (Some(until), Some(now)) if until < now => format!("its token was valid until {until}, if its lease file is right"),
            (Some(until), Some(now)) => format!("its token stays valid until {until} ({} min)", until.since(now).as_secs() / 60),
            (Some(_), None) => format!("its token stays {}", self.lease.validity()),
            (None, _) => format!("its token, if it has one, stays {}", self.lease.validity()),
        }
    }

    /// Whether the lease file names another API server than the CI identity's.
    fn is_said_elsewhere(&self, identity: &Identity) -> bool {
        self.known && identity.server() != self.lease.server
    }

    async fn connected(&self, identity: Result<Identity, Failure>, terms: Terms, out: &Out) -> Result<Reached, Failure> {
        let identity = identity?;
        // A derived name belongs to this job on every API server, so the server that an unsealed file names can be ignored.
        let is_passed_over = self.word == Word::Hearsay && self.named.is_ours_alone();
        if self.is_said_elsewhere(&identity) && !is_passed_over {
            let gone = self.store.as_ref().map(|store| format!("; if that cluster is gone for good, remove `{store}`")).unwrap_or_default();
            return Err(Failure::new(Code::LeaseOtherServer, format!("cannot revoke the lease `{}`", self.lease.id()))
                .cause(format!("it is on `{}`, but the CI identity is for `{}`", self.lease.server, identity.server()))
                .hint(format!("name the right CI identity: a lease decides neither the server nor the credential{gone}")));
        }
        let own = self.token_for(&identity).map(|token| identity.bearing(&token, ITSELF));
        match (Cluster::connect(identity, terms.timeout, Patience::Whole, out).await, own) {
            (Ok(cluster), _) => Ok(Reached { cluster, refused: None }),
            // The issuer of the credential took at most half of the time.
            (Err(refused), Some(own)) if refused.code() != Code::NetworkTarget => {
                let cluster = Cluster::connect(own, terms.timeout / 2, Patience::Whole, out).await?;
                Ok(Reached { cluster, refused: Some(refused) })
            }
            (Err(refused), _) => Err(refused),
        }
    }

    async fn delete(&self, cluster: &mut Cluster, terms: Terms, outcome: &mut Outcome) -> Result<Proof, Failure> {
        let deleted = cluster.delete_lease_for_good(&self.lease, self.named).await?;
        let at = cluster.server_time(&self.lease);
        outcome.at = at;
        let after = |length| at.map(|at| at.after(length));
        let unproved = match deleted {
            Deleted::Removed => Proof::Removed,
            Deleted::Absent => {
                // The last line of the log is where people look who ask why their job has failed.
                let told = if self.known { cluster.told_by_operator(&self.lease).await } else { None };
                outcome.warning = told.map(|told| format!("the pass was {told}"));
                if !terms.wait_dead {
                    return Ok(Proof::Absent);
                }
                Proof::Absent
            }
            // The lease file gave a wrong uid, so the hash of the token in it cannot be trusted either: no probe.
            Deleted::Anew => {
                outcome.warning =
                    Some(format!("another Secret had the name of the lease `{}`, which is ours alone: it is deleted", self.lease.id()));
                return Ok(Proof::Removed);
            }
            Deleted::Replaced => {
                return Err(Failure::new(Code::LeaseTaken, format!("cannot revoke the lease `{}`", self.lease.id()))
                    .cause("another Secret has its name: the API server has another uid for it than the lease file")
                    .hint("find out who made it: jobpass deletes only what is surely its own"));
            }
            Deleted::Deleting => return Ok(Proof::Deleting { until: after(HELD) }),
        };
        let Some(token) = self.token() else { return Ok(unproved) };
        let mut proof = unproved;
        loop {
            cluster.wait(BEFORE_PROBE).await;
            match cluster.probe(&token).await {
                Probed::Dead => return Ok(Proof::Dead),
                Probed::Accepted => proof = Proof::Pending { until: after(CACHE) },
                // No answer: the last one stands.
                Probed::Unknown(_) => {}
            }
            if !terms.wait_dead || !cluster.has_time() {
                return Ok(proof);
            }
        }
    }

    /// The token of the pass, if this is the API server that it is for, as its lease says: no other one is shown it in order to end it.
    fn token_for(&self, identity: &Identity) -> Option<Secret> {
        if identity.server() == self.lease.server { self.token() } else { None }
    }

    /// The token to probe with: ours or that of the token file, if it is the one whose hash the lease has.
    fn token(&self) -> Option<Secret> {
        if let Some(token) = &self.token {
            return Some(token.clone()).filter(|token| self.lease.holds(token));
        }
        let text = self.store.as_ref()?.read(store::TOKEN).ok()??;
        Some(Secret::new(text)).filter(|token| self.lease.holds(token))
    }

    /// Removes the files. After a failure the lease file stays, so that it can be tried again; the secret files go in any case.
    fn remove_files(&self, revoked: bool) -> Result<(), Failure> {
        self.lease.remove_named_files();
        match &self.store {
            Some(store) if revoked => store.clear(),
            Some(store) => store.remove(store::SECRETS),
            None => Ok(()),
        }
    }
}
