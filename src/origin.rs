//! Where a CI identity was found, as a lease remembers it, and how far that is believed. Never the credential itself.

use serde::{Deserialize, Serialize};

/// Where a CI identity was found, so that `revoke` can find it again. Never the credential itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Origin {
    /// One or several kubeconfig files, merged.
    Kubeconfig {
        /// The paths of the files, in the order of merging.
        paths: Vec<String>,
        /// The name of the context, if it is not the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
    },
    /// A kubeconfig that was given as text (`JOBPASS_IDENTITY_KUBECONFIG`).
    KubeconfigText,
    /// The service account of the pod that we run in.
    InCluster,
    /// A bearer token.
    Bearer {
        /// The file that holds the token; none if the token was given directly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_file: Option<String>,
    },
    /// The OIDC token that the CI system issues for the job.
    Oidc {
        /// For whom it is asked for, where that is said and is not just the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audience: Option<String>,
    },
    /// A user of OpenShift's own login.
    Openshift,
    /// A token for which the job's own was exchanged.
    Exchange,
}

/// How far the content of a lease file is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// This job or this user has written it.
    Ours,
    /// Others may have written it: it decides neither the server nor the credential, and names no file to be removed.
    Hearsay,
}
