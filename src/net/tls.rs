//! The TLS settings: which server certificates we accept, and which client certificate we present.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    Credential, Target, Trust, Way,
    roots::Roots,
    verify::{Everybody, Vouched},
};
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
        Trust::Everybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Everybody(provider.clone()))),
        Trust::Authority(pem) => {
            let unread = || refused("its certificate authority cannot be read");
            vouched(builder, &authorities(pem).ok_or_else(unread)?, None).ok_or_else(unread)?
        }
        Trust::System => by_system(builder, &target.way, None)
            .ok_or_else(|| refused("the system has no root certificates, and no certificate authority is given"))?,
        Trust::SystemAnd(pem) => {
            by_system(builder, &target.way, Some(pem)).ok_or_else(|| refused("its certificate authority cannot be read"))?
        }
    };
    match &credential.certificate {
        Some((chain, key)) => {
            let key = provider.key_provider.load_private_key(key.clone_key());
            let key = key.map_err(|_| refused("the key of its client certificate is none that jobpass can use"))?;
            // Whether they belong together was looked at when they were read: rustls would look only at certificates of version 3.
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.clone(), key)))))
        }
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
    let systems = way.roots.as_ref();
    match authority {
        None => vouched(builder, &[], Some(systems?)),
        Some(authority) => vouched(builder, &authorities(authority)?, systems),
    }
}

/// Lets the system verify the certificate, with this authority beside its own.
#[cfg(not(target_os = "linux"))]
fn by_system(builder: Trusting<WantsVerifier>, _: &Way, authority: Option<&[u8]>) -> Option<Trusting<WantsClientCert>> {
    let more: Vec<_> = CertificateDer::pem_slice_iter(authority.unwrap_or_default()).collect::<Result<_, _>>().ok()?;
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(more, provider()).ok()?;
    Some(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// Trusts these authorities, and those of the system if they are given.
fn vouched(
    builder: Trusting<WantsVerifier>,
    given: &[CertificateDer<'static>],
    systems: Option<&Roots>,
) -> Option<Trusting<WantsClientCert>> {
    let verifier = match systems {
        Some(systems) if given.is_empty() => Vouched::by(systems.store.clone(), systems.certificates.clone(), provider())?,
        Some(_) | None => {
            let mut store = RootCertStore::empty();
            given.iter().try_for_each(|certificate| store.add(certificate.clone())).ok()?;
            store.roots.extend(systems.iter().flat_map(|systems| systems.store.roots.iter().cloned()));
            let all = given.iter().chain(systems.iter().flat_map(|systems| systems.certificates.iter()));
            Vouched::by(Arc::new(store), all.cloned().collect(), provider())?
        }
    };
    Some(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// The certificates in a PEM text; none if one of them cannot be read.
fn authorities(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok().filter(|all| !all.is_empty())
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
