//! Reads a JWT without verifying it: to say more in messages, and to see for whom it is before it is sent. It never proves anything.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::secret::Secret;

/// In bytes: a longer claim is not shown.
const LONGEST: usize = 256;

/// The claims that our messages and receipts use.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Claims {
    /// The token's id, which the API server's audit log also has.
    pub jti: Option<String>,
    /// The issuer's URL.
    pub iss: Option<String>,
    /// The subject: `system:serviceaccount:NAMESPACE:NAME` for a service account.
    pub sub: Option<String>,
    /// Which servers the token is meant for.
    aud: Audience,
    /// Expiry, in seconds since 1970.
    exp: Option<f64>,
    /// Not valid before this moment, in seconds since 1970.
    nbf: Option<f64>,
    /// When it was issued, in seconds since 1970.
    iat: Option<f64>,
    /// The repository's number, as GitHub has it, and the project's, as GitLab has it.
    repository_id: Option<Value>,
    project_id: Option<Value>,
    /// What runs: a branch or tag, and where it goes.
    #[serde(rename = "ref")]
    git_ref: Option<Value>,
    environment: Option<Value>,
    /// The workflow that runs, where others may call it; GitLab's pipeline file.
    job_workflow_ref: Option<Value>,
    ci_config_ref_uri: Option<Value>,
    /// The claims that Kubernetes adds.
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Kubernetes {
    namespace: Option<String>,
    secret: Option<Bound>,
    pod: Option<Bound>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Bound {
    name: Option<String>,
    uid: Option<String>,
}

impl Claims {
    /// The claims of a token, if it is a JWT.
    #[must_use]
    pub fn of(token: &Secret) -> Option<Self> {
        let mut parts = token.expose().trim().split('.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    /// The audiences of the token.
    #[must_use]
    pub fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Audience::One(audience) => vec![audience],
            Audience::Several(audiences) => audiences.iter().map(String::as_str).collect(),
        }
    }

    /// Whether a service account's token is for the API server that has issued it: its audience is its issuer (the default), or the
    /// name of the API server in the cluster.
    #[must_use]
    pub fn is_for_its_own_cluster(&self) -> bool {
        let is_its = |audience: &&str| self.iss.as_deref() == Some(audience) || audience.contains("kubernetes.default.svc");
        self.audiences().iter().any(is_its)
    }

    /// When the token expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        moment(self.exp)
    }

    /// From when on the token is valid.
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        moment(self.nbf.or(self.iat))
    }

    /// When it was issued, by the issuer's clock.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        moment(self.iat)
    }

    /// The claims by which a cluster's trust tells one job from another, as `name value`: those of CI systems that are there.
    #[must_use]
    pub fn of_job(&self) -> Vec<String> {
        let claims = [
            ("repository_id", &self.repository_id),
            ("project_id", &self.project_id),
            ("ref", &self.git_ref),
            ("environment", &self.environment),
            ("job_workflow_ref", &self.job_workflow_ref),
            ("ci_config_ref_uri", &self.ci_config_ref_uri),
        ];
        let text = |value: &Value| match value {
            Value::String(text) if text.len() <= LONGEST => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(_) | Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        claims.into_iter().filter_map(|(name, value)| Some(format!("{name} `{}`", text(value.as_ref()?)?))).collect()
    }

    /// How long it is valid from its issue to its expiry, in seconds.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        Some(self.expires_at()?.as_second() - self.issued_at()?.as_second())
    }

    /// The lease that the token is bound to, as `namespace/name`, if it is a token of a pass.
    #[must_use]
    pub fn lease(&self) -> Option<String> {
        let name = self.kubernetes.secret.as_ref()?.name.as_ref().filter(|name| crate::name::is_name(name))?;
        Some(format!("{}/{name}", self.kubernetes.namespace.as_ref()?))
    }

    /// The service account that the token belongs to, as `namespace/name`.
    #[must_use]
    pub fn service_account(&self) -> Option<String> {
        let (namespace, name) = self.sub.as_deref()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(format!("{namespace}/{name}"))
    }

    /// The uid of the pod that the token is bound to, as kubelet's are.
    #[must_use]
    pub fn pod_uid(&self) -> Option<&str> {
        self.kubernetes.pod.as_ref()?.uid.as_deref()
    }

    /// The uid of the Secret that the token is bound to.
    #[must_use]
    pub fn secret_uid(&self) -> Option<&str> {
        self.kubernetes.secret.as_ref()?.uid.as_deref()
    }
}

fn moment(seconds: Option<f64>) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "fractions of a second do not matter; out of range is refused below")]
    seconds.and_then(|seconds| Timestamp::from_second(seconds as i64).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &serde_json::Value) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn reads_the_claims_of_a_bound_token() {
        let claims = Claims::of(&token(&serde_json::json!({
            "jti": "j", "exp": 1_700_000_000, "aud": ["a", "b"], "sub": "system:serviceaccount:ci:x",
            "kubernetes.io": {"namespace": "ci", "secret": {"name": "jobpass-00000000000000000000000000000000", "uid": "u"}, "new": 1},
        })))
        .expect("a JWT");
        assert_eq!(claims.lease().as_deref(), Some("ci/jobpass-00000000000000000000000000000000"));
        assert_eq!((claims.audiences(), claims.secret_uid()), (vec!["a", "b"], Some("u")));
        assert_eq!(claims.expires_at().map(|at| at.to_string()).as_deref(), Some("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn one_audience_may_be_a_plain_text_and_times_may_be_fractions() {
        let claims = Claims::of(&token(&serde_json::json!({"aud": "a", "exp": 1.5, "nbf": 0}))).expect("a JWT");
        assert_eq!(claims.audiences(), ["a"]);
        assert!(claims.valid_from().is_some());
    }

    #[test]
    fn a_time_that_cannot_be_is_none() {
        for odd in ["1e300", "-1e300", "1e18", "9223372036854775807", "400000000000000"] {
            let claims = format!("{{\"exp\": {odd}, \"iat\": -{}}}", odd.trim_start_matches('-'));
            let claims = Claims::of(&Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))).expect("a JWT");
            assert_eq!((claims.expires_at(), claims.issued_at(), claims.lifetime()), (None, None, None), "{odd}");
        }
    }

    #[test]
    fn what_is_no_jwt_says_nothing() {
        for text in ["", "sha256~abc", "a.b", "a.!!.c", "e30.Ig.x"] {
            assert_eq!(Claims::of(&Secret::new(text.into())), None, "{text}");
        }
    }

    #[test]
    fn a_token_of_somebody_else_is_no_pass() {
        let claims = Claims::of(&token(&serde_json::json!({"kubernetes.io": {"namespace": "ci", "secret": {"name": "other"}}})));
        assert_eq!(claims.expect("a JWT").lease(), None);
    }
}
