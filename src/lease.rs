//! The lease: all that is needed to revoke a pass. It is saved before anything exists on the server, and holds no secret.

use jiff::{SignedDuration, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::{
    clock::{self, ServerTime},
    context::Context,
    failure::{Code, Failure},
    files,
    identity::Identity,
    name::{PREFIX, hex, is_name, random_hex},
    net::way::Fingerprint,
    options as o,
    origin::Origin,
    out::API_VERSION,
    pass_extension::PassExtension,
    platform::Platform,
    registry_auth,
    secret::Secret,
    spec::{ServiceAccount, TokenSpec, is_label, is_subdomain},
    store::Store,
};

pub mod mark;
pub mod named;
pub mod object;
pub mod seal;

use seal::Seal;

/// The revocable grant of a pass: the Secret that its tokens are bound to, and how to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Lease`.
    pub kind: String,
    /// The name of the bound Secret: `jobpass-` and 32 hex digits.
    pub name: String,
    /// The service account whose token the job has; the Secret is in its namespace.
    pub service_account: ServiceAccount,
    /// The URL of the API server. A lease is only revoked there.
    pub server: String,
    /// The uid of the bound Secret, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// When the pass was begun, by the clock that `times` names.
    pub issued_at: Timestamp,
    /// The last moment that any of its tokens may live, by the same clock; see [`Lease::ends`].
    pub expires_at: Timestamp,
    /// Which clock these times come from.
    #[serde(default)]
    pub times: Times,
    /// For a pass that renews its token: the expiry of the latest token that the job has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<Timestamp>,
    /// The id (`jti`) of the latest token, as in the API server's audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// SHA-256 of the latest token in hex, so that the probe can check that a token file still holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// The platform on which the pass was begun, such as `gitlab`.
    pub platform: String,
    /// The job key of the pass, with `--job-key` taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_key: Option<String>,
    /// The platform's own key of the job, where `--job-key` gave another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Where the CI identity was found that requested the pass; never its credential.
    pub identity: Origin,
    /// The path of the store, the private directory of the pass.
    #[serde(rename = "place")]
    pub store: String,
    /// The path of a kubeconfig outside the store, from `--kubeconfig-out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_out: Option<String>,
    /// The path of a docker configuration with the token, from `--registry-auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_auth: Option<String>,
    /// The names of what was issued for the CI identity and is not given back yet: the tokens of a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issued: Vec<String>,
    /// Only on GitHub: the names of the connection settings that were set in the main step. The post step ignores all others, as
    /// any step of the job can set variables for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Vec<String>>,
    /// Only on GitHub: the proxy and root certificates of the main step. Any step can change those in the environment, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Fingerprint>,
    /// The same for the servers that issue the CI identity's credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_way: Option<Fingerprint>,
    /// Only on GitLab: the HMAC that shows that this job has written the file; see [`seal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

/// Which clock the times of a lease come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Times {
    /// This machine's: the server has stated no time yet. Also for files of an older jobpass, which did not say.
    #[default]
    Ours,
    /// The server's, since it has created the Secret; but there is no token yet, and it may end later.
    Created,
    /// The server's, as it granted a token.
    Granted,
}

/// The one field that lease files of every version have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    api_version: String,
}

impl Lease {
    /// The lease's id: `namespace/name` of the bound Secret.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.service_account.namespace, self.name)
    }

    /// Removes the files that the user has named outside the store, as far as they are still of this pass. Whatever another pass or
    /// program has put there since is left alone.
    pub fn remove_named_files(&self) {
        if let Some(path) = &self.kubeconfig_out {
            let is_ours = |text: &str| PassExtension::of_text(text).is_some_and(|mark| mark.lease == self.id());
            let _ = files::remove_user_file(path.as_ref(), is_ours);
        }
        if let Some(path) = &self.registry_auth {
            let _ = files::change_user_file(path.as_ref(), |text| registry_auth::without(text, &self.id()));
        }
    }

    /// The lease as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses a lease and checks every part of which a request path or a file name will be made.
    ///
    /// # Errors
    /// When it is no lease, or one of another version. The message never repeats the text.
    pub fn parse(json: &str) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::new(Code::LeaseUnreadable, "cannot read the lease").cause(why);
        // serde_json's error text may quote the file, so only the column is used.
        let no_lease = |error: &serde_json::Error| {
            refused(&format!("it is no lease of jobpass: its JSON cannot be read from column {} on", error.column()))
        };
        let version: Version = serde_json::from_str(json.trim()).map_err(|error| no_lease(&error))?;
        if version.api_version != API_VERSION {
            return Err(
                refused(&format!("it is of another version than `{API_VERSION}`")).hint("revoke with the jobpass that requested it")
            );
        }
        let lease: Self = serde_json::from_str(json.trim()).map_err(|error| no_lease(&error))?;
        if lease.kind != "Lease" {
            return Err(refused("it is another document of jobpass"));
        }
        if !is_name(&lease.name) || !is_label(&lease.service_account.namespace) {
            return Err(refused("it names no lease Secret of jobpass"));
        }
        if !is_subdomain(&lease.service_account.name) {
            return Err(refused("it names no service account"));
        }
        Ok(lease)
    }

    /// Whether this is the latest token of this lease, according to its hash.
    #[must_use]
    pub fn holds(&self, token: &Secret) -> bool {
        self.token_sha256.as_deref() == Some(&fingerprint(token))
    }

    /// The server has created the Secret: moves the times to the server's clock.
    pub fn created(&mut self, at: ServerTime) {
        let later = |time: Timestamp| at.after(time.duration_since(self.issued_at)).figure();
        (self.expires_at, self.token_expires_at) = (later(self.expires_at), self.token_expires_at.map(later));
        (self.issued_at, self.times) = (at.figure(), Times::Created);
    }

    /// The server has granted a token that ends at `ends`. A lease without renewal then ends with the token; one with renewal keeps
    /// its own end, unless the token ends later.
    pub fn granted(&mut self, issued_at: Option<ServerTime>, ends: ServerTime) {
        if let (Times::Ours, Some(at)) = (self.times, issued_at) {
            self.created(at);
        }
        match &mut self.token_expires_at {
            None => self.expires_at = ends.figure(),
            Some(token) => (*token, self.expires_at) = (ends.figure(), self.expires_at.max(ends.figure())),
        }
        if self.times == Times::Created {
            self.times = Times::Granted;
        }
    }

    /// When the Secret was created by the server's clock, if the server has said so.
    #[must_use]
    pub fn begun(&self) -> Option<ServerTime> {
        match self.times {
            Times::Ours => None,
            Times::Created | Times::Granted => Some(ServerTime::said(self.issued_at)),
        }
    }

    /// The last moment by the server's clock that any token of the lease may live, if the server has said so.
    #[must_use]
    pub fn ends(&self) -> Option<ServerTime> {
        match self.times {
            Times::Ours | Times::Created => None,
            Times::Granted => Some(ServerTime::said(self.expires_at)),
        }
    }

    /// Whether no token of it can be accepted any more: it is past its end, the API server's leeway and its cache.
    #[must_use]
    pub fn is_over(&self, now: ServerTime) -> bool {
        self.ends().is_some_and(|end| now > end.after(BREATH))
    }

    /// Until when the job's token is accepted if nobody deletes the lease, if the server has said so.
    #[must_use]
    pub fn accepted_until(&self) -> Option<ServerTime> {
        let ends = self.ends()?;
        Some(self.token_expires_at.map_or(ends, ServerTime::said).after(BREATH))
    }

    /// The same in words. Where the server has stated no time, it says the longest possible duration instead.
    #[must_use]
    pub fn validity(&self) -> String {
        match self.accepted_until() {
            Some(until) => format!("valid until {until}"),
            None => format!("valid for at most {} after its request", clock::length(self.longest())),
        }
    }

    /// How long a token of it can be accepted at most. Half a minute is added so that rounding to minutes rounds up.
    #[must_use]
    pub fn longest(&self) -> SignedDuration {
        self.token_expires_at.unwrap_or(self.expires_at).duration_since(self.issued_at) + BREATH + SignedDuration::from_secs(30)
    }
}

/// The lease as it is saved before anything exists on the server.
#[must_use]
pub fn begin(name: String, spec: &TokenSpec, identity: &Identity, context: &Context, store: &Store) -> Lease {
    let now = Timestamp::now();
    let on_github = context.platform == Platform::Github;
    let after = |length| now.saturating_add(SignedDuration::try_from(length).unwrap_or_default()).unwrap_or(Timestamp::MAX);
    Lease {
        api_version: API_VERSION.into(),
        kind: "Lease".into(),
        name,
        service_account: spec.service_account.clone(),
        server: identity.server().to_owned(),
        uid: None,
        issued_at: now,
        expires_at: after(spec.lifetime.unwrap_or(spec.ttl)),
        times: Times::Ours,
        token_expires_at: spec.lifetime.map(|_| after(spec.ttl)),
        jti: None,
        token_sha256: None,
        platform: context.platform.to_string(),
        job_key: context.job_key.clone().ok().flatten(),
        // Kept so that the job's plain `revoke` also ends a pass that was begun with a `--job-key`.
        job: context.options.get(&o::JOB_KEY).and_then(|_| context.job()),
        identity: identity.origin.clone(),
        store: store.to_string(),
        kubeconfig_out: spec.kubeconfig_out.as_ref().map(|path| path.to_string_lossy().into_owned()),
        registry_auth: spec.registry.as_ref().map(|registry| registry.path.to_string_lossy().into_owned()),
        issued: Vec::new(),
        connection: on_github.then(|| context.options.connection()),
        way: on_github.then(|| identity.way.fingerprint.clone()).filter(|way| !way.is_empty()),
        issuer_way: identity.issuer.as_ref().filter(|_| on_github).and_then(|_| identity.ways.fingerprint().ok()),
        seal: None,
    }
}

/// How long after its expiry the API server may still accept a token: 60 s of leeway (`jwt.DefaultLeeway`) and 10 s of cache.
const BREATH: SignedDuration = SignedDuration::from_secs(70);

/// The name of a lease: derived from the job key and the service account on platforms where `revoke` can derive it again, else
/// random.
#[must_use]
pub fn name(platform: Platform, seal: &Seal, job_key: Option<&str>, account: &ServiceAccount) -> String {
    match job_key {
        Some(key) if platform.derives_names() => seal.name(key, account),
        Some(_) | None => format!("{PREFIX}{}", random_hex()),
    }
}

/// The derived name on platforms without a secret of the job: others who know the job key can derive it, too.
fn derived(key: &str, account: &ServiceAccount) -> String {
    let hash = digest::digest(&digest::SHA256, format!("{key}\0{account}").as_bytes());
    format!("{PREFIX}{}", hex(&hash.as_ref()[..16]))
}

/// SHA-256 of a token in hex.
#[must_use]
pub fn fingerprint(token: &Secret) -> String {
    hex(digest::digest(&digest::SHA256, token.expose().as_bytes()).as_ref())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn lease() -> Lease {
        Lease {
            api_version: API_VERSION.into(),
            kind: "Lease".into(),
            name: "jobpass-0123456789abcdef0123456789abcdef".into(),
            service_account: ServiceAccount { namespace: "ci".into(), name: "deploy-bot".into() },
            server: "https://127.0.0.1:6443".into(),
            uid: None,
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::from_second(3600).expect("in range"),
            times: Times::Granted,
            token_expires_at: None,
            jti: None,
            token_sha256: None,
            platform: "local".into(),
            job_key: None,
            job: None,
            identity: Origin::InCluster,
            store: "/run/jobpass/x".into(),
            kubeconfig_out: None,
            registry_auth: None,
            issued: Vec::new(),
            connection: None,
            way: None,
            issuer_way: None,
            seal: None,
        }
    }

    #[test]
    fn a_lease_is_one_line_and_comes_back_as_it_was() {
        let json = lease().json();
        assert_eq!(json.lines().count(), 1);
        assert_eq!(Lease::parse(&json).expect("a lease"), lease());
    }

    #[test]
    fn a_foreign_name_is_refused() {
        for name in ["../../x", "db-password", "jobpass-XYZ", "jobpass-0123456789abcdef0123456789abcdef/../x", ""] {
            let json = Lease { name: name.into(), ..lease() }.json();
            assert!(Lease::parse(&json).is_err(), "{name}");
        }
        let elsewhere = ServiceAccount { namespace: "a/../b".into(), name: "x".into() };
        assert!(Lease::parse(&Lease { service_account: elsewhere, ..lease() }.json()).is_err());
    }

    #[test]
    fn a_broken_file_is_not_repeated() {
        let failure = Lease::parse(r#"{"apiVersion": "hunter2""#).expect_err("broken");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }

    #[test]
    fn another_version_is_refused() {
        let newer = Lease::parse(r#"{"apiVersion": "jobpass.dev/v9", "whatever": 1}"#).expect_err("newer").to_string();
        assert!(newer.contains("another version") && newer.contains("hint: revoke with the jobpass that requested it"), "{newer}");
    }

    #[test]
    fn the_derived_name_depends_on_job_and_service_account() {
        let account = lease().service_account;
        let of = |key: &str, account: &ServiceAccount| name(Platform::Gitlab, &Seal::None, Some(key), account);
        assert_eq!(of("gitlab.com/1/2", &account), of("gitlab.com/1/2", &account));
        assert_ne!(of("gitlab.com/1/2", &account), of("gitlab.com/1/3", &account));
        assert_ne!(of("k", &account), of("k", &ServiceAccount { name: "other".into(), ..account.clone() }));
        assert!(is_name(&of("k", &account)));
    }

    #[test]
    fn the_derived_name_is_the_documented_one() {
        let account = lease().service_account;
        // The value is the output of: printf 'gitlab.com/1/2\0ci/deploy-bot' | sha256sum | cut -c1-32
        assert_eq!(name(Platform::Tekton, &Seal::None, Some("gitlab.com/1/2"), &account), "jobpass-e592a040a709315c90afe0ed53746a3b");
    }

    #[test]
    fn names_are_random_where_state_is_kept() {
        let account = lease().service_account;
        let random = |platform, key| name(platform, &Seal::None, key, &account);
        assert_ne!(random(Platform::Github, Some("k")), random(Platform::Github, Some("k")));
        assert_ne!(random(Platform::Local, None), random(Platform::Local, None));
    }

    #[test]
    fn a_lease_is_over_a_minute_and_the_cache_after_its_end() {
        assert!(!lease().is_over(at(3670)));
        assert!(lease().is_over(at(3671)));
    }

    fn at(second: i64) -> ServerTime {
        ServerTime::said(Timestamp::from_second(second).expect("in range"))
    }

    #[test]
    fn what_the_server_has_not_said_ends_nothing() {
        let far = ServerTime::said(Timestamp::MAX);
        for times in [Times::Ours, Times::Created] {
            let lease = Lease { times, ..lease() };
            assert_eq!((lease.is_over(far), lease.ends(), lease.accepted_until()), (false, None, None));
            assert_eq!(lease.validity(), "valid for at most 62 min after its request");
        }
        // A file of an older jobpass has no `times`.
        let old = lease().json().replace(r#""times":"granted","#, "");
        assert_eq!(Lease::parse(&old).expect("it is still read").times, Times::Ours);
    }

    #[test]
    fn the_servers_figures_take_the_place_of_ours() {
        let mut one = Lease { times: Times::Ours, ..lease() };
        one.created(at(10_000));
        assert_eq!((one.begun(), one.ends(), one.expires_at), (Some(at(10_000)), None, at(13_600).figure()));
        one.granted(Some(at(10_005)), at(13_605));
        assert_eq!((one.begun(), one.ends()), (Some(at(10_000)), Some(at(13_605))));

        let mut several = Lease { times: Times::Ours, token_expires_at: Some(at(600).figure()), ..lease() };
        several.granted(Some(at(10_000)), at(10_600));
        assert_eq!((several.ends(), several.accepted_until()), (Some(at(13_600)), Some(at(10_670))));
        several.granted(Some(at(13_001)), at(13_601));
        assert_eq!(several.ends(), Some(at(13_601)), "no token lives longer than its lease says");

        let mut unsaid = Lease { times: Times::Ours, ..lease() };
        unsaid.granted(None, at(13_600));
        assert_eq!(unsaid.ends(), None);
    }

    #[test]
    fn only_the_last_token_is_known_again() {
        let token = Secret::new("tok".into());
        assert!(!lease().holds(&token));
        assert!(Lease { token_sha256: Some(fingerprint(&token)), ..lease() }.holds(&token));
    }
}
