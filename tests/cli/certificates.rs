//! What a server shows in the place of a certificate that its authority has signed: taken where kubectl takes it, else said in words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use rustls::SignatureScheme;

use crate::harness::{End, Front, Job, Shown, World, doors};

/// Public certificates whose keys nobody has kept.
const P521: &[u8] = include_bytes!("certificates/p521.crt");
const SMALL: &[u8] = include_bytes!("certificates/rsa1024.crt");
const OLD: &[u8] = include_bytes!("certificates/rsa1024-v1.crt");
const SHA512: &[u8] = include_bytes!("certificates/sha512.crt");
const SHA512_AUTHORITY: &[u8] = include_bytes!("certificates/sha512-authority.crt");

fn data(pem: impl AsRef<[u8]>) -> String {
    format!("certificate-authority-data: {}", STANDARD.encode(pem))
}

/// A whole job by this front.
fn works(world: &World, front: &Front, authority: &str) {
    let job = Job::gitlab(world);
    doors::write(&job.identity_file(), &front.kubeconfig(world, authority));
    job.request().succeed();
    let token = job.token();
    job.revoke().succeed();
    world.assert_dies(&token);
    job.assert_nothing_left();
}

/// What is said where nothing was sent.
fn refused(world: &World, shown: &Shown<'_>, authority: Option<&[u8]>) -> String {
    let front = Front::start(world, shown);
    let job = Job::gitlab(world);
    let authority = authority.map_or_else(|| data(&front.certificate), data);
    doors::write(&job.identity_file(), &front.kubeconfig(world, &authority));
    let ran = job.request().args(["--timeout", "3s"]).run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert!(ran.requests.is_empty(), "{}", ran.transcript());
    job.assert_nothing_left();
    let said = ran.said();
    // Each certificate is another one.
    said.lines().filter(|line| !line.contains("it presented a certificate with")).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_servers_own_certificate_is_an_authority_for_itself() {
    let world = World::new();
    for shown in [Shown::SelfSigned, Shown::OfAnAuthority] {
        let front = Front::start(&world, &shown);
        works(&world, &front, &data(&front.certificate));
        // Behind another authority, too.
        works(&world, &front, &data(world.ca_pem() + &front.certificate));
    }
}

#[test]
fn a_certificate_that_says_it_is_an_authority_is_a_servers_where_a_given_one_has_signed_it() {
    let world = World::new();
    let front = Front::start(&world, &Shown::SignedAuthority("127.0.0.1"));
    works(&world, &front, &data(&front.authority));
    works(&world, &front, &data(world.ca_pem() + &front.authority));
    // Another authority of the same name, and another name.
    let mut said = vec![refused(&world, &Shown::SignedAuthority("127.0.0.1"), Some(front.authority.as_bytes()))];
    let front = Front::start(&world, &Shown::SignedAuthority("other.example.com"));
    let job = Job::gitlab(&world);
    doors::write(&job.identity_file(), &front.kubeconfig(&world, &data(&front.authority)));
    let ran = job.request().args(["--timeout", "3s"]).run();
    assert!(ran.requests.is_empty() && ran.end == End::Code(1), "{}", ran.transcript());
    said.push(ran.said().lines().filter(|line| !line.contains("it presented")).collect::<Vec<_>>().join("\n"));
    assert_snapshot!(said.join("\n"));
    // What has signed it is a server's own certificate, which may sign nothing.
    let front = Front::start(&world, &Shown::SignedByAServer);
    doors::write(&job.identity_file(), &front.kubeconfig(&world, &data(&front.authority)));
    let ran = job.request().args(["--timeout", "3s"]).run();
    assert!(ran.requests.is_empty() && ran.stderr.contains("certificate is not trusted: it is an authority's own"), "{}", ran.transcript());
}

#[test]
fn the_system_may_have_the_servers_own_certificate_among_its_roots() {
    let world = World::new();
    let front = Front::start(&world, &Shown::OfAnAuthority);
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("roots.crt"), &front.certificate);
    job.set("SSL_CERT_FILE", job.directory().join("roots.crt"));
    doors::write(&job.identity_file(), &front.kubeconfig(&world, ""));
    job.request().succeed();
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_certificate_that_is_trusted_for_itself_still_has_a_name_an_end_and_a_purpose() {
    let world = World::new();
    let said = [Shown::ForAnotherName, Shown::Ending(2001), Shown::ForClients].map(|shown| refused(&world, &shown, None));
    assert_snapshot!(said.join("\n"));
    let other = Front::start(&world, &Shown::SelfSigned).certificate;
    let said = [Shown::SelfSigned, Shown::OfAnAuthority, Shown::Impostor].map(|shown| refused(&world, &shown, Some(other.as_bytes())));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn where_nothing_is_to_be_checked_nothing_of_a_certificate_is() {
    let world = World::new();
    for shown in [
        Shown::SelfSigned,
        Shown::OfAnAuthority,
        Shown::Ending(2001),
        Shown::ForAnotherName,
        Shown::ForClients,
        Shown::Public(OLD, SignatureScheme::RSA_PSS_SHA256),
        Shown::Public(SMALL, SignatureScheme::RSA_PSS_SHA256),
        Shown::Public(P521, SignatureScheme::ECDSA_NISTP521_SHA512),
        Shown::Garbage(b"no certificate at all"),
    ] {
        let front = Front::start(&world, &shown);
        works(&world, &front, "insecure-skip-tls-verify: true");
    }
}

#[test]
fn a_signature_that_can_be_checked_is_checked_all_the_same() {
    let world = World::new();
    let front = Front::start(&world, &Shown::Impostor);
    let job = Job::gitlab(&world);
    doors::write(&job.identity_file(), &front.kubeconfig(&world, "insecure-skip-tls-verify: true"));
    let ran = job.request().args(["--timeout", "3s"]).run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert!(ran.requests.is_empty(), "{}", ran.transcript());
}

#[test]
fn what_our_cryptography_cannot_check_is_said_in_words() {
    let world = World::new();
    let said = [
        refused(&world, &Shown::Public(P521, SignatureScheme::ECDSA_NISTP521_SHA512), None),
        refused(&world, &Shown::Public(SMALL, SignatureScheme::RSA_PSS_SHA256), None),
        refused(&world, &Shown::Public(SHA512, SignatureScheme::ECDSA_NISTP256_SHA256), Some(SHA512_AUTHORITY)),
        refused(&world, &Shown::Garbage(b"no certificate at all"), Some(world.ca_pem().as_bytes())),
    ];
    assert_snapshot!(said.join("\n"));
}
