//! Whose certificates we accept as a server's, where an authority is given, and what is checked where nothing is to be.
//!
//! Go, and so kubectl, also takes a certificate that is itself given as authority: such a file is the server's own certificate, as
//! people copy it. It also takes one that says of itself that it is an authority, where a given one has signed it. Where nothing is to be
//! checked, nothing of the certificate is: only that the server has its key, where our cryptography can tell.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
};
use webpki::RawPublicKeyEntity;
use x509_cert::{Certificate, Version, der::Decode, ext::pkix::BasicConstraints};

use super::key;

/// Why a certificate is not taken, where rustls has no words for it.
#[derive(Debug)]
pub(super) struct Unusable(pub(super) String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

fn unusable(what: &str, kind: &str) -> rustls::Error {
    let text = format!("{what} is {kind}, which jobpass cannot check");
    CertificateError::Other(OtherError(Arc::new(Unusable(text)))).into()
}

/// Extensions that we look at, or that say nothing against a server: what it may sign, its names, its purposes.
const UNDERSTOOD: [&str; 4] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"];

/// The extension that says who is an authority.
const BASIC_CONSTRAINTS: &str = "2.5.29.19";

/// The extension of an authority that may sign for some names only.
const NAME_CONSTRAINTS: &str = "2.5.29.30";

/// What we say that we can check. P-521 is said too: else a server that has no other key ends the handshake without a word.
pub(super) fn schemes(provider: &CryptoProvider) -> Vec<SignatureScheme> {
    let mut schemes = provider.signature_verification_algorithms.supported_schemes();
    schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
    schemes
}

/// Accepts what one of these authorities has signed, and what is one of them itself.
#[derive(Debug)]
pub(super) struct Vouched {
    by_authority: Arc<WebPkiServerVerifier>,
    given: Arc<[CertificateDer<'static>]>,
    ways: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

impl Vouched {
    /// None where there is no authority.
    pub(super) fn by(store: Arc<RootCertStore>, given: Arc<[CertificateDer<'static>]>, provider: Arc<CryptoProvider>) -> Option<Self> {
        let (schemes, ways) = (schemes(&provider), provider.signature_verification_algorithms);
        let by_authority = WebPkiServerVerifier::builder_with_provider(store, provider).build().ok()?;
        Some(Self { by_authority, given, ways, schemes })
    }

    /// What rustls says of a signature that it cannot check because of the key is that the signature is wrong.
    fn reason(&self, error: rustls::Error, between: &[CertificateDer<'_>]) -> rustls::Error {
        if error != rustls::Error::InvalidCertificate(CertificateError::BadSignature) {
            return error;
        }
        let mut keys = between.iter().chain(self.given.iter()).filter_map(|certificate| key::of_certificate(certificate));
        keys.find_map(key::unusable).map_or(error, |kind| unusable("the key of its authority", &kind))
    }
}

impl Vouched {
    /// Whether one of the given authorities has itself signed this certificate, of which nothing else is checked here. One that may sign
    /// for some names only is none of these, as its own limits would be passed over; nor is a server's own certificate.
    fn has_signed(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = Certificate::from_der(leaf) else { return false };
        let certificate = certificate.tbs_certificate();
        let mut extensions = certificate.extensions().into_iter().flatten();
        if extensions.any(|extension| extension.critical && !UNDERSTOOD.contains(&extension.extn_id.to_string().as_str())) {
            return false;
        }
        let Some([signed, way, signature]) = key::signed(leaf) else { return false };
        let is_issuer = |given: &&CertificateDer<'_>| {
            Certificate::from_der(given).is_ok_and(|given| {
                let given = given.tbs_certificate();
                let extension = |id: &str| given.extensions().into_iter().flatten().find(|extension| extension.extn_id.to_string() == id);
                // A certificate of version 1 cannot say what it is.
                let may_sign = extension(BASIC_CONSTRAINTS).map_or(given.version() == Version::V1, |extension| {
                    BasicConstraints::from_der(extension.extn_value.as_bytes()).is_ok_and(|constraints| constraints.ca)
                });
                given.subject() == certificate.issuer() && may_sign && extension(NAME_CONSTRAINTS).is_none()
            })
        };
        self.given.iter().filter(is_issuer).any(|given| {
            let key = key::of_certificate(given).map(SubjectPublicKeyInfoDer::from);
            let ways = self.ways.all.iter().filter(|known| known.signature_alg_id().as_ref() == way);
            let is_right = |key: RawPublicKeyEntity<'_>| ways.into_iter().any(|way| key.verify_signature(*way, signed, signature).is_ok());
            key.as_ref().and_then(|key| RawPublicKeyEntity::try_from(key).ok()).is_some_and(is_right)
        })
    }
}

/// Whether it is said only that the certificate is an authority's.
fn is_of_authority(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Before all else: whatever else is wrong with it, nothing helps but another key.
        if let Some(kind) = key::of_certificate(leaf).and_then(key::unusable) {
            return Err(unusable("its key", &kind));
        }
        match self.by_authority.verify_server_cert(leaf, between, name, ocsp, now) {
            Err(_) if self.given.iter().any(|given| given == leaf) => by_itself(leaf, name, now),
            Err(error) if is_of_authority(&error) && self.has_signed(leaf) => by_itself(leaf, name, now),
            Err(error) => Err(self.reason(error, between)),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Checks a certificate that is trusted for itself: its name, its times and its purpose.
fn by_itself(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error> {
    let refused = |reason: CertificateError| rustls::Error::from(reason);
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let certificate = Certificate::from_der(leaf).map_err(|_| refused(CertificateError::BadEncoding))?;
    let certificate = certificate.tbs_certificate();
    let times = certificate.validity();
    if now.as_secs() < times.not_before.to_unix_duration().as_secs() {
        return Err(refused(CertificateError::NotValidYet));
    }
    if now.as_secs() > times.not_after.to_unix_duration().as_secs() {
        return Err(refused(CertificateError::Expired));
    }
    let purposes = certificate.extensions().into_iter().flatten().find(|extension| extension.extn_id.to_string() == "2.5.29.37");
    if purposes.is_some_and(|purposes| !key::is_for_servers(purposes.extn_value.as_bytes())) {
        return Err(refused(CertificateError::InvalidPurpose));
    }
    Ok(ServerCertVerified::assertion())
}

/// Accepts every certificate: `--insecure-skip-tls-verify`.
#[derive(Debug)]
pub(super) struct Everybody(pub(super) Arc<CryptoProvider>);

impl Everybody {
    /// The key with which a signature can be checked. None where our cryptography cannot: then it is taken as it is, as whoever may
    /// show any certificate has a key for it.
    fn key<'a>(certificate: &'a CertificateDer<'_>, signature: &DigitallySignedStruct) -> Option<SubjectPublicKeyInfoDer<'a>> {
        let key = key::of_certificate(certificate).filter(|key| key::unusable(key).is_none());
        key.filter(|_| signature.scheme != SignatureScheme::ECDSA_NISTP521_SHA512).map(SubjectPublicKeyInfoDer::from)
    }
}

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let Some(key) = Self::key(certificate, signature) else { return Ok(HandshakeSignatureValid::assertion()) };
        let wrong = || rustls::Error::from(CertificateError::BadSignature);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| wrong())?;
        let ways = self.0.signature_verification_algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let mut ways = ways.flat_map(|(_, ways)| ways.iter());
        let is_right = ways.any(|way| key.verify_signature(*way, message, signature.signature()).is_ok());
        is_right.then(HandshakeSignatureValid::assertion).ok_or_else(wrong)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let Some(key) = Self::key(certificate, signature) else { return Ok(HandshakeSignatureValid::assertion()) };
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes(&self.0)
    }
}
