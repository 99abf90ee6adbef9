//! OpenShift's login: what a test puts there before, and does behind the client's back.

mod authorize;
mod login;
mod registry;
mod store;
mod token;

use std::sync::Arc;
use std::time::Duration;

use crate::listen::Listener;
use crate::sandbox::Sandbox;
use crate::server::{Shared, Site};
use crate::tls::Authority;

pub use registry::Registry;
pub(crate) use store::{Oauth, is_token};

/// A sandbox's OAuth server. It is another host than the API server and has another authority, as on a real cluster, where
/// that is the ingress's.
pub struct OauthServer {
    shared: Arc<Shared>,
    authority: Authority,
    listener: Listener,
}

impl Sandbox {
    /// Makes the sandbox an OpenShift: starts its OAuth server, and serves its discovery and the resources of its tokens.
    #[must_use]
    pub fn start_oauth(&self) -> OauthServer {
        let authority = Authority::new();
        let listener = Listener::start(Site::of(&self.shared, Some("oauth"), login::handle), &authority);
        let oauth = OauthServer { shared: self.shared.clone(), authority, listener };
        self.shared.world().oauth = Some(Oauth::new(&oauth.url()));
        oauth
    }
}

impl OauthServer {
    /// The issuer: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.listener.address)
    }

    /// The certificate of its authority.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem().to_owned()
    }

    /// Lets a user log in with a password.
    pub fn add_user(&self, name: &str, password: &str) {
        self.with(|oauth| oauth.passwords.insert(name.to_owned(), password.to_owned()));
    }

    /// Deletes a user's object and leaves his password: his tokens are refused, and a login ends in an error of the server.
    pub fn delete_user(&self, name: &str) {
        self.with(|oauth| oauth.users.insert(name.to_owned(), None));
    }

    /// Whether its identity provider asks for a password; one that does not takes it all the same.
    pub fn set_challenge(&self, challenge: bool) {
        self.with(|oauth| oauth.challenge = challenge);
    }

    /// How long the next tokens live, in seconds; 0 is for ever.
    pub fn set_max_age(&self, seconds: i64) {
        self.with(|oauth| oauth.max_age = seconds);
    }

    /// Takes the server of the tokens away, or brings it back: nobody logs in then, and every token that is not remembered is refused.
    pub fn set_away(&self, away: bool) {
        self.with(|oauth| oauth.away = away);
    }

    /// Whether everybody who is authenticated may delete each token by its name, as OpenShift ships it.
    pub fn set_deleters(&self, everybody: bool) {
        self.with(|oauth| oauth.deleters = everybody);
    }

    /// What discovery says of the OAuth server's address, in place of the truth.
    pub fn pretend(&self, issuer: &str) {
        self.with(|oauth| oauth.shown = Some(issuer.to_owned()));
    }

    /// A token of a user, as one who has logged in elsewhere holds it.
    ///
    /// # Panics
    /// Never: a sandbox with this server has tokens.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        let now = self.shared.clock.now();
        let mut world = self.shared.world();
        let oauth = world.oauth.as_mut().expect("the sandbox is an OpenShift");
        let token = oauth.grant(now, user, "user:full", "openshift-challenging-client");
        world.issued.push(token.clone());
        token
    }

    /// The names of the tokens that live.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.with(|oauth| oauth.tokens.keys().cloned().collect())
    }

    /// How long the API server may take a token that is deleted.
    pub const REMEMBERED: Duration = Duration::from_secs(40);

    fn with<T>(&self, change: impl FnOnce(&mut Oauth) -> T) -> T {
        change(self.shared.world().oauth.as_mut().expect("the sandbox is an OpenShift"))
    }
}
