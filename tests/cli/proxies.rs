//! A proxy that does not lead to the API server: what fails is the proxy's, named with where it comes from and without its password.

use std::{io::Write as _, net::TcpListener, thread};

use insta::assert_snapshot;

use crate::{
    harness::{End, Job, World, doors},
    identities::elsewhere,
};

/// A proxy that gives everybody this answer; returns its address.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(answer.as_bytes());
            // What it is sent is read, as the answer is lost else.
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
    });
    address
}

/// What is said of a proxy in the environment, and of the same in a kubeconfig.
fn said(world: &World, proxy: &str) -> String {
    let job = Job::gitlab(world);
    let address = proxy.rsplit(['/', '@']).next().expect("an address");
    world.names_exact(address, "PROXY");
    world.names_exact(&world.url().replace("127.0.0.1", "0.0.0.0"), "SERVER");
    let kubeconfig = elsewhere(&world.kubeconfig());
    let mut texts = Vec::new();
    for (kubeconfig, environments) in [
        (kubeconfig.clone(), Some(proxy)),
        (kubeconfig.replace("    tls-server-name", &format!("    proxy-url: {proxy}\n    tls-server-name")), None),
    ] {
        doors::write(&job.identity_file(), &kubeconfig);
        let request = job.request().args(["--timeout", "2s"]);
        let ran = match environments {
            Some(proxy) => request.env("HTTPS_PROXY", proxy).run(),
            None => request.run(),
        };
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        assert!(ran.requests.is_empty() && job.places().is_empty(), "{}", ran.transcript());
        texts.push(ran.said() + "\n");
    }
    texts.join("\n")
}

#[test]
fn a_proxy_that_says_no_is_named() {
    let world = World::new();
    world.secret("hunter2-of-the-proxy");
    let page = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>hunter2-of-the-proxy</html>";
    let forbids = answering(page);
    let asks = answering("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n");
    assert_snapshot!(
        [
            said(&world, &format!("http://{forbids}")),
            said(&world, &format!("http://{asks}")),
            said(&world, &format!("http://ci-user:hunter2-of-the-proxy@{asks}")),
            said(&world, &format!("http://{}", answering("SSH-2.0-OpenSSH_9.6\r\n"))),
            said(&world, &format!("socks5://{}", answering("\x05\u{7f}"))),
            said(&world, &format!("https://{forbids}")),
        ]
        .join("\n")
    );
}

#[test]
fn a_proxy_that_is_not_reached_is_named() {
    let world = World::new();
    world.secret("hunter2-of-the-proxy");
    let refusing = doors::refusing();
    let address = refusing.local_addr().expect("bound").to_string();
    assert_snapshot!(
        [
            said(&world, &format!("http://ci-user:hunter2-of-the-proxy@{address}")),
            said(&world, "http://proxy.invalid:3128"),
            said(&world, &format!("http://{}", answering("HTTP/1.1 503 Service Unavailable\r\n\r\n"))),
        ]
        .join("\n")
    );
}
