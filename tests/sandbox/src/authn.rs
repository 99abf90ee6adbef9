//! Who asks: the order, the validation and the success cache of the real server's authenticators.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock::seconds;
use crate::eks;
use crate::jwt::{self, Signer};
use crate::openshift::is_token;
use crate::status::{self, Answer};
use crate::trust::{self, Trusted};
use crate::world::{World, uid};

/// The issuer of service-account tokens, which is also the API server's own audience.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The issuer of the tokens that Secrets hold.
pub(crate) const LEGACY: &str = "kubernetes/serviceaccount";
/// The audience that the server accepts in an identity token ([`crate::Sandbox::add_jwt_user`]).
pub const IDENTITY_AUDIENCE: &str = "jobpass-sandbox";
pub(crate) const IDENTITY_ISSUER: &str = "https://identity.example";
/// Counts from the moment the entry was made, not from its last use (facts: `TokenSuccessCacheTTL`).
const SUCCESS_TTL: SignedDuration = SignedDuration::from_secs(10);
/// Service-account tokens have it at both ends, and a deleted but held Secret has it too (`jwt.DefaultLeeway`).
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Whom the authenticators found.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: Vec<(String, String)>,
}

impl User {
    fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), uid: None, groups, extra: Vec::new() }
    }

    pub(crate) fn authenticated(name: &str, mut groups: Vec<String>) -> Self {
        groups.push("system:authenticated".to_owned());
        Self { name: name.to_owned(), uid: None, groups, extra: Vec::new() }
    }

    pub(crate) fn credential(mut self, id: String) -> Self {
        self.extra.push((CREDENTIAL_ID.to_owned(), id));
        self
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == "system:anonymous"
    }

    /// The userInfo of a `SelfSubjectReview`.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if let Some(uid) = &self.uid {
            info["uid"] = uid.as_str().into();
        }
        for (key, value) in &self.extra {
            info["extra"][key] = json!([value]);
        }
        info
    }
}

/// The credentials that the server knows, and what it remembers of those it has seen.
pub(crate) struct People {
    pub(crate) groups: HashMap<String, Vec<String>>,
    pub(crate) tokens: HashMap<String, String>,
    pub(crate) certificates: HashMap<Vec<u8>, String>,
    /// The subject of an identity token, and the user it is.
    pub(crate) subjects: HashMap<String, String>,
    pub(crate) accounts: Signer,
    pub(crate) identities: Signer,
    /// The issuers of the authentication configuration.
    pub(crate) trusted: Vec<Trusted>,
    /// The keys of AWS, where it is a cluster of EKS.
    pub(crate) eks: Vec<eks::Key>,
    seen: HashMap<String, (User, Timestamp)>,
}

impl People {
    pub(crate) fn new() -> Self {
        Self {
            groups: HashMap::new(),
            tokens: HashMap::new(),
            certificates: HashMap::new(),
            subjects: HashMap::new(),
            accounts: Signer::new(),
            identities: Signer::new(),
            trusted: Vec::new(),
            eks: Vec::new(),
            seen: HashMap::new(),
        }
    }

    fn user(&self, name: &str) -> User {
        User::authenticated(name, self.groups.get(name).cloned().unwrap_or_default())
    }
}

/// The user of a request: its client certificate first, then its bearer token; with neither it is anonymous.
pub(crate) fn authenticate(
    world: &mut World,
    now: Timestamp,
    certificate: Option<&[u8]>,
    authorization: Option<&str>,
) -> Result<User, Answer> {
    if let Some(name) = certificate.and_then(|leaf| world.people.certificates.get(leaf)) {
        let hash = ring::digest::digest(&ring::digest::SHA256, certificate.unwrap_or_default());
        return Ok(world.people.user(name).credential(format!("X509SHA256={}", jwt::hex(hash.as_ref()))));
    }
    match authorization.and_then(bearer) {
        Some(token) => by_token(world, now, token).ok_or_else(status::unauthorized),
        None if certificate.is_some() => Err(status::unauthorized()),
        None => Ok(User::anonymous()),
    }
}

/// What is no bearer token, or an empty one, is ignored and not refused.
fn bearer(header: &str) -> Option<&str> {
    let mut words = header.trim().splitn(3, ' ');
    let scheme = words.next()?;
    let token = words.next()?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn by_token(world: &mut World, now: Timestamp, token: &str) -> Option<User> {
    if let Some((user, filled)) = world.people.seen.get(token)
        && now.duration_since(*filled) < SUCCESS_TTL
    {
        return Some(user.clone());
    }
    let user = match world.oauth.as_mut().filter(|_| is_token(token)) {
        Some(oauth) => oauth.review(now, token),
        None => judge(world, now, token),
    };
    match &user {
        // A static token is not remembered, so that forgetting it works at once.
        Some(user) if !world.people.tokens.contains_key(token) => {
            world.people.seen.insert(token.to_owned(), (user.clone(), now));
        }
        _ => {
            world.people.seen.remove(token);
        }
    }
    user
}

/// The live judgement, past the cache.
pub(crate) fn judge(world: &World, now: Timestamp, token: &str) -> Option<User> {
    if let Some(name) = world.people.tokens.get(token) {
        return Some(world.people.user(name));
    }
    if let Some(oauth) = world.oauth.as_ref().filter(|_| is_token(token)) {
        return oauth.user(now, token);
    }
    if let Some(claims) = world.people.accounts.verify(token) {
        return if claims["iss"] == LEGACY { stored(world, token, &claims) } else { service_account(world, now, &claims) };
    }
    if let Some(claims) = world.people.identities.verify(token) {
        return identity(world, now, &claims);
    }
    if let Some(name) = world.people.eks.iter().find_map(|key| key.user(now, token)) {
        return Some(world.people.user(name));
    }
    world.people.trusted.iter().find_map(|trusted| trusted.user(now, token))
}

fn identity(world: &World, now: Timestamp, claims: &Value) -> Option<User> {
    let in_time = seconds(claims["exp"].as_i64()?) >= now && claims["nbf"].as_i64().is_none_or(|nbf| seconds(nbf) <= now + trust::LEEWAY);
    if !in_time || claims["iss"] != IDENTITY_ISSUER || !is_for(claims, IDENTITY_AUDIENCE) {
        return None;
    }
    let user = world.people.user(world.people.subjects.get(claims["sub"].as_str()?)?);
    Some(match claims["jti"].as_str() {
        Some(jti) => user.credential(format!("JTI={jti}")),
        None => user,
    })
}

/// A token that a Secret holds: it has no end, and lives as long as the Secret.
fn stored(world: &World, token: &str, claims: &Value) -> Option<User> {
    let claim = |name: &str| claims[format!("kubernetes.io/serviceaccount/{name}")].as_str();
    let (namespace, name) = (claim("namespace")?.to_owned(), claim("service-account.name")?.to_owned());
    let secret = world.secrets.get(&(namespace.clone(), claim("secret.name")?.to_owned()))?;
    let is_held = secret["type"] == "kubernetes.io/service-account-token" && secret["data"]["token"] == STANDARD.encode(token);
    if !is_held || Some(world.service_accounts.get(&(namespace.clone(), name.clone()))?.uid.as_str()) != claim("service-account.uid") {
        return None;
    }
    let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    Some(User::authenticated(&format!("system:serviceaccount:{namespace}:{name}"), groups))
}

fn service_account(world: &World, now: Timestamp, claims: &Value) -> Option<User> {
    let early = ["nbf", "iat"].iter().any(|claim| claims[*claim].as_i64().is_some_and(|at| seconds(at) > now + LEEWAY));
    let late = seconds(claims["exp"].as_i64()?) < now - LEEWAY;
    if early || late || claims["iss"] != ISSUER || !is_for(claims, ISSUER) {
        return None;
    }
    let bound = &claims["kubernetes.io"];
    let namespace = bound["namespace"].as_str()?;
    let key = |reference: &Value| Some((namespace.to_owned(), reference["name"].as_str()?.to_owned()));
    let account = &bound["serviceaccount"];
    let (_, name) = key(account)?;
    if world.service_accounts.get(&key(account)?)?.uid != account["uid"] {
        return None;
    }
    let mut extra = Vec::new();
    if !bound["secret"].is_null() {
        let secret = world.secrets.get(&key(&bound["secret"])?)?;
        let deleted = secret["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        if uid(secret) != bound["secret"]["uid"].as_str() || deleted.is_some_and(|at| at < now - LEEWAY) {
            return None;
        }
    }
    if !bound["pod"].is_null() {
        let (_, pod) = key(&bound["pod"])?;
        if world.pods.get(&key(&bound["pod"])?)?.uid != bound["pod"]["uid"] {
            return None;
        }
        extra.push(("authentication.kubernetes.io/pod-name".to_owned(), pod));
        extra.push(("authentication.kubernetes.io/pod-uid".to_owned(), bound["pod"]["uid"].as_str()?.to_owned()));
    }
    let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let mut user = User::authenticated(&format!("system:serviceaccount:{namespace}:{name}"), groups);
    user.uid = account["uid"].as_str().map(str::to_owned);
    user.extra = extra;
    Some(user.credential(format!("JTI={}", claims["jti"].as_str()?)))
}

/// Claims of one audience may be a string or a list; any overlap is enough.
fn is_for(claims: &Value, audience: &str) -> bool {
    match &claims["aud"] {
        Value::String(one) => one == audience,
        Value::Array(many) => many.iter().any(|one| one == audience),
        _ => false,
    }
}
