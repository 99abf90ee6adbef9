//! The pass: alone orders lease, cluster and place, and alone cleans up.

use std::{path::PathBuf, time::Duration};

use crate::{
    cluster::{Cluster, Deleted, Granted, Probed},
    env::Env,
    failure::Failure,
    identity::{Identity, kubeconfig::marked},
    jwt::Claims,
    lease::{Lease, fingerprint, last_breath, object},
    options::human,
    out::instant,
    place::{self, Place},
    platform::Platform,
    receipt::{Proof, Receipt},
    secret::Secret,
    signals,
    spec::TokenSpec,
};
use jiff::{SignedDuration, Timestamp};

/// How long after the DELETE a probe waits: a token that is shown before the API server has seen the deletion is cached for 10 s.
const BEFORE_PROBE: Duration = Duration::from_millis(250);

/// How long the API server remembers a token that it has accepted.
const CACHE: SignedDuration = SignedDuration::from_secs(10);

/// How long a token lives on when a finalizer holds its Secret: `jwt.DefaultLeeway` and the cache.
const HELD: SignedDuration = SignedDuration::from_secs(70);

/// What the job holds.
pub struct Pass {
    /// What ends it.
    pub lease: Lease,
    /// What it is for.
    pub token: Secret,
    /// Where it is kept.
    pub place: Place,
    /// The API server and who asked it.
    pub cluster: Cluster,
    /// What the person who reads the log should know.
    pub warnings: Vec<String>,
}

/// Everything that beginning a pass needs to know.
pub struct Plan<'a> {
    /// What is asked for.
    pub spec: &'a TokenSpec,
    /// The environment.
    pub env: &'a Env,
    /// The platform.
    pub platform: Platform,
    /// The lease as it is before anything exists.
    pub lease: Lease,
    /// Where it will be kept.
    pub place: Place,
    /// How long it may take.
    pub timeout: Duration,
    /// Where the lease is saved beside the place, if anywhere.
    pub save: &'a dyn Fn(&Lease) -> Result<(), Failure>,
    /// Takes back what `save` has saved.
    pub forget: &'a dyn Fn() -> Result<(), Failure>,
    /// Called with the CI identity's token before anything is printed that might hold it.
    pub mask: &'a dyn Fn(&Secret) -> Result<(), Failure>,
}

impl Pass {
    /// Begins a pass: saves the lease, creates its Secret, requests the token. On an error or a signal it undoes itself.
    ///
    /// # Errors
    /// When a step fails; then nothing is left, or the error says until when something is.
    pub async fn begin(plan: Plan<'_>, identity: Identity) -> Result<Self, Failure> {
        let Plan { spec, env, platform, mut lease, place, timeout, save, forget, mask } = plan;
        let former = former(&place, &lease)?;
        let mut cluster = Cluster::connect(identity, env, timeout).await?;
        let shown = cluster.identity_token().cloned();
        shown.iter().try_for_each(mask)?;
        if let Some(former) = former {
            // Before its place is touched: what is known of it is needed until it is over.
            replaced(&mut cluster, &former).await?;
        }
        place.create(spec.file_mode & 0o040 != 0)?;
        let saved = place.save_lease(&lease.json()).and_then(|()| save(&lease));
        if let Err(failure) = saved {
            return Err(cleared(&place, failure, forget));
        }
        let secret = object::secret(&lease, spec, env, platform, cluster.identity());
        let mut warnings = Vec::new();
        let outcome = {
            let steps = async {
                lease.uid = Some(cluster.create_lease(&lease, &secret).await?);
                place.save_lease(&lease.json())?;
                let granted = cluster.request_token(&lease, spec).await?;
                accepted(&mut lease, granted, spec, &mut warnings)
            };
            tokio::select! {
                outcome = steps => outcome,
                signal = signals::first() => Err(Failure::new("cannot request a pass").cause(format!("interrupted by {signal}"))),
            }
        };
        // A credential that was read anew meanwhile is one more.
        let renewed = cluster.identity_token().filter(|token| shown.as_ref() != Some(*token));
        let outcome = renewed.into_iter().try_for_each(mask).and(outcome);
        let mut pass = Self { lease, token: Secret::new(String::new()), place, cluster, warnings };
        match outcome {
            Ok(token) => pass.token = token,
            Err(failure) => return Err(pass.undo(platform, failure, forget).await),
        }
        let saved = pass.place.save_lease(&pass.lease.json()).and_then(|()| save(&pass.lease));
        match saved {
            Ok(()) => Ok(pass),
            Err(failure) => Err(pass.undo(platform, failure, forget).await),
        }
    }

    /// Ends a pass that could not be handed over, and says so if that does not work either.
    pub async fn undo(mut self, platform: Platform, failure: Failure, forget: &dyn Fn() -> Result<(), Failure>) -> Failure {
        if let Some(path) = &self.lease.kubeconfig_out {
            let _ = place::remove_named(path.as_ref(), |text| marked(text).is_some_and(|mark| mark.lease == self.lease.id()));
        }
        if !self.cluster.left_something {
            return cleared(&self.place, failure, forget);
        }
        self.cluster.extend(platform.signal_budget());
        let why = match self.cluster.delete_lease_for_good(&self.lease).await {
            Ok(Deleted::Deleting) => "a finalizer holds it".to_owned(),
            Ok(Deleted::Removed | Deleted::Absent | Deleted::Replaced) => return cleared(&self.place, failure, forget),
            Err(undo) => undo.brief(),
        };
        // The lease stays, so that `revoke` can still end it; the secrets go.
        let _ = self.place.remove(&[place::TOKEN, place::KUBECONFIG, place::ENV]);
        let until = instant(last_breath(self.lease.expires_at));
        failure.cause(format!("the lease `{}` may be left behind, and a token of it valid until {until}: {why}", self.lease.id()))
    }
}

/// An earlier pass of the same lease, which this one replaces.
fn former(place: &Place, lease: &Lease) -> Result<Option<Lease>, Failure> {
    // What cannot be read is looked at more closely, and refused, when the place is made.
    let Ok(Some(former)) = place.read(place::LEASE).map(|text| text.and_then(|text| Lease::parse(&text).ok())) else { return Ok(None) };
    if former.server != lease.server {
        return Err(Failure::usage(format!(
            "this job already has a pass for service account `{}` on another API server",
            lease.service_account
        ))
        .cause(format!("its lease `{}` is in `{place}`", former.id()))
        .hint("give this one a place of its own by `--dir`, or revoke the other one first"));
    }
    Ok((former.id() == lease.id()).then_some(former))
}

/// Ends the former pass of the same lease. If that does not work it stays as it is, with all that `revoke` needs.
async fn replaced(cluster: &mut Cluster, former: &Lease) -> Result<(), Failure> {
    let what = || format!("cannot replace the former pass of this job for service account `{}`", former.service_account);
    match cluster.delete_lease(former, former.uid.as_deref()).await {
        Ok(Deleted::Replaced) => Err(Failure::new(what())
            .cause(format!("another Secret has the name of its lease `{}`", former.id()))
            .hint("find out who made it; jobpass leaves it alone")),
        Ok(Deleted::Removed | Deleted::Absent | Deleted::Deleting) => {
            if let Some(path) = &former.kubeconfig_out {
                let _ = place::remove_named(path.as_ref(), |text| marked(text).is_some_and(|mark| mark.lease == former.id()));
            }
            Ok(())
        }
        Err(failure) => Err(failure.within(what()).cause(format!("it is valid until {}", instant(last_breath(former.expires_at))))),
    }
}

/// Takes the token over, if it is bound to our lease: any other could not be revoked.
fn accepted(lease: &mut Lease, granted: Granted, spec: &TokenSpec, warnings: &mut Vec<String>) -> Result<Secret, Failure> {
    let claims = Claims::of(&granted.token).unwrap_or_default();
    if granted.token.is_blank() || !granted.token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new("cannot take the token over").cause("the API server sent something that is no token"));
    }
    lease.expires_at = granted.expires_at;
    lease.jti.clone_from(&claims.jti);
    // Of a token for others the API server says 401 while it lives: no proof, so it is never asked.
    lease.token_sha256 = spec.audiences.is_empty().then(|| fingerprint(&granted.token));
    if claims.secret_uid() != lease.uid.as_deref() {
        return Err(Failure::new("cannot take the token over")
            .cause("it is not bound to the lease, so it could not be revoked")
            .hint("ask the cluster's admins: something between jobpass and the API server changed the request"));
    }
    let asked = i64::try_from(spec.ttl.as_secs()).unwrap_or(i64::MAX);
    if let Some(given) = claims.lifetime().filter(|given| *given < asked) {
        let given = human(Duration::from_secs(u64::try_from(given).unwrap_or_default()));
        warnings.push(format!(
            "asked for {}, but the API server grants {given}: the token ends at {}",
            human(spec.ttl),
            instant(granted.expires_at)
        ));
    }
    // The server says the same about a shortened lifetime in its own words.
    warnings.extend(
        granted
            .warnings
            .into_iter()
            .filter(|warning| !warning.contains("requested expiration"))
            .map(|warning| format!("the API server says: {warning}")),
    );
    if !spec.audiences.is_empty() {
        warnings.push(format!(
            "the token is for {}: a verifier that only checks its signature accepts it until {}, revoked or not",
            spec.audiences.iter().map(|audience| format!("`{audience}`")).collect::<Vec<_>>().join(", "),
            instant(granted.expires_at)
        ));
    }
    Ok(granted.token)
}

/// Nothing of the pass is left on the server: nothing stays of it here either.
fn cleared(place: &Place, failure: Failure, forget: &dyn Fn() -> Result<(), Failure>) -> Failure {
    match place.clear().and_then(|()| forget()) {
        Ok(()) => failure,
        Err(clear) => failure.cause(clear.brief()),
    }
}

/// What is known of a pass that is to end.
#[derive(Debug)]
pub struct Ending {
    /// Its lease; of one whose file is lost only the names are true.
    pub lease: Lease,
    /// Whether more than its name is known.
    pub known: bool,
    /// Its directory, if it is on this machine.
    pub place: Option<Place>,
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
    pub async fn end(&self, identity: Result<Identity, Failure>, env: &Env, terms: Terms) -> Ended {
        let mut failure = None;
        let mut revoked_at = Timestamp::now();
        let proof = match self.delete(identity, env, terms, &mut revoked_at).await {
            Ok(proof) => proof,
            Err(_) if self.known && self.lease.is_over(Timestamp::now()) => Proof::Expired,
            Err(why) => {
                let proof = Proof::Failed { reason: why.brief(), until: last_breath(self.lease.expires_at) };
                failure = Some(why);
                proof
            }
        };
        let leftover = self.remove_files(proof.is_success()).err();
        Ended { receipt: Receipt::of(&self.lease, self.known, revoked_at, proof), failure, leftover }
    }

    async fn delete(
        &self,
        identity: Result<Identity, Failure>,
        env: &Env,
        terms: Terms,
        revoked_at: &mut Timestamp,
    ) -> Result<Proof, Failure> {
        let identity = identity?;
        if self.known && identity.server() != self.lease.server {
            return Err(Failure::new(format!("cannot revoke the lease `{}`", self.lease.id()))
                .cause(format!("it is on `{}`, but the CI identity is for `{}`", self.lease.server, identity.server()))
                .hint("name the right CI identity: a lease decides neither the server nor the credential"));
        }
        let mut cluster = Cluster::connect(identity, env, terms.timeout).await?;
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
            Some(place) => place.remove(&[place::TOKEN, place::KUBECONFIG, place::ENV]),
            None => Ok(()),
        }
    }
}
