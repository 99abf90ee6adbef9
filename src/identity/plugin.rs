//! Runs the exec plugin of a kubeconfig: a program that prints the credential.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
#![expect(clippy::disallowed_methods, reason = "a kubeconfig's exec plugin is the one program that is started for an identity")]

use std::{
    io,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};
use zeroize::Zeroizing;

use super::held;
use crate::{
    failure::{Code, Failure, words},
    secret::Secret,
};

/// How many lines of a plugin's stderr are repeated: the reason is often not in the last one.
const LINES: usize = 20;

/// In bytes: a shorter value is a word as any other.
const SHORTEST: usize = 8;

/// In bytes: more of its output is not kept.
const LARGEST: usize = 1 << 20;

/// For so long what a plugin has printed is still read after its end.
const DRAINED: Duration = Duration::from_millis(100);

/// The credential that a plugin prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// A bearer token.
    pub(super) token: Option<Secret>,
    /// A client certificate as PEM.
    pub(super) client_certificate_data: Option<String>,
    /// The key of the certificate as PEM.
    pub(super) client_key_data: Option<Secret>,
}

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<Status>,
}

/// Runs the plugin, without a terminal and stdin, as nobody in a job can answer questions. It is killed if the future is dropped.
///
/// # Errors
/// When it cannot be started, fails, or prints no credential. The message repeats only the last lines of its stderr: its stdout may
/// contain the credential.
pub(super) async fn run(exec: &ExecConfig, cluster: &Cluster, what: &str) -> Result<Status, Failure> {
    let program = exec.command.as_deref().unwrap_or_default();
    let plugin = format!("its credential plugin `{program}`");
    if program.is_empty() {
        return Err(Failure::new(Code::IdentityKubeconfig, what).cause("its credential plugin has no command"));
    }
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(Failure::new(Code::IdentityKubeconfig, what)
            .cause(format!("{plugin} wants to ask somebody (`interactiveMode: Always`)"))
            .hint("use a way of it that needs nobody, or hand over another kind of CI identity"));
    }
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    command.envs(exec.env.iter().flatten().filter_map(|variable| Some((variable.get("name")?, variable.get("value")?))));
    command.env("KUBERNETES_EXEC_INFO", info(exec, cluster).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let _asking = Asking::new();
    let unstarted = |error: io::Error| unstarted(&error, Failure::new(Code::IdentityPlugin, what), &plugin, exec);
    let Output { status, stdout, stderr } = output(command).await.map_err(unstarted)?;
    if !status.success() {
        let failure = Failure::new(Code::IdentityPlugin, what).cause(format!("{plugin} failed: {status}"));
        return Err(last_words(&stderr, exec).iter().fold(failure, |failure, line| failure.said(line)));
    }
    let answer: Option<ExecCredential> = serde_json::from_slice(&stdout).ok();
    let status = answer.and_then(|answer| answer.status);
    let holds = |status: &Status| status.token.is_some() || (status.client_certificate_data.is_some() && status.client_key_data.is_some());
    status.filter(holds).ok_or_else(|| {
        Failure::new(Code::IdentityPlugin, what)
            .cause(format!("{plugin} printed no ExecCredential with a token, or a certificate and its key"))
    })
}

/// What a program has printed, and how it ended.
struct Output {
    status: ExitStatus,
    stdout: Zeroizing<Vec<u8>>,
    stderr: Zeroizing<Vec<u8>>,
}

/// Runs a program to its end. What it leaves running may hold its stdout and stderr open: that is not waited for.
async fn output(mut command: Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Zeroizing::default(), Zeroizing::default());
    let status = {
        let mut reading = pin!(async { tokio::join!(all_of(out.as_mut(), &mut stdout), all_of(err.as_mut(), &mut stderr)) });
        let ended = tokio::select! {
            status = child.wait() => Some(status?),
            _ = &mut reading => None,
        };
        match ended {
            // What it has printed is in the pipes by now.
            Some(status) => {
                let _ = timeout(DRAINED, reading).await;
                status
            }
            None => child.wait().await?,
        }
    };
    Ok(Output { status, stdout, stderr })
}

/// Reads a stream to its end, as far as a credential or a reason may be long.
async fn all_of(stream: Option<&mut (impl AsyncRead + Unpin)>, into: &mut Zeroizing<Vec<u8>>) {
    let Some(stream) = stream else { return };
    let mut buffer = Zeroizing::new(vec![0; 8 << 10]);
    while let Ok(read @ 1..) = stream.read(buffer.as_mut_slice()).await {
        if into.len() < LARGEST {
            into.extend_from_slice(&buffer[..read]);
        }
    }
}

/// The last lines of what a plugin has said, without the secrets that it may repeat.
fn last_words(said: &[u8], exec: &ExecConfig) -> Vec<String> {
    let said = Secret::new(String::from_utf8_lossy(said).into_owned());
    let hidden: Vec<_> = held::of_said(said.expose(), exec).into_iter().filter(|secret| secret.size() >= SHORTEST).collect();
    let said = hidden.iter().fold(without_colours(said.expose()), |said, secret| said.replace(secret.expose(), "***"));
    let lines: Vec<_> = said.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// A text without the codes by which a terminal is told to change the colour.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| {
        kept + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').strip_prefix('m').unwrap_or(part)
    })
}

/// How many plugins are running: meanwhile `child` must not reap orphans, or it could take a plugin's exit status.
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Asking;

impl Asking {
    fn new() -> Self {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a plugin is running.
#[must_use]
pub fn is_asking() -> bool {
    ASKED.load(Ordering::SeqCst) > 0
}

/// The JSON that the plugin gets in `KUBERNETES_EXEC_INFO`.
fn info(exec: &ExecConfig, cluster: &Cluster) -> serde_json::Value {
    let mut spec = json!({"interactive": false});
    if exec.provide_cluster_info
        && let Ok(cluster) = ExecAuthCluster::try_from(cluster)
    {
        spec["cluster"] = json!(cluster);
    }
    json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec})
}

fn unstarted(error: &io::Error, failure: Failure, plugin: &str, exec: &ExecConfig) -> Failure {
    let failure = failure.cause(format!("{plugin} cannot be started: {}", words(error)));
    match exec.install_hint.as_deref() {
        Some(hint) => failure.hint(hint),
        None => failure.hint("install it in the job's image, or hand over another kind of CI identity"),
    }
}
