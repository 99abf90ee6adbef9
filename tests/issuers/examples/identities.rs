//! What each kind of CI identity adds to `request` and `revoke`: requests, connections and milliseconds. `benches/identities` calls it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jobpass_issuers::{Exchange, GitHub, GitLab, Job};
use jobpass_sandbox::{OauthServer, Of, Sandbox, Trust};
use serde_json::json;

/// A kind of identity, and the variables by which jobpass has it.
struct Kind {
    name: &'static str,
    variables: BTreeMap<&'static str, String>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let rounds = |text: PathBuf| text.to_str().and_then(|text| text.parse().ok());
    let (Some(jobpass), Some(directory), Some(rounds)) = (arguments.next(), arguments.next(), arguments.next().and_then(rounds)) else {
        let _ = writeln!(io::stderr(), "usage: identities JOBPASS DIRECTORY ROUNDS");
        return ExitCode::FAILURE;
    };
    match measure(&jobpass, &directory, rounds) {
        Ok(table) => write!(io::stdout(), "{table}").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Err(error) => {
            let _ = writeln!(io::stderr(), "benches/identities: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everybody who is asked.
struct Servers {
    sandbox: Sandbox,
    oauth: OauthServer,
    github: GitHub,
    job: Job,
    gitlab: Arc<GitLab>,
    exchange: Exchange,
}

fn measure(jobpass: &Path, directory: &Path, rounds: usize) -> io::Result<String> {
    let (sandbox, github, gitlab) = (Sandbox::start(), GitHub::start(), Arc::new(GitLab::start()));
    let (issuer, server) = (gitlab.clone(), sandbox.url());
    let exchange =
        Exchange::start(&github, &sandbox.url(), move |_| issuer.mint(&server, &json!({"project_id": "42", "namespace_id": "7"})));
    let job = github.job(&json!({"repository_id": "123456789", "repository_owner_id": "65"}));
    let servers = Servers { oauth: sandbox.start_oauth(), sandbox, github, job, gitlab, exchange };
    let Servers { sandbox, job, exchange, .. } = &servers;
    sandbox.add_service_account("ci", "deploy-bot");
    let kinds = kinds(&servers, directory)?;
    let mut times = vec![[const { Vec::new() }; 2]; kinds.len()];
    let mut counted = Vec::new();
    for round in 0..=rounds {
        for (at, kind) in kinds.iter().enumerate() {
            for (which, verb) in ["request", "revoke"].into_iter().enumerate() {
                sandbox.clear_requests();
                let asked_so_far = || job.asked() + exchange.asked().len();
                let (connections, asked) = (sandbox.connections(), asked_so_far());
                let took = run(jobpass, directory, verb, kind)?;
                if round == 0 {
                    // The first round warms up, and is counted: the figures are the same in each.
                    let (made, of_issuer) = (sandbox.requests().len(), asked_so_far() - asked);
                    counted.push((made + of_issuer, sandbox.connections() - connections + of_issuer));
                } else {
                    times[at][which].push(took);
                }
            }
        }
    }
    Ok(table(&kinds, &counted, &mut times))
}

/// The kinds, the plainest first: to it the others are compared.
fn kinds(servers: &Servers, directory: &Path) -> io::Result<Vec<Kind>> {
    let Servers { sandbox, oauth, github, job, gitlab, exchange } = servers;
    let server = sandbox.url();
    let trust = |url, ca_pem: &str, of| {
        sandbox.trust(Trust { url, ca_pem: ca_pem.to_owned(), audiences: vec![server.clone()], of, group: "jobpass:ci".to_owned() });
    };
    let text = |text: &str| text.to_owned();
    trust(
        github.url(),
        github.ca_pem(),
        Of::GitHub { repository_ids: vec![text("123456789")], owner_id: text("65"), workflow: text("deploy.yml") },
    );
    trust(gitlab.url(), gitlab.ca_pem(), Of::GitLab { project_ids: vec![text("42")], namespace_id: text("7") });
    sandbox.grant_jobpass_to_group("jobpass:ci", "ci", "deploy-bot");
    sandbox.grant_jobpass("system:serviceaccount:jobpass:ci", "ci", "deploy-bot");
    sandbox.grant_jobpass("alice", "ci", "deploy-bot");
    sandbox.add_service_account("jobpass", "ci");
    let account = sandbox.service_account_token("jobpass", "ci");
    let user = sandbox.add_user("alice", &[]);
    oauth.add_user("alice", "correct horse");
    write(&directory.join("oauth.crt"), &oauth.ca_pem())?;
    let jwt = gitlab.mint(&server, &json!({"project_id": "42", "namespace_id": "7"}));
    write(&directory.join("ca.crt"), &sandbox.ca_pem())?;
    write(&directory.join("github.crt"), github.ca_pem())?;
    write(&directory.join("exchange.crt"), exchange.ca_pem())?;
    let of = |name, variables: &[(&'static str, String)]| {
        let shared = [("JOBPASS_SERVER", server.clone()), ("JOBPASS_CERTIFICATE_AUTHORITY", path(directory, "ca.crt"))];
        Kind { name, variables: shared.into_iter().chain(variables.iter().cloned()).collect() }
    };
    Ok(vec![
        of("token of a service account", &[("JOBPASS_IDENTITY_TOKEN", account)]),
        of("token of any other user", &[("JOBPASS_IDENTITY_TOKEN", user)]),
        of("`oidc` on GitLab: the token is there", &[("JOBPASS_IDENTITY_ID_TOKEN", jwt)]),
        of(
            "`oidc` on GitHub: it is asked for",
            &[
                ("ACTIONS_ID_TOKEN_REQUEST_URL", job.request_url.clone()),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", job.request_token.clone()),
                ("SSL_CERT_FILE", path(directory, "github.crt")),
            ],
        ),
        of(
            "`exchange` of a token that is there",
            &[
                ("JOBPASS_IDENTITY_ID_TOKEN", github.mint(&exchange.url(), &json!({}))),
                ("JOBPASS_EXCHANGE_URL", exchange.url()),
                ("JOBPASS_EXCHANGE_CLIENT_ID", text(Exchange::CLIENT)),
                ("SSL_CERT_FILE", path(directory, "exchange.crt")),
            ],
        ),
        of(
            "`openshift`: login by password",
            &[
                ("JOBPASS_IDENTITY_USERNAME", text("alice")),
                ("JOBPASS_IDENTITY_PASSWORD", text("correct horse")),
                ("SSL_CERT_FILE", path(directory, "oauth.crt")),
            ],
        ),
    ])
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_string_lossy().into_owned()
}

/// Runs a verb, which must succeed; returns how long it took.
fn run(jobpass: &Path, directory: &Path, verb: &str, kind: &Kind) -> io::Result<Duration> {
    let runtime = directory.join("run");
    DirBuilder::new().recursive(true).mode(0o700).create(&runtime)?;
    let mut command = Command::new(jobpass);
    command.arg(verb).args(if verb == "request" { &["--service-account", "ci/deploy-bot"][..] } else { &[] });
    command.env_clear().env("HOME", directory).env("XDG_RUNTIME_DIR", &runtime).envs(&kind.variables);
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = begun.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    Err(io::Error::other(format!("{verb} by {}: {}", kind.name, String::from_utf8_lossy(&output.stderr))))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// The table in markdown. A connection is two round trips, TCP's and TLS's; a request one more.
fn table(kinds: &[Kind], counted: &[(usize, usize)], times: &mut [[Vec<Duration>; 2]]) -> String {
    let mut median = |at: usize, which: usize| {
        times[at][which].sort_unstable();
        times[at][which].get(times[at][which].len() / 2).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    };
    let mut text = "| CI identity | `request`: requests | round trips | ms | `revoke`: requests | round trips | ms |\n\
                    | --- | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    for (at, kind) in kinds.iter().enumerate() {
        let _ = write!(text, "| {}", kind.name);
        for which in [0, 1] {
            let (requests, connections) = counted[at * 2 + which];
            let _ = write!(text, " | {requests} | {} | {:.1}", requests + 2 * connections, median(at, which));
        }
        text += " |\n";
    }
    text
}
