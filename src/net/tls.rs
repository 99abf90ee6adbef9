//! The TLS settings: which server certificates we accept, and which client certificate we present.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::{Credential, Target, Trust, Way};
use crate::failure::{Code, Failure};

/// ring's cryptography. AES-128 comes first, as it costs least, where the server leaves the choice to us.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| *suite != ring::cipher_suite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// The settings for a target, with our client certificate if we have one.
///
/// # Errors
/// When there are no certificates to trust, or the client certificate does not fit its key.
pub(super) fn settings(target: &Target, credential: &Credential) -> Result<ClientConfig, Failure> {
    let refused = |why: &str| Failure::new(Code::NetworkTarget, &target.what).cause(why);
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|_| refused("its TLS settings do not fit together"))?;
    let builder = match &target.trust {
        Trust::Everybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Everybody(provider))),
        Trust::Authority(pem) => {
            builder.with_root_certificates(roots(pem).ok_or_else(|| refused("its certificate authority cannot be read"))?)
        }
        Trust::System => by_system(builder, &target.way, None)
            .ok_or_else(|| refused("the system has no root certificates, and no certificate authority is given"))?,
        Trust::SystemAnd(pem) => {
            by_system(builder, &target.way, Some(pem)).ok_or_else(|| refused("its certificate authority cannot be read"))?
        }
    };
    match &credential.certificate {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|_| refused("its client certificate and key are not valid")),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The settings for a proxy: it is checked against the system's roots, and gets no client certificate.
pub(super) fn of_proxy(way: &Way) -> Option<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
    Some(by_system(builder, way, None)?.with_no_client_auth())
}

type Trusting<State> = ConfigBuilder<ClientConfig, State>;

/// Trusts the system's roots, as they were read when the way to the server was chosen, and this authority.
#[cfg(target_os = "linux")]
fn by_system(builder: Trusting<WantsVerifier>, way: &Way, authority: Option<&[u8]>) -> Option<Trusting<WantsClientCert>> {
    let systems = way.roots.as_ref().map(|roots| roots.store.clone());
    let store = match (authority, systems) {
        (None, systems) => systems?,
        (Some(authority), systems) => {
            let mut store = roots(authority)?;
            store.roots.extend(systems.iter().flat_map(|systems| systems.roots.iter().cloned()));
            Arc::new(store)
        }
    };
    Some(builder.with_root_certificates(store))
}

/// Lets the system verify the certificate, with this authority beside its own.
#[cfg(not(target_os = "linux"))]
fn by_system(builder: Trusting<WantsVerifier>, _: &Way, authority: Option<&[u8]>) -> Option<Trusting<WantsClientCert>> {
    let more: Vec<_> = CertificateDer::pem_slice_iter(authority.unwrap_or_default()).collect::<Result<_, _>>().ok()?;
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(more, provider()).ok()?;
    Some(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

fn roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

/// Accepts every certificate: `--insecure-skip-tls-verify`.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_suite_comes_first_and_none_is_lost() {
        let ours = provider();
        assert_eq!(ours.cipher_suites[0], ring::cipher_suite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(ours.cipher_suites.len(), ring::default_provider().cipher_suites.len());
    }
}
