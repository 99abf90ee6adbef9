//! The pipelines of README and `docs/gitlab.md` as they stand, with jobpass's files where these pages say they are.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// A user's project with one of these pipelines.
fn user<'w>(world: &'w World, name: &str) -> Project<'w> {
    let mut project = Project::with_text(world, &pages::example("gitlab", name)).with_cargo();
    // The one that the pages speak of.
    project.variables.remove(0);
    project.variables.push(("JOBPASS_IDENTITY_KUBECONFIG", STANDARD.encode(world.kubeconfig())));
    project
}

/// The pipeline of a build and one more job succeeds, and the wrapper has hidden the token in its log.
fn succeed(project: &Project<'_>, job: &str) -> Pipeline {
    let pipeline = project.succeed(&["PASS jobpass", &format!("PASS {job}")]);
    pipeline.assert_says("> kubectl says ***");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
    pipeline
}

#[test]
fn the_pipeline_with_the_wrapper() {
    let world = World::new();
    succeed(&user(&world, "wrapper"), "deploy");
}

#[test]
fn the_pipeline_with_the_template() {
    let world = World::new();
    let project = user(&world, "template");
    project.program("kubectl", KUBECTL);
    let pipeline = project.succeed(&["PASS jobpass", "PASS deploy"]);
    pipeline.assert_says("> prepared");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn the_pipeline_with_the_component() {
    let world = World::new();
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
    let world = World::new();
    succeed(&user(&world, "long-job"), "migrate").assert_says(", renewed until ");
}

#[test]
fn the_pipeline_of_several_clusters() {
    let world = World::new();
    let mut project = user(&world, "several-clusters");
    let identity = project.text("settings/JOBPASS_KUBECONFIG");
    project.variables.retain(|(name, _)| *name != "JOBPASS_IDENTITY_KUBECONFIG");
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
    let mut project = user(&world, "in-cluster");
    let Some((mut pod, variables)) = shared::pod(&world, &project.at("mounted")) else { return };
    pod.arg(tools().join("gitlab-ci-local"));
    project.variables.retain(|(name, _)| *name != "JOBPASS_IDENTITY_KUBECONFIG");
    project.variables.extend(variables);
    let pipeline = project.start_by(pod, &[]).wait();
    pipeline.assert(0, &["PASS jobpass", "PASS deploy"]);
    pipeline.assert_says("asked as the service account of this pod");
    pipeline.assert_says("> kubectl says ***");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}
