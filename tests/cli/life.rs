//! A whole job on each platform: request, use, revoke, refusal.

use std::{fs, time::Duration};

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{Job, Ran, World, eventually};

/// Request, take over, revoke. The token is not used meanwhile, so that it is dead at once and the proof can say so.
fn whole(job: &Job<'_>) -> (Ran, Ran) {
    let request = job.request().run();
    assert!(request.is_success(), "{}", request.transcript());
    let token = job.token();
    let state = job.state();
    job.enter(&request);
    assert_eq!(job.get("OPENSHIFT_TOKEN").as_deref(), Some(token.as_str()));
    let revoke = match state {
        Some(state) => job.revoke().args(["--action", "post"]).env("STATE_lease", state),
        None => job.revoke(),
    };
    let revoke = revoke.run();
    job.world.assert_dies(&token);
    job.assert_nothing_left();
    (request, revoke)
}

#[test]
fn on_github() {
    let world = World::new();
    let (request, revoke) = whole(&Job::github(&world));
    assert_snapshot!("github_request", request.transcript());
    assert_snapshot!("github_post", revoke.transcript());
}

#[test]
fn on_gitlab() {
    let world = World::new();
    let (request, revoke) = whole(&Job::gitlab(&world));
    assert_snapshot!("gitlab_request", request.transcript());
    assert_snapshot!("gitlab_revoke", revoke.transcript());
}

#[test]
fn on_tekton() {
    let world = World::new();
    let (request, revoke) = whole(&Job::tekton(&world));
    assert_snapshot!("tekton_request", request.transcript());
    assert_snapshot!("tekton_revoke", revoke.transcript());
}

#[test]
fn on_a_plain_shell() {
    let world = World::new();
    let (request, revoke) = whole(&Job::local(&world));
    assert_snapshot!("local_request", request.transcript());
    assert_snapshot!("local_revoke", revoke.transcript());
}

#[test]
fn the_action_with_its_inputs() {
    let world = World::new();
    let job = Job::github(&world);
    job.unset("JOBPASS_IDENTITY_KUBECONFIG");
    let account = world.account();
    // The runner keeps the hyphens of an input's name.
    for (name, value) in
        [("INPUT_SERVICE-ACCOUNT", account.as_str()), ("INPUT_TTL", "20m"), ("INPUT_IDENTITY-KUBECONFIG", &world.kubeconfig())]
    {
        job.set(name, value);
    }
    let main = job.jobpass().arg("request").args(["--action", "main"]).succeed();
    let token = job.token();
    assert_snapshot!("action_main", main.transcript());
    let post = job.post().succeed();
    assert_snapshot!("action_post", post.transcript());
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn a_used_token_is_pending_and_then_dead() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let token = job.token();
    assert!(world.accepts(&token), "the token works before it is revoked");
    let revoke = job.revoke().succeed();
    // The server's cache still takes the token that it has just seen, and the receipt must not say otherwise.
    assert_snapshot!(revoke.said(), @"
    revoked the pass of service account `NS/deploy-bot`, lease `SHORT-1`; dead at TIME at the latest: the lease is deleted, and by then the API server's cache has forgotten the token
    ");
    world.assert_dies(&token);
}

#[test]
fn wait_dead_waits_until_the_cache_is_over() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let token = job.token();
    assert!(world.accepts(&token));
    let running = job.revoke().arg("--wait-dead").start();
    if world.is_sandbox() {
        world.wait_for_request("POST /apis/authentication.k8s.io/v1/selfsubjectreviews -> 201");
        world.on_sandbox().advance(Duration::from_secs(11));
    }
    let revoke = running.wait();
    assert_snapshot!(revoke.said(), @"
    revoked the pass of service account `NS/deploy-bot`, lease `SHORT-1`; dead: the API server answers 401 to the token
    ");
    assert!(!world.accepts(&token));
}

#[test]
fn the_exported_kubeconfig_works_with_another_client_until_revoke() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let kubeconfig = job.get("KUBECONFIG").expect("exported");
    // Kept by a job that should not: revoking must not depend on the file being gone.
    let kept = tempfile::tempdir().expect("a directory");
    let copy = kept.path().join("kubeconfig");
    fs::copy(&kubeconfig, &copy).expect("the job may read it");
    let config: Value = serde_json::from_str(&fs::read_to_string(&copy).expect("there")).expect("JSON is YAML");
    let token = config["users"][0]["user"]["token"].as_str().expect("the token").to_owned();
    assert_eq!(config["clusters"][0]["cluster"]["server"], world.url());
    assert_eq!(config["contexts"][0]["context"]["namespace"], world.namespace());

    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    let user = format!("system:serviceaccount:{}", world.account().replace('/', ":"));
    assert!(world.accepts(&token));
    if let Some(answer) = world.kubectl(kubeconfig.as_ref(), &whoami) {
        assert_eq!((answer.0, answer.1.as_str()), (0, user.as_str()), "{}", answer.2);
    }
    job.revoke().succeed();
    world.assert_dies(&token);
    if world.kubectl(&copy, &whoami).is_some() {
        eventually("kubectl is refused", || {
            let (code, _, stderr) = world.kubectl(&copy, &whoami).expect("kubectl is there");
            code != 0 && stderr.contains("Unauthorized")
        });
    }
}

#[test]
fn a_request_is_two_requests_over_one_connection_and_revoke_one_more_for_its_probe() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    assert_eq!((request.requests.len(), world.relay().connections()), (2, 1), "{:?}", request.requests);
    // A probe over the same connection could be answered for the client certificate of the CI identity.
    let revoke = job.revoke().succeed();
    assert_eq!((revoke.requests.len(), world.relay().connections()), (2, 3), "{:?}", revoke.requests);
}

#[test]
fn the_lease_secret_says_whose_it_is() {
    let world = World::new();
    let mut shown = Vec::new();
    for job in Job::all(&world) {
        job.request().succeed();
        let metadata = world.metadata(&job.lease());
        let part = |name: &str| serde_json::to_string_pretty(&metadata[name]).expect("JSON");
        assert!(metadata["ownerReferences"].is_null(), "an owner in another cluster would end the lease in milliseconds");
        shown.push(format!("{:?}\n{}\n{}", job.on(), part("labels"), part("annotations")));
        job.revoke().succeed();
    }
    assert_snapshot!(world.plain(&shown.join("\n")));
}

#[test]
fn the_lease_is_saved_before_anything_exists_on_the_server() {
    let world = World::new();
    for job in Job::all(&world) {
        world.relay().hold_request(1);
        let running = job.request().start();
        world.relay().wait_held();
        let saved = fs::read_to_string(job.place().join("lease.json")).expect("the lease is saved before the first request");
        let lease: Value = serde_json::from_str(&saved).expect("JSON");
        assert_eq!((lease["kind"].as_str(), lease["uid"].as_str()), (Some("Lease"), None), "{lease}");
        if let Some(state) = job.state() {
            assert_eq!(serde_json::from_str::<Value>(&state).expect("JSON"), lease, "the runner has the same");
        }
        assert_eq!(world.secrets(), [""; 0]);
        world.relay().release();
        assert!(running.wait().is_success());
        job.revoke().succeed();
    }
}

#[test]
fn on_github_every_form_is_masked_before_anything_is_exported() {
    let world = World::new();
    let job = Job::github(&world);
    let request = job.request().succeed();
    let masks: Vec<_> = request.stderr.lines().filter_map(|line| line.strip_prefix("::add-mask::")).collect();
    let token = job.token();
    let signature = token.rsplit('.').next().expect("a JWT");
    for secret in [token.as_str(), signature, world.identity_token()] {
        assert!(masks.contains(&secret));
    }
    // Five for each: itself, its signature, its base64 at three alignments. Nothing else is worth hiding from a reader of the log.
    assert_eq!(masks.len(), 10);
    let first_talk = request.stderr.lines().position(|line| !line.starts_with("::add-mask::")).expect("it talks");
    assert_eq!(first_talk, 10, "all masks come first");
    assert_eq!(request.stdout, format!("{}\n", job.place().join("env").display()), "and nothing of it is on stdout");
}

#[test]
fn on_github_the_variables_are_exported_last() {
    let world = World::new();
    let job = Job::github(&world);
    let request = job.request().succeed();
    let written = |name: &str| fs::metadata(job.get(name).expect("set")).and_then(|file| file.modified()).expect("a time");
    for earlier in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        assert!(written(earlier) <= written("GITHUB_ENV"), "{earlier}");
    }
    // No export, but what ends it: written before anything exists, and once more when all else is done.
    assert!(written("GITHUB_ENV") <= written("GITHUB_STATE"));
    assert_eq!(request.requests.len(), 2);
}

#[test]
fn revoke_needs_no_token_and_no_file() {
    let world = World::new();
    // The derived name is enough where the platform says again which job this is.
    for job in [Job::gitlab(&world), Job::tekton(&world)] {
        job.request().succeed();
        let token = job.token();
        fs::remove_dir_all(job.place()).expect("the place is the user's");
        job.revoke().args(["--service-account", &world.account()]).succeed();
        assert_eq!(world.secrets(), [""; 0]);
        world.assert_dies(&token);
    }
}
