//! The certificate that a server presented, for the message about one that we do not trust.

use ring::digest;
use rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode};

use crate::out::one_line;

/// Issuer and SHA-256 of a certificate, as `openssl x509 -issuer -fingerprint -sha256` shows them.
#[must_use]
pub(super) fn describe(certificate: &CertificateDer<'_>) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let issuer = Certificate::from_der(certificate)
        .map_or_else(|_| "not readable".to_owned(), |certificate| certificate.tbs_certificate().issuer().to_string());
    format!("issuer `{}`, SHA-256 {hex}", one_line(&issuer))
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
