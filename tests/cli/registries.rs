//! `--registry-auth`: the docker configuration of a pass, and a registry that asks the API server whom a token is of.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use jobpass_sandbox::{Registry, client};
use serde_json::Value;

use crate::harness::{Job, World, doors, eventually};

/// Where the job's docker configuration is.
fn config(job: &Job<'_>) -> PathBuf {
    job.directory().join("out.docker/config.json")
}

fn with_registry<'w>(job: Job<'w>, registry: &Registry) -> Job<'w> {
    doors::make_directory(&job.directory().join("out.docker"));
    job.set("JOBPASS_REGISTRY_AUTH", config(&job));
    job.set("JOBPASS_REGISTRY", registry.host());
    job
}

/// What the configuration holds for a registry, as docker sends it.
fn auth(job: &Job<'_>, registry: &Registry) -> String {
    let text = fs::read_to_string(config(job)).expect("written");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    config["auths"][registry.host()]["auth"].as_str().expect("an auth for the registry").to_owned()
}

fn password(auth: &str) -> String {
    let pair = String::from_utf8(STANDARD.decode(auth).expect("base64")).expect("UTF-8");
    pair.strip_prefix("jobpass:").expect("our user").to_owned()
}

/// What docker does before a push: asks whom the registry believes, and gets a token there.
fn logs_in(registry: &Registry, auth: &str) -> bool {
    let header = format!("Basic {auth}");
    let send = |headers: &[(&str, &str)], path: &str| {
        client::send(&format!("https://{}", registry.host()), &registry.ca_pem(), "GET", path, headers, None).expect("an answer")
    };
    let realm = send(&[], "/v2/").header("www-authenticate").expect("a challenge").to_owned();
    let path = realm.strip_prefix(&format!("Bearer realm=\"https://{}", registry.host())).and_then(|rest| rest.strip_suffix('"'));
    let given = send(&[("Authorization", &header)], path.expect("its own"));
    if given.status != 200 {
        return false;
    }
    let bearer = format!("Bearer {}", given.json()["token"].as_str().expect("a token"));
    send(&[("Authorization", &bearer)], "/v2/").status == 200
}

#[test]
fn the_registry_takes_the_token_until_it_is_revoked_on_each_platform() {
    let world = World::new();
    for job in Job::all(&world) {
        let registry = world.registry();
        let job = with_registry(job, &registry);
        let request = job.request().succeed();
        let auth = auth(&job, &registry);
        world.secret(&password(&auth));
        assert_eq!(fs::metadata(config(&job)).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(logs_in(&registry, &auth), "{}", request.transcript());
        job.enter(&request);
        assert_eq!(job.get("REGISTRY_AUTH_FILE"), config(&job).to_str().map(str::to_owned));
        assert_eq!(job.get("DOCKER_CONFIG"), config(&job).parent().and_then(|path| path.to_str()).map(str::to_owned));
        let revoke = job.revoke().succeed();
        assert!(!config(&job).exists(), "{}", revoke.transcript());
        world.assert_dies(&password(&auth));
        assert!(!logs_in(&registry, &auth));
    }
}

#[test]
fn what_a_command_gets_of_it() {
    let world = World::new();
    let registry = world.registry();
    let job = with_registry(Job::gitlab(&world), &registry);
    let ran = job.run("echo \"$DOCKER_CONFIG $REGISTRY_AUTH_FILE\"; grep -c auth \"$REGISTRY_AUTH_FILE\"").succeed();
    assert_snapshot!(ran.transcript());
    assert!(!config(&job).exists());
    job.assert_nothing_left();
}

#[test]
fn it_is_renewed_and_what_docker_has_added_is_kept() {
    let world = World::sandbox("its tokens live for seconds, so that they are renewed");
    world.on_sandbox().max_token_expiration(2);
    let registry = world.registry();
    let job = with_registry(Job::gitlab(&world), &registry);
    let running = job.run("until [ -e go ]; do sleep 0.05; done").start();
    eventually("it is written", || config(&job).exists());
    let first = auth(&job, &registry);
    world.secret(&password(&first));
    let mut text: Value = serde_json::from_str(&fs::read_to_string(config(&job)).expect("there")).expect("JSON");
    text["auths"]["docker.io"]["auth"] = "dTpw".into();
    // As docker does it: a new file in the place of the old one.
    let new = config(&job).with_file_name("config.json1");
    doors::write(&new, &text.to_string());
    fs::rename(&new, config(&job)).expect("renamed");
    eventually("it is renewed", || auth(&job, &registry) != first);
    let second = auth(&job, &registry);
    assert!(logs_in(&registry, &second));
    doors::write(&job.workspace().join("go"), "");
    running.wait().assert().success();
    let left: Value = serde_json::from_str(&fs::read_to_string(config(&job)).expect("of others")).expect("JSON");
    assert_eq!((left["auths"]["docker.io"]["auth"].as_str(), password(&auth(&job, &registry))), (Some("dTpw"), String::new()));
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_fails_leaves_none() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let job = with_registry(Job::gitlab(&world), &world.registry());
    job.request().run().assert().failure();
    assert!(!config(&job).exists());
}

#[test]
fn a_configuration_of_somebody_else_is_left_alone() {
    let world = World::new();
    let job = with_registry(Job::gitlab(&world), &world.registry());
    doors::write(&config(&job), "{\"auths\": {\"docker.io\": {\"auth\": \"dTpw\"}}}");
    assert_snapshot!(job.request().run().transcript());
    assert!(world.secrets().is_empty() && config(&job).exists());
}

#[test]
fn where_it_may_not_be() {
    let world = World::sandbox("nothing is asked of it");
    let job = Job::gitlab(&world);
    let refused = |arguments: &[&str]| {
        let ran = arguments.iter().fold(job.request(), |request, argument| request.arg(*argument)).run();
        ran.said()
    };
    let inside = job.workspace().join("config.json");
    let all = [
        refused(&["--registry-auth", inside.to_str().expect("UTF-8")]),
        refused(&["--registry-auth", "/nowhere/auth.json"]),
        refused(&["--registry-auth", "/nowhere/config.json"]),
        refused(&["--registry", "registry.example.com"]),
        refused(&["--registry-auth", "/tmp/config.json", "--registry", "http://registry.example.com"]),
    ];
    assert_snapshot!(all.join("\n\n"));
}
