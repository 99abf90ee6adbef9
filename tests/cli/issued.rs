//! A job that has nothing but what its platform issues to it: when it asks, what it is told, and what its command may not have.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{
    Job, Ran, World, doors, leak,
    oidc::{self, Answer},
    records,
};

/// A step of a GitHub job with `id-token: write` and a server, and the job as GitHub knows it.
fn github(world: &World) -> (Job<'_>, oidc::Job) {
    let job = Job::github(world);
    job.unset("JOBPASS_IDENTITY_KUBECONFIG");
    let known = world.github_job(&json!({}));
    job.set("ACTIONS_ID_TOKEN_REQUEST_URL", &known.request_url);
    job.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &known.request_token);
    let roots = job.directory().join("roots.pem");
    doors::write(&roots, world.github().ca_pem());
    job.set("SSL_CERT_FILE", &roots);
    with_server(&job);
    world.names_exact(&world.github().url(), "GITHUB");
    (job, known)
}

/// A GitLab job with an ID token that says this, too.
fn gitlab<'w>(world: &'w World, changes: &Value) -> Job<'w> {
    let job = Job::gitlab(world);
    job.unset("JOBPASS_KUBECONFIG");
    job.set("JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(changes));
    with_server(&job);
    job
}

fn with_server(job: &Job<'_>) {
    job.set("JOBPASS_SERVER", job.world.url());
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", job.world.ca_pem());
}

/// No token that was issued is in what a reader sees: of GitHub's commands only masks may have it.
fn assert_unseen(job: &oidc::Job, ran: &Ran) {
    let said = ran.said();
    let seen: Vec<_> = said.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
    assert_eq!(leak::find(&seen.join("\n"), &job.issued()), None, "{}", ran.transcript());
}

#[test]
fn github_is_asked_once_by_the_step_and_once_by_its_post_step() {
    let world = World::trusting();
    let (job, known) = github(&world);
    let request = job.request().succeed();
    assert_eq!(known.asked(), 1);
    assert_unseen(&known, &request);
    // A token that is masked need not be exported to leak: it is nowhere.
    for name in ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"] {
        let (text, issued) = (job.file_command(name), known.issued());
        assert!(issued.iter().flat_map(|token| token.rsplit('.')).all(|part| !text.contains(part)), "{name}");
    }
    assert!(records(&job.file_command("GITHUB_OUTPUT")).iter().any(|(name, _)| name == "token"));
    let token = job.token();
    let post = job.post().succeed();
    assert_eq!(known.asked(), 2);
    assert_ne!(known.issued()[0], known.issued()[1]);
    assert_unseen(&known, &post);
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn a_job_that_is_being_cancelled_is_issued_none_and_says_until_when_its_token_lives() {
    let world = World::trusting();
    let (job, known) = github(&world);
    job.request().succeed();
    let token = job.token();
    known.set_answer(Answer::Status(403, json!({"message": "Server won't issue ID_TOKEN for non-inprogress job"}).to_string()));
    let post = job.post().succeed();
    assert_snapshot!(post.said());
    assert!(world.is_live(&token));
}

#[test]
fn a_job_without_the_permission_is_told_what_to_write() {
    let world = World::trusting();
    let (job, _) = github(&world);
    for name in ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
        job.unset(name);
    }
    assert_snapshot!(job.request().run().said());
}

#[test]
fn the_command_cannot_have_a_token_issued_to_itself() {
    let world = World::trusting();
    let (job, known) = github(&world);
    let script = "echo \"url: ${ACTIONS_ID_TOKEN_REQUEST_URL-none}, token: ${ACTIONS_ID_TOKEN_REQUEST_TOKEN-none}\"";
    let ran = job.run(script).succeed();
    assert_snapshot!(ran.transcript());
    assert_unseen(&known, &ran);
    // What is kept is for tools of its own, as cosign; the secret of it is scrubbed all the same.
    let kept = ["--keep", "ACTIONS_ID_TOKEN_REQUEST_URL", "--keep", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];
    let ran = job.run_with(kept, script).succeed();
    assert!(ran.stdout.starts_with("url: https://") && ran.stdout.ends_with("token: ***\n"), "{}", ran.transcript());
    assert!(!ran.stderr.contains("hidden from the command"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_command_cannot_have_what_the_job_logs_in_with_under_another_name() {
    let world = World::trusting();
    // The runner's token has two names where somebody exports what actions get of it.
    let (job, known) = github(&world);
    job.set("ACTIONS_RUNTIME_TOKEN", &known.request_token);
    let ran = job.run("echo \"${ACTIONS_RUNTIME_TOKEN-none}\"").succeed();
    assert_snapshot!(ran.transcript());
    let ran = job.run_with(["--keep", "ACTIONS_RUNTIME_TOKEN"], "echo \"${ACTIONS_RUNTIME_TOKEN-none}\"").succeed();
    assert_eq!(ran.stdout, "***\n", "{}", ran.transcript());
    // A variable of the project that the job hands over as what jobpass reads.
    let job = gitlab(&world, &json!({}));
    job.set("CI_JOB_TIMEOUT", "300");
    job.set("DEPLOY_JWT", job.get("JOBPASS_IDENTITY_ID_TOKEN").expect("set"));
    let ran = job.run("echo \"${DEPLOY_JWT-none}\"").succeed();
    assert_eq!(ran.stdout, "none\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_command_whose_identity_is_another_one_keeps_what_the_runner_gave_it() {
    let world = World::trusting();
    let (job, known) = github(&world);
    job.set("JOBPASS_IDENTITY_KUBECONFIG", world.kubeconfig());
    let with_own = job.run("echo \"${ACTIONS_ID_TOKEN_REQUEST_URL-none}\"").without("JOBPASS_SERVER");
    let ran = with_own.without("JOBPASS_CERTIFICATE_AUTHORITY").succeed();
    assert!(ran.stdout.starts_with("https://"), "{}", ran.transcript());
    assert_eq!(known.asked(), 0);
}

#[test]
fn gitlabs_token_is_taken_from_its_variable_and_is_not_the_commands() {
    let world = World::trusting();
    let job = gitlab(&world, &json!({}));
    job.set("CI_JOB_TIMEOUT", "300");
    let ran = job.run("echo \"${JOBPASS_IDENTITY_ID_TOKEN-none}\"").succeed();
    assert_snapshot!(ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_job_that_asks_for_its_own_token_gets_it_beside_a_stored_one() {
    let world = World::trusting();
    let job = gitlab(&world, &json!({}));
    let server = world.url();
    let asked_as = |job: &Job<'_>| {
        let ran = job.run("true").succeed();
        ran.stderr.lines().find_map(|line| line.split_once(", asked as ")).map(|(_, asked)| asked.to_owned()).expect("said")
    };
    job.set("JOBPASS_SERVER", server);
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
    job.set("JOBPASS_IDENTITY_TOKEN", world.identity_token());
    assert_eq!(asked_as(&job), "the identity token of `JOBPASS_IDENTITY_TOKEN`");
    job.set("JOBPASS_IDENTITY", "oidc");
    assert_eq!(asked_as(&job), "the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`");
    job.unset("JOBPASS_IDENTITY_TOKEN");
    assert_eq!(asked_as(&job), "the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`");
}

#[test]
fn a_job_that_outlives_its_token_is_told_until_when_it_is_renewed_and_revoked() {
    let world = World::trusting();
    let job = gitlab(&world, &json!({}));
    job.set("CI_JOB_TIMEOUT", "7200");
    assert_snapshot!(job.run("true").succeed().said());
    assert_snapshot!(job.request().succeed().said());
    job.revoke().succeed();
    // GitLab issues it for the job's timeout: then it is as good as a token can be.
    let now = jiff::Timestamp::now().as_second();
    job.set("JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(&json!({"iat": now, "exp": now + 7200})));
    let ran = job.run_with(["--ttl", "15m"], "true").succeed();
    assert!(!ran.stderr.contains("warning"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn what_was_meant_is_said_where_the_server_or_the_token_is_mistaken() {
    let world = World::trusting();
    let (url, token) = (world.url(), world.gitlab_token(&json!({})));
    let mut said = Vec::new();
    for (what, name, value) in [
        // As a template leaves it whose variable nobody has set.
        ("no server", "JOBPASS_SERVER", String::new()),
        ("a server without TLS", "JOBPASS_SERVER", url.replace("https", "http")),
        ("a token as the server", "JOBPASS_SERVER", token.clone()),
        ("a variable that was not expanded", "JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(&json!({"aud": "$JOBPASS_SERVER"}))),
        ("quotes", "JOBPASS_IDENTITY_ID_TOKEN", format!("\"{token}\"")),
        ("a whole header", "JOBPASS_IDENTITY_ID_TOKEN", format!("Bearer {token}")),
    ] {
        let refused = gitlab(&world, &json!({})).run("true").env(name, value).run();
        assert!(!refused.is_success(), "{what}: {}", refused.transcript());
        said.push(format!("# {what}\n{}\n", refused.said()));
    }
    assert_eq!(world.relay().connections(), 0);
    assert_snapshot!(said.join("\n"));
}

#[test]
fn a_token_for_several_servers_goes_only_where_a_flag_says() {
    let world = World::trusting();
    let job = gitlab(&world, &json!({"aud": "jobpass"}));
    let refused = job.run("true").run();
    assert_snapshot!(refused.said());
    assert_eq!(world.relay().connections(), 0);
    let flags = ["--server", &world.url(), "--certificate-authority", &STANDARD.encode(world.ca_pem())];
    // This cluster does not know that audience; but there it was sent.
    let sent = job.run_with(flags, "true").run();
    assert!(sent.stderr.contains("401 Unauthorized"), "{}", sent.transcript());
}

#[test]
fn an_audience_that_a_flag_names_is_not_sent_where_a_variable_says() {
    let world = World::trusting();
    let (job, known) = github(&world);
    let refused = job.run_with(["--oidc-audience", "jobpass"], "true").run();
    assert_snapshot!(refused.said());
    assert_eq!((world.relay().connections(), known.asked()), (0, 0));
}

#[test]
fn a_pass_is_ended_by_a_token_for_whom_it_was_begun() {
    let world = World::trusting();
    let (job, _) = github(&world);
    for identity in ["auto", "oidc"] {
        job.set("JOBPASS_IDENTITY", identity);
        // An audience that somebody has set since, in a step without the action or before its post step.
        job.request().succeed();
        let token = job.token();
        job.revoke().env("JOBPASS_OIDC_AUDIENCE", "nobody").succeed();
        world.assert_dies(&token);
        job.set("JOBPASS_OIDC_AUDIENCE", world.url());
        job.request().args(["--action", "main"]).succeed();
        let token = job.token();
        job.post().env("JOBPASS_OIDC_AUDIENCE", "nobody").succeed();
        world.assert_dies(&token);
        job.unset("JOBPASS_OIDC_AUDIENCE");
        job.assert_nothing_left();
    }
}

#[test]
fn a_pods_other_token_goes_where_it_is_for() {
    let (home, world) = (World::sandbox("the pod's own cluster"), World::trusting());
    let job = Job::gitlab(&home);
    job.unset("JOBPASS_KUBECONFIG");
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/for-another";
    let in_pod = |token: &str| {
        let command = job.in_pod(home.identity_token()).env("JOBPASS_IDENTITY_TOKEN_FILE", path).env("JOBPASS_SERVER", world.url());
        doors::write(&job.directory().join("identity.mount/for-another"), token);
        command.env("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem()).args(["run", "-s", &world.account(), "--", "true"])
    };
    // For this server: it is of no use elsewhere, and may be named by a variable.
    in_pod(&world.gitlab_token(&json!({}))).succeed();
    assert_eq!(world.secrets(), [""; 0]);
    let (sent, of_home) = (world.relay().connections(), home.relay().connections());
    // For somebody else, whose token a variable must not send away.
    let refused = in_pod(&world.gitlab_token(&json!({"aud": "sts.amazonaws.com"}))).run();
    assert_snapshot!(refused.said());
    // For the pod's own API server, under whatever name and for whatever reason it is there.
    let refused = in_pod(home.identity_token()).run();
    assert_snapshot!(refused.said());
    assert_eq!((world.relay().connections(), home.relay().connections()), (sent, of_home));
}

#[test]
fn a_pods_other_token_is_not_sent_to_an_endpoint_that_a_variable_names() {
    let (home, world) = (World::sandbox("the pod's own cluster"), World::trusting());
    let elsewhere = World::sandbox("nobody may come here");
    let job = Job::gitlab(&home);
    job.unset("JOBPASS_KUBECONFIG");
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/for-another";
    let in_pod = |token: &str| {
        let command = job.in_pod(home.identity_token()).env("JOBPASS_IDENTITY_TOKEN_FILE", path).env("JOBPASS_SERVER", world.url());
        doors::write(&job.directory().join("identity.mount/for-another"), token);
        command.env("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem()).env("JOBPASS_EXCHANGE_URL", elsewhere.url() + "/token")
    };
    // Neither where it is for the API server that is set, nor for anybody else.
    for audience in [world.url(), "sts.amazonaws.com".to_owned()] {
        let token = world.gitlab_token(&json!({"aud": audience}));
        let refused = in_pod(&token).args(["run", "-s", &world.account(), "--", "true"]).run();
        assert!(refused.said().contains("`JOBPASS_EXCHANGE_URL` may not say where"), "{}", refused.transcript());
    }
    assert_eq!([&world, &home, &elsewhere].map(|world| world.relay().connections()), [0; 3]);
    // One that is for that endpoint may go there. Here its certificate is not known.
    let token = world.gitlab_token(&json!({"aud": elsewhere.url()}));
    let sent = in_pod(&token).args(["run", "-s", &world.account(), "--", "true"]).run();
    assert!(sent.said().contains("the token endpoint's certificate is not trusted"), "{}", sent.transcript());
}
