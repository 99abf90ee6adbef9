//! The certificate that a server presented, for the message about a certificate that we do not trust.

use std::sync::{Arc, Mutex};

use ring::digest;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_cert::{Certificate, der::Decode};

use crate::out::one_line;

/// Issuer and SHA-256 of a certificate, as `openssl x509 -issuer -fingerprint -sha256` shows them.
#[must_use]
pub fn describe(certificate: &CertificateDer<'_>) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let issuer = Certificate::from_der(certificate)
        .map_or_else(|_| "not readable".to_owned(), |certificate| certificate.tbs_certificate().issuer().to_string());
    format!("issuer `{}`, SHA-256 {hex}", one_line(&issuer))
}

/// Who has issued a certificate, from when it holds, and when it ends; none where it cannot be read.
#[cfg(feature = "operate")]
#[must_use]
pub fn issuer_and_life(certificate: &CertificateDer<'_>) -> Option<(String, jiff::Timestamp, jiff::Timestamp)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    let at = |time: x509_cert::time::Time| jiff::Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok();
    let validity = certificate.validity();
    Some((one_line(&certificate.issuer().to_string()), at(validity.not_before)?, at(validity.not_after)?))
}

/// A verifier that records the server's certificate and refuses it, so that the handshake ends there.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) seen: Arc<Mutex<Option<CertificateDer<'static>>>>,
    pub(super) schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(leaf.clone().into_owned());
        }
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_still_has_a_fingerprint() {
        let text = describe(&CertificateDer::from(b"x".to_vec()));
        assert!(text.starts_with("issuer `not readable`, SHA-256 2D:71:16:42"), "{text}");
    }
}
