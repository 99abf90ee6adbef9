//! The sources of a CI identity: each has a file of its own, and an entry in the list here.

use super::{Identity, bearer, in_cluster, kubeconfig, rank::Rank};
use crate::{
    context::Context,
    failure::Failure,
    options::Setting,
    origin::{Origin, Word},
    platform::Platform,
};

/// One kind of CI identity.
pub(super) trait Source: Sync {
    /// Its name in the message that nothing was found; none where another source's name covers it.
    fn name(&self) -> Option<&'static str>;

    /// The settings that ask for this source. They exclude each other.
    fn settings(&self) -> &'static [&'static Setting] {
        &[]
    }

    /// Whether it has contexts, so that `--context` may choose one.
    fn has_contexts(&self) -> bool {
        false
    }

    /// The identity that a setting asks for.
    fn asked(&self, _: &Context) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// The identity with which a pass was requested, if it can still be found from what its lease remembers.
    ///
    /// A lease file may be written by others. In a Tekton pod these are other containers, which must not choose which file is sent
    /// where. On GitLab an earlier job of another branch may have left the file: then only a file counts that a variable of this
    /// job names in full; the remembered context is not used, and no plugin is run.
    fn again(&self, _: &Origin, _: &Context, _: Word) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// The identity that is there without a setting that asks for it.
    fn offered(&self, _: &Context) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    /// The rank of its credential, which decides which settings may say where it is sent.
    fn rank(&self, identity: &Identity, context: &Context) -> Rank;
}

/// All sources, in the order in which they are asked.
pub(super) const SOURCES: [&dyn Source; 4] = [&bearer::Bearer, &kubeconfig::Named, &in_cluster::Pod, &kubeconfig::OfHome];

/// The source that found an identity with this origin.
pub(super) fn of(origin: &Origin) -> &'static dyn Source {
    match origin {
        Origin::Kubeconfig { .. } | Origin::KubeconfigText => &kubeconfig::Named,
        Origin::InCluster => &in_cluster::Pod,
        Origin::Bearer { .. } => &bearer::Bearer,
    }
}

/// The reason for an identity that a lease remembers, in messages.
pub(super) const AGAIN: &str = "with which the pass was requested";

/// Whether a file that a lease remembers may be read.
pub(super) fn counts(path: &str, context: &Context, word: Word) -> bool {
    let is_named = || context.env.names_path(&context.env.absolute(path.as_ref()));
    context.platform != Platform::Tekton && (word == Word::Ours || is_named())
}
