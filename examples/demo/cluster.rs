//! The API server of the demo: the service account that the jobs want to be, and the CI identities that may ask for its token.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobpass_sandbox::{Sandbox, client};
use serde_json::Value;

/// Whose token the jobs want.
pub(crate) const TARGET: &str = "ci/deploy-bot";

/// Whom the API server takes its bearer for.
const USER: &str = "system:serviceaccount:ci:deploy-bot";

/// What a token is used for.
pub(crate) const PODS: &str = "/api/v1/namespaces/ci/pods";

/// The answers to a token that works, and to one that does not.
pub(crate) const ACCEPTED: &str = "200 OK";
pub(crate) const REFUSED: &str = "401 Unauthorized";

/// How long an API server may go on taking a token that it has just seen, and a little more.
pub(crate) const CACHE: Duration = Duration::from_secs(11);

/// The sandbox and who is known to it.
pub(crate) struct Cluster {
    sandbox: Sandbox,
    /// The kubeconfig of a CI identity, for the platforms that have none of their own.
    pub(crate) kubeconfig: String,
    /// The pod that the Tekton job runs in.
    pub(crate) pod: Pod,
    identity: String,
}

/// A pod, which has a CI identity by itself: its service account.
pub(crate) struct Pod {
    pub(crate) name: &'static str,
    pub(crate) uid: String,
    pub(crate) token: String,
}

impl Cluster {
    /// Starts it with the rights and policies of `deploy/`.
    pub(crate) fn start() -> Self {
        let sandbox = Sandbox::start();
        sandbox.enable_policies();
        sandbox.add_service_account("ci", "deploy-bot");
        let identity = sandbox.add_user("ci-system", &["jobpass:ci"]);
        sandbox.add_service_account("jobpass", "ci");
        for user in ["ci-system", "system:serviceaccount:jobpass:ci"] {
            sandbox.grant_jobpass(user, "ci", "deploy-bot");
        }
        sandbox.allow(USER, "ci", "list", "pods", &[]);
        let name = "deploy-run-1-pod";
        let uid = sandbox.add_pod("jobpass", name, "ci");
        let pod = Pod { name, uid, token: sandbox.pod_token("jobpass", name) };
        Self { kubeconfig: sandbox.kubeconfig("ci-system"), sandbox, pod, identity }
    }

    pub(crate) fn url(&self) -> String {
        self.sandbox.url()
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.sandbox.ca_pem()
    }

    /// The sandbox itself, for what only one part of the demo needs.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What the API server says to a token; see [`ask`].
    pub(crate) fn answer(&self, token: &str) -> Result<String> {
        ask(&self.url(), &self.ca_pem(), token)
    }

    /// The lease Secrets that there are.
    pub(crate) fn leases(&self) -> Vec<String> {
        self.sandbox.secrets("ci").into_iter().map(|secret| format!("{}/{}", secret.namespace, secret.name)).collect()
    }

    /// Lets more time pass, at once, than the API server remembers a token.
    pub(crate) fn outlast_cache(&self) {
        self.sandbox.advance(CACHE);
    }

    /// What must stand in no log: every token that there is.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let identities = [self.identity.clone(), self.pod.token.clone()];
        self.sandbox.issued_tokens().into_iter().chain(identities).collect()
    }

    /// Fails if it was asked for what it does not know.
    pub(crate) fn knew_all(&self) -> Result<()> {
        let strange = self.sandbox.unimplemented();
        ensure!(strange.is_empty(), "the sandbox was asked for what it does not know: {}", strange.join(", "));
        Ok(())
    }
}

/// Uses a token, by a client that shares no code with jobpass; returns what the API server says.
pub(crate) fn ask(server: &str, ca_pem: &str, token: &str) -> Result<String> {
    let answer = client::request(server, ca_pem, "GET", PODS, Some(token), None).context("the API server does not answer")?;
    Ok(status(answer.status))
}

/// A status as it stands in the answer's first line.
pub(crate) fn status(number: u16) -> String {
    http::StatusCode::from_u16(number).map_or_else(|_| number.to_string(), |status| status.to_string())
}

/// What a token says of itself.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).context("the token is no JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}
