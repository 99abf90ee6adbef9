//! A front before the API server that shows a certificate of the scenario's own, as a load balancer or a proxy does.
//!
//! It takes TLS, and passes on what it hears to the server of the world, be that the sandbox or the real one.

use std::{net::Ipv4Addr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, Signer, SigningKey},
};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::World;

/// What a front shows.
pub enum Shown<'a> {
    /// A certificate that has signed itself and says that it is an authority, as `openssl req -x509` makes it.
    SelfSigned,
    /// The same, which ends when this year begins.
    Ending(i32),
    /// A certificate for this name that says that it is an authority, and that another one has signed.
    SignedAuthority(&'static str),
    /// The same, but what has signed it is a server's own certificate, and no authority's.
    SignedByAServer,
    /// A certificate of an authority that nobody is given.
    OfAnAuthority,
    /// The same for other names.
    ForAnotherName,
    /// One that is a client's.
    ForClients,
    /// This public certificate, as PEM, whose key nobody has: signatures are made up, under this scheme.
    Public(&'a [u8], SignatureScheme),
    /// These bytes in the place of a certificate.
    Garbage(&'a [u8]),
    /// One of its own whose key signs what was not asked.
    Impostor,
}

/// A front of one world.
pub struct Front {
    /// Where it listens.
    pub url: String,
    /// What it shows, as PEM.
    pub certificate: String,
    /// What has signed that, as PEM, where it is told.
    pub authority: String,
}

impl Front {
    /// Starts one.
    pub fn start(world: &World, shown: &Shown<'_>) -> Self {
        let signs = if matches!(shown, Shown::SignedByAServer) { IsCa::ExplicitNoCa } else { IsCa::Ca(BasicConstraints::Unconstrained) };
        let (authority, issuer) = authority(signs);
        let (certificate, key) = made(shown, &issuer);
        let pem = pem_of(&certificate);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        world.names_exact(&url, "FRONT");
        listener.set_nonblocking(true).expect("a socket");
        let server = world.url().trim_start_matches("https://").to_owned();
        let acceptor = TlsAcceptor::from(Arc::new(accepting(certificate, key)));
        let connector = TlsConnector::from(Arc::new(connecting(&world.ca_pem())));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                while let Ok((client, _)) = listener.accept().await {
                    let (acceptor, connector, server) = (acceptor.clone(), connector.clone(), server.clone());
                    tokio::spawn(async move {
                        let Ok(mut client) = acceptor.accept(client).await else { return };
                        let Ok(server) = super::doors::dial_async(&server).await else { return };
                        let name = ServerName::try_from("127.0.0.1").expect("a name");
                        let Ok(mut server) = connector.connect(name, server).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    });
                }
            });
        });
        Self { url, certificate: pem, authority }
    }

    /// The kubeconfig of the world, with the front in the place of its server, and this in the place of its authority.
    pub fn kubeconfig(&self, world: &World, authority: &str) -> String {
        let lines = world.kubeconfig();
        let lines = lines.lines().map(|line| match line.trim_start().split_once(": ") {
            Some(("certificate-authority-data", _)) => format!("    {authority}"),
            Some(("server", _)) => format!("    server: {}", self.url),
            _ => line.to_owned(),
        });
        lines.fold(String::new(), |text, line| text + &line + "\n")
    }
}

fn pem_of(certificate: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

/// An authority: its certificate as PEM, and what it signs with.
fn authority(is_ca: IsCa) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("the system has randomness");
    let mut params = CertificateParams::default();
    params.is_ca = is_ca;
    params.distinguished_name.push(DnType::CommonName, "an authority");
    let certificate = params.self_signed(&key).expect("sound").pem();
    (certificate, Issuer::new(params, key))
}

fn made(shown: &Shown<'_>, issuer: &Issuer<'static, KeyPair>) -> (CertificateDer<'static>, Arc<dyn SigningKey>) {
    let key = KeyPair::generate().expect("the system has randomness");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("the key was just made");
    let signing = ring::default_provider().key_provider.load_private_key(private).expect("a key of ring's");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).expect("names");
    let signed_itself = |mut params: CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&key).expect("sound").der().clone()
    };
    match shown {
        Shown::SelfSigned => (signed_itself(params), signing),
        Shown::Impostor => (signed_itself(params), Arc::new(MadeUp(SignatureScheme::ECDSA_NISTP256_SHA256))),
        Shown::Ending(year) => {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(*year, 1, 1);
            (signed_itself(params), signing)
        }
        Shown::ForAnotherName => {
            params.subject_alt_names = CertificateParams::new(["other.example.com".to_owned()]).expect("a name").subject_alt_names;
            (signed_itself(params), signing)
        }
        Shown::ForClients => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            (signed_itself(params), signing)
        }
        Shown::SignedAuthority(name) => {
            params.subject_alt_names = CertificateParams::new([(*name).to_owned()]).expect("a name").subject_alt_names;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.signed_by(&key, issuer).expect("sound").der().clone(), signing)
        }
        Shown::SignedByAServer => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.signed_by(&key, issuer).expect("sound").der().clone(), signing)
        }
        Shown::OfAnAuthority => (params.signed_by(&key, issuer).expect("sound").der().clone(), signing),
        Shown::Public(pem, scheme) => (CertificateDer::from_pem_slice(pem).expect("a certificate"), Arc::new(MadeUp(*scheme))),
        Shown::Garbage(bytes) => (CertificateDer::from(bytes.to_vec()), signing),
    }
}

fn accepting(certificate: CertificateDer<'static>, key: Arc<dyn SigningKey>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let shown = Arc::new(CertifiedKey::new(vec![certificate], key));
    builder.expect("the default versions").with_no_client_auth().with_cert_resolver(Arc::new(Always(shown)))
}

fn connecting(authority: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    builder.expect("the default versions").with_root_certificates(roots).with_no_client_auth()
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A key that signs with bytes that mean nothing.
#[derive(Debug)]
struct MadeUp(SignatureScheme);

impl SigningKey for MadeUp {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.0).then(|| Box::new(Self(self.0)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            SignatureScheme::RSA_PSS_SHA256 => SignatureAlgorithm::RSA,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for MadeUp {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![7; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}
