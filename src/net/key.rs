//! The public key of a certificate, whatever else stands in it, and whether our cryptography can use it.
//!
//! What rustls reads certificates with refuses some that others take: of version 1, with extensions that cannot be read.

/// What our cryptography can use, in words.
pub(super) const USABLE: &str = "RSA of 2048 bits and more, P-256, P-384 or Ed25519";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// The two kinds of RSA keys, and the kinds that have a curve: their object identifiers in DER.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// Other kinds of keys and curves, which we only know by name.
const NAMES: [(&[u8], &str); 7] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSA-PSS"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x21], "P-224"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
    (&[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07], "brainpoolP256r1"),
];

/// Ways to sign, by their object identifiers in DER.
const SIGNATURES: [(&[u8], &str); 11] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "ECDSA with SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01], "ECDSA with SHA-224"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "ECDSA with SHA-256"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "ECDSA with SHA-384"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], "ECDSA with SHA-512"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "RSA with MD5"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "RSA with SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSA-PSS with a hash or salt that is not usual"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "DSA with SHA-1"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02], "DSA with SHA-256"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
];

/// One element of DER: its tag, its content, all of it, and what comes after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

/// The first element of a text in DER.
fn element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, length) = (*der.first()?, usize::from(*der.get(1)?));
    let (length, from) = match length {
        0..=0x7f => (length, 2),
        0x81..=0x84 => {
            let count = length - 0x80;
            let length = der.get(2..2 + count)?.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, 2 + count)
        }
        _ => return None,
    };
    let to = from.checked_add(length)?;
    Some(Element { tag, content: der.get(from..to)?, whole: &der[..to], rest: &der[to..] })
}

/// The public key in a certificate, as DER.
pub(super) fn of_certificate(certificate: &[u8]) -> Option<&[u8]> {
    let signed = element(element(certificate)?.content).filter(|signed| signed.tag == SEQUENCE)?;
    let mut next = element(signed.content)?;
    if next.tag == 0xa0 {
        // The version, which one of version 1 has not.
        next = element(next.rest)?;
    }
    // Number, way of signing, issuer, times and subject.
    for _ in 0..5 {
        next = element(next.rest)?;
    }
    Some(next).filter(|key| key.tag == SEQUENCE).map(|key| key.whole)
}

/// What is signed in a certificate, the way of signing, and the signature.
pub(super) fn signed(certificate: &[u8]) -> Option<[&[u8]; 3]> {
    let signed = element(element(certificate)?.content)?;
    let way = element(signed.rest)?;
    // A bit string begins with the number of its bits that do not count.
    let signature = element(way.rest)?.content.get(1..)?;
    Some([signed.whole, way.content, signature])
}

/// What kind of key it is, where our cryptography cannot use it.
pub(super) fn unusable(key: &[u8]) -> Option<String> {
    let unknown = || Some("of a kind that it does not know".to_owned());
    let Some(parts) = element(key) else { return unknown() };
    let Some((algorithm, bits)) = element(parts.content).and_then(|algorithm| Some((algorithm.content, element(algorithm.rest)?.content)))
    else {
        return unknown();
    };
    match element(algorithm) {
        Some(kind) if kind.content == RSA => match modulus(bits) {
            Some(2048..=8192) => None,
            Some(size) => Some(format!("RSA of {size} bits")),
            None => unknown(),
        },
        Some(kind) if kind.content == ED25519 => None,
        Some(kind) if kind.content == EC => match element(kind.rest) {
            Some(curve) if curve.content == P256 || curve.content == P384 => None,
            Some(curve) => named(&NAMES, curve.content).map(str::to_owned).or_else(unknown),
            None => unknown(),
        },
        Some(kind) => named(&NAMES, kind.content).map(str::to_owned).or_else(unknown),
        None => unknown(),
    }
}

/// The size of an RSA key in bits.
fn modulus(bits: &[u8]) -> Option<usize> {
    // A bit string begins with the number of its bits that do not count.
    let key = element(bits.get(1..)?)?;
    let modulus = element(key.content).filter(|modulus| modulus.tag == INTEGER)?.content;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let unused = usize::try_from(modulus[first].leading_zeros()).ok()?;
    Some((modulus.len() - first) * 8 - unused)
}

/// The way of signing with this identifier, which may stand there with what belongs to it.
pub(super) fn signature(algorithm: &[u8]) -> &'static str {
    let kind = element(algorithm).map_or(algorithm, |kind| kind.content);
    named(&SIGNATURES, kind).unwrap_or("a way of signing that it does not know")
}

/// The kind of a key, by its identifier with what belongs to it.
pub(super) fn kind(algorithm: &[u8]) -> &'static str {
    let Some(kind) = element(algorithm) else { return "another key" };
    let curve = element(kind.rest).map_or(kind.content, |curve| curve.content);
    match kind.content {
        RSA => "RSA",
        ED25519 => "Ed25519",
        EC if curve == P256 => "P-256",
        EC if curve == P384 => "P-384",
        EC => named(&NAMES, curve).unwrap_or("another curve"),
        other => named(&NAMES, other).unwrap_or("another key"),
    }
}

fn named(names: &[(&[u8], &'static str)], identifier: &[u8]) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == identifier).map(|(_, name)| *name)
}

/// Whether a list of purposes, as the extension `extendedKeyUsage` has it, lets a certificate be a server's.
pub(super) fn is_for_servers(purposes: &[u8]) -> bool {
    const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
    let mut rest = element(purposes).map_or(&[][..], |purposes| purposes.content);
    while let Some(purpose) = element(rest) {
        if purpose.content == SERVER || purpose.content == ANY {
            return true;
        }
        rest = purpose.rest;
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    /// Public certificates whose keys nobody has kept: of P-521, and of RSA with 1024 bits in version 1.
    pub(in super::super) const P521: &[u8] = b"-----BEGIN CERTIFICATE-----
MIICGTCCAXqgAwIBAgIUKSxGYo2VzC8/NIV79NIWFEgdlLUwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEcDUyMTAgFw0yNjExMjgxNjQ2MTNaGA8yMTI2MTEwNDE2NDYx
M1owDzENMAsGA1UEAwwEcDUyMTCBmzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEATGQ
RCY7PYjMSktolV2Tm/sqmhr9hmhs3xEWQpDRcm/LIRN7lbymCk6H2bAAA5xBfSxF
03KDVlVyk6z1UygbBOn/AGwTr0gsKrAvsdnDSttBXhyhF0QVt0KLw1rHWnVp0l6k
ihqRMyio+yrsqEDbNYDGA7mVnZZru5Emlpz2XNI+BkPMo28wbTAdBgNVHQ4EFgQU
nCwt5baeuzq9oub9mwYUCcEOCH4wHwYDVR0jBBgwFoAUnCwt5baeuzq9oub9mwYU
CcEOCH4wDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8A
AAEwCgYIKoZIzj0EAwIDgYwAMIGIAkIBCbwVmbItJACYXg8VesChPsMpGyGs1OqH
E+01RbH07kK4IpOywF+iKwFfmYDuA52/UiKkBF5zrvRHgdh1w1y/lwsCQgG25FGF
mYzxfigvDs3kJ/KgKPEfHpjx69duF8cWiGasaN033y1Nm2EurBNVEfN9FYl3bmmd
pLx8aFlYDspWWNwjaQ==
-----END CERTIFICATE-----
";
    const OLD: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBrDCCARUCFH0WcMOdjl5/TUhJqVJfGWJv12uwMA0GCSqGSIb3DQEBCwUAMBQx
EjAQBgNVBAMMCWxvY2FsaG9zdDAgFw0yNjExMjgxNjQ2MTNaGA8yMTI2MTEwNDE2
NDYxM1owFDESMBAGA1UEAwwJbG9jYWxob3N0MIGfMA0GCSqGSIb3DQEBAQUAA4GN
ADCBiQKBgQDAWR+hP3bltwftDfxgvDITSFRyfscSmtzpP/QwGFWixpdq3SvS3ral
1ZM+8wFXTN4726eLYKKT6XLOOuaMliGA1wgKMeOKDy1IVK7js0+ePR0y//SRFfSo
I5ap/WkO066HvPm8U7DOqoUXZ47++QSmLftWrlC3nRQ8yU7Mx6AZTwIDAQABMA0G
CSqGSIb3DQEBCwUAA4GBAC0PP2SnxAH2O5XfbrPcAG3jFQ3Lxzfo4q+lLWjzrhtW
djYcx5nfGTitxyHTaBxBDvbgz1HAXGyvdgMAET9af/dC7ANasVjrluCIK7ubeHjp
1okBsAde5+maVkvYOce2MdDHdRS7CqPt7jtr42S21QpedWTBcFkmwUDj1Q+43dte
-----END CERTIFICATE-----
";

    fn unusable_of(pem: &[u8]) -> Option<String> {
        unusable(of_certificate(&CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("its key"))
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        assert_eq!(unusable_of(P521).as_deref(), Some("P-521"));
        assert_eq!(unusable_of(OLD).as_deref(), Some("RSA of 1024 bits"));
    }

    #[test]
    fn whatever_is_no_certificate_has_no_key() {
        for text in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"\x30\x03\x30\x01\x02", b"garbage"] {
            assert_eq!(of_certificate(text), None);
            assert!(unusable(text).is_some());
        }
        let whole = CertificateDer::from_pem_slice(P521).expect("a certificate");
        for end in 0..whole.len() {
            let _ = of_certificate(&whole[..end]).map(unusable);
        }
    }

    #[test]
    fn ways_of_signing_have_names() {
        assert_eq!(signature(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04]), "ECDSA with SHA-512");
        assert_eq!(signature(&[0x06, 0x01, 0x01]), "a way of signing that it does not know");
        let p256 = [&[0x06, 0x07][..], EC, &[0x06, 0x08], P256].concat();
        assert_eq!(kind(&p256), "P-256");
    }
}
