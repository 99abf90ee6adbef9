//! Jobs with nothing stored: GitLab's ID token, for the server's URL, is all that they have.

use serde_json::json;

use super::*;

/// A job whose ID token lives so long, and nothing else to log in with but what its executor gives it.
fn issued<'v>(world: &World, volume: &'v Volume, executor: &'static Executor, form: Form, seconds: i64, script: &[&str]) -> Job<'v> {
    let mut job = job(world, volume, executor, "sh", form, script);
    for name in ["JOBPASS_IDENTITY_KUBECONFIG", "JOBPASS_KUBECONFIG"] {
        job.unset(name);
    }
    let id = job.get("CI_JOB_ID").expect("a job has one").to_owned();
    let now = jiff::Timestamp::now().as_second();
    job.set_masked("JOBPASS_IDENTITY_ID_TOKEN", &world.gitlab_token(&json!({"job_id": id, "iat": now, "exp": now + seconds})));
    job.set("JOBPASS_SERVER", &world.url());
    job.set_file("JOBPASS_CERTIFICATE_AUTHORITY", &world.ca_pem());
    job
}

/// Who the job is it learns from the API server; the rest is as ever.
fn asked() -> Vec<&'static str> {
    [&["POST selfsubjectreviews -> 201"], UNUSED.as_slice()].concat()
}

#[test]
fn the_template_declares_a_token_for_the_server_alone() {
    for name in [".jobpass-run", ".jobpass"] {
        let (_, hidden) = include_str!("../../../../gitlab/jobpass.yml").split_once(&format!("\n{name}:\n")).expect("it is there");
        assert!(hidden.trim_start().contains("id_tokens:\n    JOBPASS_IDENTITY_ID_TOKEN:\n      aud: $JOBPASS_SERVER\n"), "{name}");
    }
}

#[test]
fn every_executor_has_its_pass_with_nothing_stored() {
    at_once(TABLE.iter().flat_map(|executor| FORMS.map(|form| (executor, form))), |(executor, form)| {
        let world = World::trusting();
        let volume = Volume::new();
        let mut job = issued(&world, &volume, executor, form, 3600, &[KEEP, "echo \"i ${JOBPASS_IDENTITY_ID_TOKEN-none}\""]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        // Also in a pod, which has an identity of its own.
        assert!(job.log.contains("asked as the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`"), "{}", job.log);
        assert!(job.log.contains(if form == Form::Wrapper { "\ni none\n" } else { "\ni [MASKED]\n" }), "{}", job.log);
        // A runner of old does not say how long the job may take, and jobpass then renews for a day.
        assert_eq!(job.log.contains("the OIDC token of this job ends at"), executor.is_old && form == Form::Wrapper, "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), asked(), "{}", executor.name);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn a_token_of_five_minutes_is_said_to_be_too_short_for_an_hour() {
    at_once(FORMS, |form| {
        let world = World::trusting();
        let volume = Volume::new();
        let mut job = issued(&world, &volume, executor("docker"), form, 300, &[KEEP]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains("the OIDC token of this job ends at"), "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn a_cancelled_job_is_revoked_with_the_token_that_it_has() {
    // GitLab makes its own tokens invalid at once; an API server takes this one until its end, in a new container, too.
    // Where a cancellation kills all that there is, nobody revokes, as with any identity.
    let tells = TABLE.iter().filter(|executor| executor.cancel.after.is_some());
    at_once(tells.flat_map(|executor| FORMS.map(|form| (executor, form))), |(executor, form)| {
        let world = World::trusting();
        let volume = Volume::new();
        let mut job = issued(&world, &volume, executor, form, 3600, &[KEEP, WAIT]);
        let live = job.start();
        live.said("ready");
        let token = token(&world, &volume);
        let ended = job.befall(live, executor.cancel);
        assert_ne!(ended.script, End::Code(0), "{}", job.log);
        assert_eq!(world.secrets(), [""; 0], "{} {form:?} {}", executor.name, job.log);
        world.assert_dies(&token);
        assert_nothing_left(&world, &job);
    });
}
