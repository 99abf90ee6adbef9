//! The API server of the demo: the service account that the jobs want to be, and the CI identities that may ask for its token.

use std::time::Duration;

use jobpass_sandbox::Sandbox;

/// Whose token the jobs want.
pub(crate) const TARGET: &str = "ci/deploy-bot";

/// Whom the API server takes its bearer for.
pub(crate) const USER: &str = "system:serviceaccount:ci:deploy-bot";

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

    /// What it was asked for and does not know.
    pub(crate) fn unimplemented(&self) -> Vec<String> {
        self.sandbox.unimplemented()
    }
}
