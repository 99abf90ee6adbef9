//! The pass: alone orders lease, cluster and place, and alone cleans up.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::Secret as LeaseSecret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use crate::{
    cluster::{Cluster, Deleted, Granted, Probed, answer::instant},
    env::Env,
    failure::Failure,
    identity::{Identity, kubeconfig::marked},
    jwt::Claims,
    lease::{API_VERSION, Lease, fingerprint, last_breath},
    options::human,
    place::{self, Place},
    platform::{Platform, Provenance, tekton},
    receipt::{Proof, Receipt},
    secret::Secret,
    signals,
    spec::TokenSpec,
};

/// The type of a lease Secret; admission policies know it by this.
pub const SECRET_TYPE: &str = "jobpass.dev/lease";

/// How long after the DELETE a probe waits: a token that is shown before the API server has seen the deletion is cached for 10 s.
const BEFORE_PROBE: Duration = Duration::from_millis(250);

/// How long after a 404 a second DELETE waits for the POST of a killed client, which may still land.
const BEFORE_SECOND_DELETE: Duration = Duration::from_millis(500);

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
    /// Called with the CI identity's token before anything is printed that might hold it.
    pub mask: &'a dyn Fn(&Secret) -> Result<(), Failure>,
}

impl Pass {
    /// Begins a pass: saves the lease, creates its Secret, requests the token. On an error or a signal it undoes itself.
    ///
    /// # Errors
    /// When a step fails; then nothing is left, or the error says until when something is.
    pub async fn begin(plan: Plan<'_>, identity: Identity) -> Result<Self, Failure> {
        let Plan { spec, env, platform, mut lease, place, timeout, save, mask } = plan;
        let known = former(&place, &lease)?;
        let mut cluster = Cluster::connect(identity, env, timeout).await?;
        if let Some(token) = cluster.identity_token() {
            mask(token)?;
        }
        place.create(spec.file_mode & 0o040 != 0)?;
        let saved = place.save_lease(&lease.json()).and_then(|()| save(&lease));
        if let Err(failure) = saved {
            return Err(cleared(&place, failure));
        }
        let secret = lease_secret(&lease, spec, env, platform, cluster.identity());
        let mut warnings = Vec::new();
        let outcome = {
            let steps = async {
                lease.uid = Some(cluster.create_lease(&lease, &secret, known.as_deref()).await?);
                place.save_lease(&lease.json())?;
                let granted = cluster.request_token(&lease, spec).await?;
                accepted(&mut lease, granted, spec, &mut warnings)
            };
            tokio::select! {
                outcome = steps => outcome,
                signal = signals::first() => Err(Failure::new("cannot request a pass").cause(format!("interrupted by {signal}"))),
            }
        };
        let mut pass = Self { lease, token: Secret::new(String::new()), place, cluster, warnings };
        match outcome {
            Ok(token) => pass.token = token,
            Err(failure) => return Err(pass.undo(platform, failure).await),
        }
        let saved = pass.place.save_lease(&pass.lease.json()).and_then(|()| save(&pass.lease));
        match saved {
            Ok(()) => Ok(pass),
            Err(failure) => Err(pass.undo(platform, failure).await),
        }
    }

    /// Ends a pass that could not be handed over, and says so if that does not work either.
    pub async fn undo(mut self, platform: Platform, failure: Failure) -> Failure {
        if !self.cluster.left_something {
            return cleared(&self.place, failure);
        }
        self.cluster.extend(platform.signal_budget());
        let uid = self.lease.uid.clone();
        match self.cluster.delete_lease(&self.lease, uid.as_deref()).await {
            Ok(_) => {}
            Err(undo) => {
                // The lease stays, so that `revoke` can still end it; the secrets go.
                let _ = self.place.remove(&[place::TOKEN, place::KUBECONFIG, place::ENV]);
                let until = instant(last_breath(self.lease.expires_at));
                return failure.cause(format!(
                    "the lease `{}` may be left behind, and a token of it valid until {until}: {}",
                    self.lease.id(),
                    undo.brief()
                ));
            }
        }
        if let Some(path) = &self.lease.kubeconfig_out {
            let _ = place::remove_named(path.as_ref(), |text| marked(text).is_some_and(|mark| mark.lease == self.lease.id()));
        }
        cleared(&self.place, failure)
    }
}

/// The uid of an earlier pass of the same lease, which this one replaces.
fn former(place: &Place, lease: &Lease) -> Result<Option<String>, Failure> {
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
    Ok(former.uid)
}

/// Takes the token over, if it is bound to our lease: any other could not be revoked.
fn accepted(lease: &mut Lease, granted: Granted, spec: &TokenSpec, warnings: &mut Vec<String>) -> Result<Secret, Failure> {
    let claims = Claims::of(&granted.token).unwrap_or_default();
    if granted.token.is_blank() || !granted.token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new("cannot take the token over").cause("the API server sent something that is no token"));
    }
    lease.expires_at = granted.expires_at;
    lease.jti.clone_from(&claims.jti);
    lease.token_sha256 = Some(fingerprint(&granted.token));
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

fn cleared(place: &Place, failure: Failure) -> Failure {
    match place.clear() {
        Ok(()) => failure,
        Err(clear) => failure.cause(clear.brief()),
    }
}

/// The Secret that the token is bound to: empty, and a note for the audit log of who made it for what.
fn lease_secret(lease: &Lease, spec: &TokenSpec, env: &Env, platform: Platform, identity: &Identity) -> LeaseSecret {
    let Provenance { run_id, repository, run_url, commit, actor } = platform.provenance(env);
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "jobpass".to_owned()),
        ("jobpass.dev/lease".to_owned(), "true".to_owned()),
    ]);
    labels.extend(run_id.filter(|id| is_label_value(id)).map(|id| ("jobpass.dev/run-id".to_owned(), id)));
    let notes = [
        ("expires-at", Some(instant(lease.expires_at))),
        ("service-account", Some(spec.service_account.to_string())),
        ("platform", Some(platform.to_string())),
        ("repository", repository),
        ("run-url", run_url),
        ("commit", commit),
        ("actor", actor),
    ];
    let notes = notes.into_iter().filter_map(|(name, text)| Some((format!("jobpass.dev/{name}"), text?.chars().take(1024).collect())));
    // An owner that the garbage collector does not find means collection at once: only where it surely is in this namespace.
    let owner = match (platform, &identity.pod_namespace, tekton::pod(env)) {
        (Platform::Tekton, Some(namespace), Some((name, uid))) if *namespace == lease.service_account.namespace => {
            Some(vec![OwnerReference { api_version: "v1".into(), kind: "Pod".into(), name, uid, ..OwnerReference::default() }])
        }
        _ => None,
    };
    LeaseSecret {
        metadata: ObjectMeta {
            name: Some(lease.name.clone()),
            namespace: Some(lease.service_account.namespace.clone()),
            labels: Some(labels),
            annotations: Some(notes.collect()),
            owner_references: owner,
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.into()),
        ..LeaseSecret::default()
    }
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
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
    ///
    /// # Errors
    /// Only when the call itself is wrong; that the lease could not be deleted is in the receipt.
    pub async fn end(&self, identity: Result<Identity, Failure>, env: &Env, terms: Terms) -> (Receipt, Option<Failure>) {
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
        let removed = self.remove_files(proof.is_success());
        (Receipt::of(&self.lease, self.known, revoked_at, proof), failure.or(removed.err()))
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
        let mut deleted = cluster.delete_lease(&self.lease, self.lease.uid.as_deref()).await?;
        if deleted == Deleted::Absent && self.lease.uid.is_none() {
            cluster.wait(BEFORE_SECOND_DELETE).await;
            deleted = cluster.delete_lease(&self.lease, None).await?;
        }
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
        loop {
            cluster.wait(BEFORE_PROBE).await;
            match cluster.probe(&token).await {
                Probed::Dead => return Ok(Proof::Dead),
                _ if terms.wait_dead && cluster.has_time() => {}
                Probed::Accepted => return Ok(Proof::Pending { until: after(CACHE) }),
                Probed::Unknown(_) => return Ok(unproved),
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

/// A lease as it is before anything exists.
#[must_use]
pub fn lease(name: String, spec: &TokenSpec, identity: &Identity, platform: Platform, job_key: Option<String>, place: &Place) -> Lease {
    let now = Timestamp::now();
    let ttl = SignedDuration::try_from(spec.ttl).unwrap_or(SignedDuration::ZERO);
    Lease {
        api_version: API_VERSION.into(),
        kind: "Lease".into(),
        name,
        service_account: spec.service_account.clone(),
        server: identity.server().to_owned(),
        uid: None,
        issued_at: now,
        expires_at: now.saturating_add(ttl).unwrap_or(Timestamp::MAX),
        jti: None,
        token_sha256: None,
        platform: platform.to_string(),
        job_key,
        identity: identity.origin.clone(),
        place: place.to_string(),
        kubeconfig_out: spec.kubeconfig_out.as_ref().map(|path| path.to_string_lossy().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_label_becomes_one() {
        assert!(is_label_value("9876543210") && is_label_value("a.b_c-d"));
        for text in ["", "-a", "a-", "a b", "a/b", &"a".repeat(64)] {
            assert!(!is_label_value(text), "{text}");
        }
    }
}
