//! The ways of `include` to the template: a mirror on the same GitLab, another host. (Most scenarios take a copy in the project.)

use super::{web::Web, *};

#[test]
fn the_file_of_a_mirror() {
    let world = World::new();
    let project = Project::with(&world, "project");
    project.mirror(&["gitlab/jobpass.yml"]);
    project.succeed(&["PASS deploy"]);
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}

#[test]
fn the_file_of_another_host() {
    let world = World::new();
    let web = Web::start(vec![("/gitlab/jobpass.yml", source("gitlab/jobpass.yml").into_bytes())]);
    let url = web.url("/gitlab/jobpass.yml");
    let pipeline = fixture("remote").replace("http://127.0.0.1:1/gitlab/jobpass.yml", &url);
    let project = Project::with_text(&world, &pipeline).with_jobpass();
    project.succeed(&["PASS deploy"]);
    assert_eq!(project.requests(), UNUSED);
    project.assert_revoked(1);
}
