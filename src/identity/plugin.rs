//! Runs the exec plugin of a kubeconfig: a program that prints the credential.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
#![expect(clippy::disallowed_methods, reason = "a kubeconfig's exec plugin is the one program that is started for an identity")]

use std::{
    io,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::{
    failure::{Code, Failure, words},
    secret::Secret,
};

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
/// When it cannot be started, fails, or prints no credential. The message repeats only the last line of its stderr: its stdout may
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
    let output = command.output().await.map_err(|error| unstarted(&error, Failure::new(Code::IdentityPlugin, what), &plugin, exec))?;
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        let failure = Failure::new(Code::IdentityPlugin, what).cause(format!("{plugin} failed: {}", output.status));
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().rfind(|line| !line.trim().is_empty()).map_or(failure.clone(), |line| failure.cause(line)));
    }
    let answer: Option<ExecCredential> = serde_json::from_slice(&stdout).ok();
    let status = answer.and_then(|answer| answer.status);
    let holds = |status: &Status| status.token.is_some() || (status.client_certificate_data.is_some() && status.client_key_data.is_some());
    status.filter(holds).ok_or_else(|| {
        Failure::new(Code::IdentityPlugin, what)
            .cause(format!("{plugin} printed no ExecCredential with a token, or a certificate and its key"))
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
