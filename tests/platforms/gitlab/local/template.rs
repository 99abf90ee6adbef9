//! `.jobpass`, the template: what the script has, who ends it, and what becomes of other people's `before_script`.

use regex::Regex;

use super::*;

/// The template masks nothing, so that its `kubectl` prints nothing.
fn with<'w>(world: &'w World, pipeline: &str) -> Project<'w> {
    let project = Project::with(world, pipeline);
    project.program("kubectl", KUBECTL);
    project
}

#[test]
fn the_script_has_the_pass_and_after_script_ends_it() {
    let world = World::new();
    // In one tree, as gitlab-ci-local keeps no artifacts of this job otherwise.
    let project = with(&world, "template").shared();
    let pipeline = project.succeed(&["PASS deploy", "PASS later"]);
    pipeline.assert_says("this job has a pass for service account");
    pipeline.assert_says("dead: the API server answers 401 to the token");
    assert_eq!(project.kept("modes"), "600\n600\n");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn artifacts_and_reports_hand_on_no_token() {
    let world = World::new();
    let project = with(&world, "template").shared();
    project.succeed(&["PASS deploy", "PASS later"]);
    assert_eq!(project.kept("later"), "version 1, token '', lease ''\n");
    // The sweep has looked into them, and so it has into all of the tree.
    for name in ["deploy.env", ".gitlab-ci-reports/dotenv/deploy.env", "ci/jobpass.yml"] {
        assert!(project.at("project/.gitlab-ci-local/artifacts/deploy").join(name).exists(), "{name} is no artifact");
    }
}

#[test]
fn a_script_that_fails_fails_the_job_and_its_pass_ends() {
    let world = World::new();
    let project = with(&world, "template-fails");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("FAIL 7");
    assert!(!project.has_kept("never"));
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn a_request_that_is_refused_ends_the_job_with_its_own_status() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let project = with(&world, "template-fails");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("FAIL 1 ");
    pipeline.assert_says("error: cannot request a token for service account");
    let undone = [CREATE, "POST serviceaccounts/deploy-bot/token -> 403", "DELETE secrets/LEASE-1 -> 200"];
    assert_eq!(project.requests(), undone);
    project.assert_revoked(0);
}

#[test]
fn a_revocation_that_fails_is_a_warning() {
    let world = World::new();
    world.take_away("delete", "secrets");
    let project = with(&world, "child");
    let pipeline = project.succeed(&["PASS deploy"]);
    pipeline.assert_says("warning: ");
    // At the end of the script, and once more in after_script.
    assert_eq!(project.requests(), [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 403", "DELETE secrets/LEASE-1 -> 403"]);
    assert!(world.accepts(&project.tokens()[0]));
}

#[test]
fn a_before_script_that_displaces_ours_is_found_by_require() {
    let world = World::new();
    let project = with(&world, "displaced");
    let pipeline = project.run(&[]);
    pipeline.assert(1, &["FAIL deploy"]);
    pipeline.assert_says("error: this job has no pass");
    pipeline.assert_says("> prepared");
    assert!(!project.has_kept("never"));
    assert_eq!(project.requests(), [""; 0]);
    project.assert_revoked(0);
}

#[test]
fn scripts_of_the_jobs_own_run_beside_ours() {
    let world = World::new();
    let project = with(&world, "referenced");
    let pipeline = project.succeed(&["PASS deploy", "PASS extending", "PASS plain"]);
    let order = project.kept("order");
    let lines: Vec<_> = order.lines().collect();
    let prepared = format!("prepared for {}", world.namespace());
    assert_eq!(lines, ["before", &prepared, "after success", "default", "plain", "default after"], "{}", pipeline.log);
    project.assert_revoked(2);
}

#[test]
fn the_jobs_as_gitlab_puts_them_together() {
    let world = World::new();
    let project = with(&world, "referenced");
    let pipeline = project.run(&["--preview"]);
    let (_, jobs) = pipeline.log.split_once("---\n").expect("a document");
    // What finds the binary is long, and is the same everywhere.
    let find = Regex::new(r"(?s)\|\n {6}if ! command -v jobpass.*?\n {6}fi\n").expect("a pattern");
    let jobs = find.replace_all(jobs, "FIND JOBPASS\n").replace(&world.account(), "ci/deploy-bot");
    insta::assert_snapshot!(jobs);
}
