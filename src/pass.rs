//! The pass: alone orders lease, cluster and place, and alone cleans up.

use std::{os::fd::OwnedFd, time::Duration};

use crate::{
    clock::ServerTime,
    cluster::{Cluster, Deleted, Granted, Patience},
    context::Context,
    failure::{Code, Failure},
    fault::Watch,
    files,
    identity::Identity,
    jwt::Claims,
    lease::{Lease, fingerprint, named::Named, object, seal::Seal},
    options::human,
    origin::Word,
    out::Out,
    pass_extension::PassExtension,
    pass_kubeconfig,
    platform::{Platform, key},
    secret::Secret,
    signals::{Notice, Signals},
    spec::TokenSpec,
    store::{self, Exchange, Readers, Store},
};

mod revocation;

pub use revocation::{Revocation, Revoked, Terms};

/// What the job holds.
pub struct Pass {
    /// What ends it.
    pub lease: Lease,
    /// What it is for.
    pub token: Secret,
    /// Where it is kept.
    pub store: Store,
    /// The API server and who asked it.
    pub cluster: Cluster,
    /// What the person who reads the log should know.
    pub warnings: Vec<String>,
    /// When the token ends; its lease may end later.
    pub expires_at: ServerTime,
    /// How long it was issued for, by the server's own clock.
    pub lifetime: Duration,
    /// What its lease file is sealed with.
    seal: Seal,
    /// Held as long as we live, so that no other process takes this pass for one that is over.
    _lock: Option<OwnedFd>,
    /// A fault of our own ends it too.
    watch: Watch,
}

/// One more token, not yet taken over.
pub struct Renewed {
    /// The token.
    pub token: Secret,
    lease: Lease,
    expires_at: ServerTime,
    lifetime: Duration,
}

/// How long it may take to undo a pass where no runner is about to kill us.
pub const UNDO: Duration = Duration::from_secs(10);

/// The API server grants no token for less.
const SHORTEST: Duration = Duration::from_mins(10);

/// Who hears of a pass while it begins: whoever hands it over afterwards.
pub trait Observer {
    /// There is a secret: it is hidden before anything is printed that might hold it.
    ///
    /// # Errors
    /// When it cannot be hidden; then there is no pass.
    fn mask(&self, secret: &Secret) -> Result<(), Failure>;

    /// The lease is as it is now, and is kept beside the place too, if anywhere.
    ///
    /// # Errors
    /// When it cannot be written; then there is no pass.
    fn save(&self, lease: &Lease) -> Result<(), Failure>;

    /// The pass did not come to be: what was saved is taken back.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget(&self) -> Result<(), Failure>;
}

/// Everything that beginning a pass needs to know.
pub struct Plan<'a> {
    /// What is asked for.
    pub spec: &'a TokenSpec,
    /// The job that it is for.
    pub context: &'a Context,
    /// The lease as it is before anything exists.
    pub lease: Lease,
    /// What its file is sealed with.
    pub seal: Seal,
    /// Where it will be kept.
    pub store: Store,
    /// How long it may take.
    pub timeout: Duration,
    /// Who hears of it on its way.
    pub observer: &'a dyn Observer,
    /// What may interrupt it.
    pub signals: &'a mut Signals,
    /// Who is told of what goes wrong and is tried again.
    pub out: &'a Out,
}

impl Pass {
    /// Begins a pass: saves the lease, creates its Secret, requests the token. On an error or a signal it undoes itself.
    ///
    /// # Errors
    /// When a step fails; then nothing is left, or the error says until when something is.
    pub async fn begin(plan: Plan<'_>, identity: Identity) -> Result<Self, Failure> {
        let Plan { spec, context, mut lease, seal, store, timeout, observer, signals, out } = plan;
        let former = former(&store, &lease, context.platform, &seal)?;
        let mut cluster = tokio::select! {
            cluster = Cluster::connect(identity, timeout, Patience::Brief, out) => cluster?,
            signal = signals.ending_one() => return Err(interrupted(signal)),
        };
        let shown = cluster.identity_token().cloned();
        shown.iter().try_for_each(|token| observer.mask(token))?;
        let mut warnings = Vec::new();
        if let Some(former) = former {
            // Before its place is touched: what is known of it is needed until it is over.
            tokio::select! {
                replaced = replaced(&mut cluster, &former) => replaced?,
                signal = signals.ending_one() => return Err(interrupted(signal)),
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
        // Nothing but the command of `run` needs its token's files; those of `request` are for whatever step comes next.
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
        // A credential that was read anew meanwhile is one more.
        let renewed = cluster.identity_token().filter(|token| shown.as_ref() != Some(*token));
        let outcome = renewed.into_iter().try_for_each(|token| observer.mask(token)).and(outcome);
        let ended_at_once = ServerTime::said(lease.expires_at);
        let (token, expires_at, lifetime, failure) = match outcome {
            Ok((token, expires_at, lifetime)) => (token, expires_at, lifetime, None),
            Err(failure) => (Secret::new(String::new()), ended_at_once, spec.ttl, Some(failure)),
        };
        let pass = Self { lease, token, store, cluster, warnings, expires_at, lifetime, seal, _lock: lock, watch };
        pass.watch.update(&pass.lease);
        if let Some(failure) = failure {
            return Err(pass.undo(time, failure, observer).await);
        }
        let saved = pass.store.save_lease(&pass.seal.json(&pass.lease)).and_then(|()| observer.save(&pass.lease));
        match saved {
            Ok(()) => Ok(pass),
            Err(failure) => Err(pass.undo(time, failure, observer).await),
        }
    }

    /// Requests one more token on the same lease. None where the lease has no time left for one.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached; the pass is as it was.
    pub async fn renew(&mut self, spec: &TokenSpec, timeout: Duration) -> Result<Option<Renewed>, Failure> {
        // By the server's clock: an hour's difference would be an hour less, or tokens that outlive their lease.
        let left = self.lease.ends().zip(self.cluster.server_time(&self.lease)).map(|(end, now)| end.since(now)).unwrap_or_default();
        let ttl = Duration::from_secs(spec.ttl.min(left).as_secs());
        if ttl < SHORTEST {
            return Ok(None);
        }
        self.cluster.extend(timeout);
        let granted = self.cluster.request_token(&self.lease, &TokenSpec { ttl, ..spec.clone() }).await?;
        let (expires_at, mut lease) = (granted.expires_at, self.lease.clone());
        // What there was to warn of was said of the first token.
        let (token, lifetime) = accepted(&mut lease, granted, spec, &mut Vec::new())?;
        Ok(Some(Renewed { token, lease, expires_at, lifetime }))
    }

    /// Puts a renewed token in the place of the former one. Says whether its lease could be saved too, which matters to nobody but a
    /// `revoke` after our death.
    ///
    /// # Errors
    /// When it cannot be written; then the former one stays.
    pub fn take(&mut self, renewed: Renewed, spec: &TokenSpec) -> Result<Result<(), Failure>, Failure> {
        self.store.replace(store::TOKEN, renewed.token.expose().as_bytes(), spec.file_mode)?;
        let Renewed { token, lease, expires_at, lifetime } = renewed;
        (self.token, self.lease, self.expires_at, self.lifetime) = (token, lease, expires_at, lifetime);
        self.watch.update(&self.lease);
        Ok(self.store.save_lease(&self.seal.json(&self.lease)))
    }

    /// Puts the token that holds now into the kubeconfig, which the command may have changed: nothing else of it changes.
    #[must_use]
    pub fn renew_kubeconfig(&self) -> Exchange {
        self.store.exchange(store::KUBECONFIG, |text| pass_kubeconfig::renewed(text, &self.lease, &self.token))
    }

    /// Ends the pass, as the identity that requested it. Nobody needs its files any more.
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
        revocation.carry_out_over(&mut self.cluster, terms).await
    }

    /// Ends a pass that could not be handed over, and says so if that does not work either.
    pub async fn undo(mut self, time: Duration, failure: Failure, observer: &dyn Observer) -> Failure {
        if let Some(path) = &self.lease.kubeconfig_out {
            let _ = files::remove_user_file(path.as_ref(), |text| {
                PassExtension::of_text(text).is_some_and(|mark| mark.lease == self.lease.id())
            });
        }
        if !self.cluster.left_something {
            return cleared(&self.store, failure, observer);
        }
        self.cluster.extend(time);
        let why = match self.cluster.delete_lease_for_good(&self.lease, Named::Here).await {
            Ok(Deleted::Deleting) => "a finalizer holds it".to_owned(),
            Ok(Deleted::Replaced) => "another Secret has its name".to_owned(),
            Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent) => return cleared(&self.store, failure, observer),
            Err(undo) => undo.brief(),
        };
        // The lease stays, so that `revoke` can still end it; the secrets go.
        let _ = self.store.remove(store::SECRETS);
        let valid = self.lease.validity();
        failure.cause(format!("the lease `{}` may be left behind, and a token of it {valid}: {why}", self.lease.id()))
    }
}

/// An earlier pass of the same lease, which this one replaces.
fn former(store: &Store, lease: &Lease, platform: Platform, seal: &Seal) -> Result<Option<Lease>, Failure> {
    // Whoever is still using it must not lose it; the lock is let go at once, as the place may be made anew.
    drop(store.lock()?);
    // What cannot be read is looked at more closely, and refused, when the place is made.
    let Ok(Some(former)) = store.read(store::LEASE).map(|text| text.and_then(|text| Lease::parse(&text).ok())) else { return Ok(None) };
    if seal.word(platform, &former) == Word::Hearsay {
        // That there is one is all that counts: its name is ours alone, and a pass is kept from nobody by what others may have written.
        return Ok((former.id() == lease.id()).then(|| Lease { uid: None, kubeconfig_out: None, ..lease.clone() }));
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

/// Ends the former pass of the same lease. If that does not work it stays as it is, with all that `revoke` needs.
async fn replaced(cluster: &mut Cluster, former: &Lease) -> Result<(), Failure> {
    let what = || format!("cannot replace the former pass of this job for service account `{}`", former.service_account);
    match cluster.delete_lease(former, former.uid.as_deref()).await {
        Ok(Deleted::Replaced) => Err(Failure::new(Code::LeaseTaken, what())
            .cause(format!("another Secret has the name of its lease `{}`", former.id()))
            .hint("find out who made it; jobpass leaves it alone")),
        Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent | Deleted::Deleting) => {
            if let Some(path) = &former.kubeconfig_out {
                let _ = files::remove_user_file(path.as_ref(), |text| {
                    PassExtension::of_text(text).is_some_and(|mark| mark.lease == former.id())
                });
            }
            Ok(())
        }
        Err(failure) => Err(failure.within(what()).cause(format!("it is {}", former.validity()))),
    }
}

/// Takes the token over, if it is bound to our lease: any other could not be revoked.
fn accepted(lease: &mut Lease, granted: Granted, spec: &TokenSpec, warnings: &mut Vec<String>) -> Result<(Secret, Duration), Failure> {
    let claims = Claims::of(&granted.token).unwrap_or_default();
    if granted.token.is_blank() || !granted.token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Code::PassUnusable, "cannot take the token over").cause("the API server sent something that is no token"));
    }
    lease.granted(granted.issued_at, granted.expires_at);
    lease.jti.clone_from(&claims.jti);
    // Of a token for others the API server says 401 while it lives: no proof, so it is never asked.
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
            granted.expires_at
        ));
    }
    let lifetime = claims.lifetime().and_then(|seconds| u64::try_from(seconds).ok()).map_or(spec.ttl, Duration::from_secs);
    Ok((granted.token, lifetime))
}

fn interrupted(notice: Notice) -> Failure {
    Failure::new(Code::Interrupted, "cannot request a pass").cause(format!("interrupted by {notice}"))
}

/// Nothing of the pass is left on the server: nothing stays of it here either.
fn cleared(store: &Store, failure: Failure, observer: &dyn Observer) -> Failure {
    match store.clear().and_then(|()| observer.forget()) {
        Ok(()) => failure,
        Err(clear) => failure.cause(clear.brief()),
    }
}
