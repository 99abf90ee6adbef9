//! Who issues a credential when it is needed: the CI system's OIDC provider, a token exchange, a login.

use std::{pin::Pin, time::Duration};

use crate::{
    failure::Failure,
    net::{Target, fetch::Limit, way::Ways},
    secret::Secret,
};

/// What an issuer is asked with.
pub struct Asking<'a> {
    /// The ways to servers that are no API server.
    pub ways: &'a Ways,
    /// The API server that the credential is for.
    pub api_server: &'a Target,
    /// How long it may take.
    pub limit: Limit<'a>,
    /// The names of what an earlier process of this job had issued and was killed with, where it is given back.
    pub leftover: &'a [String],
}

/// A credential that was issued.
pub struct Issued {
    /// The bearer token.
    pub token: Secret,
    /// How long it lives from now on, as far as that is known: it is asked for anew before its end.
    pub lifetime: Option<Duration>,
}

/// The answer of an issuer, once it is there.
pub type Issuing<'a> = Pin<Box<dyn Future<Output = Result<Issued, Failure>> + 'a>>;

/// When a credential is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// What it was issued for is done; more may follow.
    Unneeded,
    /// The pass is over.
    Over,
}

/// What is to be said of each credential that was given back, once it is.
pub type Returning<'a> = Pin<Box<dyn Future<Output = Vec<Result<String, Failure>>> + 'a>>;

/// Issues the credential of a CI identity.
pub trait Issuer: Send + Sync {
    /// Asks for a fresh credential.
    fn issue<'a>(&'a self, asking: Asking<'a>) -> Issuing<'a>;

    /// What it sends that no message may contain.
    fn secrets(&self) -> Vec<Secret>;

    /// The one token with which it asks, where it cannot have another: without it nothing is issued any more.
    fn only(&self) -> Option<&Secret> {
        None
    }

    /// The names, which are no secrets, of what it has issued and not been given back.
    fn outstanding(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives back what it has issued, where that can be revoked. What is needed again is issued anew.
    fn give_back<'a>(&'a self, _: Asking<'a>, _: When) -> Returning<'a> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// The variables of the job with which any of its processes can have such a credential.
    fn variables(&self) -> &'static [&'static str] {
        &[]
    }
}
