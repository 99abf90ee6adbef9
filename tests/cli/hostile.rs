//! Whoever issues a job's credential may be hostile, from the begin or later: nothing leaks, nobody else is asked, the deadline holds.

use std::{
    fs,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use serde_json::json;

use crate::{
    exchange::Federation,
    harness::{
        Job, Ran, World, doors,
        oidc::{Answer, Gate},
    },
};

/// More than any call here may take, however busy the machine is; less than the 30 s that a call takes without `--timeout`.
const SOON: Duration = Duration::from_secs(20);

/// What workflow commands look like: <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>.
const COMMANDS: &str = "no\n::add-mask::a\n::set-env name=PATH::/evil\r::stop-commands::x ##[add-mask]b\n::error::forged";

/// Whoever is asked, and how to have it answer.
struct Asked<'a> {
    job: &'a Job<'a>,
    set: &'a dyn Fn(Answer),
    /// A token that is good for somebody else.
    foreign: String,
}

/// Every answer that is none, by name.
fn answers(elsewhere: &str, foreign: &str, gate: &Gate) -> Vec<(&'static str, Answer)> {
    let commands = json!({"message": COMMANDS, "error": "invalid_request", "error_description": COMMANDS}).to_string();
    vec![
        ("a redirect to another server", Answer::Redirect(elsewhere.to_owned())),
        ("an answer of 10 MB", Answer::Huge),
        ("a page", Answer::Page(200)),
        ("a page that forbids", Answer::Page(403)),
        ("a page of a proxy that fails", Answer::Page(502)),
        ("commands of the runner in an error", Answer::Status(403, commands)),
        ("commands of the runner in the place of JSON", Answer::Status(400, COMMANDS.to_owned())),
        ("a token of several lines", Answer::Value(format!("{}\n{COMMANDS}", &foreign[..40]))),
        ("a command in the place of a token", Answer::Value("::add-mask::a".to_owned())),
        ("a token for another audience", Answer::Value(foreign.to_owned())),
        ("an empty token", Answer::Value(String::new())),
        ("half an answer", Answer::Half),
        ("no answer", Answer::Held(gate.clone())),
        ("a connection that breaks off", Answer::Broken),
    ]
}

/// A call that must fail in time, without a word that a runner would take for a command.
fn refused(call: impl FnOnce() -> Ran) -> Ran {
    let begun = Instant::now();
    let ran = call();
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
    assert!(!ran.stdout.lines().chain(ran.stderr.lines()).any(is_command), "{}", ran.transcript());
    ran
}

/// Has a job ask whoever answers like this, and returns what it said.
fn all(world: &World, asked: &Asked<'_>, elsewhere: &str) -> String {
    let gate = Gate::new();
    let mut said = Vec::new();
    for (what, answer) in answers(elsewhere, &asked.foreign, &gate) {
        (asked.set)(answer);
        // Of which the issuer has a half.
        let ran = refused(|| asked.job.request().args(["--timeout", "12s"]).run());
        assert!(!ran.is_success() && ran.requests.is_empty(), "{what}: {}", ran.transcript());
        said.push(format!("# {what}\n{}", ran.said()));
        asked.job.assert_nothing_left();
        assert!(world.secrets().is_empty(), "{what}");
    }
    gate.release();
    said.join("\n\n")
}

/// The end of a pass whose issuer has become hostile: it is said until when the token lives.
fn post(world: &World, asked: &Asked<'_>, elsewhere: &str) {
    let gate = Gate::new();
    let telling = ["a redirect to another server", "commands of the runner in an error", "a token of several lines", "half an answer"];
    for (what, answer) in answers(elsewhere, &asked.foreign, &gate).into_iter().filter(|(what, _)| telling.contains(what)) {
        (asked.set)(Answer::Token);
        asked.job.request().succeed();
        let token = asked.job.token();
        (asked.set)(answer);
        let ran = refused(|| asked.job.revoke().args(["--timeout", "8s"]).run());
        assert!(ran.stderr.contains("is not revoked") && ran.stderr.contains("stays valid"), "{what}: {}", ran.transcript());
        (asked.set)(Answer::Token);
        asked.job.revoke().succeed();
        world.assert_dies(&token);
        asked.job.assert_nothing_left();
        asked.job.new_step();
    }
    gate.release();
}

/// What a job hears that asks such a GitHub for its first token is in `endpoint.rs`.
#[test]
fn the_end_of_a_pass_whose_github_is_none_any_more() {
    let world = World::trusting();
    let (job, known) = Job::github_with_nothing_stored(&world, &json!({}));
    let foreign = world.github().mint("https://other.example", &json!({}));
    world.secret(&foreign);
    let stranger = Federation::of(&world);
    let roots = job.get("SSL_CERT_FILE").expect("set");
    let trusted = fs::read_to_string(&roots).expect("there") + stranger.endpoint.ca_pem();
    doors::write(roots.as_ref(), &trusted);
    let asked = Asked { job: &job, set: &|answer| known.set_answer(answer), foreign };
    post(&world, &asked, &stranger.endpoint.url());
    assert_eq!(stranger.endpoint.requests(), [""; 0], "nobody else is asked");
}

#[test]
fn a_token_endpoint_that_is_none() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let stranger = Federation::of(&world);
    let (job, _) = federation.job();
    job.set("JOBPASS_EXCHANGE_AUDIENCE", world.url());
    let roots = job.get("SSL_CERT_FILE").expect("set");
    let trusted = fs::read_to_string(&roots).expect("there") + stranger.endpoint.ca_pem();
    doors::write(roots.as_ref(), &trusted);
    let foreign = world.gitlab().mint("https://other.example", &json!({}));
    world.secret(&foreign);
    let asked = Asked { job: &job, set: &|answer| federation.endpoint.set_answer(answer), foreign };
    let said = all(&world, &asked, &stranger.endpoint.url());
    post(&world, &asked, &stranger.endpoint.url());
    assert_eq!(stranger.endpoint.requests(), [""; 0], "nobody else is asked");
    assert_snapshot!(said);
}

#[test]
fn an_issuer_that_nobody_vouches_for_is_shown_nothing() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (github, known) = Job::github_with_nothing_stored(&world, &json!({}));
    let (exchanging, other) = federation.job();
    let mut said = Vec::new();
    let mut tell = |what: &str, job: &Job<'_>, set: [(&str, String); 1]| {
        let [(name, value)] = set;
        let ran = refused(|| job.request().env(name, value).args(["--timeout", "12s"]).run());
        assert!(!ran.is_success() && ran.requests.is_empty(), "{}", ran.transcript());
        said.push(format!("# {what}\n{}", ran.said()));
        job.assert_nothing_left();
    };
    let plain = |url: String| url.replacen("https://", "http://", 1);
    let roots = github.directory().join("other.crt");
    doors::write(&roots, &world.ca_pem());
    let roots = roots.to_string_lossy().into_owned();
    tell("GitHub without TLS", &github, [("ACTIONS_ID_TOKEN_REQUEST_URL", plain(known.request_url.clone()))]);
    tell("GitHub with a user in its address", &github, [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://u:p@x.example/".to_owned())]);
    tell("a GitHub that nobody vouches for", &github, [("SSL_CERT_FILE", roots.clone())]);
    tell("an endpoint without TLS", &exchanging, [("JOBPASS_EXCHANGE_URL", plain(federation.endpoint.url()))]);
    tell("an endpoint that is no address", &exchanging, [("JOBPASS_EXCHANGE_URL", "sts".to_owned())]);
    assert_eq!((known.asked(), other.asked()), (0, 0));
    // GitHub is known, and the endpoint is not.
    doors::write(roots.as_ref(), federation.github.ca_pem());
    tell("an endpoint that nobody vouches for", &exchanging, [("SSL_CERT_FILE", roots)]);
    assert_eq!(federation.endpoint.requests(), [""; 0]);
    assert_snapshot!(said.join("\n\n"));
}
