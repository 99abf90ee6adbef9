//! The system's root certificates. We read the files ourselves, so that a hash of them can tell later whether they are still the
//! same.

use std::{path::Path, sync::Arc};

use ring::digest;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use zeroize::Zeroizing;

use crate::{
    env::Env,
    failure::{Code, Failure},
    files,
    name::hex,
};

/// Whether the system keeps its roots in files. Elsewhere the system itself verifies, and no variable can replace its roots.
pub(super) const ARE_FILES: bool = cfg!(target_os = "linux");

/// Files with all roots, by distribution (Debian and Alpine, Fedora and RHEL, SUSE); the first that can be read is used.
const FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Directories with one root in each file.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The certificates that are trusted where no certificate authority is given.
#[derive(Clone)]
pub struct Roots {
    /// The certificates, as rustls uses them.
    pub store: Arc<RootCertStore>,
    /// The same as they stand in the files.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    /// SHA-256 over all certificates, in hex.
    pub(super) sha256: String,
}

impl Roots {
    /// The roots that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else the system's usual ones, if there are any.
    ///
    /// # Errors
    /// When one of the two variables is set but leads to no certificate: falling back would ignore the user's choice.
    pub(super) fn of(env: &Env) -> Result<Option<Self>, Failure> {
        const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        let set: Vec<_> = VARIABLES.into_iter().filter(|name| env.get(name).is_some()).map(|name| format!("`{name}`")).collect();
        if set.is_empty() {
            return Ok(Self::usual());
        }
        let file = env.path(VARIABLES[0]).map(|file| files::read_public(&env.absolute(&file)));
        let (file, unread) = match file {
            Some(Ok(pem)) => (pem, None),
            Some(Err(cause)) => (Zeroizing::default(), Some(cause)),
            None => (Zeroizing::default(), None),
        };
        let directories = env.get(VARIABLES[1]).into_iter().flat_map(|list| env.paths(list));
        let roots = Self::new(&directories.fold(file, |mut pem, directory| {
            pem.extend(all_in(&directory));
            pem
        }));
        // Where roots are not files, the variables do not count.
        if roots.is_some() || !ARE_FILES {
            return Ok(roots);
        }
        let failure = Failure::new(Code::NetworkTarget, format!("{} names no root certificates", set.join(" with ")));
        Err(unread.into_iter().fold(failure, Failure::cause))
    }

    /// The roots in the system's usual places.
    pub(super) fn usual() -> Option<Self> {
        let mut pem = FILES.iter().find_map(|file| files::read_public(file.as_ref()).ok()).unwrap_or_default();
        for directory in DIRECTORIES {
            pem.extend(all_in(directory.as_ref()));
        }
        Self::new(&pem)
    }

    pub(super) fn new(pem: &[u8]) -> Option<Self> {
        let certificates = certificates(pem);
        let mut hash = digest::Context::new(&digest::SHA256);
        certificates.iter().map(CertificateDer::as_ref).for_each(|certificate| hash.update(certificate));
        let mut store = RootCertStore::empty();
        // A system may have certificates that rustls cannot parse; they are left out.
        let (taken, _) = store.add_parsable_certificates(certificates.iter().cloned());
        (ARE_FILES && taken > 0).then(|| Self {
            store: Arc::new(store),
            certificates: certificates.into(),
            sha256: hex(hash.finish().as_ref()),
        })
    }
}

/// The content of all files in a directory that have OpenSSL's names: eight hex digits of a hash, a dot and a number.
fn all_in(directory: &Path) -> Vec<u8> {
    let is_hash = |name: &str| {
        let parts = name.split_once('.').filter(|(hash, number)| hash.len() == 8 && !number.is_empty());
        parts.is_some_and(|(hash, number)| hash.bytes().all(|c| c.is_ascii_hexdigit()) && number.bytes().all(|c| c.is_ascii_digit()))
    };
    let mut pem = Vec::new();
    for name in files::children(directory).into_iter().flatten().take(MOST).filter(|name| is_hash(name)) {
        pem.extend(files::read_public(&directory.join(name)).ok().into_iter().flat_map(|pem| pem.to_vec()));
        pem.push(b'\n');
    }
    pem
}

/// More files than any system has; the limit is for a directory that somebody else names.
const MOST: usize = 4096;

/// The certificates in a PEM text, sorted and without duplicates, so that the hash does not depend on their order.
#[must_use]
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let mut certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certificates.dedup();
    certificates
}
