//! What a step sets between the action and its post step leads the CI identity to nobody else.

use insta::assert_snapshot;

use crate::{
    harness::{End, Job, World, doors},
    identities::{Proxy, elsewhere},
};

/// A job whose kubeconfig has no certificate authority: the system's roots decide, among which is that of its world.
fn without_authority(world: &World) -> Job<'_> {
    let job = Job::github(world);
    let kubeconfig = elsewhere(&world.kubeconfig());
    let lines = kubeconfig.lines().filter(|line| !line.contains("certificate-authority-data"));
    job.set("JOBPASS_IDENTITY_KUBECONFIG", lines.fold(String::new(), |text, line| text + line + "\n"));
    job.set("SSL_CERT_FILE", authority(&job, world, "own.crt"));
    job
}

fn authority(job: &Job<'_>, world: &World, name: &str) -> String {
    let path = job.directory().join(name);
    doors::write(&path, &world.ca_pem());
    path.to_string_lossy().into_owned()
}

fn two() -> (World, World) {
    (World::sandbox("another server is beside it"), World::sandbox("nobody may come here"))
}

#[test]
fn a_post_step_asks_no_stranger() {
    let (world, other) = two();
    let job = without_authority(&world);
    job.request().succeed();
    let token = job.token();
    let proxy = Proxy::astray(&world, &other);
    let address = format!("http://{}", proxy.address);
    let theirs = authority(&job, &other, "theirs.crt");
    let nobody = || {
        assert_eq!((proxy.heads(), other.relay().connections()), (vec![], 0));
        assert!(world.accepts(&token));
    };
    // Somebody else's proxy and roots.
    let post = job.post().env("HTTPS_PROXY", address.as_str()).env("SSL_CERT_FILE", theirs.as_str()).succeed();
    assert_snapshot!(post.said());
    assert!(post.requests.is_empty(), "{}", post.transcript());
    nobody();
    let strict = job.post().env("https_proxy", address.as_str()).env("SSL_CERT_FILE", theirs.as_str()).env("INPUT_REVOKE", "strict").run();
    assert_eq!(strict.end, End::Code(1), "{}", strict.transcript());
    nobody();
    // Roots beside the right ones are others, too.
    let both = job.directory().join("both.crt");
    doors::write(&both, &format!("{}{}", world.ca_pem(), other.ca_pem()));
    job.post().env("HTTPS_PROXY", address.as_str()).env("SSL_CERT_FILE", both).succeed();
    nobody();
    // None at all, and a pipe.
    let elsewhere = tempfile::tempdir().expect("a directory that is not searched for leaks");
    let pipe = elsewhere.path().join("pipe");
    doors::tool("mkfifo").arg(&pipe).assert().success();
    for none in ["/nowhere", "/dev/zero", &pipe.to_string_lossy()] {
        job.post().env("SSL_CERT_FILE", none).succeed();
        nobody();
    }
    // The right roots by another name: only the proxy is passed over.
    let same = authority(&job, &world, "same.crt");
    let post = job.post().env("HTTPS_PROXY", address).env("SSL_CERT_FILE", same).succeed();
    assert_snapshot!(post.said());
    world.assert_dies(&token);
    assert_eq!((proxy.heads(), other.relay().connections()), (vec![], 0));
    job.assert_nothing_left();
}

#[test]
fn a_proxy_that_is_set_later_keeps_no_pass_alive() {
    let world = World::new();
    let job = Job::github(&world);
    job.set("JOBPASS_IDENTITY_KUBECONFIG", elsewhere(&world.kubeconfig()));
    for proxy in ["http://127.0.0.1:1", "gopher://127.0.0.1"] {
        job.request().succeed();
        let token = job.token();
        let post = job.post().env("HTTPS_PROXY", proxy).succeed();
        assert!(post.said().contains("the environment's proxy is not that of the main step"), "{}", post.transcript());
        world.assert_dies(&token);
        job.new_step();
    }
    job.assert_nothing_left();
}

#[test]
fn the_proxy_of_the_main_step_is_used_with_its_password_which_no_state_holds() {
    let world = World::sandbox("its authority is the system's only root");
    let job = without_authority(&world);
    let proxy = Proxy::new(&world);
    world.secret("hunter2-of-the-proxy");
    job.set("HTTPS_PROXY", format!("http://ci-user:hunter2-of-the-proxy@{}", proxy.address));
    job.request().succeed();
    let state = job.state().expect("there is one");
    assert!(state.contains(&format!(r#""proxy":"http://{}""#, proxy.address)), "{state}");
    assert!(!state.contains("hunter2") && !state.contains("ci-user"), "{state}");
    let token = job.token();
    let before = proxy.heads().len();
    let post = job.post().succeed();
    assert!(!post.said().contains("main step"), "{}", post.transcript());
    world.assert_dies(&token);
    assert!(proxy.heads().len() > before);
    assert!(proxy.heads().iter().all(|head| head.to_ascii_lowercase().contains("proxy-authorization: basic ")));
    job.assert_nothing_left();
}
