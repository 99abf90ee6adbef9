//! Jobs that hold passes, each on a GitLab runner of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    calls::binary,
    harness::{ControlPlane, doors},
};

/// A service account `deploy-bot` in a namespace of its own, and a CI identity that may ask for it: as `deploy/` makes them.
pub(crate) struct Team {
    pub(crate) namespace: String,
    directory: TempDir,
}

impl Team {
    /// Makes it; the CI identity has a kubeconfig for each of these API servers.
    pub(crate) fn new(cluster: &ControlPlane, namespace: &str, servers: &[String]) -> Self {
        let token = cluster.grant(namespace, ("jobpass", namespace));
        let directory = TempDir::new().unwrap();
        for (n, server) in servers.iter().enumerate() {
            let text = kubeconfig(server, &cluster.ca_pem, &json!({"token": token}));
            doors::write(&directory.path().join(n.to_string()), &text);
        }
        Self { namespace: namespace.to_owned(), directory }
    }

    pub(crate) fn account(&self) -> String {
        format!("{}/deploy-bot", self.namespace)
    }

    /// A job that asks the n-th API server.
    pub(crate) fn job(&self, server: usize) -> Job {
        Job::new(&self.account(), &self.directory.path().join(server.to_string()))
    }
}

/// The kubeconfig of one user of one API server.
pub(crate) fn kubeconfig(server: &str, ca_pem: &str, user: &Value) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "ci",
        "clusters": [{"name": "ci", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": "ci", "user": user}],
        "contexts": [{"name": "ci", "context": {"cluster": "ci", "user": "ci"}}],
    });
    config.to_string()
}

/// A job of GitLab's, with a number that no other one has.
pub(crate) struct Job {
    account: String,
    kubeconfig: PathBuf,
    number: u32,
    directory: TempDir,
}

/// What a job holds.
pub(crate) struct Pass {
    pub(crate) token: String,
    /// Namespace and name.
    pub(crate) lease: String,
}

impl Job {
    pub(crate) fn new(account: &str, kubeconfig: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { account: account.to_owned(), kubeconfig: kubeconfig.to_owned(), number, directory: TempDir::new().unwrap() }
    }

    /// A call in it that is not made yet.
    pub(crate) fn call(&self, arguments: &[&str]) -> Command {
        let mut command = doors::program(binary());
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, value) in [
            ("GITLAB_CI", "true"),
            ("CI_SERVER_HOST", "gitlab.example.com"),
            ("CI_PROJECT_ID", "42"),
            ("CI_PROJECT_PATH", "acme/app"),
            ("GITLAB_USER_LOGIN", "octocat"),
            ("JOBPASS_SERVICE_ACCOUNT", &self.account),
            ("PATH", "/usr/bin:/bin"),
        ] {
            command.env(name, value);
        }
        let project = self.directory.path().join("app");
        doors::make_directory(&project);
        command.env("CI_JOB_ID", self.number.to_string()).env("CI_PROJECT_DIR", project).env("JOBPASS_KUBECONFIG", &self.kubeconfig);
        command
    }

    /// What a call that must succeed prints.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments).output().expect("it is built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {} {said}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a call says that must not succeed.
    #[track_caller]
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments).output().expect("it is built");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} succeeded: {said}");
        said
    }

    /// Requests a pass.
    #[track_caller]
    pub(crate) fn request(&self) -> Pass {
        let pass: Value = serde_json::from_str(&self.succeed(&["request", "--output", "json"])).expect("a document");
        let text = |name: &str| pass[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        Pass { token: fs::read_to_string(text("tokenFile")).unwrap(), lease: text("lease") }
    }
}

/// Whether an API server takes a token.
pub(crate) fn is_taken(server: &str, ca_pem: &str, token: &str) -> bool {
    match client::whoami(server, ca_pem, token).expect("the API server answers").status {
        201 => true,
        401 => false,
        status => panic!("{status}"),
    }
}
