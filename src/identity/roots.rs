//! The system's roots, read by ourselves: what is trusted is what was read, and a hash of it tells whether it is still the same.

use std::{path::Path, sync::Arc};

use ring::digest;
use rustls::{RootCertStore, pki_types::CertificateDer};

use super::server;
use crate::{env::Env, name::hex, place};

/// Whether the system's roots are files. Elsewhere the system itself answers for them, and no variable replaces them.
pub(super) const ARE_FILES: bool = cfg!(target_os = "linux");

/// Where the distributions keep all of them in one file, the first of which counts: Debian and Alpine, Fedora and RHEL, SUSE.
const FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// And where each is a file of its own.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Certificates that are trusted where no certificate authority is given.
#[derive(Clone)]
pub struct Roots {
    /// They themselves.
    pub store: Arc<RootCertStore>,
    /// SHA-256 of them all, in hex.
    pub(super) sha256: String,
}

impl Roots {
    /// Those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else the usual ones.
    pub(super) fn of(env: &Env) -> Option<Self> {
        let (file, directories) = (env.path("SSL_CERT_FILE"), env.get("SSL_CERT_DIR"));
        if file.is_none() && directories.is_none() {
            return Self::usual();
        }
        let mut pem = file.and_then(|file| place::read_public(&env.absolute(&file))).unwrap_or_default();
        for directory in directories.into_iter().flat_map(|list| env.paths(list)) {
            pem.extend(all_in(&directory));
        }
        Self::new(&pem)
    }

    /// Those of the system's own places.
    pub(super) fn usual() -> Option<Self> {
        let mut pem = FILES.iter().find_map(|file| place::read_public(file.as_ref())).unwrap_or_default();
        for directory in DIRECTORIES {
            pem.extend(all_in(directory.as_ref()));
        }
        Self::new(&pem)
    }

    pub(super) fn new(pem: &[u8]) -> Option<Self> {
        let certificates = server::certificates(pem);
        let mut hash = digest::Context::new(&digest::SHA256);
        certificates.iter().map(CertificateDer::as_ref).for_each(|certificate| hash.update(certificate));
        let mut store = RootCertStore::empty();
        // A system may have some that rustls does not take.
        let (taken, _) = store.add_parsable_certificates(certificates);
        (ARE_FILES && taken > 0).then(|| Self { store: Arc::new(store), sha256: hex(hash.finish().as_ref()) })
    }
}

/// What a directory has under the names that OpenSSL looks for: eight digits of a hash and a number.
fn all_in(directory: &Path) -> Vec<u8> {
    let is_hash = |name: &str| {
        let parts = name.split_once('.').filter(|(hash, number)| hash.len() == 8 && !number.is_empty());
        parts.is_some_and(|(hash, number)| hash.bytes().all(|c| c.is_ascii_hexdigit()) && number.bytes().all(|c| c.is_ascii_digit()))
    };
    let mut pem = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten().take(MOST) {
        if entry.file_name().to_str().is_some_and(is_hash) {
            pem.extend(place::read_public(&entry.path()).unwrap_or_default());
            pem.push(b'\n');
        }
    }
    pem
}

/// More than any system has; a directory of somebody's own is not endless.
const MOST: usize = 4096;
