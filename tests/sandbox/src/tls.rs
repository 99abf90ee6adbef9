//! The sandbox's certificate authority: each sandbox has another one, so that a wrong CA is one more `Sandbox::start()`.

use std::fmt;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

/// A client certificate with its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The leaf, with the user as its common name.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("key_pem", &"[redacted]").finish_non_exhaustive()
    }
}

/// Issues the server's certificate and those of clients.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// An authority that nobody else trusts.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two of them are alike")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("sandbox-ca-{}", crate::jwt::uuid()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("the system has randomness");
        let pem = params.self_signed(&key).expect("the CA's parameters are sound").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The server's configuration, with a fresh leaf for the loopback names.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn server(&self) -> ServerConfig {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let params = CertificateParams::new(names).expect("the loopback names are names");
        let (leaf, key) = self.issue(params, "kube-apiserver", &[], ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key was just made");
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_client_cert_verifier(Arc::new(AnyClient { provider }))
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("the leaf and its key belong together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// A client's identity and the DER of its leaf, by which the server knows it again.
    pub(crate) fn client(&self, user: &str, groups: &[String]) -> (Identity, Vec<u8>) {
        let params = CertificateParams::default();
        let (leaf, key) = self.issue(params, user, groups, ExtendedKeyUsagePurpose::ClientAuth);
        let identity = Identity { certificate_pem: leaf.pem(), key_pem: key.serialize_pem() };
        (identity, leaf.der().to_vec())
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        name: &str,
        groups: &[String],
        purpose: ExtendedKeyUsagePurpose,
    ) -> (rcgen::Certificate, KeyPair) {
        params.distinguished_name.push(DnType::CommonName, name);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("the system has randomness");
        let leaf = params.signed_by(&key, &self.issuer).expect("the leaf's parameters are sound");
        (leaf, key)
    }
}

/// Takes any client certificate whose key the client has, as the real server does: an unknown one is a 401, not a
/// failed handshake.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
