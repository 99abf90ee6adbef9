//! The pass: the only module that orders the steps on lease, API server and store, and that undoes them.

use std::{os::fd::OwnedFd, time::Duration};

use crate::{
    clock::ServerTime,
    cluster::{Cluster, Deleted, Granted, Patience},
    context::Context,
    failure::{Code, Failure},
    fault::Watch,
    files::{self, Change},
    identity::{Identity, issuer::When},
    jwt::Claims,
    lease::{Lease, fingerprint, named::Named, object, seal::Seal},
    options::human,
    origin::Word,
    out::Out,
    pass_kubeconfig,
    platform::{Platform, key},
    registry_auth,
    secret::Secret,
    signals::Signals,
    spec::TokenSpec,
    store::{self, Exchange, Readers, Store},
};

mod asked_again;
mod outlived;
mod revocation;
mod unbegun;

pub use revocation::{Revocation, Revoked, Terms};
use unbegun::{interrupted, waiting};

/// A pass that has begun: what the job holds.
pub struct Pass {
    /// The lease, by which the pass is revoked.
    pub lease: Lease,
    /// The token for the service account.
    pub token: Secret,
    /// The private directory with the files of the pass.
    pub store: Store,
    /// The connection to the API server, as the CI identity.
    pub cluster: Cluster,
    /// Warnings for the person who reads the log.
    pub warnings: Vec<String>,
    /// When the token expires; the lease may end later.
    pub expires_at: ServerTime,
    /// The token's lifetime, by the server's own figures.
    pub lifetime: Duration,
    /// The key that seals the lease file, on GitLab.
    seal: Seal,
    /// The lock on the store, held as long as we live, so that no other process takes this pass for one that is over.
    _lock: Option<OwnedFd>,
    /// While it is held, a panic ends the pass.
    watch: Watch,
}

/// A renewed token that the pass has not taken over yet.
pub struct Renewed {
    /// The new token.
    pub token: Secret,
    lease: Lease,
    expires_at: ServerTime,
    lifetime: Duration,
}

/// How long undoing a pass may take, where no platform is about to kill us.
pub const UNDO: Duration = Duration::from_secs(10);

/// The API server refuses to grant a token for less.
const SHORTEST: Duration = Duration::from_mins(10);

/// Is told of a pass while it begins. The module that hands the pass over implements it.
pub trait Observer {
    /// There is a secret: it must be masked now, before anything is printed that might contain it.
    ///
    /// # Errors
    /// When it cannot be masked; then the pass is undone.
    fn mask(&self, secret: &Secret) -> Result<(), Failure>;

    /// The lease has changed: it is saved outside the store, too, where the platform has such a place.
    ///
    /// # Errors
    /// When it cannot be written; then the pass is undone.
    fn save(&self, lease: &Lease) -> Result<(), Failure>;

    /// How long it may be tried where nobody answers: not long, as a person waits for the message.
    fn patience(&self) -> Patience {
        Patience::Brief
    }

    /// The pass was undone: what `save` wrote is taken back.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget(&self) -> Result<(), Failure>;
}

/// Everything that is needed to begin a pass.
pub struct Plan<'a> {
    /// The service account, the ttl and the other properties of the token.
    pub spec: &'a TokenSpec,
    /// The job that the pass is for.
    pub context: &'a Context,
    /// The lease as it is saved before anything exists on the server.
    pub lease: Lease,
    /// The key that seals the lease file, on GitLab.
    pub seal: Seal,
    /// The store to be made for it.
    pub store: Store,
    /// How long beginning it may take.
    pub timeout: Duration,
    /// Is told of each step.
    pub observer: &'a dyn Observer,
    /// The signals that may interrupt it.
    pub signals: &'a mut Signals,
    /// Where failures are reported that are tried again.
    pub out: &'a Out,
}

impl Pass {
    /// Begins a pass: saves the lease, creates its Secret, requests the token. Undoes all that on an error or a signal.
    ///
    /// # Errors
    /// When a step fails; then nothing is left, or the error says until when something may live.
    pub async fn begin(plan: Plan<'_>, identity: Identity) -> Result<Self, Failure> {
        let Plan { spec, context, mut lease, seal, store, timeout, observer, signals, out } = plan;
        let former = former(&store, &lease, context.platform, &seal)?;
        let mut cluster = tokio::select! {
            cluster = Cluster::connect(identity, timeout, observer.patience(), out) => cluster?,
            signal = signals.ending_one() => return Err(waiting(interrupted(signal), out.trouble())),
        };
        lease.issued = cluster.identity().outstanding();
        let shown = cluster.identity_token().cloned();
        shown.iter().try_for_each(|token| observer.mask(token))?;
        let mut warnings = Vec::new();
        if let Some(former) = former {
            // Done before the store is touched: as long as the former pass lives, its lease file is needed.
            tokio::select! {
                replaced = replaced(&mut cluster, &former) => replaced?,
                signal = signals.ending_one() => return Err(waiting(interrupted(signal), out.trouble())),
            }
            warnings.push(format!(
                "the former pass of this job for service account `{}` is ended: they have one lease",
                former.service_account
            ));
        }
        let readers = Readers::of(spec.file_mode);
        let lock = store.create(readers)?;
        let saved = store.save_lease(&seal.json(&lease)).and_then(|()| observer.save(&lease));
        if let Err(failure) = saved {
            return Err(cleared(&store, failure, observer));
        }
        // Only the command of `run` needs the files of its pass, so they can be in this container's memory. Those of `request` are
        // for later steps.
        let (store, warning) =
            if spec.lifetime.is_some() && readers == Readers::User { store.with_secrets_in_memory() } else { (store, None) };
        warnings.extend(warning);
        let watch = Watch::over(&lease, Named::Here, &cluster, Some(&store));
        let (outcome, time) = {
            let steps = async {
                let secret = object::secret(&lease, spec, context, &cluster.maker().await);
                let made = cluster.create_lease(&lease, &secret).await?;
                if made.replaced && key::is_whole(lease.job_key.as_deref().unwrap_or_default(), lease.job.as_deref()) {
                    warnings.push(format!("the lease `{}` of an earlier attempt with this `--job-key` is taken over", lease.id()));
                }
                lease.uid = Some(made.uid);
                if let Some(at) = made.at {
                    lease.created(at);
                }
                watch.update(&lease);
                store.save_lease(&seal.json(&lease))?;
                warnings.extend(cluster.skew().map(|skew| format!("{skew}: the times of this pass are the server's")));
                let granted = cluster.request_token(&lease, spec).await?;
                let expires_at = granted.expires_at;
                let (token, lifetime) = accepted(&mut lease, granted, spec, &mut warnings)?;
                Ok((token, expires_at, lifetime))
            };
            tokio::select! {
                outcome = steps => (outcome, UNDO),
                signal = signals.ending_one() => (Err(interrupted(signal)), context.platform.signal_budget()),
            }
        };
        let outcome = outcome.map_err(|failure| waiting(failure, out.trouble()));
        // The CI identity's token may have been read anew: the new one is masked, too.
        let renewed = cluster.identity_token().filter(|token| shown.as_ref() != Some(*token));
        let outcome = renewed.into_iter().try_for_each(|token| observer.mask(token)).and(outcome);
        let ended_at_once = ServerTime::said(lease.expires_at);
        let (token, expires_at, lifetime, failure) = match outcome {
            Ok((token, expires_at, lifetime)) => (token, expires_at, lifetime, None),
            Err(failure) => (Secret::new(String::new()), ended_at_once, spec.ttl, Some(failure)),
        };
        let mut pass = Self { lease, token, store, cluster, warnings, expires_at, lifetime, seal, _lock: lock, watch };
        pass.watch.update(&pass.lease);
        if let Some(failure) = failure {
            return Err(pass.undo(time, failure, observer).await);
        }
        pass.warnings.extend(outlived::endless(&pass).into_iter().chain(outlived::warning(&pass, context)));
        let saved = pass.store.save_lease(&pass.seal.json(&pass.lease)).and_then(|()| observer.save(&pass.lease));
        match saved {
            Ok(()) => Ok(pass),
            Err(failure) => Err(pass.undo(time, failure, observer).await),
        }
    }

    /// Requests one more token for the same lease. None if the lease has not enough time left.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached; the pass is unchanged.
    pub async fn renew(&mut self, spec: &TokenSpec, timeout: Duration) -> Result<Option<Renewed>, Failure> {
        // By the server's clock: with ours an hour off, renewal would stop an hour early, or ask for tokens that outlive their
        // lease.
        let left = self.lease.ends().zip(self.cluster.server_time(&self.lease)).map(|(end, now)| end.since(now)).unwrap_or_default();
        let ttl = Duration::from_secs(spec.ttl.min(left).as_secs());
        if ttl < SHORTEST {
            return Ok(None);
        }
        let granted = self.asked_again(&TokenSpec { ttl, ..spec.clone() }, timeout).await?;
        let (expires_at, mut lease) = (granted.expires_at, self.lease.clone());
        // The warnings of a renewal are dropped: they were printed for the first token.
        let (token, lifetime) = accepted(&mut lease, granted, spec, &mut Vec::new())?;
        Ok(Some(Renewed { token, lease, expires_at, lifetime }))
    }

    /// Replaces the token by a renewed one. The inner result says whether the lease file could be saved, too; only a `revoke` after
    /// our death needs it.
    ///
    /// # Errors
    /// When the token file cannot be written; then the pass keeps the former token.
    pub fn take(&mut self, renewed: Renewed, spec: &TokenSpec) -> Result<Result<(), Failure>, Failure> {
        self.store.replace(store::TOKEN, renewed.token.expose().as_bytes(), spec.file_mode)?;
        let Renewed { token, lease, expires_at, lifetime } = renewed;
        (self.token, self.lease, self.expires_at, self.lifetime) = (token, lease, expires_at, lifetime);
        self.watch.update(&self.lease);
        Ok(self.store.save_lease(&self.seal.json(&self.lease)))
    }

    /// What was issued for the CI identity is given back: from now on it has none, and the lease names none.
    ///
    /// # Errors
    /// When the lease file cannot be written.
    pub fn given_back(&mut self) -> Result<(), Failure> {
        self.cluster.forget_credential();
        self.lease.issued = self.cluster.identity().outstanding();
        self.store.save_lease(&self.seal.json(&self.lease))
    }

    /// Puts the current token into one of the files that hold it. The command may have changed that file: nothing else in it is touched.
    #[must_use]
    pub fn renew_in(&self, name: &str) -> Exchange {
        self.store.exchange(name, |text| pass_kubeconfig::renewed(text, &self.lease, &self.token))
    }

    /// Puts the current token into the docker configuration, if there is one.
    ///
    /// # Errors
    /// When it is gone, is no longer ours, or cannot be written.
    pub fn renew_registry_auth(&self) -> Result<(), Failure> {
        let Some(path) = &self.lease.registry_auth else { return Ok(()) };
        let lease = self.lease.id();
        let renewed = |text: &str| registry_auth::renewed(text, &lease, &self.token).map(Change::Replace);
        if files::change_user_file(path.as_ref(), renewed)? {
            return Ok(());
        }
        let why = "it is gone, or holds no token of this pass any more";
        Err(Failure::new(Code::FileOccupied, format!("cannot renew `{path}`")).cause(why))
    }

    /// Ends the pass, as the CI identity that requested it. The secret files are removed first, as nobody needs them any more.
    pub async fn end(mut self, terms: Terms) -> Revoked {
        let _ = self.store.remove(store::SECRETS);
        self.cluster.extend(terms.timeout);
        let revocation = Revocation {
            lease: self.lease,
            named: Named::Here,
            word: Word::Ours,
            known: true,
            store: Some(self.store),
            token: Some(self.token),
        };
        let mut revoked = revocation.carry_out_over(&mut self.cluster, terms).await;
        let when = if revoked.receipt.proof.is_success() { When::Over } else { When::Unneeded };
        revoked.returned = self.cluster.give_back(when).await;
        revoked
    }

    /// Ends a pass that could not be handed over, and returns the failure, extended if the pass could not be ended.
    pub async fn undo(mut self, time: Duration, failure: Failure, observer: &dyn Observer) -> Failure {
        self.lease.remove_named_files();
        if !self.cluster.may_have_left_something() {
            let failure = cleared(&self.store, failure, observer);
            return self.cluster.meant(failure, &self.lease.service_account).await;
        }
        self.cluster.extend(time);
        let deleted = self.cluster.delete_lease_for_good(&self.lease, Named::Here).await;
        // Asked only now: what is to end does not wait for what is only to be said.
        let failure = self.cluster.meant(failure, &self.lease.service_account).await;
        self.cluster.give_back_for_now().await;
        let why = match deleted {
            Ok(Deleted::Deleting) => "a finalizer holds it".to_owned(),
            Ok(Deleted::Replaced) => "another Secret has its name".to_owned(),
            Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent) => return cleared(&self.store, failure, observer),
            Err(undo) => undo.brief(),
        };
        // The lease file stays, so that `revoke` can still end the pass; the secret files go.
        let _ = self.store.remove(store::SECRETS);
        let token = if self.cluster.may_have_token { format!(", and a token of it {}", self.lease.validity()) } else { String::new() };
        failure.cause(format!("the lease `{}` may be left behind{token}: {why}", self.lease.id()))
    }
}

/// The earlier pass of the same lease, if there is one: this one replaces it.
fn former(store: &Store, lease: &Lease, platform: Platform, seal: &Seal) -> Result<Option<Lease>, Failure> {
    // Fails if another process still uses that pass. The lock is released at once, as the store may be made anew.
    drop(store.lock()?);
    // An unreadable file is ignored here: making the store refuses it.
    let Ok(Some(former)) = store.read(store::LEASE).map(|text| text.and_then(|text| Lease::parse(&text).ok())) else { return Ok(None) };
    if seal.word(platform, &former) == Word::Hearsay {
        // Others may have written the file, so its content is not used and cannot prevent this pass. But a file of this lease shows
        // that there may be such a pass, and the name is ours alone, so it is ended by name.
        return Ok((former.id() == lease.id()).then(|| Lease { uid: None, kubeconfig_out: None, registry_auth: None, ..lease.clone() }));
    }
    if former.server != lease.server {
        return Err(Failure::new(
            Code::PassElsewhere,
            format!("this job already has a pass for service account `{}` on another API server", lease.service_account),
        )
        .cause(format!("its lease `{}` is in `{store}`", former.id()))
        .hint("give this one a place of its own by `--dir`, or revoke the other one first"));
    }
    Ok((former.id() == lease.id()).then_some(former))
}

/// Ends the former pass of the same lease. If that fails, the pass stays as it is, with all that `revoke` needs.
async fn replaced(cluster: &mut Cluster, former: &Lease) -> Result<(), Failure> {
    let what = || format!("cannot replace the former pass of this job for service account `{}`", former.service_account);
    match cluster.delete_lease(former, former.uid.as_deref()).await {
        Ok(Deleted::Replaced) => Err(Failure::new(Code::LeaseTaken, what())
            .cause(format!("another Secret has the name of its lease `{}`", former.id()))
            .hint("find out who made it; jobpass leaves it alone")),
        Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent | Deleted::Deleting) => {
            former.remove_named_files();
            Ok(())
        }
        Err(failure) => Err(failure.within(what()).cause(format!("it is {}", former.validity()))),
    }
}

/// Accepts the token if it is bound to our lease: any other could not be revoked.
fn accepted(lease: &mut Lease, granted: Granted, spec: &TokenSpec, warnings: &mut Vec<String>) -> Result<(Secret, Duration), Failure> {
    let claims = Claims::of(&granted.token).unwrap_or_default();
    if granted.token.is_blank() || !granted.token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Code::PassUnusable, "cannot take the token over").cause("the API server sent something that is no token"));
    }
    lease.granted(granted.issued_at, granted.expires_at);
    lease.jti.clone_from(&claims.jti);
    // For a token with another audience the API server answers 401 even while it lives. That proves nothing, so it is never probed:
    // no hash is kept.
    lease.token_sha256 = spec.audiences.is_empty().then(|| fingerprint(&granted.token));
    if claims.secret_uid() != lease.uid.as_deref() {
        return Err(Failure::new(Code::PassUnusable, "cannot take the token over")
            .cause("it is not bound to the lease, so it could not be revoked")
            .hint("ask the cluster's admins: something between jobpass and the API server changed the request"));
    }
    let asked = i64::try_from(spec.ttl.as_secs()).unwrap_or(i64::MAX);
    if let Some(given) = claims.lifetime().filter(|given| *given < asked) {
        let given = human(Duration::from_secs(u64::try_from(given).unwrap_or_default()));
        warnings.push(format!(
            "asked for {}, but the API server grants {given}: the token ends at {}",
            human(spec.ttl),
            granted.expires_at
        ));
    }
    // The server warns of a shortened lifetime, too; our own warning above says it already.
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
            granted.expires_at
        ));
    }
    let lifetime = claims.lifetime().and_then(|seconds| u64::try_from(seconds).ok()).map_or(spec.ttl, Duration::from_secs);
    Ok((granted.token, lifetime))
}

/// Nothing is left on the server: removes the local files as well.
fn cleared(store: &Store, failure: Failure, observer: &dyn Observer) -> Failure {
    match store.clear().and_then(|()| observer.forget()) {
        Ok(()) => failure,
        Err(clear) => failure.cause(clear.brief()),
    }
}
