//! The kubeconfig extension that marks the kubeconfig of a pass, so that it is never taken for a CI identity.

use std::path::Path;

use kube::config::{Kubeconfig, NamedExtension};
use serde::{Deserialize, Serialize};

use crate::{files, kubeconfig_text, origin::Origin};

/// The name of the extension.
const NAME: &str = "jobpass.dev/pass";

/// The content of the extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassExtension {
    /// The lease of the pass, as `namespace/name`.
    pub lease: String,
    /// Where the CI identity was found that requested the pass.
    #[serde(default)]
    pub identity: Option<Origin>,
}

impl PassExtension {
    /// The extension of a kubeconfig, if it belongs to a pass.
    #[must_use]
    pub fn of_config(config: &Kubeconfig) -> Option<Self> {
        let named = config.extensions.iter().flatten().find(|named| named.name == NAME)?;
        serde_json::from_value(named.extension.clone()).ok()
    }

    /// The extension of the kubeconfig in a file, if it belongs to a pass.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        // Ours are JSON, so `of_text` need not parse a large foreign YAML file.
        Self::of_text(&files::read_text(path).ok()?)
    }

    /// The extension in a kubeconfig's text, if it belongs to a pass.
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
            // kubectl and oc rewrite the file as YAML when a user changes a context; they keep the extension.
            Err(_) => Self::of_config(&kubeconfig_text::parse(text).ok()?),
        }
    }

    /// The extension in kube's type.
    #[must_use]
    pub fn named(&self) -> NamedExtension {
        NamedExtension { name: NAME.into(), extension: serde_json::to_value(self).unwrap_or_default() }
    }
}
