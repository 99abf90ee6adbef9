//! The same login in front of a real API server: an OAuth server on OpenShift's own engine, its API groups behind the aggregator.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::harness::{ControlPlane, Job, World, doors, within};

/// Longer than an API server takes a token that is deleted.
const REMEMBERED: Duration = Duration::from_secs(45);

/// A world in which alice may do what jobpass needs, and how she logs in; none where the control plane has no such login.
fn openshift() -> Option<(World, Value)> {
    let directory = doors::control_plane()?;
    let login: Value = serde_json::from_str(&fs::read_to_string(directory.join("openshift.json")).ok()?).expect("JSON");
    let world = World::new();
    let user = format!("--user={}", text(&login, "user"));
    ControlPlane::at(&directory).kubectl(&["create", "rolebinding", "login", "--role=jobpass-deploy-bot", &user, "-n", world.namespace()]);
    world.secret(text(&login, "password"));
    Some((world, login))
}

fn text<'v>(login: &'v Value, field: &str) -> &'v str {
    login[field].as_str().expect("a text")
}

/// A job that knows the API server and its authority; that of the OAuth server is one of its system's roots.
fn job<'w>(world: &'w World, login: &Value) -> Job<'w> {
    let job = Job::gitlab(world);
    job.unset_if_set(["JOBPASS_KUBECONFIG"]);
    for (name, pem) in [("identity.ca", world.ca_pem().as_str()), ("identity.ingress", text(login, "ca"))] {
        doors::write(&job.directory().join(name), pem);
    }
    job.set("JOBPASS_SERVER", world.url());
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", job.directory().join("identity.ca"));
    job.set("SSL_CERT_FILE", job.directory().join("identity.ingress"));
    job
}

#[test]
fn on_a_real_cluster_a_login_by_password_leaves_no_token() {
    let Some((world, login)) = openshift() else { return };
    let job = job(&world, &login);
    job.set("JOBPASS_IDENTITY_USERNAME", text(&login, "user"));
    job.set("JOBPASS_IDENTITY_PASSWORD", text(&login, "password"));
    for ran in [job.request().succeed(), job.revoke().succeed()] {
        assert!(ran.said().contains("revoked the OpenShift token of the login of `alice`"), "{}", ran.transcript());
        let deleted = ran.requests.iter().filter(|line| line.starts_with("DELETE /apis/oauth.openshift.io/v1/useroauthaccesstokens/"));
        assert_eq!(deleted.filter(|line| line.ends_with("-> 200")).count(), 1, "{}", ran.transcript());
    }
    job.assert_nothing_left();
    world.secret("wrong-password");
    job.set("JOBPASS_IDENTITY_PASSWORD", "wrong-password");
    let ran = job.request().run();
    assert!(ran.said().contains("user or password is wrong"), "{}", ran.transcript());
}

#[test]
fn on_a_real_cluster_a_token_of_ocs_own_login_is_revoked_with_its_pass_and_dies() {
    let Some((world, login)) = openshift() else { return };
    let job = job(&world, &login);
    // `oc` knows one file of authorities for both servers.
    let both = job.directory().join("identity.both");
    doors::write(&both, &(world.ca_pem() + text(&login, "ca")));
    let mut oc = doors::tool(ControlPlane::binary());
    oc.args(["openshift", "login", &world.url(), both.to_str().expect("UTF-8"), text(&login, "user")]);
    let done = oc.write_stdin(text(&login, "password").as_bytes()).assert().success();
    let token = String::from_utf8_lossy(&done.get_output().stdout).trim_end().to_owned();
    world.secret(&token);
    assert!(token.starts_with("sha256~") && world.accepts(&token));
    job.set("JOBPASS_IDENTITY_TOKEN", &token);
    let ran = job.run_with(["--revoke-identity"], ":").succeed();
    assert!(ran.said().contains("revoked the OpenShift token that was given as the CI identity"), "{}", ran.transcript());
    within(REMEMBERED, "the token is refused", || !world.accepts(&token));
    job.assert_nothing_left();
}

#[test]
fn on_a_real_cluster_there_is_a_registry_for_an_oauth_users_pass() {
    let Some((world, login)) = openshift() else { return };
    let registry = world.registry();
    let job = job(&world, &login);
    job.set("JOBPASS_IDENTITY_USERNAME", text(&login, "user"));
    job.set("JOBPASS_IDENTITY_PASSWORD", text(&login, "password"));
    doors::make_directory(&job.directory().join("out.docker"));
    let config = job.directory().join("out.docker/config.json");
    let ran = job
        .run_with(
            ["--registry-auth", config.to_str().expect("UTF-8"), "--registry", &registry.host()],
            "grep -c auths \"$DOCKER_CONFIG/config.json\"",
        )
        .succeed();
    assert_eq!(ran.stdout, "1\n");
    assert!(!config.exists());
}
