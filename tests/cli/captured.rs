//! Whoever takes stdout from the runner takes no mask and no token with it: what a runner is told goes to stderr, and only where it is heard.

use std::fs;

use insta::assert_snapshot;

use crate::harness::{Job, World, doors, records};

#[test]
fn a_step_of_github_that_sources_what_it_captured_has_the_pass_and_so_have_the_steps_after_it() {
    let world = World::new();
    let job = Job::github(&world);
    let script = format!(
        "set -eu\n. \"$(jobpass request --service-account {})\"\ntest \"$OPENSHIFT_TOKEN\" = \"$(cat \"$JOBPASS_TOKEN_FILE\")\"\ntest -r \"$KUBECONFIG\"",
        world.account()
    );
    for shell in doors::shells() {
        // The sweep of every call looks at stdout whole: a mask that stands there is a leak.
        let step = job.shell(&shell, &script).succeed();
        assert_eq!(step.stdout, "");
        assert_eq!(records(&job.file_command("GITHUB_ENV"))[0], ("OPENSHIFT_TOKEN".to_owned(), job.token()));
        job.revoke().succeed();
        job.new_step();
    }
    job.assert_nothing_left();
}

#[test]
fn what_a_step_of_github_redirects_holds_no_secret() {
    let world = World::new();
    let job = Job::github(&world);
    let script = format!("jobpass request --service-account {} >out.txt && jobpass revoke >>out.txt", world.account());
    let step = job.shell("sh", &script).succeed();
    assert!(step.stderr.starts_with("::add-mask::"), "{}", step.transcript());
    let kept = fs::read_to_string(job.workspace().join("out.txt")).expect("written");
    assert_eq!(kept.lines().count(), 1, "the path of the env file: {kept}");
}

#[test]
fn a_runner_that_does_not_hear_what_it_is_to_mask_is_told_no_secret() {
    let world = World::new();
    let job = Job::github(&world);
    for to in ["/dev/null", "err.txt"] {
        // What is said there is looked at afterwards.
        let script =
            format!("jobpass request --service-account {} 2>{to}; code=$?; [ ! -s err.txt ] || cat err.txt; exit $code", world.account());
        let step = job.shell("sh", &script).run();
        if to == "err.txt" {
            assert_snapshot!("a_runner_that_does_not_hear", step.transcript());
        }
        assert_eq!(step.requests.len(), 0, "{}", step.transcript());
    }
    job.assert_nothing_left();
}

#[test]
fn a_platform_against_the_marker_is_said_by_the_flag_only() {
    let world = World::new();
    let job = Job::gitlab(&world);
    for name in ["GITHUB_STATE", "GITHUB_OUTPUT", "GITHUB_ENV"] {
        let path = job.workspace().join(name);
        doors::write(&path, "");
        job.set(name, path);
    }
    job.set("RUNNER_TEMP", job.base());
    let of_variable = job.request().env("JOBPASS_PLATFORM", "github").run();
    assert_snapshot!("a_platform_against_the_marker", of_variable.transcript());
    let of_markers = job.request().env("GITHUB_ACTIONS", "true").run();
    assert_snapshot!("two_markers", of_markers.transcript());
    for ran in [of_variable, of_markers] {
        assert!(!ran.transcript().contains("add-mask") && ran.requests.is_empty(), "{}", ran.transcript());
    }
    job.request().env("GITHUB_ACTIONS", "true").args(["--platform", "gitlab"]).succeed();
    job.revoke().succeed();
    job.assert_nothing_left();
}
