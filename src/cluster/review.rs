//! As whom the API server authenticates us: `SelfSubjectReview`, which every authenticated user may create.

use http::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Cluster, Standing,
    answer::{Answer, Refusal},
    exchange::Message,
    hedge::{Again, Event, Silence, Tries},
};
use crate::{
    jwt::Claims,
    lease::object::Maker,
    net::{Connector, Target, TransportError},
};

/// Since Kubernetes 1.28: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review>.
const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewStatus {
    user_info: UserInfo,
}

#[derive(Deserialize)]
struct UserInfo {
    username: String,
}

/// Sends the review once, without retries; `silent` is told if that takes long.
pub(super) async fn sent(
    connector: &mut Connector,
    deadline: Instant,
    mut silent: impl FnMut(&Target, Silence),
) -> Result<Answer, TransportError> {
    let review = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let message = Message::new(Method::POST, PATH.to_owned(), &review)?;
    let mut copies = Tries::begin(connector, message, Again::Never, deadline);
    loop {
        match copies.next(connector).await {
            Event::Done(tried) => return tried.sent,
            Event::Silent(silence) => silent(&connector.target, silence),
            Event::Again => {}
        }
    }
}

impl Cluster {
    /// The user name that is written to a lease as its maker: an admission policy then lets only that user delete it.
    pub async fn maker(&mut self) -> Maker {
        Maker { name: self.user_name().await, pod_namespace: self.identity.pod_namespace.clone() }
    }

    /// Our user name: from the token if it is a service account's, else as the API server says it. None where the server does not
    /// say: then it has no such policy either, or it refuses the lease and says why.
    async fn user_name(&mut self) -> Option<String> {
        if let Some(name) = &self.identity.user.impersonate {
            return Some(name.clone());
        }
        loop {
            // The API server prefers a client certificate to a token, so the token's name does not count then. A token that is not for
            // the cluster that has issued it is somebody else here, by the rules of this cluster.
            if !self.connector.has_certificate
                && let Some(claims) = self.identity_token().and_then(Claims::of)
                && claims.service_account().is_some()
                && (claims.audiences().is_empty() || claims.is_for_its_own_cluster())
            {
                return claims.sub;
            }
            // Takes at most half of the time: the request of the pass still has to come.
            let half = Instant::now() + self.deadline.saturating_duration_since(Instant::now()) / 2;
            let (trouble, timeout) = (&mut self.trouble, self.timeout);
            let silent = |target: &Target, silence| trouble.silent("cannot ask the API server who we are", target, silence, timeout);
            let answer = sent(&mut self.connector, half, silent).await.ok()?;
            if answer.refusal() == Refusal::Unauthorized && self.standing == Standing::Good && self.identity.is_renewable() {
                self.renew().await.ok()?;
                self.standing = Standing::Renewed;
                continue;
            }
            let review: Review = serde_json::from_slice(&answer.body).ok().filter(|_| answer.is_success())?;
            return Some(review.status.user_info.username);
        }
    }
}
