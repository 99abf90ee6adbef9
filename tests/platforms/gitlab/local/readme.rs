//! The pipelines of README and `docs/gitlab.md` as they stand, with jobpass's files where these pages say they are.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// A user's project with one of these pipelines, whose jobs have no identity yet.
fn user_of<'w>(world: &'w World, name: &str) -> Project<'w> {
    let mut project = Project::with_text(world, &pages::example("gitlab", name)).with_cargo();
    project.variables.retain(|(name, _)| *name != "JOBPASS_KUBECONFIG");
    project
}

/// The same where the cluster trusts GitLab: no secret is in its settings.
fn user<'w>(world: &'w World, name: &str) -> Project<'w> {
    let mut project = user_of(world, name);
    project.variables.push(("JOBPASS_SERVER", world.url()));
    project.variables.push(("JOBPASS_CERTIFICATE_AUTHORITY", STANDARD.encode(world.ca_pem())));
    // By `id_tokens`, which gitlab-ci-local does not know; and the job of which it speaks.
    project.variables.push(("JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(&json!({}))));
    project.variables.push(("CI_JOB_ID", "4711".to_owned()));
    project
}

/// The requests of such a project: who it is it learns from the API server.
fn asked() -> Vec<&'static str> {
    [&["POST selfsubjectreviews -> 201"], UNUSED.as_slice()].concat()
}

/// The pipeline of a build and one more job succeeds, and the wrapper has hidden the token in its log.
fn succeed(project: &Project<'_>, job: &str) -> Pipeline {
    let pipeline = project.succeed(&["PASS jobpass", &format!("PASS {job}")]);
    pipeline.assert_says("> kubectl says ***");
    assert_eq!(project.requests(), asked());
    project.assert_revoked(1);
    pipeline
}

#[test]
fn the_pipeline_with_the_wrapper() {
    let world = World::trusting();
    succeed(&user(&world, "wrapper"), "deploy");
}

#[test]
fn the_pipeline_with_a_stored_identity() {
    let world = World::new();
    let mut project = user_of(&world, "wrapper");
    project.variables.push(("JOBPASS_IDENTITY_KUBECONFIG", STANDARD.encode(world.kubeconfig())));
    let pipeline = project.succeed(&["PASS jobpass", "PASS deploy"]);
    pipeline.assert_says("> kubectl says ***");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn the_pipeline_with_the_template() {
    let world = World::trusting();
    let project = user(&world, "template");
    project.program("kubectl", KUBECTL);
    let pipeline = project.succeed(&["PASS jobpass", "PASS deploy"]);
    pipeline.assert_says("> prepared");
    assert_eq!(project.requests(), asked());
    project.assert_revoked(1);
}

#[test]
fn the_pipeline_with_the_component() {
    let world = World::trusting();
    let project = user(&world, "component");
    let commit = project.mirror(&["templates/jobpass.yml"]);
    let placeholder = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c";
    let pipeline = pages::example("gitlab", "component");
    assert!(pipeline.contains(placeholder), "it names a commit");
    project.write(".gitlab-ci.yml", &pipeline.replace(placeholder, &commit).replace("ci/deploy-bot", &world.account()));
    succeed(&project, "deploy");
}

#[test]
fn the_pipeline_of_a_long_job() {
    let world = World::trusting();
    succeed(&user(&world, "long-job"), "migrate").assert_says(", renewed until ");
}

#[test]
fn the_pipeline_of_several_clusters() {
    let world = World::new();
    let mut project = user_of(&world, "several-clusters");
    let identity = project.text("settings/JOBPASS_KUBECONFIG");
    project.variables.extend([("STAGING_KUBECONFIG", identity.clone()), ("PRODUCTION_KUBECONFIG", identity)]);
    let pipeline = project.succeed(&["PASS jobpass", "PASS deploy"]);
    assert_eq!(pipeline.log.matches("kubectl says ***").count(), 2, "{}", pipeline.log);
    // One after the other, so that the lease of the job has its name twice.
    assert_eq!(project.requests(), [UNUSED; 2].concat());
    project.assert_revoked(2);
}

#[test]
fn the_pipeline_of_an_old_runner() {
    let world = World::new();
    let project = Project::with_text(&world, &pages::example("gitlab", "old-runner")).with_jobpass();
    let pipeline = project.run(&[]);
    pipeline.assert(0, &["PASS deploy"]);
    pipeline.assert_says("> kubectl says ***");
    project.assert_revoked(1);
}

#[test]
fn the_pipeline_of_a_runner_in_the_cluster() {
    let world = World::new();
    let mut project = user_of(&world, "in-cluster");
    let Some((mut pod, variables)) = shared::pod(&world, &project.at("mounted")) else { return };
    pod.arg(tools().join("gitlab-ci-local"));
    project.variables.extend(variables);
    let pipeline = project.start_by(pod, &[]).wait();
    pipeline.assert(0, &["PASS jobpass", "PASS deploy"]);
    pipeline.assert_says("asked as the service account of this pod");
    pipeline.assert_says("> kubectl says ***");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}
