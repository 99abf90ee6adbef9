//! Jobs in larger pipelines: a matrix, an environment that is stopped, a child pipeline.

use super::*;

#[test]
fn every_job_of_a_matrix_has_a_pass_of_its_own() {
    let world = World::new();
    // The name of such a job is no directory's.
    let project = Project::with(&world, "matrix").shared();
    project.program("kubectl", KUBECTL);
    project.succeed(&["PASS deploy: [north]", "PASS deploy: [south]"]);
    let (north, south) = (project.kept("north"), project.kept("south"));
    let parts = |text: &str| text.trim_end().split_once(' ').map(|(job, lease)| (job.to_owned(), lease.to_owned())).expect("two words");
    assert_ne!(parts(&north).0, parts(&south).0, "jobs have numbers of their own");
    assert_ne!(parts(&north).1, parts(&south).1);
    let requests = project.requests();
    for line in [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "DELETE secrets/LEASE-2 -> 200"] {
        let count = if line.starts_with("POST") { 2 } else { 1 };
        assert_eq!(requests.iter().filter(|request| *request == line).count(), count, "{requests:?}");
    }
    assert_eq!(requests.len(), 8, "{requests:?}");
    project.assert_revoked(2);
}

#[test]
fn the_job_that_stops_an_environment_has_a_pass_of_its_own() {
    let world = World::new();
    let project = Project::with(&world, "stop");
    // It waits for a person, and has none meanwhile.
    project.succeed(&["PASS deploy"]);
    assert_eq!(project.requests(), UNUSED);
    project.program("kubectl", KUBECTL);
    let pipeline = project.run(&["stop"]);
    pipeline.assert(0, &["PASS stop"]);
    let second = UNUSED.map(|request| request.replace("LEASE-1", "LEASE-2"));
    assert_eq!(project.requests(), [UNUSED.map(str::to_owned), second].concat());
    project.assert_revoked(2);
}

#[test]
fn a_job_of_a_child_pipeline_asks_for_itself() {
    let world = World::new();
    let project = Project::with(&world, "parent");
    project.program("kubectl", KUBECTL);
    project.write("ci/child.yml", &fixture("child").replace("ci/deploy-bot", &world.account()));
    let pipeline = project.run(&[]);
    assert_eq!(pipeline.code, 0, "{}", pipeline.log);
    assert_eq!(project.kept("given"), "by the parent\n");
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}
