//! The API server's answer: which kind of refusal it is, and what the user can do about it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{policy, request::Request};
use crate::{
    clock::{length, skew},
    failure::{Code, Failure},
    jwt::Claims,
    net::WRONG_SERVER,
    out::instant,
    secret::Secret,
};

/// An HTTP answer, read completely.
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The `Retry-After` header in seconds, if there is one.
    pub retry_after: Option<u64>,
    /// The `Date` header, which a proxy may have written; see [`Answer::server_date`].
    pub date: Option<Timestamp>,
    /// The texts of the `Warning` headers.
    pub warnings: Vec<String>,
    /// Whether another copy of the same request may have been carried out.
    pub after_another: bool,
    /// The body; it may contain a token.
    pub body: Zeroizing<Vec<u8>>,
}

/// What RBAC takes a request for whose address has a path too much: `/apis`, `/apis/GROUP`, `/api`, `/api/v1`, or any other. From
/// Kubernetes 1.37 on, the resource is named with what follows it.
const MISREAD: [&str; 6] = ["in API group \"api\"", "resource \"v1\"", "resource \"v1/", "resource \"api\"", "resource \"api/", " path \""];

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 3xx: a redirect to another server, which is never followed.
    Elsewhere,
    /// 401: the credential is not accepted.
    Unauthorized,
    /// 403: RBAC does not grant the right.
    Rbac,
    /// 403: the API server saw no credential (`system:anonymous`).
    Anonymous,
    /// 403: a quota of the namespace is used up.
    Quota,
    /// 403: the namespace is being deleted.
    Terminating,
    /// 403 or 422: refused by an admission policy.
    Policy,
    /// 403 or another 4xx: refused by an admission webhook.
    Webhook,
    /// 404: there is no such service account.
    ServiceAccountMissing,
    /// 404: there is no such namespace.
    NamespaceMissing,
    /// 404: there is no such lease Secret.
    LeaseMissing,
    /// 404 of another kind, such as for an unknown path; often not an API server's answer.
    NoSuchPath,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: the object has another uid than the request says.
    Conflict,
    /// 409: a conflict inside the server, as while a quota is being counted. It passes.
    Busy,
    /// 400 or 422: the request is not valid.
    Invalid,
    /// 429: too many requests.
    TooManyRequests,
    /// Another 4xx that no API server gives: of a login page, a proxy, a firewall.
    Foreign,
    /// 5xx: an error of the server.
    Server,
    /// Any other status.
    Other,
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Elsewhere => Code::ApiRedirect,
            Self::Unauthorized => Code::IdentityRefused,
            Self::Rbac => Code::ApiRbac,
            Self::Anonymous => Code::ApiAnonymous,
            Self::Quota => Code::ApiQuota,
            Self::Terminating => Code::ApiTerminating,
            Self::Policy => Code::ApiPolicy,
            Self::Webhook => Code::ApiWebhook,
            Self::ServiceAccountMissing => Code::ApiNoAccount,
            Self::NamespaceMissing => Code::ApiNoNamespace,
            Self::LeaseMissing => Code::ApiNoLease,
            Self::NoSuchPath => Code::ApiNoPath,
            Self::AlreadyExists => Code::ApiNameTaken,
            Self::Conflict => Code::ApiOtherUid,
            Self::Busy => Code::ApiBusy,
            Self::Invalid => Code::ApiInvalid,
            Self::TooManyRequests => Code::ApiTooMany,
            Self::Foreign => Code::ApiForeign,
            Self::Server => Code::ApiServer,
            Self::Other => Code::ApiOther,
        }
    }
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The server's time: the `Date` header, if the body is a Kubernetes object. A proxy's error page has a `Date` of the proxy.
    #[must_use]
    pub fn server_date(&self) -> Option<Timestamp> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Object {
            kind: String,
            api_version: String,
        }
        let is_objects = |object: Object| !object.kind.is_empty() && !object.api_version.is_empty();
        self.date.filter(|_| serde_json::from_slice(&self.body).is_ok_and(is_objects))
    }

    /// Whether it is a web page, which no API server gives.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
    }

    /// Whether the body is a Status, as an API server gives with every refusal.
    #[must_use]
    pub fn is_status(&self) -> bool {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        serde_json::from_slice::<Kind>(&self.body).is_ok_and(|body| body.kind == "Status")
    }

    /// The Status in the body; an empty one if there is none.
    fn message(&self) -> Status {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The kind of the refusal.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let status = self.message();
        let text = status.message.as_deref().unwrap_or_default();
        let details = status.details.unwrap_or_default();
        let terminating = details.causes.iter().flatten().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"));
        if matches!(self.status, 400..=499) {
            if text.contains("ValidatingAdmissionPolicy '") {
                return Refusal::Policy;
            }
            if text.contains("admission webhook \"") {
                return Refusal::Webhook;
            }
        }
        match self.status {
            300..=399 => Refusal::Elsewhere,
            // 404 of the server itself is no Status everywhere, 409 and 429 are not what a page says.
            400..=403 | 405..=408 | 410..=428 | 430..=499 if self.is_page() => Refusal::Foreign,
            405 | 407 if status.message.is_none() => Refusal::Foreign,
            401 => Refusal::Unauthorized,
            403 if terminating || text.contains("because it is being terminated") => Refusal::Terminating,
            403 if text.contains("exceeded quota") => Refusal::Quota,
            403 if text.contains("User \"system:anonymous\"") => Refusal::Anonymous,
            403 if text.contains("User \"") && text.contains("\" cannot ") => Refusal::Rbac,
            404 => match details.kind.as_deref() {
                Some("serviceaccounts") => Refusal::ServiceAccountMissing,
                Some("namespaces") => Refusal::NamespaceMissing,
                Some("secrets") => Refusal::LeaseMissing,
                Some(_) | None => Refusal::NoSuchPath,
            },
            409 if status.reason.as_deref() == Some("AlreadyExists") => Refusal::AlreadyExists,
            // A precondition, a bound object or a service account with another uid: the message then names the uid. If it ends
            // without one, somebody was just deleting the object.
            409 if text.contains("UID") && !text.trim_end().ends_with("UID in object meta:") => Refusal::Conflict,
            409 => Refusal::Busy,
            400 | 422 => Refusal::Invalid,
            429 => Refusal::TooManyRequests,
            500..=599 => Refusal::Server,
            _ => Refusal::Other,
        }
    }

    /// The failure for the user: the server's own words as the cause, and our hint.
    #[must_use]
    pub fn failure(&self, request: &Request, identity: &Shown<'_>) -> Failure {
        let refusal = self.refusal();
        let status = self.message();
        let said = match status.message.as_deref() {
            Some(text) if !text.is_empty() => format!(": {text}"),
            // No Status, so not an API server's answer: a proxy's page may contain anything and is not repeated.
            Some(_) | None => String::new(),
        };
        let failure = Failure::new(refusal.code(), request.what()).cause(format!("{} {}{said}", self.status, name_of(self.status)));
        let is_misread = refusal == Refusal::Rbac && MISREAD.iter().any(|words| said.contains(words));
        let is_of_path = is_misread || matches!(refusal, Refusal::NoSuchPath | Refusal::Elsewhere);
        if let Some(path) = identity.path.filter(|_| is_of_path) {
            return failure
                .cause(format!("the server's address has the path `{path}`, and no API server answers below it"))
                .hint("leave the path out: an API server's address has one only behind a proxy such as Rancher's");
        }
        match refusal {
            Refusal::Unauthorized => identity.explain(failure, self.server_date()),
            Refusal::Rbac => failure.hint(format!("grant it with `jobpass setup`, or ask a cluster admin for {}", request.permission())),
            Refusal::Anonymous => failure
                .cause(format!("the API server recognised nobody in {}", identity.why))
                .hint("check that the CI identity holds a token or a client certificate of this cluster"),
            Refusal::Quota => failure
                .hint("ask for a higher quota of `secrets`, or remove leases that are left behind: Secrets of type `jobpass.dev/lease`"),
            Refusal::Terminating => failure.hint("use another namespace: this one is being deleted"),
            Refusal::Policy => failure.hint(policy::hint(&said)),
            Refusal::Webhook => failure.hint("do what its message says, or ask the cluster's admins, whose admission webhook says no"),
            Refusal::ServiceAccountMissing => failure.hint(request.hint_without_account()),
            Refusal::NamespaceMissing => failure.hint("check the namespace's name, and that this is the right cluster"),
            Refusal::LeaseMissing => failure.hint(
                "request again: somebody deleted the lease, or on Tekton `JOBPASS_POD_NAME` and `JOBPASS_POD_UID` are not this pod's",
            ),
            Refusal::NoSuchPath if status.message.is_none() => foreign(failure, "", WRONG_SERVER),
            Refusal::Elsewhere => foreign(failure, ": it leads elsewhere, as consoles and login pages do", WRONG_SERVER),
            Refusal::Foreign if self.status == 407 => foreign(
                failure,
                ": a proxy on the way wants a user and a password",
                "name the proxy with both by `HTTPS_PROXY`, or ask for a way to the API server without it",
            ),
            Refusal::Foreign => foreign(
                failure,
                ": something on the way answers in its place, as a proxy, a firewall or a login page does",
                "check that what stands between this job and the API server lets requests through, and that `--server`, or the kubeconfig's `server`, is the API server's address",
            ),
            Refusal::Server if self.is_page() => foreign(
                failure,
                ": it is a web page, as a router or a load balancer has it for a server that it does not reach",
                "check that the API server runs, and that `--server`, or the kubeconfig's `server`, is its address and not that of a route",
            ),
            Refusal::TooManyRequests => match self.retry_after {
                // A wait of more than an hour is not worth a hint.
                Some(seconds @ 1..=3600) => failure.hint(format!("try again in {seconds} s, as the server asks")),
                Some(_) | None => failure,
            },
            Refusal::NoSuchPath
            | Refusal::AlreadyExists
            | Refusal::Conflict
            | Refusal::Busy
            | Refusal::Invalid
            | Refusal::Server
            | Refusal::Other => failure,
        }
    }
}

/// Adds to a failure that the answer came from something else than an API server.
fn foreign(failure: Failure, how: &str, hint: &str) -> Failure {
    failure.cause(format!("the answer is not a Kubernetes API server's{how}")).hint(hint)
}

/// What a message may use of the CI identity.
pub struct Shown<'a> {
    /// Which identity it is, in words.
    pub why: &'a str,
    /// The path of the API server's address, if it has one.
    pub path: Option<&'a str>,
    /// Its token, whose claims are used; the token itself is never shown.
    pub token: Option<&'a Secret>,
    /// The time by this machine's clock.
    pub now: Timestamp,
}

impl Shown<'_> {
    /// Explains a 401. The API server gives no reason, so we compare the token's claims with the time, and show audience and
    /// issuer.
    fn explain(&self, failure: Failure, server_clock: Option<Timestamp>) -> Failure {
        let failure = failure.cause(format!("the API server did not accept {}", self.why));
        let Some(claims) = self.token.and_then(Claims::of) else {
            return failure.hint("renew the CI identity's credential: it is expired, revoked, or of another cluster");
        };
        let now = server_clock.unwrap_or(self.now);
        let failure = skew(self.now, now).into_iter().fold(failure, Failure::cause);
        let by_ours = if server_clock.is_none() { ", by this machine's clock" } else { "" };
        if let Some(end) = claims.expires_at().filter(|end| *end <= now) {
            return failure
                .cause(format!("its token expired at {} ({} ago{by_ours})", instant(end), length(now.duration_since(end))))
                .hint("renew the CI identity's credential, or request earlier in the job")
                .as_code(Code::IdentityExpired);
        }
        if let Some(start) = claims.valid_from().filter(|start| *start > now) {
            return failure
                .cause(format!("its token is not valid before {} (in {}{by_ours})", instant(start), length(start.duration_since(now))))
                .hint("set the clock of the machine that issued it, or of this one")
                .as_code(Code::IdentityNotYetValid);
        }
        let audiences = claims.audiences();
        let shown = audiences.iter().map(|audience| format!("`{audience}`")).collect::<Vec<_>>().join(", ");
        let issuer = claims.iss.as_deref().map_or_else(|| "no issuer".to_owned(), |issuer| format!("`{issuer}`"));
        let ends = claims.expires_at().map_or_else(|| "without end".to_owned(), |end| format!("valid until {}", instant(end)));
        let failure = failure
            .cause(format!("its token is {ends}, for audience {}, from {issuer}", if shown.is_empty() { "none".into() } else { shown }));
        if claims.service_account().is_some() && (audiences.is_empty() || claims.is_for_its_own_cluster()) {
            return failure.hint("check that this cluster trusts that issuer and audience, and that the token was not revoked");
        }
        // The token of a CI system or another identity provider: a cluster trusts it by its claims.
        let claims: Vec<_> = claims
            .sub
            .iter()
            .filter(|subject| subject.len() <= 256)
            .map(|subject| format!("subject `{subject}`"))
            .chain(claims.of_job())
            .collect();
        let failure = if claims.is_empty() { failure } else { failure.cause(format!("it says: {}", claims.join(", "))) };
        failure.hint(
            "compare this with the cluster's AuthenticationConfiguration: it must name that issuer and audience, its rules must take these claims, and the API server must reach the issuer",
        )
    }
}

fn name_of(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("unknown status")
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn answer(status: u16, body: &serde_json::Value) -> Answer {
        let body = Zeroizing::new(body.to_string().into_bytes());
        Answer { status, retry_after: None, date: None, warnings: vec![], after_another: false, body }
    }

    fn request() -> Request {
        Request::new(http::Method::DELETE, "/x".to_owned(), "cannot revoke the lease `ci/x`".to_owned(), "`delete` on `secrets`".to_owned())
    }

    fn says(status: u16, message: &str) -> Refusal {
        answer(status, &serde_json::json!({"kind": "Status", "message": message})).refusal()
    }

    #[test]
    fn a_403_is_told_apart() {
        let rbac = r#"secrets is forbidden: User "alice" cannot create resource "secrets" in API group "" in the namespace "ci""#;
        assert_eq!(says(403, rbac), Refusal::Rbac);
        assert_eq!(says(403, &rbac.replace("alice", "system:anonymous")), Refusal::Anonymous);
        assert_eq!(
            says(403, r#"secrets "x" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"#),
            Refusal::Quota
        );
        let dying = r#"secrets "x" is forbidden: unable to create new content in namespace dying because it is being terminated"#;
        assert_eq!(says(403, dying), Refusal::Terminating);
        let policy = "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        assert_eq!((says(403, policy), says(422, policy)), (Refusal::Policy, Refusal::Policy));
        assert_eq!(says(403, r#"admission webhook "w.example.com" denied the request: no"#), Refusal::Webhook);
    }

    #[test]
    fn a_404_is_told_apart() {
        let missing = |kind: &str| answer(404, &serde_json::json!({"kind": "Status", "details": {"kind": kind}})).refusal();
        assert_eq!(missing("serviceaccounts"), Refusal::ServiceAccountMissing);
        assert_eq!(missing("namespaces"), Refusal::NamespaceMissing);
        assert_eq!(missing("secrets"), Refusal::LeaseMissing);
        assert_eq!(answer(404, &serde_json::json!("<html>")).refusal(), Refusal::NoSuchPath);
    }

    #[test]
    fn a_409_is_told_apart() {
        let conflict = |reason: &str, message: &str| {
            answer(409, &serde_json::json!({"kind": "Status", "reason": reason, "message": message})).refusal()
        };
        assert_eq!(conflict("AlreadyExists", "secrets \"x\" already exists"), Refusal::AlreadyExists);
        for passing in [
            "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified; please apply your changes to the latest version and try again",
            "StorageError: invalid object, Code: 4, Key: /k, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: a, UID in object meta: ",
            "",
        ] {
            assert_eq!(conflict("Conflict", passing), Refusal::Busy, "{passing}");
        }
        for lasting in [
            "the UID in the precondition (a) does not match the UID in record (b). The object might have been deleted and then recreated",
            "Precondition failed: UID in precondition: a, UID in object meta: b",
            "Operation cannot be fulfilled on Secret \"x\": the UID in the bound object reference (a) does not match the UID in record",
        ] {
            assert_eq!(conflict("Conflict", lasting), Refusal::Conflict, "{lasting}");
        }
        // The conflict comes from something that is no API server.
        assert_eq!(answer(409, &serde_json::json!("<html>")).refusal(), Refusal::Busy);
    }

    #[test]
    fn only_an_api_servers_words_are_repeated() {
        let request = request();
        let shown = Shown { why: "w", path: None, token: None, now: Timestamp::UNIX_EPOCH };
        let page = Answer { body: Zeroizing::new(b"<html>hunter2</html>".to_vec()), ..answer(502, &serde_json::Value::Null) };
        assert!(!page.failure(&request, &shown).to_string().contains("hunter2"));
    }

    #[test]
    fn an_address_with_a_path_is_named_where_nothing_answers_below_it() {
        let shown = Shown { why: "w", path: Some("/apis"), token: None, now: Timestamp::UNIX_EPOCH };
        let said = |message: &str| answer(403, &serde_json::json!({"message": message})).failure(&request(), &shown).to_string();
        for message in [
            r#"secrets.api is forbidden: User "alice" cannot create resource "secrets" in API group "api" in the namespace "ci""#,
            r#"v1 is forbidden: User "alice" cannot create resource "v1" in API group "" at the cluster scope"#,
            r#"v1 "namespaces" is forbidden: User "alice" cannot create resource "v1/ci" in API group "" in the namespace "namespaces""#,
            r#"api "v1" is forbidden: User "alice" cannot create resource "api/namespaces" in API group "" in the namespace "v1""#,
            r#"forbidden: User "alice" cannot post path "/apis/api/v1/namespaces/ci/secrets""#,
        ] {
            assert!(said(message).contains("hint: leave the path out"), "{}", said(message));
        }
        // Rancher's has one, and an API server answers below it.
        let rbac = r#"secrets is forbidden: User "alice" cannot create resource "secrets" in API group "" in the namespace "ci""#;
        assert!(said(rbac).contains("hint: grant it"), "{}", said(rbac));
    }

    fn unauthorized(claims: &serde_json::Value, now: i64, server: Option<i64>) -> String {
        let token = Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())));
        let at = |second| Timestamp::from_second(second).expect("in range");
        let shown = Shown { why: "the identity", path: None, token: Some(&token), now: at(now) };
        let answer = Answer {
            date: server.map(at),
            ..answer(401, &serde_json::json!({"kind": "Status", "apiVersion": "v1", "message": "Unauthorized"}))
        };
        answer.failure(&request(), &shown).to_string()
    }

    #[test]
    fn a_401_is_explained_from_the_token_itself() {
        let expired = unauthorized(&serde_json::json!({"exp": 1000}), 4600, None);
        assert!(expired.contains("its token expired at 1970-01-01T00:16:40Z (60 min ago, by this machine's clock)"), "{expired}");
        let early = unauthorized(&serde_json::json!({"nbf": 1000}), 900, None);
        assert!(early.contains("not valid before 1970-01-01T00:16:40Z (in 100 s, by this machine's clock)"), "{early}");
        let other = unauthorized(&serde_json::json!({"aud": "https://other", "iss": "https://i"}), 0, None);
        assert!(other.contains("for audience `https://other`, from `https://i`"), "{other}");
    }

    #[test]
    fn the_servers_clock_decides_and_a_difference_is_named() {
        let skewed = unauthorized(&serde_json::json!({"exp": 2000}), 1000, Some(2500));
        assert!(skewed.contains("clock is 25 min behind the API server's") && skewed.contains("(8 min ago)"), "{skewed}");
    }
}
