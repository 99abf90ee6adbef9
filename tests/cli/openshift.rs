//! OpenShift's own login as the CI identity: its token is used for the lease alone, and revoked by its name.

use std::time::Duration;

use insta::assert_snapshot;
use jobpass_sandbox::{Fault, Gate, OauthServer};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{End, Job, On, Ran, World, doors, pages};

mod real;

const PASSWORD: &str = "correct horse battery";

/// An OpenShift where alice may do what jobpass needs.
struct OpenShift {
    world: World,
    oauth: OauthServer,
}

impl OpenShift {
    fn new() -> Self {
        let world = World::sandbox("a login is played on loopback");
        let oauth = world.on_sandbox().start_oauth();
        oauth.add_user("alice", PASSWORD);
        world.on_sandbox().grant_jobpass("alice", world.namespace(), "deploy-bot");
        world.names_exact(oauth.url().trim_start_matches("https://"), "OAUTH");
        world.secret(PASSWORD);
        Self { world, oauth }
    }

    /// A job that has nothing but the user and the password. The OAuth server's authority is one of the system's roots, the API
    /// server's is given.
    fn job<'w>(&'w self, job: Job<'w>) -> Job<'w> {
        job.unset_if_set(["JOBPASS_KUBECONFIG", "JOBPASS_IDENTITY_KUBECONFIG", "JOBPASS_IDENTITY_TOKEN_FILE", "KUBECONFIG"]);
        let (own, ingress) = (job.directory().join("identity.ca"), job.directory().join("identity.ingress"));
        doors::write(&own, &self.world.ca_pem());
        doors::write(&ingress, &self.oauth.ca_pem());
        job.set("JOBPASS_SERVER", self.world.url());
        job.set("JOBPASS_CERTIFICATE_AUTHORITY", own);
        job.set("SSL_CERT_FILE", ingress);
        job.set("JOBPASS_IDENTITY_USERNAME", "alice");
        job.set("JOBPASS_IDENTITY_PASSWORD", PASSWORD);
        job
    }

    fn jobs(&self) -> [Job<'_>; 4] {
        Job::all(&self.world).map(|job| self.job(job))
    }

    fn assert_no_token_lives(&self) {
        assert_eq!(self.oauth.tokens(), [""; 0], "a token of a login is left");
    }
}

/// A program of that name on the job's PATH, which is this script.
fn put_program(job: &Job<'_>, name: &str, script: &str) {
    let programs = job.directory().join("bin");
    doors::make_directory(&programs);
    doors::write_program(&programs.join(name), &format!("#!/bin/sh\n{script}\n"));
    let path = job.get("PATH").expect("set");
    if !path.starts_with(programs.to_str().expect("UTF-8")) {
        job.set("PATH", format!("{}:{path}", programs.display()));
    }
}

/// An example of the page, for this world.
fn example(shift: &OpenShift, name: &str) -> String {
    let text = pages::example("openshift", name);
    let text = text.replace("https://api.cluster.example.com:6443", &shift.world.url()).replace("=deployer", "=alice");
    text.replace("ci/deploy-bot", &shift.world.account())
}

#[test]
fn a_check_gives_back_what_it_has_logged_in_with() {
    let shift = OpenShift::new();
    for job in shift.jobs() {
        let ran = job.jobpass().args(["doctor", "-s", &shift.world.account()]).run();
        // A user of OpenShift is in no group that the policies watch.
        assert_eq!(ran.end, End::Code(13), "{}", ran.transcript());
        shift.assert_no_token_lives();
        assert_eq!(shift.world.secrets(), [""; 0]);
    }
}

#[test]
fn a_check_does_not_revoke_the_token_that_it_was_given() {
    let shift = OpenShift::new();
    let job = Job::local(&shift.world);
    let token = shift.oauth.token("alice");
    shift.world.secret(&token);
    doors::write(&job.identity_file(), &shift.world.kubeconfig_of(&token));
    let ran = job.jobpass().args(["doctor", "-s", &shift.world.account(), "--revoke-identity"]).run();
    assert_eq!(ran.end, End::Code(13), "{}", ran.transcript());
    assert_eq!(shift.oauth.tokens().len(), 1);
}

#[test]
fn the_examples_of_the_page() {
    let shift = OpenShift::new();
    let job = shift.job(Job::gitlab(&shift.world));
    job.unset("JOBPASS_IDENTITY_USERNAME");
    job.unset("JOBPASS_SERVER");
    put_program(&job, "oc", "grep -q tokenFile \"$KUBECONFIG\" && test -z \"${JOBPASS_IDENTITY_PASSWORD-}\" && echo \"oc $*\"");
    let ran = job.shell("sh", &example(&shift, "login")).succeed();
    assert_eq!(ran.stdout, "oc apply -f manifests/\n", "{}", ran.transcript());
    shift.assert_no_token_lives();
    let job = Job::gitlab(&shift.world);
    put_program(&job, "podman", "grep -q \"\\\"$JOBPASS_REGISTRY\\\": { .auth\" \"$REGISTRY_AUTH_FILE\" && echo \"podman $*\"");
    let ran = job.shell("sh", &example(&shift, "registry")).succeed();
    assert_eq!(
        ran.stdout,
        "podman push default-route-openshift-image-registry.apps.cluster.example.com/ci/app:1\n",
        "{}",
        ran.transcript()
    );
    assert!(!job.directory().join("home/.jobpass/config.json").exists());
}

fn refused(ran: &Ran) -> String {
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    ran.said()
}

#[test]
fn a_job_with_a_password_leaves_no_token_of_its_logins_on_any_platform() {
    let shift = OpenShift::new();
    for job in shift.jobs() {
        let request = job.request().succeed();
        shift.assert_no_token_lives();
        job.enter(&request);
        let revoke = job.revoke().succeed();
        assert!(revoke.said().contains("revoked the pass"), "{}", revoke.transcript());
        shift.assert_no_token_lives();
        job.assert_nothing_left();
    }
}

#[test]
fn a_request_and_a_revocation_by_password() {
    let shift = OpenShift::new();
    let job = shift.job(Job::gitlab(&shift.world));
    assert_snapshot!("by_password_request", job.request().succeed().transcript());
    assert_snapshot!("by_password_revoke", job.revoke().succeed().transcript());
}

#[test]
fn a_command_does_not_see_the_password_and_each_login_is_revoked() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().max_token_expiration(2);
    let job = shift.job(Job::gitlab(&shift.world));
    let script = "env | grep -c PASSWORD; first=$(cat \"$JOBPASS_TOKEN_FILE\"); i=0
while [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" = \"$first\" ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done
test \"$(cat \"$JOBPASS_TOKEN_FILE\")\" != \"$first\"";
    let ran = job.run(script).succeed();
    assert_eq!(ran.stdout, "0\n");
    let logins = ran.requests.iter().filter(|line| line.starts_with("POST oauth:/oauth/token")).count();
    assert!(logins >= 3, "one to begin, one to renew, one to end: {:?}", ran.requests);
    shift.assert_no_token_lives();
    job.assert_nothing_left();
}

#[test]
fn the_token_of_a_login_that_was_killed_is_revoked_with_its_pass() {
    let shift = OpenShift::new();
    // In a pod other containers may have written the lease file: what it names is not deleted there.
    for job in shift.jobs().into_iter().filter(|job| job.on() != On::Tekton) {
        let gate = Gate::new();
        shift.world.on_sandbox().fault(Fault::on("POST", "/serviceaccounts/").pause_before(&gate));
        let running = job.request().start();
        shift.world.on_sandbox().wait_for(&gate);
        running.signal(Signal::KILL);
        running.wait();
        gate.release();
        assert_eq!(shift.oauth.tokens().len(), 1, "the one of the login");
        let revoke = if job.on() == On::Github { job.post().succeed() } else { job.revoke().succeed() };
        assert!(revoke.said().contains("revoked the OpenShift token of an earlier login of `alice`"), "{}", revoke.transcript());
        shift.assert_no_token_lives();
        job.assert_nothing_left();
    }
}

#[test]
fn a_password_is_hidden_in_what_the_command_prints() {
    let shift = OpenShift::new();
    let job = shift.job(Job::gitlab(&shift.world));
    let file = job.directory().join("identity.password");
    doors::write(&file, PASSWORD);
    assert_eq!(job.run(&format!("cat {}", file.display())).succeed().stdout, "***");
}

#[test]
fn the_post_step_logs_in_anew() {
    let shift = OpenShift::new();
    let job = shift.job(Job::github(&shift.world));
    job.request().succeed();
    let post = job.post().succeed();
    assert!(post.said().contains("revoked the OpenShift token"), "{}", post.transcript());
    shift.assert_no_token_lives();
    job.assert_nothing_left();
}

#[test]
fn a_password_comes_in_a_file_too() {
    let shift = OpenShift::new();
    let job = shift.job(Job::tekton(&shift.world));
    job.unset("JOBPASS_IDENTITY_PASSWORD");
    let file = job.directory().join("identity.password");
    doors::write(&file, &format!("{PASSWORD}\n"));
    job.set("JOBPASS_IDENTITY_PASSWORD_FILE", &file);
    job.request().args(["--identity", "openshift"]).succeed();
    job.revoke().succeed();
    shift.assert_no_token_lives();
    job.assert_nothing_left();
}

#[test]
fn a_wrong_password_is_shown_once() {
    let shift = OpenShift::new();
    let job = shift.job(Job::gitlab(&shift.world));
    shift.world.secret("wrong-password");
    job.set("JOBPASS_IDENTITY_PASSWORD", "wrong-password");
    assert_snapshot!(job.request().run().transcript());
}

#[test]
fn a_pass_that_fails_leaves_no_token_of_its_login() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().revoke_rules("alice");
    let job = shift.job(Job::gitlab(&shift.world));
    refused(&job.request().run());
    shift.assert_no_token_lives();
    job.assert_nothing_left();
}

#[test]
fn what_the_oauth_server_can_say() {
    let shift = OpenShift::new();
    let said = |what: &str, fault: Option<Fault>| {
        let job = shift.job(Job::gitlab(&shift.world));
        if let Some(fault) = fault {
            shift.world.on_sandbox().fault(fault);
        }
        let ran = job.request().args(["--timeout", "6s"]).run();
        shift.world.on_sandbox().clear_faults();
        shift.assert_no_token_lives();
        job.assert_nothing_left();
        format!("# {what}\n{}", refused(&ran))
    };
    let (authorize, token, discovery) = ("/oauth/authorize", "/oauth/token", "/.well-known/oauth");
    let big = "x".repeat(10 << 20);
    let html =
        |status: u16| Fault::on("GET", authorize).answer_text(status, "<html>Log in</html>").header("Content-Type", "text/html").always();
    let mut all = vec![
        said("no OAuth server: discovery 403", Some(Fault::on("GET", discovery).answer(403, json!({"kind": "Status"})).always())),
        said("no OAuth server: discovery 404", Some(Fault::on("GET", discovery).answer_text(404, "404 page not found\n").always())),
        said("discovery is a page", Some(Fault::on("GET", discovery).answer_text(200, "<html></html>").always())),
        said(
            "a redirect to another host",
            Some(Fault::on("GET", authorize).answer_text(302, "").header("Location", "https://evil.example/?code=sha256~x").always()),
        ),
        said(
            "a redirect to a page of its own",
            Some(
                Fault::on("GET", authorize)
                    .answer_text(302, "")
                    .header("Location", &format!("{}/login?then=x", shift.oauth.url()))
                    .always(),
            ),
        ),
        said("a page", Some(html(200))),
        said("10 MB", Some(Fault::on("GET", authorize).answer_text(200, &big).always())),
        said("500", Some(Fault::on("GET", authorize).answer_text(500, "::add-mask::x").always())),
        said(
            "an error with commands and line breaks",
            Some(
                Fault::on("GET", authorize)
                    .answer_text(302, "")
                    .header(
                        "Location",
                        &format!(
                            "{}/oauth/token/implicit?error=access_denied&error_description=%0A%3A%3Aadd-mask%3A%3Ax%0Ay",
                            shift.oauth.url()
                        ),
                    )
                    .always(),
            ),
        ),
        said(
            "a token with a line break",
            Some(Fault::on("POST", token).answer(200, json!({"access_token": "a\nb", "expires_in": 1})).always()),
        ),
    ];
    let silent = said("silence", Some(Fault::on("POST", token).hang().always()));
    assert!(silent.contains("OpenShift's OAuth server did not answer within"), "{silent}");
    shift.oauth.set_away(true);
    all.push(said("the server of the tokens is away", None));
    shift.oauth.set_away(false);
    shift.oauth.set_challenge(false);
    let job = shift.job(Job::gitlab(&shift.world));
    job.set("JOBPASS_IDENTITY_PASSWORD", "wrong-password");
    all.push(format!("# no challenge, and a wrong password\n{}", refused(&job.request().run())));
    shift.oauth.set_challenge(true);
    shift.oauth.pretend("http://oauth.example");
    all.push(said("downgrade to http", None));
    shift.oauth.pretend(&shift.oauth.url());
    shift.oauth.delete_user("alice");
    all.push(said("a user who was deleted", None));
    assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_server_of_tokens_that_comes_back_is_waited_for() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().fault(Fault::on("GET", "/oauth/authorize").answer(400, json!({"error": "server_error"})));
    shift.world.on_sandbox().fault(Fault::on("POST", "/oauth/token").unavailable());
    let job = shift.job(Job::gitlab(&shift.world));
    job.request().succeed();
    assert_eq!(shift.world.on_sandbox().faults_left(), 0);
    job.revoke().succeed();
    shift.assert_no_token_lives();
}

#[test]
fn what_the_server_has_said_counts_though_the_last_try_had_no_time() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().fault(Fault::on("GET", "/oauth/authorize").answer_text(500, "no"));
    shift.world.on_sandbox().fault(Fault::on("GET", "/oauth/authorize").nth(2).hang().always());
    let job = shift.job(Job::gitlab(&shift.world));
    let said = refused(&job.request().args(["--timeout", "8s"]).run());
    assert!(said.ends_with("caused by: OpenShift's OAuth server answered 500 Internal Server Error"), "{said}");
    job.assert_nothing_left();
}

#[test]
fn a_token_whose_answer_was_lost_is_followed_by_another_login() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().fault(Fault::on("POST", "/oauth/token").cut_after_processing());
    let job = shift.job(Job::gitlab(&shift.world));
    job.request().succeed();
    assert_eq!(shift.oauth.tokens().len(), 1, "the lost one, which nobody knows");
}

#[test]
fn a_token_that_cannot_be_revoked_is_told() {
    let shift = OpenShift::new();
    shift.world.on_sandbox().fault(Fault::on("DELETE", "accesstokens/").answer_text(503, "error trying to reach service: no").always());
    let job = shift.job(Job::gitlab(&shift.world));
    let ran = job.request().succeed();
    assert_snapshot!(ran.said());
    shift.world.on_sandbox().clear_faults();
    job.revoke().succeed();
}

#[test]
fn whose_password_is_not_taken() {
    let shift = OpenShift::new();
    let said = |variables: &[(&str, &str)]| {
        let job = shift.job(Job::gitlab(&shift.world));
        for (name, value) in variables {
            if value.is_empty() { job.unset_if_set([name]) } else { job.set(name, value) }
        }
        let ran = job.request().run();
        assert!(ran.requests.is_empty(), "{}", ran.transcript());
        ran.said()
    };
    let all = [
        said(&[("JOBPASS_IDENTITY_USERNAME", "kube:admin")]),
        said(&[("JOBPASS_IDENTITY_USERNAME", "kubeadmin")]),
        said(&[("JOBPASS_IDENTITY_USERNAME", "a:b")]),
        said(&[("JOBPASS_IDENTITY_PASSWORD", "")]),
        said(&[("JOBPASS_IDENTITY_PASSWORD", " ")]),
        said(&[("JOBPASS_SERVER", "")]),
        said(&[("JOBPASS_INSECURE_SKIP_TLS_VERIFY", "true"), ("JOBPASS_CERTIFICATE_AUTHORITY", "")]),
        said(&[("JOBPASS_IDENTITY_USERNAME", ""), ("JOBPASS_IDENTITY", "openshift")]),
        said(&[("JOBPASS_IDENTITY_USERNAME", ""), ("JOBPASS_IDENTITY", "openshift"), ("JOBPASS_IDENTITY_TOKEN", "some-other-token")]),
    ];
    assert_snapshot!(all.join("\n\n"));
}

/// A job with an OAuth token that alice has got elsewhere.
fn with_token<'w>(shift: &'w OpenShift, job: Job<'w>) -> (Job<'w>, String) {
    let job = shift.job(job);
    job.unset_if_set(["JOBPASS_IDENTITY_USERNAME", "JOBPASS_IDENTITY_PASSWORD"]);
    let token = shift.oauth.token("alice");
    shift.world.secret(&token);
    job.set("JOBPASS_IDENTITY_TOKEN", &token);
    (job, token)
}

#[test]
fn a_token_that_was_given_lives_on_unless_its_end_is_wished() {
    let shift = OpenShift::new();
    for job in Job::all(&shift.world) {
        let (job, token) = with_token(&shift, job);
        job.request().succeed();
        job.revoke().succeed();
        assert_eq!(shift.oauth.tokens().len(), 1);
        job.request().args(["--revoke-identity"]).succeed();
        assert_eq!(shift.oauth.tokens().len(), 1, "`revoke` needs it");
        let revoke = job.revoke().args(["--revoke-identity"]).succeed();
        assert!(revoke.said().contains("revoked the OpenShift token"), "{}", revoke.transcript());
        shift.assert_no_token_lives();
        shift.world.on_sandbox().advance(OauthServer::REMEMBERED);
        assert!(!shift.world.accepts(&token));
        job.assert_nothing_left();
    }
}

#[test]
fn a_command_under_a_token_that_is_revoked_with_its_pass() {
    let shift = OpenShift::new();
    let (job, _) = with_token(&shift, Job::gitlab(&shift.world));
    assert_snapshot!(job.run_with(["--revoke-identity"], "env | grep -c sha256~").run().transcript());
    shift.assert_no_token_lives();
}

#[test]
fn a_kubeconfigs_oauth_token_is_revoked_too_and_no_other_kind() {
    let shift = OpenShift::new();
    let token = shift.oauth.token("alice");
    shift.world.secret(&token);
    let job = Job::local(&shift.world);
    doors::write(&job.identity_file(), &shift.world.kubeconfig_of(&token));
    job.run_with(["--revoke-identity"], ":").succeed();
    shift.assert_no_token_lives();
    let job = Job::local(&shift.world);
    assert_snapshot!(job.run_with(["--revoke-identity"], ":").run().said());
}

#[test]
fn a_given_token_stays_where_a_pass_could_not_be_ended() {
    let shift = OpenShift::new();
    let (job, _) = with_token(&shift, Job::gitlab(&shift.world));
    job.request().succeed();
    shift.world.on_sandbox().fault(Fault::on("DELETE", "/secrets/").internal_error().always());
    let ran = job.revoke().args(["--revoke-identity", "--timeout", "6s"]).run();
    assert!(ran.said().contains("is not revoked"), "{}", ran.transcript());
    assert_eq!(shift.oauth.tokens().len(), 1);
    shift.world.on_sandbox().clear_faults();
    shift.world.on_sandbox().advance(Duration::from_secs(1));
    job.revoke().args(["--revoke-identity"]).succeed();
    shift.assert_no_token_lives();
}
