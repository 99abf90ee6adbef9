//! A job exchanges its token at an endpoint that the cluster trusts: what is asked, what is refused, and what is left of it.

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{
        Job, Ran, World, doors, eventually,
        oidc::{self, Answer, Exchange, GitHub},
    },
    holding::hold,
};

/// A GitHub whose jobs the cluster does not know, and the endpoint that knows them.
pub(crate) struct Federation<'w> {
    world: &'w World,
    pub(crate) github: GitHub,
    pub(crate) endpoint: Exchange,
}

impl<'w> Federation<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        let (github, endpoint) = world.exchange();
        let authority = |url: &str| url.split('/').nth(2).unwrap_or_default().to_owned();
        world.names_exact(&authority(&endpoint.url()), "EXCHANGE");
        world.names_exact(&authority(&github.url()), "GITHUB");
        Self { world, github, endpoint }
    }

    /// A GitHub job with `id-token: write` and nothing stored; and how GitHub knows it.
    pub(crate) fn job(&self) -> (Job<'w>, oidc::Job) {
        let job = Job::github(self.world);
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        let known = self.github.job(&json!({}));
        self.world.secret(&known.request_token);
        job.set("ACTIONS_ID_TOKEN_REQUEST_URL", &known.request_url);
        job.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &known.request_token);
        self.set_up(&job);
        (job, known)
    }

    /// A GitLab job with an ID token for the endpoint, and nothing stored.
    fn gitlab(&self) -> Job<'w> {
        let job = Job::gitlab(self.world);
        job.unset("JOBPASS_KUBECONFIG");
        job.set("JOBPASS_IDENTITY_ID_TOKEN", self.token(&self.endpoint.url()));
        self.set_up(&job);
        job
    }

    /// A token of the GitLab job's run.
    fn token(&self, audience: &str) -> String {
        let token = self.github.mint(audience, &json!({"run_id": "4711"}));
        self.world.secret(&token);
        token
    }

    fn set_up(&self, job: &Job<'_>) {
        job.set("SSL_CERT_FILE", self.roots(job));
        job.set("JOBPASS_SERVER", self.world.url());
        job.set("JOBPASS_CERTIFICATE_AUTHORITY", self.world.ca_pem());
        job.set("JOBPASS_EXCHANGE_URL", self.endpoint.url());
        job.set("JOBPASS_EXCHANGE_CLIENT_ID", Exchange::CLIENT);
    }

    /// What the system knows: the certificates of GitHub and of the endpoint.
    fn roots(&self, job: &Job<'_>) -> PathBuf {
        let roots = job.directory().join("roots.crt");
        doors::write(&roots, &format!("{}{}", self.github.ca_pem(), self.endpoint.ca_pem()));
        roots
    }
}

/// What was said, without the masks: those of an exchanged token are others in each run.
fn talk(ran: &Ran) -> String {
    ran.said().lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_job_exchanges_its_token_and_nothing_is_stored() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (job, known) = federation.job();
    job.set("JOBPASS_EXCHANGE_AUDIENCE", world.url());
    job.set("JOBPASS_EXCHANGE_SCOPE", "openid kubernetes");
    let requested = job.request().succeed();
    assert_snapshot!(talk(&requested));
    let token = job.token();
    assert!(world.accepts(&token));
    assert!(job.state().is_some_and(|lease| lease.contains(r#""identity":{"kind":"exchange"}"#)), "{:?}", job.state());
    job.post().succeed();
    world.assert_dies(&token);
    job.assert_nothing_left();
    assert_eq!((known.asked(), federation.endpoint.asked().len()), (2, 2), "each step asks anew");
    let mut form = federation.endpoint.asked().remove(0);
    assert!(form.pop().is_some_and(|(name, token)| name == "subject_token" && token.starts_with("eyJ")));
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_snapshot!(world.plain(&form.join("\n")));
}

#[test]
fn the_command_of_run_gets_neither_token() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let script = "test -r \"$KUBECONFIG\" && test -z \"$JOBPASS_IDENTITY_ID_TOKEN$JOBPASS_IDENTITY_TOKEN$JOBPASS_IDENTITY_TOKEN_FILE\"";
    let job = federation.gitlab();
    job.run(script).succeed();
    job.assert_nothing_left();
    let given = federation.token(&federation.endpoint.url());
    job.unset("JOBPASS_IDENTITY_ID_TOKEN");
    job.set("JOBPASS_IDENTITY_TOKEN", &given);
    job.run(script).succeed();
    job.assert_nothing_left();
    // A projected token, or one of SPIFFE's.
    doors::write(&job.directory().join("token"), &(given + "\n"));
    job.unset("JOBPASS_IDENTITY_TOKEN");
    job.set("JOBPASS_IDENTITY_TOKEN_FILE", job.directory().join("token"));
    job.run(script).succeed();
    job.assert_nothing_left();
    let (job, _) = federation.job();
    job.run("test -r \"$KUBECONFIG\" && test -z \"$ACTIONS_ID_TOKEN_REQUEST_URL$ACTIONS_ID_TOKEN_REQUEST_TOKEN\"").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_variable_sends_no_token_to_an_endpoint_instead_of_the_server_that_counts_more() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (job, known) = federation.job();
    let ca = STANDARD.encode(world.ca_pem());
    let flags = ["--server", &world.url(), "--certificate-authority", &ca];
    // A token for the API server itself, asked for by whoever has named an endpoint of his own.
    job.set("JOBPASS_OIDC_AUDIENCE", world.url());
    assert_snapshot!(job.run_with(flags, "true").run().said());
    let main = job.request().args(["--action", "main"]).env("INPUT_SERVER", world.url()).env("INPUT_CERTIFICATE-AUTHORITY", world.ca_pem());
    assert!(!main.run().is_success());
    // A token that is stored as a variable.
    job.unset("JOBPASS_OIDC_AUDIENCE");
    job.set("JOBPASS_IDENTITY_TOKEN", world.identity_token());
    assert_snapshot!(job.run_with(flags, "true").run().said());
    assert_eq!((known.asked(), federation.endpoint.asked().len(), world.relay().connections()), (0, 0, 0));
    // One that is for that endpoint alone may go there.
    job.unset("JOBPASS_IDENTITY_TOKEN");
    job.run_with(flags, "true").succeed();
    let given = federation.github.mint(&federation.endpoint.url(), &json!({}));
    world.secret(&given);
    job.set("JOBPASS_IDENTITY_TOKEN", given);
    job.run_with(flags, "true").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_pass_is_renewed_by_a_token_that_is_exchanged_in_that_moment() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (job, _) = federation.job();
    let holding = hold(&job).start();
    eventually("the pass is ready", || job.base().join("ready").exists());
    let token = || fs::read_to_string(job.base().join("token")).expect("held");
    let first = token();
    holding.signal(Signal::USR1);
    eventually("the token is renewed", || token() != first);
    assert!(world.accepts(&token()));
    holding.signal(Signal::TERM);
    holding.wait().assert().success();
    world.assert_dies(&first);
    job.assert_nothing_left();
}

#[test]
fn a_job_that_outlives_the_token_that_it_exchanges_is_told_so() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let job = federation.gitlab();
    job.set("CI_JOB_TIMEOUT", "7200");
    assert_snapshot!(talk(&job.run("true").succeed()));
    // A token in a file may be another one each time.
    let file = job.identity_file();
    doors::write(&file, &job.get("JOBPASS_IDENTITY_ID_TOKEN").expect("it is set"));
    job.unset("JOBPASS_IDENTITY_ID_TOKEN");
    job.set("JOBPASS_IDENTITY_TOKEN_FILE", &file);
    let ran = job.run("true").succeed();
    assert!(!ran.stderr.contains("warning"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn an_endpoint_that_refuses_says_why() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let mut said = Vec::new();
    let mut tell = |what: &str, job: &Job<'_>, set: &[(&str, &str)]| {
        let mut call = job.request();
        for (name, value) in set {
            call = call.env(name, *value);
        }
        let refused = call.run();
        assert!(!refused.is_success() && refused.requests.is_empty(), "{}", refused.transcript());
        assert!(world.secrets().is_empty());
        said.push(format!("# {what}\n{}", talk(&refused)));
        job.assert_nothing_left();
    };
    let (job, _) = federation.job();
    for (what, name, value) in [
        ("a client that nobody knows", "JOBPASS_EXCHANGE_CLIENT_ID", "other"),
        ("a target that nobody knows", "JOBPASS_EXCHANGE_AUDIENCE", "https://other.example"),
        ("a resource that nobody knows", "JOBPASS_EXCHANGE_RESOURCE", "https://other.example"),
        ("a scope that nobody knows", "JOBPASS_EXCHANGE_SCOPE", "root"),
        ("a type that is not taken", "JOBPASS_EXCHANGE_SUBJECT_TYPE", "access_token"),
        ("an audience that is not the endpoint's", "JOBPASS_OIDC_AUDIENCE", "https://other.example"),
        ("no such address", "JOBPASS_EXCHANGE_URL", &federation.endpoint.url().replace("token", "nothing")),
    ] {
        tell(what, &job, &[(name, value)]);
    }
    let job = federation.gitlab();
    let over = federation.github.mint(&federation.endpoint.url(), &json!({"exp": 1}));
    tell("a token that is over", &job, &[("JOBPASS_IDENTITY_ID_TOKEN", &over)]);
    let other = federation.token("https://other.example");
    tell("a given token for somebody else", &job, &[("JOBPASS_IDENTITY_ID_TOKEN", &other)]);
    tell("no token at all", &job, &[("JOBPASS_IDENTITY_ID_TOKEN", "")]);
    tell("no endpoint", &job, &[("JOBPASS_EXCHANGE_URL", ""), ("JOBPASS_IDENTITY", "exchange")]);
    tell("no server", &job, &[("JOBPASS_SERVER", "")]);
    tell("another kind of identity", &job, &[("JOBPASS_IDENTITY_KUBECONFIG", "apiVersion: v1")]);
    assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_token_that_no_api_server_takes_is_not_sent_to_one() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (job, _) = federation.job();
    job.set("JOBPASS_EXCHANGE_AUDIENCE", world.url());
    let granted = |changes: Value| {
        let mut body = json!({"access_token": "an-opaque-token-of-somebody", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                              "token_type": "Bearer", "expires_in": 300});
        for (name, value) in changes.as_object().expect("an object") {
            body[name] = value.clone();
        }
        Answer::Status(200, body.to_string())
    };
    let elsewhere = world.gitlab().mint("https://other.example", &json!({}));
    world.secret(&elsewhere);
    let mut said = Vec::new();
    for (what, answer) in [
        ("no bearer token", granted(json!({"token_type": "N_A"}))),
        ("a refresh token", granted(json!({"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}))),
        ("a token for another audience", granted(json!({"access_token": elsewhere}))),
        ("no token", granted(json!({"access_token": Value::Null}))),
        ("a form in the place of JSON", Answer::Other(200, "application/x-www-form-urlencoded", "access_token=opaque-token".to_owned())),
        (
            "a refusal as a form, with 200",
            Answer::Other(200, "application/x-www-form-urlencoded", "error=invalid_grant&error_description=not+you".to_owned()),
        ),
    ] {
        federation.endpoint.set_answer(answer);
        let refused = job.request().run();
        assert!(!refused.is_success() && refused.requests.is_empty(), "{}", refused.transcript());
        said.push(format!("# {what}\n{}", talk(&refused)));
        job.assert_nothing_left();
    }
    // The server answers 401 to what it does not know; once more is asked for, and the pass of nobody is left.
    federation.endpoint.set_answer(granted(json!({})));
    let refused = job.request().run();
    assert!(!refused.is_success());
    said.push(format!("# a token that the server does not know\n{}", talk(&refused)));
    job.assert_nothing_left();
    assert_snapshot!(said.join("\n\n"));
}
