//! Transport errors: why there was no answer, and what the user can do about it.

use std::{error::Error, io, time::Duration};

use super::{API_SERVER, Target, Trust, WRONG_SERVER, key, tls_words, tunnel::Blocked};
use crate::{
    failure::{Code, Failure, words},
    options::human,
    out::one_line,
};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// No connection could be made; the text says why.
    Unreachable(String),
    /// The proxy on the way does not lead to the server, or cannot be reached.
    Proxy(Blocked),
    /// The server's certificate is not trusted.
    Certificate(String),
    /// Our cryptography cannot check the server's certificate.
    Unchecked(String),
    /// The TLS handshake failed for another reason.
    Tls(String),
    /// The connection ended before the whole answer was there.
    Cut,
    /// The answer exceeds our size limit, so it is none of an API server.
    TooLarge,
    /// The deadline came before there was a connection: nothing was sent.
    Unconnected,
    /// The deadline came after the connection was made: the request may have been sent.
    Late,
    /// The request could not be built.
    Unsendable,
}

impl TransportError {
    /// Finds the reason in the error chain of kube, hyper and rustls.
    #[must_use]
    pub fn of(error: &kube::Error) -> Self {
        match innermost(error) {
            Innermost::Proxy(blocked) => Self::Proxy(blocked),
            Innermost::Tls(told) => told,
            Innermost::Other { text, is_connecting: true } => Self::Unreachable(text),
            Innermost::Other { .. } => Self::Cut,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Cut | Self::TooLarge => true,
            Self::Proxy(blocked) => blocked.is_passing,
            Self::Certificate(_) | Self::Unchecked(_) | Self::Tls(_) | Self::Unconnected | Self::Late | Self::Unsendable => false,
        }
    }

    /// Whether the server may have carried out the request nevertheless.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Cut | Self::TooLarge | Self::Late => true,
            Self::Unreachable(_)
            | Self::Proxy(_)
            | Self::Certificate(_)
            | Self::Unchecked(_)
            | Self::Tls(_)
            | Self::Unconnected
            | Self::Unsendable => false,
        }
    }

    /// Whether the server's certificate was the reason.
    #[must_use]
    pub fn is_about_certificate(&self) -> bool {
        matches!(self, Self::Certificate(_) | Self::Unchecked(_))
    }

    /// The reason in a few words; `who` is the server, and `timeout` is named where the time was up.
    #[must_use]
    pub fn brief(&self, who: &str, timeout: Duration) -> String {
        match self {
            Self::Unreachable(why) => format!("{who} cannot be reached: {why}"),
            Self::Proxy(blocked) => blocked.why.clone(),
            Self::Certificate(why) => format!("{who}'s certificate is not trusted: {why}"),
            Self::Unchecked(why) => format!("{who}'s certificate cannot be checked: {why}"),
            Self::Tls(why) => format!("the TLS handshake failed: {why}"),
            Self::Cut => "the connection ended in the middle of the answer".into(),
            Self::TooLarge if who == API_SERVER => "the answer is larger than any of an API server to jobpass".into(),
            Self::TooLarge => "the answer is larger than any that jobpass reads".into(),
            Self::Unconnected => format!("{who} cannot be reached: no connection within {}", human(timeout)),
            Self::Late => format!("{who} did not answer within {}", human(timeout)),
            Self::Unsendable => "the request cannot be made".into(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) | Self::Unconnected => Code::NetworkUnreachable,
            Self::Proxy(_) => Code::NetworkProxy,
            Self::Certificate(_) | Self::Unchecked(_) => Code::NetworkCertificate,
            Self::Tls(_) => Code::NetworkTls,
            Self::Cut | Self::TooLarge => Code::NetworkAnswer,
            Self::Late => Code::NetworkTimeout,
            Self::Unsendable => Code::NetworkRequest,
        }
    }

    /// The failure that nobody is reached at all, where that says more than what would have been asked; none where somebody is there.
    #[must_use]
    pub fn nobody(&self, target: &Target, timeout: Duration) -> Option<Failure> {
        let why = match self {
            Self::Unreachable(why) => why.clone(),
            Self::Unconnected => format!("no connection within {}", human(timeout)),
            Self::Proxy(_)
            | Self::Certificate(_)
            | Self::Unchecked(_)
            | Self::Tls(_)
            | Self::Cut
            | Self::TooLarge
            | Self::Late
            | Self::Unsendable => return None,
        };
        let failure = Failure::new(self.code(), format!("cannot reach {} at `{}`", target.noun, target.server));
        Some(failure.cause(why).hint(unreached(target)))
    }

    /// The failure for the user.
    #[must_use]
    pub fn failure(&self, what: &str, target: &Target, leaf: Option<String>, timeout: Duration) -> Failure {
        let server = &target.server;
        let failure = Failure::new(self.code(), what).cause(format!("`{server}`: {}", self.brief(target.noun, timeout)));
        match self {
            Self::Unreachable(_) | Self::Unconnected => failure.hint(unreached(target)),
            Self::Proxy(_) => {
                let setting = if target.has_own_proxy { "the kubeconfig's `proxy-url`" } else { "`HTTPS_PROXY`" };
                let otherwise = if target.has_own_proxy { "" } else { ", or name the server in `NO_PROXY` if it is reached without one" };
                failure.hint(format!("check {setting} and what its proxy allows{otherwise}"))
            }
            Self::Unchecked(_) => presented(failure, leaf)
                .hint(format!("ask for a certificate, and an authority, with a key of {}, signed with SHA-256 or SHA-384", key::USABLE)),
            Self::Certificate(_) => {
                presented(failure, leaf).cause(format!("it was checked against {}", target.authority)).hint(match target.trust {
                    Trust::System if target.noun != API_SERVER => {
                        "name a file with its authority and the system's roots by `SSL_CERT_FILE`, or add it to the system's roots"
                    }
                    // OpenShift's OAuth server: the API server's authority is already there, and does not help.
                    Trust::SystemAnd(_) => {
                        "put its authority into the same file, behind the API server's; `oc get configmap -n openshift-config-managed \
                         default-ingress-cert` shows it"
                    }
                    Trust::Authority(_) | Trust::System | Trust::Everybody => {
                        "give the API server's own authority by `--certificate-authority`, as in the ConfigMap `kube-root-ca.crt` of any namespace"
                    }
                })
            }
            Self::Tls(_) if target.noun != API_SERVER => failure.hint("check the address, and that no proxy on the way breaks TLS"),
            Self::Tls(_) => failure.hint("check that the address is the API server's and that no proxy on the way breaks TLS"),
            Self::Late => failure.hint("try again, or give it more time by `--timeout`"),
            Self::TooLarge if target.noun == API_SERVER => failure.hint(WRONG_SERVER),
            Self::TooLarge | Self::Cut | Self::Unsendable => failure,
        }
    }
}

/// What to do where nobody is reached.
fn unreached(target: &Target) -> &'static str {
    if target.has_own_proxy {
        "check the address and the kubeconfig's `proxy-url`"
    } else {
        "check the address, `HTTPS_PROXY` and `NO_PROXY`, and that this runner may reach it"
    }
}

/// Adds which certificate it was.
fn presented(failure: Failure, leaf: Option<String>) -> Failure {
    match leaf {
        Some(leaf) => failure.cause(format!("it presented a certificate with {leaf}")),
        None => failure,
    }
}

/// What stands at the end of a chain of errors.
enum Innermost {
    Proxy(Blocked),
    Tls(TransportError),
    Other { text: String, is_connecting: bool },
}

/// Finds the reason in the error chain of kube, hyper and rustls.
fn innermost(error: &(dyn Error + 'static)) -> Innermost {
    let mut is_connecting = false;
    let mut innermost = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // What a proxy says is its own, also where it is about TLS.
        if let Some(blocked) = error.downcast_ref::<Blocked>() {
            return Innermost::Proxy(blocked.clone());
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Innermost::Tls(tls_words::told(tls));
        }
        if let Some(client) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            is_connecting |= client.is_connect();
        }
        innermost = error.to_string();
        // `io::Error::source` skips the error that it wraps; `get_ref` returns it.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    Innermost::Other { text: one_line(&words(innermost).to_lowercase()), is_connecting }
}

/// Why a proxy cannot be used, and whether that may pass.
pub(super) fn reason(error: &(dyn Error + 'static), blocked: impl Fn(&str, bool) -> Blocked) -> Blocked {
    match innermost(error) {
        Innermost::Proxy(inner) => inner,
        Innermost::Tls(TransportError::Certificate(why)) => blocked(&format!("its certificate is not trusted: {why}"), false),
        Innermost::Tls(TransportError::Unchecked(why)) => blocked(&format!("its certificate cannot be checked: {why}"), false),
        Innermost::Tls(told) => blocked(&told.brief("it", Duration::ZERO), false),
        Innermost::Other { text, .. } => blocked(text.trim_start_matches("socks error: "), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Way;

    #[test]
    fn a_tls_error_is_found_below_what_wraps_it() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = kube::Error::Service(Box::new(io::Error::other(tls)));
        assert_eq!(TransportError::of(&wrapped), TransportError::Certificate("it is signed by an unknown authority".into()));
    }

    #[test]
    fn an_answer_that_breaks_off_may_be_asked_for_again() {
        let broken = TransportError::of(&kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::ConnectionReset))));
        assert_eq!(broken, TransportError::Cut);
        assert!(broken.is_passing() && !TransportError::Late.is_passing());
    }

    #[test]
    fn the_api_servers_authority_is_not_advised_for_a_server_behind_the_ingress() {
        let target = |noun, trust| Target {
            what: String::new(),
            noun,
            server: "https://oauth.example.com".into(),
            trust,
            authority: String::new(),
            server_name: None,
            has_own_proxy: false,
            way: Way::default(),
        };
        let hint = |target: &Target| {
            let error = TransportError::Certificate("it is signed by an unknown authority".into());
            error.failure("cannot", target, None, Duration::ZERO).to_string()
        };
        let oauth = target("OpenShift's OAuth server", Trust::SystemAnd(Vec::new()));
        assert!(hint(&oauth).contains("default-ingress-cert") && !hint(&oauth).contains("kube-root-ca.crt"));
        assert!(hint(&target(API_SERVER, Trust::Authority(Vec::new()))).contains("kube-root-ca.crt"));
    }
}
