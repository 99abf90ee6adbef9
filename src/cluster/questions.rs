//! What somebody may ask the API server about himself: who he is, what he may, and whether it refuses what it must.

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, UserInfo},
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReviewStatus},
};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Cluster,
    allowed::REVIEWS,
    answer::{Answer, Refusal},
    request::Request,
};
use crate::{failure::Failure, out::one_line};

/// What became of a request that must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// Nothing has refused it.
    LetThrough,
    /// The admission policy of this name has refused it.
    ByPolicy(String),
    /// An admission webhook has refused it.
    ByWebhook,
    /// RBAC has refused it, before any policy was asked.
    ByRbac,
    /// There is no such service account.
    NoAccount,
    /// There is no such namespace.
    NoNamespace,
    /// It was refused for a reason that says nothing of policies: in these words.
    Otherwise(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whoever {
    user_info: UserInfo,
}

impl Cluster {
    /// Whom the API server takes us for.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn who(&mut self) -> Result<UserInfo, Failure> {
        let what = "cannot ask the API server who we are";
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let status: Whoever = self.review(path, what, "selfsubjectreviews", &SelfSubjectReview::default()).await?;
        Ok(status.user_info)
    }

    /// Whether we may do this, and, where we may, by which binding.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn may(&mut self, wanted: ResourceAttributes) -> Result<SubjectAccessReviewStatus, Failure> {
        let what = "cannot ask the API server what we may do";
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(wanted), ..SelfSubjectAccessReviewSpec::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        self.review(&format!("{REVIEWS}/selfsubjectaccessreviews"), what, "selfsubjectaccessreviews", &review).await
    }

    /// Sends a request that must be refused, and is so made that it changes nothing where it is not.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn attempt(&mut self, method: Method, path: String, body: &Value) -> Result<Attempted, Failure> {
        let request = Request::new(method, path, "cannot see whether the API server refuses what it must".to_owned(), String::new());
        let answer = self.ask(&request, body).await?;
        let failure = answer.failure(&request, &self.shown());
        Attempted::of(&answer, failure.brief()).ok_or(failure)
    }

    /// The server's time now, where it has told it.
    #[must_use]
    pub fn told_time(&self) -> Option<Timestamp> {
        self.clock.now(None).map(crate::clock::ServerTime::figure)
    }

    /// The certificate that the API server presents.
    pub async fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.connector.presented().await
    }
}

impl Attempted {
    /// None where nobody has judged the request: it came to no API server, to one that fails, or to one that does not know us.
    fn of(answer: &Answer, words: String) -> Option<Self> {
        if answer.is_success() {
            return Some(Self::LetThrough);
        }
        match answer.refusal() {
            Refusal::Elsewhere | Refusal::Foreign | Refusal::Unauthorized | Refusal::Anonymous | Refusal::Server => None,
            Refusal::Policy => Some(Self::ByPolicy(policy(&words).unwrap_or_default())),
            Refusal::Webhook => Some(Self::ByWebhook),
            Refusal::Rbac => Some(Self::ByRbac),
            Refusal::ServiceAccountMissing => Some(Self::NoAccount),
            Refusal::NamespaceMissing => Some(Self::NoNamespace),
            // What it is bound to is looked for when every policy has let it through.
            Refusal::LeaseMissing => Some(Self::LetThrough),
            Refusal::Quota
            | Refusal::Terminating
            | Refusal::NoSuchPath
            | Refusal::AlreadyExists
            | Refusal::Conflict
            | Refusal::Busy
            | Refusal::Invalid
            | Refusal::TooManyRequests
            | Refusal::Other => Some(Self::Otherwise(words)),
        }
    }
}

/// The name of the policy in the words of its refusal.
fn policy(words: &str) -> Option<String> {
    let (_, rest) = words.split_once("ValidatingAdmissionPolicy '")?;
    rest.split_once('\'').map(|(name, _)| one_line(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    fn of(status: u16, body: &Value) -> Option<Attempted> {
        let body = Zeroizing::new(body.to_string().into_bytes());
        let answer = Answer { status, retry_after: None, date: None, warnings: vec![], after_another: false, body };
        let words = serde_json::from_slice::<Value>(&answer.body).expect("JSON")["message"].as_str().unwrap_or_default().to_owned();
        Attempted::of(&answer, words)
    }

    #[test]
    fn who_has_refused_is_told_apart() {
        let says = |status, message: &str| of(status, &json!({"kind": "Status", "message": message}));
        let policy = "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        assert_eq!(says(403, policy), Some(Attempted::ByPolicy("p".to_owned())));
        assert_eq!(says(403, r#"User "a" cannot create resource "secrets""#), Some(Attempted::ByRbac));
        assert_eq!(says(403, r#"admission webhook "w" denied the request: no"#), Some(Attempted::ByWebhook));
        assert_eq!(says(422, "no"), Some(Attempted::Otherwise("no".to_owned())));
        for status in [302, 401, 503] {
            assert_eq!(says(status, ""), None, "nobody has judged it: {status}");
        }
        assert_eq!(of(201, &json!({"kind": "Secret"})), Some(Attempted::LetThrough));
        let missing = |kind: &str| of(404, &json!({"kind": "Status", "details": {"kind": kind}}));
        assert_eq!(missing("secrets"), Some(Attempted::LetThrough), "every policy was asked before");
        assert_eq!((missing("serviceaccounts"), missing("namespaces")), (Some(Attempted::NoAccount), Some(Attempted::NoNamespace)));
    }
}
