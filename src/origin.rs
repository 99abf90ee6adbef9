//! Where a CI identity was found: what a lease remembers of it, and how far that is believed. Never what it is.

use serde::{Deserialize, Serialize};

/// Where a CI identity is found: what the lease remembers of it, so that `revoke` can find it again. Never what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Origin {
    /// One or several kubeconfig files, merged.
    Kubeconfig {
        /// The files.
        paths: Vec<String>,
        /// The context, if it is not the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
    },
    /// A kubeconfig that was handed over as text.
    KubeconfigText,
    /// The service account of the pod that we run in.
    InCluster,
    /// A token.
    Bearer {
        /// The file that holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_file: Option<String>,
    },
}

/// How far what stands in a file is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// This job or this user has written it.
    Ours,
    /// Others may have: it chooses neither a server nor a credential, and no file that is removed.
    Hearsay,
}
