//! The one static file in images that have this and that: where each keeps its certificate authorities, how names are looked up, a proxy.
#![expect(clippy::disallowed_methods, reason = "the scenarios play a name server")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::Output,
    thread,
};

use super::image::Image;
use crate::harness::{World, doors};

/// Kinds of images by what stands where: its name, its bundle of authorities, and whether it has busybox for a shell.
const KINDS: [(&str, &str, bool); 5] = [
    ("Alpine", "etc/ssl/certs/ca-certificates.crt", true),
    ("Alpine without its package of authorities", "etc/ssl/cert.pem", true),
    ("distroless", "etc/ssl/certs/ca-certificates.crt", false),
    ("UBI micro", "etc/pki/tls/certs/ca-bundle.crt", false),
    ("SUSE BCI micro", "etc/ssl/ca-bundle.pem", false),
];

/// A name that only our own name server and proxy know.
const NAME: &str = "api.cluster.test";

/// Runs a job that logs in by its token, at this URL.
fn run(image: &Image<'_>, world: &World, url: &str, variables: &[(&str, &str)], command: &[&str]) -> Output {
    let account = world.account();
    let mut job = image.jobpass(&[&["run", "--service-account", account.as_str(), "--"][..], command].concat());
    job.env("JOBPASS_SERVER", url).env("JOBPASS_IDENTITY_TOKEN", world.identity_token()).envs(variables.iter().copied());
    job.output().expect("unshare is there")
}

fn succeeded(image: &Image<'_>, output: &Output) {
    let log = image.log(output);
    assert!(output.status.success() && log.contains("this job has a pass for service account"), "{log}");
    image.assert_nothing_left();
}

/// The kubeconfig of the world at this server, whose certificate is for another name.
fn kubeconfig_at(world: &World, url: &str) -> String {
    world.kubeconfig().replace(&format!("    server: {}\n", world.url()), &format!("    server: {url}\n    tls-server-name: 127.0.0.1\n"))
}

#[test]
fn each_kind_of_image_has_its_authorities_somewhere() {
    if !doors::is_root() {
        return;
    }
    for (kind, bundle, has_shell) in KINDS {
        let world = World::new();
        let image = Image::new(&world, "jobpass-static");
        image.write(bundle, &world.ca_pem());
        if has_shell {
            image.install("/bin/busybox".as_ref(), "bin/busybox");
        }
        let command: &[&str] = if has_shell { &["/bin/busybox", "sh", "-c", "/jobpass require"] } else { &["/jobpass", "require"] };
        let output = run(&image, &world, &world.url(), &[], command);
        assert!(output.status.success(), "{kind}: {}", image.log(&output));
        succeeded(&image, &output);
    }
}

#[test]
fn an_image_without_authorities_says_so_and_takes_others() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let image = Image::new(&world, "jobpass-static");
    let output = run(&image, &world, &world.url(), &[], &["/jobpass", "require"]);
    let log = image.log(&output);
    assert_eq!(output.status.code(), Some(125), "{log}");
    assert!(log.contains("the system has no root certificates, and no certificate authority is given"), "{log}");
    image.write("own.pem", &world.ca_pem());
    for variables in [("SSL_CERT_FILE", "/own.pem"), ("JOBPASS_CERTIFICATE_AUTHORITY", "/own.pem")] {
        succeeded(&image, &run(&image, &world, &world.url(), &[variables], &["/jobpass", "require"]));
    }
}

/// Answers that a name is loopback, and that it has no address of the other kind.
fn name_server() -> Ipv4Addr {
    // No other name server has this address of loopback; a port cannot be chosen.
    let address = Ipv4Addr::new(127, 53, 17, 4);
    let socket = UdpSocket::bind((address, 53)).expect("a port for root");
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question) {
            let asked = &question[..length];
            // The end of the name, its type and class.
            let end = asked.iter().skip(12).position(|byte| *byte == 0).map_or(length, |at| at + 17).min(length);
            let is_v4 = asked.get(end - 4..end - 2) == Some(&[0, 1]);
            let mut answer = [&asked[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0], &asked[12..end]].concat();
            if is_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, asker);
        }
    });
    address
}

#[test]
fn names_are_looked_up_as_the_image_says() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let url = world.url().replace("127.0.0.1", NAME);
    let (by_server, by_file) = (format!("nameserver {}\n", name_server()), format!("127.0.0.1 {NAME}\n"));
    for (file, text) in [("etc/resolv.conf", by_server.as_str()), ("etc/hosts", &by_file)] {
        let image = Image::new(&world, "jobpass-static");
        image.write(file, text);
        image.write("identity", &kubeconfig_at(&world, &url));
        let account = world.account();
        let mut job = image.jobpass(&["run", "--service-account", &account, "--", "/jobpass", "require"]);
        succeeded(&image, &job.env("JOBPASS_KUBECONFIG", "/identity").output().expect("unshare is there"));
    }
}

/// A proxy that connects to the port that it is asked for, on loopback, whatever the name.
fn proxy() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                    head.extend(byte);
                }
                let asked = String::from_utf8_lossy(&head).into_owned();
                let port = asked.split(' ').nth(1).and_then(|to| to.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
                let Some(server) = port.and_then(|port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()) else { return };
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                let (Ok(mut from), Ok(mut to)) = (server.try_clone(), client.try_clone()) else { return };
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut client, &mut &server);
            });
        }
    });
    url
}

#[test]
fn a_proxy_is_asked_where_no_name_can_be_looked_up() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let image = Image::new(&world, "jobpass-static");
    image.write("identity", &kubeconfig_at(&world, &world.url().replace("127.0.0.1", NAME)));
    let account = world.account();
    let mut job = image.jobpass(&["run", "--service-account", &account, "--", "/jobpass", "require"]);
    job.env("JOBPASS_KUBECONFIG", "/identity").env("HTTPS_PROXY", proxy());
    succeeded(&image, &job.output().expect("unshare is there"));
}
