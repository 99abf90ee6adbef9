//! The extension by which the kubeconfig of a pass is known, so that it is never taken for a CI identity.

use std::path::Path;

use kube::config::{Kubeconfig, NamedExtension};
use serde::{Deserialize, Serialize};

use crate::{files, origin::Origin};

/// Its name.
const NAME: &str = "jobpass.dev/pass";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassExtension {
    /// The pass's lease, as `namespace/name`.
    pub lease: String,
    /// Where the CI identity was found that requested it.
    #[serde(default)]
    pub identity: Option<Origin>,
}

impl PassExtension {
    /// That of a kubeconfig, if it is of a pass.
    #[must_use]
    pub fn of_config(config: &Kubeconfig) -> Option<Self> {
        let named = config.extensions.iter().flatten().find(|named| named.name == NAME)?;
        serde_json::from_value(named.extension.clone()).ok()
    }

    /// That of the kubeconfig in a file, if it is of a pass.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        // Ours are JSON, so that a large kubeconfig of somebody else costs nothing to tell apart.
        Self::of_text(&files::read_text(path).ok()?)
    }

    /// That of a kubeconfig's text, if it is of a pass.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            extensions: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
            extension: PassExtension,
        }
        if !text.contains(NAME) {
            return None;
        }
        match serde_json::from_str::<Document>(text) {
            Ok(document) => document.extensions.into_iter().find(|named| named.name == NAME).map(|named| named.extension),
            // kubectl and oc write it anew as YAML when somebody changes a context, and keep the extension.
            Err(_) => Self::of_config(&Kubeconfig::from_yaml(text).ok()?),
        }
    }

    /// As it stands in a kubeconfig.
    #[must_use]
    pub fn named(&self) -> NamedExtension {
        NamedExtension { name: NAME.into(), extension: serde_json::to_value(self).unwrap_or_default() }
    }
}
