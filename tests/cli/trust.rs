//! A job is known by the token of its platform: who gets in by `deploy/oidc/`, who does not, and what a failing issuer means.

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{
        Job, PATIENCE, World, eventually,
        oidc::{Gate, GitHub},
    },
    holding::hold,
};

/// Whom the server takes a token for: its status, and what it knows of the user.
fn who(world: &World, token: &str) -> (u16, Value) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = world.ask(token, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", Some(&review));
    (answer.status, answer.json()["status"]["userInfo"].clone())
}

/// Both platforms, each with a job that has nothing stored, and tokens with these changes.
fn jobs<'w>(world: &'w World, github: &Value, gitlab: &Value) -> [Job<'w>; 2] {
    [Job::github_with_nothing_stored(world, github).0, Job::gitlab_with_nothing_stored(world, gitlab)]
}

#[test]
fn a_job_asks_for_a_pass_and_ends_it_with_nothing_stored() {
    let world = World::trusting();
    for job in jobs(&world, &json!({}), &json!({})) {
        job.request().succeed();
        let token = job.token();
        assert!(world.accepts(&token));
        job.revoke().succeed();
        world.assert_dies(&token);
        job.assert_nothing_left();
        job.run("test -r \"$KUBECONFIG\" && test -z \"$JOBPASS_IDENTITY_ID_TOKEN\"").succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn a_pass_is_renewed_with_a_token_of_that_moment() {
    let world = World::trusting();
    let (github, known) = Job::github_with_nothing_stored(&world, &json!({}));
    for job in [github, Job::gitlab_with_nothing_stored(&world, &json!({}))] {
        let holding = hold(&job).start();
        eventually("the pass is ready", || job.base().join("ready").exists());
        let token = || std::fs::read_to_string(job.base().join("token")).expect("held");
        let first = token();
        holding.signal(Signal::USR1);
        eventually("the token is renewed", || token() != first);
        assert!(world.accepts(&token()));
        holding.signal(Signal::TERM);
        holding.wait().assert().success();
        world.assert_dies(&first);
        job.assert_nothing_left();
    }
    assert!(known.asked() >= 1, "GitHub gives a token to whoever has the job's own");
}

#[test]
fn a_user_is_named_after_its_repository_and_known_by_its_number() {
    let world = World::trusting();
    let id = world.project();
    for (token, user, group, run, actor) in [
        (world.github_token(&json!({})), "github:acme/app", "github", "9876543210", "octocat"),
        (world.gitlab_token(&json!({})), "gitlab:acme/app", "gitlab", "4711", "tanuki"),
    ] {
        let (status, info) = who(&world, &token);
        assert_eq!(status, 201);
        assert_eq!(info["username"], format!("{user}@{id}:refs/heads/main"));
        assert_eq!(info["groups"], json!(["jobpass:ci", format!("jobpass:ci:{group}:{id}"), "system:authenticated"]));
        let extra = |key: &str| info["extra"][format!("jobpass.dev/{key}")][0].as_str().unwrap_or_default();
        assert_eq!([extra("run-id"), extra("actor"), extra("ref")], [run, actor, "refs/heads/main"]);
    }
}

#[test]
fn whoever_else_has_a_token_of_the_same_issuer_is_not_let_in() {
    let world = World::trusting();
    let now = now();
    for (what, changes) in [
        ("another repository", json!({"repository_id": "75"})),
        ("the same name with another number", json!({"repository_id": "75", "repository": "acme/app"})),
        ("a repository that was given away", json!({"repository_owner_id": "66", "repository": "evil/app"})),
        ("another branch", json!({"ref": "refs/heads/feature"})),
        ("a tag of that name", json!({"ref": "refs/tags/main", "ref_type": "tag"})),
        ("a pull request", json!({"event_name": "pull_request", "ref": "refs/pull/7/merge"})),
        ("a pull request that runs on the target's branch", json!({"event_name": "pull_request_target"})),
        ("another workflow", json!({"job_workflow_ref": "acme/app/.github/workflows/test.yml@refs/heads/main"})),
        ("a workflow of somebody else", json!({"job_workflow_ref": "evil/app/.github/workflows/deploy.yml@refs/heads/main"})),
        ("the workflow as another branch has it", json!({"job_workflow_ref": "acme/app/.github/workflows/deploy.yml@refs/heads/x"})),
        ("no workflow", json!({"job_workflow_ref": null})),
        ("no run", json!({"run_id": null})),
        ("another issuer", json!({"iss": "https://token.actions.githubusercontent.com"})),
        ("another cluster's audience", json!({"aud": "https://api.other.example:6443"})),
        ("no audience", json!({"aud": null})),
        ("over since a second", json!({"iat": now - 301, "nbf": now - 901, "exp": now - 1})),
        ("not yet good", json!({"nbf": now + 120})),
    ] {
        assert_eq!(who(&world, &world.github_token(&changes)).0, 401, "{what}");
    }
    for (what, changes) in [
        ("another project, or a fork", json!({"project_id": "43"})),
        ("a project that was given away", json!({"namespace_id": "73", "namespace_path": "evil", "project_path": "evil/app"})),
        ("another branch", json!({"ref": "feature", "ref_path": "refs/heads/feature"})),
        ("a branch that anybody may make", json!({"ref_protected": "false"})),
        ("a tag of that name", json!({"ref_path": "refs/tags/main", "ref_type": "tag"})),
        ("a pipeline of another project", json!({"ci_config_ref_uri": "gitlab.example/evil/app//.gitlab-ci.yml@refs/heads/main"})),
        ("another pipeline", json!({"ci_config_ref_uri": format!("{}/acme/app//ci/x.yml@refs/heads/main", host(&world))})),
        ("a pipeline from nowhere", json!({"ci_config_ref_uri": null})),
        ("no job", json!({"job_id": null})),
        ("another cluster's audience", json!({"aud": "https://api.other.example:6443"})),
        ("over since a second", json!({"iat": now - 301, "nbf": now - 306, "exp": now - 1})),
    ] {
        assert_eq!(who(&world, &world.gitlab_token(&changes)).0, 401, "{what}");
    }
    // What is refused there is refused for its reason only.
    for token in [world.github_token(&json!({})), world.gitlab_token(&json!({}))] {
        assert_eq!(who(&world, &token).0, 201);
    }
}

/// As docs/oidc.md says it for EKS, which could not be tried itself.
#[test]
fn a_server_without_expressions_maps_a_number_to_a_group_that_the_policies_watch() {
    let world = World::trusting_by_claims();
    let (status, info) = who(&world, &world.github_token(&json!({})));
    assert_eq!((status, &info["username"]), (201, &json!("github:repo:acme/app:ref:refs/heads/main")));
    assert_eq!(info["groups"][0], format!("jobpass:ci:github:{}", world.project()));
    assert_eq!(info["extra"]["jobpass.dev/run-id"], Value::Null);
    let job = Job::github_with_nothing_stored(&world, &json!({})).0;
    job.request().succeed();
    job.revoke().succeed();
    job.assert_nothing_left();
    let eternal = json!({"metadata": {"name": "jobpass-x"}, "type": "Opaque"});
    let refused = world.ask(&world.github_token(&json!({})), "POST", &world.path("secrets"), Some(&eternal));
    assert!(refused.json()["message"].as_str().is_some_and(|said| said.contains("jobpass policy: ")), "{}", refused.status);
    for changes in [json!({"repository_id": "75"}), json!({"ref": "refs/heads/feature"})] {
        assert_eq!(who(&world, &world.github_token(&changes)).0, 401);
    }
}

/// The host of GitLab, as its tokens name it.
fn host(world: &World) -> String {
    world.gitlab().url().trim_start_matches("https://").to_owned()
}

/// Seconds since the epoch.
fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs()).expect("a time")
}

#[test]
fn a_token_that_somebody_else_signed_is_not_taken() {
    let world = World::trusting();
    let stranger = GitHub::start();
    let claims = json!({"iss": world.github().url(), "repository_id": world.project()});
    let forged = stranger.mint(&world.url(), &claims);
    world.secret(&forged);
    assert_eq!(who(&world, &forged).0, 401);
    let (head, rest) =
        world.github_token(&json!({"repository_id": "75"})).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let good = world.github_token(&json!({}));
    let claims = good.split('.').nth(1).unwrap();
    let mixed = format!("{head}.{claims}.{}", rest.split('.').nth(1).unwrap());
    world.secret(&mixed);
    assert_eq!(who(&world, &mixed).0, 401);
}

#[test]
fn a_clock_that_differs_a_little_is_no_matter() {
    let world = World::trusting();
    let now = now();
    for token in
        [world.github_token(&json!({"iat": now + 30, "nbf": now + 30})), world.gitlab_token(&json!({"iat": now + 30, "nbf": now + 30}))]
    {
        assert_eq!(who(&world, &token).0, 201);
    }
}

#[test]
fn a_repository_that_gets_in_and_has_no_rights_is_named_in_the_refusal() {
    let world = World::trusting();
    let other = world.other_project();
    let github = json!({"repository_id": other, "repository": "acme/other"});
    let gitlab = json!({"project_id": other, "project_path": "acme/other"});
    for job in jobs(&world, &github, &gitlab) {
        let refused = job.request().run();
        assert!(!refused.is_success());
        assert!(refused.stderr.contains(&format!("acme/other@{other}:refs/heads/main")), "{}", refused.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn a_job_that_takes_itself_for_another_run_is_told_which_label_is_wrong() {
    let world = World::trusting();
    let [github, gitlab] = jobs(&world, &json!({}), &json!({}));
    github.set("GITHUB_RUN_ID", "9876543211");
    gitlab.set("CI_JOB_ID", "4712");
    let said = [github, gitlab].map(|job| {
        let refused = job.request().run();
        assert!(!refused.is_success());
        job.assert_nothing_left();
        refused.said()
    });
    assert_snapshot!(said.join("\n"));
}

#[test]
fn a_pass_is_ended_by_another_job_of_the_same_run_at_github_only() {
    let world = World::trusting();
    let (job, _) = Job::github_with_nothing_stored(&world, &json!({}));
    job.request().succeed();
    let lease = format!("{}/{}", world.namespace(), job.lease());
    let (stranger, _) = Job::github_with_nothing_stored(&world, &json!({"run_id": "9876543211"}));
    stranger.set("GITHUB_RUN_ID", "9876543211");
    let refused = stranger.jobpass().args(["revoke", "--strict", "--lease", &lease]).run();
    assert!(!refused.is_success() && refused.stderr.contains("only the run that made a lease may delete it"), "{}", refused.transcript());
    let (other, _) = Job::github_with_nothing_stored(&world, &json!({"runner_environment": "self-hosted"}));
    other.jobpass().args(["revoke", "--strict", "--lease", &lease]).succeed();
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_job_whose_token_is_refused_leaves_nothing() {
    let world = World::trusting();
    for job in jobs(&world, &json!({"ref": "refs/heads/feature"}), &json!({"ref_protected": "false"})) {
        let refused = job.request().run();
        assert!(!refused.is_success());
        assert!(refused.stderr.contains("401"), "{}", refused.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn a_token_of_ten_kilobytes_is_taken() {
    let world = World::trusting();
    let long = json!({"workflow": "x".repeat(8 << 10)});
    assert!(world.github_token(&long).len() > 10_000);
    for job in jobs(&world, &long, &long) {
        job.request().succeed();
        job.revoke().succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn new_keys_of_an_issuer_are_taken_at_once_and_old_ones_no_more() {
    let world = World::trusting_alone();
    let old = world.github_token(&json!({}));
    assert_eq!(who(&world, &world.github_token(&json!({}))).0, 201);
    world.github().rotate();
    let new = world.github_token(&json!({}));
    assert_eq!((who(&world, &new).0, who(&world, &world.github_token(&json!({}))).0), (201, 201));
    world.github().rotate();
    world.github().forget_old_keys();
    assert_eq!(who(&world, &world.github_token(&json!({}))).0, 201);
    assert_eq!(who(&world, &old).0, 401);
}

#[test]
fn an_issuer_that_is_down_matters_only_where_its_keys_are_not_known() {
    let world = World::trusting_alone();
    assert_eq!(who(&world, &world.gitlab_token(&json!({}))).0, 201);
    world.gitlab().set_down(true);
    let job = Job::gitlab_with_nothing_stored(&world, &json!({}));
    job.request().succeed();
    job.revoke().succeed();
    world.gitlab().rotate();
    assert_eq!(who(&world, &world.gitlab_token(&json!({}))).0, 401);
    world.gitlab().set_down(false);
    eventually("its keys are fetched again", || who(&world, &world.gitlab_token(&json!({}))).0 == 201);
}

#[test]
fn a_slow_issuer_is_waited_for() {
    let world = World::trusting_alone();
    // Its keys are not those that the server knows, so that it has to ask.
    world.gitlab().rotate();
    let gate = Gate::new();
    world.gitlab().hold(&gate);
    let job = Job::gitlab_with_nothing_stored(&world, &json!({}));
    let running = job.request().start();
    assert!(gate.wait(PATIENCE), "the server asks for the keys");
    gate.release();
    let requested = running.wait();
    assert!(requested.is_success(), "{}", requested.transcript());
    job.revoke().succeed();
    job.assert_nothing_left();
}
