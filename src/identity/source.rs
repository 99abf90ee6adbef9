//! Where a CI identity may come from: each source has a file of its own, and a row here.

use super::{Identity, bearer, in_cluster, kubeconfig, rank::Rank};
use crate::{
    context::Context,
    failure::Failure,
    options::Setting,
    origin::{Origin, Word},
    platform::Platform,
};

/// One source.
pub(super) trait Source: Sync {
    /// What it is called where there is none of it; nothing where another source says so for it.
    fn name(&self) -> Option<&'static str>;

    /// The settings that ask for it. Two of them exclude each other.
    fn settings(&self) -> &'static [&'static Setting] {
        &[]
    }

    /// Whether it has contexts, of which one may be named.
    fn has_contexts(&self) -> bool {
        false
    }

    /// The identity that a setting names.
    fn asked(&self, _: &Context) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// The identity that a pass was requested with, if it can still be found.
    ///
    /// It is the word of a file. In a Tekton pod other containers than the one that holds the credential can write it, and must not
    /// choose which file of that container is sent where. On GitLab an earlier job of another branch may have left it: then no file
    /// counts but one that a variable of this job names in full, no context of it but its own, and no program that it names is run.
    fn again(&self, _: &Origin, _: &Context, _: Word) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// What this place offers without being asked.
    fn offered(&self, _: &Context) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// The rank of its credential.
    fn rank(&self, identity: &Identity, context: &Context) -> Rank;
}

/// All of them, in the order in which they are looked at.
pub(super) const SOURCES: [&dyn Source; 4] = [&bearer::Bearer, &kubeconfig::Named, &in_cluster::Pod, &kubeconfig::OfHome];

/// What finds again what it has found.
pub(super) fn of(origin: &Origin) -> &'static dyn Source {
    match origin {
        Origin::Kubeconfig { .. } | Origin::KubeconfigText => &kubeconfig::Named,
        Origin::InCluster => &in_cluster::Pod,
        Origin::Bearer { .. } => &bearer::Bearer,
    }
}

/// Why it is this identity, where a lease remembers it.
pub(super) const AGAIN: &str = "with which the pass was requested";

/// Whether a file that a lease remembers may be read for its sake.
pub(super) fn counts(path: &str, context: &Context, word: Word) -> bool {
    let is_named = || context.env.names_path(&context.env.absolute(path.as_ref()));
    context.platform != Platform::Tekton && (word == Word::Ours || is_named())
}
