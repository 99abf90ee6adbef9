//! The credential that is sent to the API server: a header, a client certificate, or both.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::AuthInfo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    Identity,
    form::WHOLE,
    issuer::{Asking, When},
    mounted, plugin,
};
use crate::{
    failure::{Code, Failure},
    files,
    kubeconfig_text::decoded,
    net::{self, Credential, Fault, fetch::Limit, header},
    secret::Secret,
};

/// How long giving a credential back may take: nobody waits for it, and the platform may be about to kill us.
const RETURN: Duration = Duration::from_secs(5);

impl Identity {
    /// The credential in the form that requests need, from the identity itself, its plugin or its issuer.
    ///
    /// # Errors
    /// When a credential is not valid. It is no error if there is none: then the API server refuses us.
    pub async fn credential(&self, limit: Limit<'_>) -> Result<Credential, Failure> {
        let what = self.what();
        let user = &self.user;
        let mut credential = Credential::default();
        if let Some(token) = &user.token {
            credential = Credential::bearing(token.clone().into());
        } else if let Some(issuer) = &self.issuer {
            let issued = issuer.issue(Asking { ways: &self.ways, api_server: &self.target(), limit, leftover: &[] }).await?;
            mounted::guard_token(self, &issued.token, "its issuer gave it")?;
            credential = Credential { lifetime: issued.lifetime, ..Credential::bearing(issued.token) };
        } else if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let pair = Secret::of_parts(&[name, ":", Secret::from(password.clone()).expose()]);
            credential.header = header("Basic", &Secret::new(STANDARD.encode(pair.expose())));
        } else if let Some(exec) = &user.exec {
            let status = plugin::run(exec, &self.cluster, &what).await?;
            if let Some(token) = status.token {
                mounted::guard_token(self, &token, "its credential plugin printed it")?;
                credential = Credential::bearing(token);
            }
            if let (Some(certificate), Some(key)) = (status.client_certificate_data, status.client_key_data) {
                credential.certificate = Some(pair(certificate.as_bytes(), key.expose().as_bytes(), &what)?);
            }
        }
        let shows_a_header = user.token.is_some() || user.password.is_some() || credential.token.is_some();
        if shows_a_header && credential.header.is_none() {
            return Err(
                Failure::new(Code::IdentityCredential, what).cause("its token or password has characters that a request cannot carry")
            );
        }
        if credential.certificate.is_none() {
            credential.certificate = of_kubeconfig(user, &what)?;
        }
        credential.impersonation = AuthInfo {
            impersonate: user.impersonate.clone(),
            impersonate_uid: user.impersonate_uid.clone(),
            impersonate_groups: user.impersonate_groups.clone(),
            impersonate_user_extra: user.impersonate_user_extra.clone(),
            ..AuthInfo::default()
        };
        Ok(credential)
    }
}

impl Identity {
    /// The client certificate that stands in a kubeconfig, if there is one.
    #[cfg(feature = "operate")]
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        of_kubeconfig(&self.user, "").ok().flatten().and_then(|(chain, _)| chain.into_iter().next())
    }

    /// Gives back what was issued for us and can be revoked. Returns what is to be said of it.
    pub async fn give_back(&self, when: When) -> Vec<Result<String, Failure>> {
        let Some(issuer) = &self.issuer else { return Vec::new() };
        let limit = Limit { deadline: Instant::now() + RETURN, timeout: RETURN, unreached: None, out: None };
        issuer.give_back(Asking { ways: &self.ways, api_server: &self.target(), limit, leftover: &self.leftover }, when).await
    }
}

/// The client certificate that the kubeconfig contains or names.
fn of_kubeconfig(user: &AuthInfo, what: &str) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Failure> {
    let key_data = user.client_key_data.clone().map(Secret::from);
    let certificate = (user.client_certificate_data.as_deref(), user.client_certificate.as_deref());
    let key = (key_data.as_ref().map(Secret::expose), user.client_key.as_deref());
    let missing = |which: &str| {
        let failure = Failure::new(Code::IdentityCredential, what).cause(format!("{which} is missing"));
        failure.hint("a client certificate is two parts, with the same key: give both")
    };
    let pem = |(data, path), which| pem(data, path, which, what);
    match (pem(certificate, "its client certificate")?, pem(key, "the key of its client certificate")?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => pair(&certificate, &key, what).map(Some),
        (Some(_), None) => Err(missing("the key of its client certificate")),
        (None, Some(_)) => Err(missing("its client certificate")),
    }
}

/// What a kubeconfig holds of it, or the file that it names.
fn pem(data: Option<&str>, path: Option<&str>, which: &str, what: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let failed = |cause: String| Failure::new(Code::IdentityCredential, what).cause(cause);
    match (data, path) {
        (Some(data), _) => decoded(data).map(Some).ok_or_else(|| {
            let is_pem = data.contains("-----BEGIN");
            let cause = if is_pem { "is PEM text, where its base64 belongs" } else { "is no base64" };
            failed(format!("{which} {cause}")).hint(WHOLE)
        }),
        (None, Some(path)) => files::read_bytes(path.as_ref())
            .map(Some)
            .map_err(|cause| failed(format!("{which} cannot be read from `{path}`")).cause(cause).hint(WHOLE)),
        (None, None) => Ok(None),
    }
}

fn pair(certificate: &[u8], key: &[u8], what: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    net::pair(certificate, key).map_err(|Fault { cause, hint }| Failure::new(Code::IdentityCredential, what).cause(cause).hint(hint))
}
