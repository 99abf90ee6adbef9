//! Two passes in one job: they are independent, and what the second takes over from the first is said.

use insta::assert_snapshot;

use crate::harness::{End, Job, World};

#[test]
fn a_second_pass_says_whose_names_it_takes_over() {
    let world = World::new();
    let job = Job::local(&world);
    let first = job.request().succeed();
    job.enter(&first);
    let second = job.request().succeed();
    assert_snapshot!(second.said());
    job.revoke().arg("--all").succeed();
    job.assert_nothing_left();
}

#[test]
fn two_passes_with_names_of_their_own_need_no_warning() {
    let world = World::new();
    let job = Job::github(&world);
    let first = job.request().args(["--variable", "ONE_TOKEN", "--no-kubeconfig"]).succeed();
    let (one, one_state) = (job.token(), job.state().expect("saved"));
    job.enter(&first);
    let second = job.request().args(["--variable", "OTHER_TOKEN"]).succeed();
    assert!(!second.stderr.contains("warning"), "{}", second.transcript());
    let other_state = job.state().expect("saved");
    job.enter(&second);
    let other = job.get("OTHER_TOKEN").expect("exported");
    assert_eq!(job.get("ONE_TOKEN").as_deref(), Some(one.as_str()));
    // Posts run last in, first out, and each ends its own.
    let post = |state: &str| job.revoke().args(["--action", "post"]).env("STATE_lease", state).succeed();
    post(&other_state);
    world.assert_dies(&other);
    assert!(world.accepts(&one), "the other use of the action is not touched");
    post(&one_state);
    world.assert_dies(&one);
    job.assert_nothing_left();
}

#[test]
fn exported_and_requested_again_and_revoked_with_only_kubeconfig_set() {
    let world = World::new();
    for job in [Job::gitlab(&world), Job::local(&world), Job::github(&world)] {
        // The CI identity comes by KUBECONFIG alone, which the first pass then takes over.
        job.unset_if_set(["JOBPASS_KUBECONFIG", "JOBPASS_IDENTITY_KUBECONFIG"]);
        job.set("KUBECONFIG", job.identity_file());
        let first = job.request().succeed();
        job.enter(&first);
        let one = job.get("OPENSHIFT_TOKEN").expect("exported");
        let second = job.request().succeed();
        job.enter(&second);
        let other = job.get("OPENSHIFT_TOKEN").expect("exported");
        assert_ne!(one, other);
        job.unset_if_set(["OPENSHIFT_TOKEN", "JOBPASS_TOKEN_FILE", "JOBPASS_LEASE", "JOBPASS_EXPIRES_AT"]);
        job.revoke().arg("--all").succeed();
        for token in [one, other] {
            world.assert_dies(&token);
        }
        job.assert_nothing_left();
    }
}

#[test]
fn a_nested_jobpass_does_not_take_the_outer_passs_target() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let outer = job.request().args(["--target-namespace", "prod"]).succeed();
    job.enter(&outer);
    let inner = job.jobpass().args(["request", "--ttl", "20m", "-s", &world.account()]).succeed();
    assert!(inner.is_success());
    let config = std::fs::read_to_string(job.place().join("kubeconfig")).expect("written");
    assert!(!config.contains("prod"), "JOBPASS_PASS_NAMESPACE is an output, not a setting");
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_command_does_not_take_the_pass_from_the_script_around_it() {
    let world = World::new();
    let traced = Job::gitlab(&world);
    traced.set("CI_DEBUG_TRACE", "true");
    let request = traced.request().succeed();
    traced.enter(&request);
    assert_eq!(traced.run("echo not reached").run().end, End::Code(125), "a trace takes the variables away, not the pass");
    traced.revoke().succeed();
    let job = Job::gitlab(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let token = job.get("OPENSHIFT_TOKEN").expect("exported");
    let refused = job.run("echo not reached").run();
    assert_eq!((refused.end, refused.requests.len()), (End::Code(125), 0), "{}", refused.transcript());
    assert_snapshot!(refused.said());
    assert!(world.accepts(&token), "nothing is lost");
    job.run_with(["--job-key", "another"], "test -s \"$JOBPASS_TOKEN_FILE\" && test -z \"${OPENSHIFT_TOKEN-}\"").succeed();
    assert!(world.accepts(&token));
    job.revoke().succeed();
    world.assert_dies(&token);
    // The variables of the shell stay, and the pass is over.
    job.run("true").succeed();
    job.assert_nothing_left();
}
