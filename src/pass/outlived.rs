//! How long the token lives with which a pass is asked for. One that never ends is what a pass is to replace; and where an OIDC token
//! ends before the pass, nobody renews the pass, and nobody revokes it.

use super::{Pass, SHORTEST};
use crate::{clock::ServerTime, context::Context, jwt::Claims, origin::Origin};

/// The warning for a pass that lives longer than the OIDC token of its job, where that one cannot be had anew.
pub(super) fn warning(pass: &Pass, context: &Context) -> Option<String> {
    let identity = pass.cluster.identity();
    // The one token that there is: shown to the API server itself, or exchanged each time.
    let only = match &identity.issuer {
        Some(issuer) => issuer.only(),
        None if matches!(identity.origin, Origin::Oidc { .. }) && !identity.is_renewable() => pass.cluster.identity_token(),
        None => None,
    };
    let claims = Claims::of(only?)?;
    // All three times are the API server's: by its clock it judges the token.
    let (ends, lease_ends) = (ServerTime::said(claims.expires_at()?), pass.lease.ends()?);
    // A token that lives as long as the job may run is enough, though the lease began later, and so ends later.
    let job = context.job_timeout().and_then(|job| i64::try_from(job.as_secs()).ok());
    let is_the_jobs = job.zip(claims.lifetime()).is_some_and(|(job, token)| token >= job);
    // Nor is it worth a word where it ends only a little earlier.
    if is_the_jobs || lease_ends.since(ends) < SHORTEST {
        return None;
    }
    let can_be = if pass.expires_at < lease_ends { "renewed and revoked" } else { "revoked" };
    let instead = context.platform.longer_oidc_token();
    Some(format!(
        "the OIDC token of this job ends at {ends}: until then the pass can be {can_be}, after that its last token lives to its own end; \
         {instead}"
    ))
}

/// The warning for a token that never ends: the stored one of a Secret of type `kubernetes.io/service-account-token`.
pub(super) fn endless(pass: &Pass) -> Option<String> {
    let claims = Claims::of(pass.cluster.identity_token()?)?;
    let is_endless = claims.expires_at().is_none() && claims.service_account().is_some();
    is_endless.then(|| {
        format!(
            "the token that asks for this pass never ends, and whoever has read it keeps its rights until its Secret is deleted ({}); let it \
             do nothing but ask for passes, or store none: docs/migrating.md",
            pass.cluster.identity().why
        )
    })
}
