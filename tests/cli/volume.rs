//! What a job of GitLab finds on its volume: the next job of a project gets it as the one before has left it, whatever its branch.

use std::{fs, os::unix::fs::symlink};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Job, World, doors},
    usage::{exec, plugin, replace_user},
};

#[test]
fn what_an_earlier_job_of_gitlab_left_decides_nothing() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let (place, token, name) = (job.place(), job.token(), job.lease());
    let honest = fs::read_to_string(place.join("lease.json")).expect("there is one");
    let mut lease: Value = serde_json::from_str(&honest).expect("JSON");
    job.unset("JOBPASS_KUBECONFIG");

    // A lease that sends us to a credential plugin, in the places that such a job can write.
    let ran = job.directory().join("ran");
    let script = format!("touch '{}'; exit 1", ran.display());
    let evil = replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), ""));
    symlink(job.base(), job.directory().join("link")).expect("a link");
    for path in ["work/evil", "work.tmp/evil", "work.tmp/../work/evil", "link/evil"] {
        let path = job.directory().join(path);
        doors::write(&path, &evil);
        lease["identity"] = json!({"kind": "kubeconfig", "paths": [path]});
        doors::write(&place.join("lease.json"), &lease.to_string());
        let revoked = job.revoke().succeed();
        assert!(revoked.stderr.contains("there is no CI identity"), "{}", revoked.transcript());
        lease["identity"] = json!({"kind": "bearer", "tokenFile": path});
        doors::write(&place.join("lease.json"), &lease.to_string());
        job.revoke().env("JOBPASS_SERVER", world.url()).succeed();
        assert!(!ran.exists(), "{} was used", path.display());
        fs::remove_file(&path).expect("it is there");
    }

    // A lease of another name that says it is this job's: its end would be the end of somebody else's pass.
    let other = place.with_file_name(format!("jobpass-{:032x}", 1));
    doors::make_directory(&other);
    let foreign = honest.replace(&name, &format!("jobpass-{:032x}", 1));
    doors::write(&other.join("lease.json"), &foreign);
    doors::write(&place.join("lease.json"), &honest);
    job.set("JOBPASS_KUBECONFIG", job.identity_file());
    let revoked = job.revoke().succeed();
    assert_eq!(revoked.stderr.matches("revoked the pass").count(), 1, "{}", revoked.transcript());
    assert!(other.exists());
    world.assert_dies(&token);
}

#[test]
fn an_unreadable_lease_of_another_job_is_not_ours_to_speak_of() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let other = job.place().with_file_name(format!("jobpass-{:032x}", 1));
    doors::make_directory(&other);
    doors::write(&other.join("lease.json"), "{}");
    let revoked = job.revoke().args(["--strict", "--service-account", &world.account()]).succeed();
    assert!(!revoked.stderr.contains("warning"), "{}", revoked.transcript());
    // Its own is another matter.
    job.request().succeed();
    let own = job.places().into_iter().find(|place| *place != other).expect("it is there");
    doors::write(&own.join("lease.json"), "{}");
    let strict = job.revoke().args(["--strict", "--service-account", &world.account()]).run();
    assert!(!strict.is_success() && strict.stderr.contains("may be left alive"), "{}", strict.transcript());
    assert_eq!(world.secrets(), [""; 0], "its name is known all the same");
}

#[test]
fn a_killed_pass_with_a_job_key_of_its_own_is_the_jobs_all_the_same() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let running = job.run_with(["--job-key", "second"], "echo begun; sleep 50").start();
    running.said("begun");
    running.signal(Signal::KILL);
    running.wait();
    let token = job.token();
    job.revoke().succeed();
    world.assert_dies(&token);
    job.assert_nothing_left();
    // A job of another number does not touch it.
    job.request().args(["--job-key", "second"]).succeed();
    let id = job.get("CI_JOB_ID").expect("set");
    job.set("CI_JOB_ID", "4712");
    assert_eq!(job.revoke().succeed().said(), "nothing to revoke");
    job.set("CI_JOB_ID", id);
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_kubeconfig_that_the_runner_put_there_is_the_identity_all_the_same() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    // As of GitLab's agent: a file variable, which the pass's own kubeconfig then takes the place of.
    doors::make_directory(&job.base().join(".kube"));
    let agents = job.base().join(".kube/KUBECONFIG");
    fs::rename(job.identity_file(), &agents).expect("moved");
    job.set("KUBECONFIG", &agents);
    let request = job.request().succeed();
    job.enter(&request);
    assert_ne!(job.get("KUBECONFIG"), agents.to_str().map(str::to_owned));
    let again = job.request().succeed();
    job.enter(&again);
    let token = job.token();
    job.revoke().succeed();
    world.assert_dies(&token);
    // And in after_script, where the variable is as it was.
    job.set("KUBECONFIG", &agents);
    job.unset_if_set(["JOBPASS_LEASE", "JOBPASS_TOKEN_FILE", "OPENSHIFT_TOKEN"]);
    job.request().succeed();
    job.revoke().succeed();
    // One of several, which a flag has named.
    job.unset("KUBECONFIG");
    job.set("STAGING_KUBECONFIG", &agents);
    job.request().args(["--kubeconfig", &agents.to_string_lossy()]).succeed();
    job.revoke().succeed();
    assert_eq!(world.secrets(), [""; 0]);
}
