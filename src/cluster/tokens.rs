//! The tokens of a lease: requested, and shown to the API server to see whether it still takes them.

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use serde::Deserialize;

use super::{
    Cluster,
    leases::{check_account, create_account},
    parsed,
    request::Request,
    review,
};
use crate::{
    clock::ServerTime,
    failure::Failure,
    jwt::Claims,
    lease::Lease,
    net::{API_SERVER, Connector, Credential},
    secret::Secret,
    spec::TokenSpec,
};

/// A token that was granted.
pub struct Granted {
    /// The token, bound to the lease.
    pub token: Secret,
    /// When it was issued, by the server's clock (its `iat` claim).
    pub issued_at: Option<ServerTime>,
    /// When it expires, by the server's clock.
    pub expires_at: ServerTime,
    /// The texts of the answer's `Warning` headers.
    pub warnings: Vec<String>,
}

/// Whether the API server still accepts a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It answered 401: the token is dead.
    Dead,
    /// It gave an answer that only an authenticated client gets.
    Accepted,
    /// There was no answer, or one that says neither.
    Unknown(String),
}

#[derive(Deserialize)]
struct TokenAnswer {
    status: TokenStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: Secret,
    expiration_timestamp: Timestamp,
}

impl Cluster {
    /// Requests a token that is bound to the lease Secret and its uid.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn request_token(&mut self, lease: &Lease, spec: &TokenSpec) -> Result<Granted, Failure> {
        let account = &lease.service_account;
        let request = Request::new(
            Method::POST,
            format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", account.namespace, account.name),
            format!("cannot request a token for service account `{account}`"),
            format!("`create` on `serviceaccounts/token` (resourceName `{}`) in namespace `{}`", account.name, account.namespace),
        );
        // Once there was a token, the name is right.
        let advice = if self.may_have_token { create_account } else { check_account };
        let request = request.without_account(advice(account));
        let body = TokenRequest {
            spec: Some(TokenRequestSpec {
                // Without an audience the API server sets its own.
                audiences: (!spec.audiences.is_empty()).then(|| spec.audiences.clone()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Secret".into()),
                    name: Some(lease.name.clone()),
                    uid: lease.uid.clone(),
                }),
                expiration_seconds: Some(i64::try_from(spec.ttl.as_secs()).unwrap_or(i64::MAX)),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        self.may_have_token = true;
        let answer = self.ask(&request, &body).await?;
        if !answer.is_success() {
            return Err(answer.failure(&request, &self.shown()));
        }
        let TokenAnswer { status: TokenStatus { token, expiration_timestamp } } = parsed(&answer, &request)?;
        let claims = Claims::of(&token).unwrap_or_default();
        let issued_at = claims.issued_at().map(ServerTime::said);
        self.hear(issued_at, &answer);
        // If the two differ, the later one counts: the token itself decides when it ends.
        let expires_at = ServerTime::said(claims.expires_at().map_or(expiration_timestamp, |end| end.max(expiration_timestamp)));
        Ok(Granted { token, issued_at, expires_at, warnings: answer.warnings })
    }

    /// Probes a token: asks the API server who it belongs to, on a new connection without our own credential.
    ///
    /// On our own connection a client certificate would authenticate us instead of the token.
    pub async fn probe(&self, token: &Secret) -> Probed {
        let credential = Credential::bearing(token.clone());
        let shown = credential.header.is_some().then(|| Connector::new(self.connector.target.clone(), credential));
        let Some(Ok(mut connector)) = shown else { return Probed::Unknown("the token cannot be shown".into()) };
        match review::sent(&mut connector, self.deadline, |_, _| {}).await {
            Ok(answer) if answer.is_page() => Probed::Unknown(format!("a web page answered {}, and not the API server", answer.status)),
            Ok(answer) if answer.status == 401 && answer.is_status() => Probed::Dead,
            // A proxy before it says no by itself, and may say so to a token that lives.
            Ok(answer) if answer.status == 401 => Probed::Unknown("something that is no API server answered 401".into()),
            Ok(answer) if answer.is_success() || matches!(answer.status, 403 | 404 | 405 | 422) => Probed::Accepted,
            Ok(answer) => Probed::Unknown(format!("the API server answered {}", answer.status)),
            Err(broken) => Probed::Unknown(broken.brief(API_SERVER, self.timeout)),
        }
    }
}
