//! The CI identity goes nowhere but where a source of at least its own rank says.

use insta::assert_snapshot;

use crate::{
    harness::{End, Job, Ran, World, doors},
    usage::{exec, plugin, replace_user},
};

/// A world, another one that must not hear of it, and a file with the other one's authority.
fn two() -> (World, World) {
    (World::sandbox("another server is beside it"), World::sandbox("nobody may come here"))
}

fn authority(job: &Job<'_>, other: &World) -> String {
    let path = job.directory().join("other.crt");
    doors::write(&path, &other.ca_pem());
    path.to_string_lossy().into_owned()
}

/// It was refused before anybody was called.
fn refused(worlds: [&World; 2], ran: &Ran) -> String {
    assert_eq!(ran.end, End::Code(2), "{}", ran.transcript());
    assert_eq!(worlds.map(|world| world.relay().connections()), [0, 0], "{}", ran.transcript());
    ran.said()
}

#[test]
fn a_variable_sends_no_kubeconfigs_credential_elsewhere() {
    let (world, other) = two();
    let job = Job::gitlab(&world);
    let ca = authority(&job, &other);
    let request = || job.request().env("JOBPASS_SERVER", other.url());
    assert_snapshot!(refused([&world, &other], &request().env("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "true").run()));
    refused([&world, &other], &request().env("JOBPASS_CERTIFICATE_AUTHORITY", ca.as_str()).run());
    refused([&world, &other], &request().run());
    assert_snapshot!(refused([&world, &other], &job.request().env("JOBPASS_CERTIFICATE_AUTHORITY", ca.as_str()).run()));
    assert_snapshot!(refused([&world, &other], &job.request().env("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "true").run()));
    // Whoever named the kubeconfig, and however it was handed over.
    let flag = job.request().arg("--kubeconfig").arg(job.identity_file().to_string_lossy());
    refused([&world, &other], &flag.without("JOBPASS_KUBECONFIG").env("JOBPASS_SERVER", other.url()).run());
    let local = Job::local(&world);
    refused([&world, &other], &local.request().env("JOBPASS_SERVER", other.url()).run());
    let github = Job::github(&world);
    refused([&world, &other], &github.request().env("JOBPASS_SERVER", other.url()).run());
    let main = || github.request().without("JOBPASS_IDENTITY_KUBECONFIG").args(["--action", "main"]);
    let main = || main().env("INPUT_IDENTITY-KUBECONFIG", world.kubeconfig());
    refused([&world, &other], &main().env("JOBPASS_SERVER", other.url()).run());
    refused([&world, &other], &main().env("INPUT_SERVER", other.url()).run());
    job.assert_nothing_left();
}

#[test]
fn a_setting_that_says_what_the_kubeconfig_says_redirects_nothing() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("JOBPASS_SERVER", format!("{}/", world.url()));
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
    job.set("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "false");
    job.request().succeed();
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_token_goes_where_a_source_of_its_own_rank_says() {
    let (world, other) = two();
    let job = Job::tekton(&world);
    let token = job.get("JOBPASS_IDENTITY_TOKEN_FILE").expect("set");
    let by_flag = || job.request().without("JOBPASS_IDENTITY_TOKEN_FILE").args(["--identity-token-file", token.as_str()]);
    assert_snapshot!(refused([&world, &other], &by_flag().run()));
    let server = world.url();
    refused([&world, &other], &by_flag().args(["--server", server.as_str()]).run());
    by_flag()
        .args(["--server", server.as_str()])
        .arg("--certificate-authority")
        .arg(job.get("JOBPASS_CERTIFICATE_AUTHORITY").expect("set"))
        .succeed();
    job.revoke().succeed();

    let github = Job::github(&world);
    let main = github.request().without("JOBPASS_IDENTITY_KUBECONFIG").args(["--action", "main"]);
    let main = main.env("INPUT_IDENTITY-TOKEN", world.identity_token()).env("JOBPASS_CERTIFICATE_AUTHORITY", other.ca_pem());
    let connections = world.relay().connections();
    let ran = main.env("JOBPASS_SERVER", other.url()).run();
    assert_eq!((ran.end, other.relay().connections(), world.relay().connections()), (End::Code(2), 0, connections), "{}", ran.transcript());
    assert_snapshot!(ran.said());
}

#[test]
fn a_setting_that_has_no_say_keeps_no_pass_alive() {
    let (world, other) = two();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let token = job.token();
    let revoke = job.revoke().env("JOBPASS_SERVER", other.url()).env("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "true");
    let revoked = revoke.env("JOBPASS_CERTIFICATE_AUTHORITY", other.ca_pem()).succeed();
    assert_snapshot!(revoked.said());
    world.assert_dies(&token);
    assert_eq!(other.relay().connections(), 0);
    job.assert_nothing_left();
}

#[test]
fn a_pods_own_token_goes_to_the_pods_own_server_only() {
    let (world, other) = two();
    let job = Job::tekton(&world);
    job.unset("JOBPASS_POD_NAME");
    let in_pod = || job.in_pod(world.identity_token()).args(["request", "-s", &world.account()]);
    let mounted = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    doors::write(&job.directory().join("identity.copy"), world.identity_token());
    let copy = job.directory().join("identity.copy").to_string_lossy().into_owned();
    for path in [
        mounted,
        "/run/secrets/kubernetes.io/serviceaccount/token",
        "/tmp/../run/secrets/kubernetes.io/serviceaccount/../serviceaccount/token",
        "/proc/self/root/run/secrets/kubernetes.io/serviceaccount/token",
        &copy,
    ] {
        let named = in_pod().env("JOBPASS_IDENTITY_TOKEN_FILE", path).env("JOBPASS_SERVER", other.url());
        let said = refused([&world, &other], &named.env("JOBPASS_CERTIFICATE_AUTHORITY", other.ca_pem()).run());
        if path == mounted {
            assert_snapshot!(said);
        }
        let flags = in_pod().args(["--identity-token-file", path, "--server", &other.url(), "--insecure-skip-tls-verify"]);
        refused([&world, &other], &flags.run());
    }
    refused([&world, &other], &in_pod().env("JOBPASS_IDENTITY_TOKEN", world.identity_token()).env("JOBPASS_SERVER", other.url()).run());
    // Not even its own identity, found by itself.
    refused([&world, &other], &in_pod().args(["--server", &other.url()]).run());
    refused([&world, &other], &in_pod().env("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "true").run());
    refused([&world, &other], &in_pod().env("JOBPASS_CERTIFICATE_AUTHORITY", other.ca_pem()).run());

    // A kubeconfig that names it.
    let kubeconfig = other.kubeconfig();
    let named = replace_user(&kubeconfig, &format!("tokenFile: {mounted}"));
    let said = refused([&world, &other], &in_pod().env("JOBPASS_IDENTITY_KUBECONFIG", named.as_str()).run());
    assert_snapshot!(said);
    let path = job.directory().join("identity.named").to_string_lossy().into_owned();
    doors::write(path.as_ref(), &named);
    assert_snapshot!(refused([&world, &other], &in_pod().args(["--kubeconfig", &path]).run()));
    let plugin = plugin(
        &job,
        &format!(
            r#"printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s"}}}}' "$(cat {mounted})""#
        ),
    );
    doors::write(path.as_ref(), &replace_user(&kubeconfig, &exec(&plugin, "")));
    let ran = in_pod().args(["--kubeconfig", &path]).run();
    assert!(ran.said().contains("a pod's own"), "{}", ran.transcript());
    assert_eq!(other.relay().connections(), 0);

    // Another host for the pod: whoever is there has no certificate of the pod's authority.
    let (host, port) = (other.url().replace("https://", ""), String::new());
    let (host, port) = host.split_once(':').map_or((host.clone(), port), |(host, port)| (host.to_owned(), port.to_owned()));
    let ran = in_pod().args(["--timeout", "2s"]).env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port).run();
    assert!(ran.said().contains("is not trusted"), "{}", ran.transcript());
    assert_eq!(other.requests(), [""; 0]);

    // Its own server may be named, by whatever name of the token's file.
    in_pod().env("JOBPASS_IDENTITY_TOKEN_FILE", mounted).env("JOBPASS_SERVER", world.url()).succeed();
    job.in_pod(world.identity_token()).arg("revoke").succeed();
    job.assert_nothing_left();
}
