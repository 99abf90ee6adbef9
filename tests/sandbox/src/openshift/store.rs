//! The OAuth tokens of a cluster: by the hash of each, so that whoever reads the store holds none.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::authn::User;
use crate::clock::rfc3339;
use crate::jwt;

const PREFIX: &str = "sha256~";
const SCOPES: &str = "scopes.authorization.openshift.io";
/// How long the API server believes a review, which OpenShift's operator sets.
const REVIEW_TTL: SignedDuration = SignedDuration::from_secs(30);
/// How long a code waits for its token.
const CODE_TTL: SignedDuration = SignedDuration::from_secs(300);

/// What the login knows.
pub(crate) struct Oauth {
    pub(crate) issuer: String,
    /// What discovery says in its place.
    pub(crate) shown: Option<String>,
    pub(crate) passwords: HashMap<String, String>,
    /// The uid of each user who has logged in, none where the user was deleted since.
    pub(crate) users: HashMap<String, Option<String>>,
    pub(crate) codes: HashMap<String, Code>,
    /// By object name.
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) challenge: bool,
    pub(crate) max_age: i64,
    pub(crate) away: bool,
    pub(crate) deleters: bool,
    /// Reviews that the API server remembers.
    reviews: HashMap<String, (User, Timestamp)>,
}

/// A code that stands for a login.
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) scope: String,
    /// The challenge and its method.
    pub(crate) challenge: Option<(String, String)>,
    pub(crate) redirect_uri: String,
    made: Timestamp,
}

/// The object of a token.
pub(crate) struct Token {
    pub(crate) uid: String,
    pub(crate) user: String,
    scope: String,
    client: String,
    made: Timestamp,
    max_age: i64,
}

impl Oauth {
    pub(crate) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            shown: None,
            passwords: HashMap::new(),
            users: HashMap::new(),
            codes: HashMap::new(),
            tokens: BTreeMap::new(),
            challenge: true,
            max_age: 86400,
            away: false,
            deleters: true,
            reviews: HashMap::new(),
        }
    }

    /// Where a browser would be sent with a code.
    pub(super) fn implicit(&self) -> String {
        format!("{}/oauth/token/implicit", self.issuer)
    }

    pub(super) fn code(&mut self, now: Timestamp, of: (&str, &str), challenge: Option<(String, String)>, redirect_uri: &str) -> String {
        let code = random();
        let (user, scope) = (of.0.to_owned(), of.1.to_owned());
        self.codes.insert(object_name(&code), Code { user, scope, challenge, redirect_uri: redirect_uri.to_owned(), made: now });
        code
    }

    /// Takes a code away, whether it is still good or not.
    pub(super) fn redeem(&mut self, now: Timestamp, code: &str) -> Option<Code> {
        self.codes.remove(&object_name(code)).filter(|code| now < code.made + CODE_TTL)
    }

    pub(super) fn grant(&mut self, now: Timestamp, user: &str, scope: &str, client: &str) -> String {
        self.users.entry(user.to_owned()).or_insert_with(|| Some(jwt::uuid()));
        let token = random();
        let (user, scope, client) = (user.to_owned(), scope.to_owned(), client.to_owned());
        self.tokens.insert(object_name(&token), Token { uid: jwt::uuid(), user, scope, client, made: now, max_age: self.max_age });
        token
    }

    /// Whom the API server takes the token for, with what it remembers.
    pub(crate) fn review(&mut self, now: Timestamp, token: &str) -> Option<User> {
        if let Some((user, at)) = self.reviews.get(token)
            && now.duration_since(*at) < REVIEW_TTL
        {
            return Some(user.clone());
        }
        let user = if self.away { None } else { self.user(now, token) };
        match &user {
            Some(user) => self.reviews.insert(token.to_owned(), (user.clone(), now)),
            None => self.reviews.remove(token),
        };
        user
    }

    /// Whom a token stands for now.
    pub(crate) fn user(&self, now: Timestamp, token: &str) -> Option<User> {
        let found = self.tokens.get(&object_name(token)).filter(|found| is_token(token) && found.is_live(now))?;
        let mut user = User::authenticated(&found.user, vec!["system:authenticated:oauth".to_owned()]);
        user.uid = Some(self.users.get(&found.user)?.clone()?);
        user.extra.push((SCOPES.to_owned(), found.scope.clone()));
        Some(user)
    }

    /// The object of a token, as both resources show it. Dead ones go by themselves.
    pub(crate) fn object(&mut self, now: Timestamp, name: &str, kind: &str) -> Option<Value> {
        self.tokens.retain(|_, token| token.is_live(now));
        let token = self.tokens.get(name)?;
        let mut object = json!({
            "kind": kind, "apiVersion": "oauth.openshift.io/v1",
            "metadata": {"name": name, "uid": token.uid, "resourceVersion": "1", "creationTimestamp": rfc3339(token.made)},
            "clientName": token.client, "scopes": [token.scope], "redirectURI": self.implicit(),
            "userName": token.user, "userUID": self.users.get(&token.user).cloned().flatten(),
        });
        if token.max_age > 0 {
            object["expiresIn"] = token.max_age.into();
        }
        Some(object)
    }
}

impl Token {
    fn is_live(&self, now: Timestamp) -> bool {
        self.max_age == 0 || now <= self.made + SignedDuration::from_secs(self.max_age)
    }
}

/// Whether a text has the form of an OAuth token. The name of one has it, too.
pub(crate) fn is_token(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty())
}

/// The name of a token's object.
pub(crate) fn object_name(token: &str) -> String {
    hashed(token.strip_prefix(PREFIX).unwrap_or(token), PREFIX)
}

/// What `S256` makes of a verifier.
pub(super) fn s256(verifier: &str) -> String {
    hashed(verifier, "")
}

fn hashed(text: &str, prefix: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(hash))
}

/// A new token or code. The real server draws again where it would begin with a dash, which reads as a flag.
fn random() -> String {
    loop {
        let text = jwt::opaque();
        if !text.starts_with('-') {
            return format!("{PREFIX}{text}");
        }
    }
}
