//! Forty teams, set up in one run: a job of each may ask for its own team's passes, and for nobody else's.

use std::{fmt::Write as _, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    calls::operator,
    ground::GROUND,
    harness::{doors, within},
    passes::{Job, is_taken},
    servers::DEAD,
};

const TEAMS: usize = 40;

/// What it may take; it takes a few seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// Teams that are tried, of the forty.
const TRIED: [usize; 3] = [0, 17, 39];

#[test]
fn forty_of_them_are_set_up_in_one_run() {
    let ground = &*GROUND;
    let plane = &ground.large;
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    plane.must("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": "apps"}})));
    let mut text = "defaults: {maxTtl: 1h}\nteams:\n".to_owned();
    for n in 0..TEAMS {
        let rights = "[{role: deploy, namespaces: [apps]}]";
        writeln!(text, "- {{team: t{n}, account: t{n}-ci/deploy-bot, rights: {rights}, from: {{serviceAccount: jobpass/t{n}}}}}").unwrap();
    }
    let file = at("teams.yaml");
    doors::write(&file, &text);
    let file = file.to_str().expect("text");
    // kubectl has applied the policies before, as `deploy/apply` does.
    let setup = ["setup", "-f", file, "--context", "large", "--apply", "--force-conflicts", "--yes"];
    let first = operator(&ground.kubeconfig, &setup).ended(0);
    let second = operator(&ground.kubeconfig, &setup).ended(0);
    println!(
        "{TEAMS} teams are set up in {:.1} s, {:.1} MB; a second time in {:.1} s",
        first.took.as_secs_f32(),
        first.peak,
        second.took.as_secs_f32()
    );
    assert!(first.took < LIMIT, "{:?}", first.took);

    for n in TRIED {
        let made = operator(&ground.kubeconfig, &["setup", "identity", &format!("jobpass/t{n}"), "--ttl", "1h", "--context", "large"]);
        let kubeconfig = at(&format!("t{n}"));
        doors::write(&kubeconfig, &made.ended(0).stdout);
        let job = Job::new(&format!("t{n}-ci/deploy-bot"), &kubeconfig);
        let pass = job.request();
        assert!(is_taken(&plane.url, &plane.ca_pem, &pass.token));
        job.succeed(&["revoke", "--strict"]);
        within(DEAD, "the pass is dead", || !is_taken(&plane.url, &plane.ca_pem, &pass.token));
        let said = Job::new("t1-ci/deploy-bot", &kubeconfig).fail(&["request"]);
        assert!(said.contains("Forbidden"), "{said}");
    }
}
