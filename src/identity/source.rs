//! The sources of a CI identity: each has a file of its own, and an entry in the list here.

use super::{Identity, bearer, exchange, in_cluster, kubeconfig, oidc, openshift, rank::Rank};
use crate::{
    context::Context,
    failure::{Code, Failure},
    options::{self as o, Options, Setting},
    origin::{Origin, Word},
    platform::Platform,
};

/// The kinds of CI identity that `--identity` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kubeconfig,
    InCluster,
    Token,
    Oidc,
    Exchange,
    Openshift,
}

impl Kind {
    const ALL: [(&'static str, Self); 6] = [
        ("kubeconfig", Self::Kubeconfig),
        ("in-cluster", Self::InCluster),
        ("token", Self::Token),
        ("oidc", Self::Oidc),
        ("exchange", Self::Exchange),
        ("openshift", Self::Openshift),
    ];

    /// The kind that is asked for; none for `auto`.
    pub(super) fn chosen(options: &Options) -> Result<Option<Self>, Failure> {
        let Some(given) = options.get(&o::IDENTITY).filter(|given| given.text != "auto") else { return Ok(None) };
        let found = Self::ALL.iter().find(|(name, _)| *name == given.text).map(|(_, kind)| *kind);
        found.map(Some).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
            Failure::new(Code::UsageValue, format!("{} names no kind of CI identity", given.source))
                .hint(format!("write `auto`, {}", names.join(", ").replace(", `openshift`", " or `openshift`")))
        })
    }
}

/// Why a credential has its rank, in messages.
pub(super) struct Ranked {
    /// What is known of it: a clause.
    pub(super) because: String,
    /// What else than a setting of its rank would help: an imperative.
    pub(super) instead: Option<String>,
}

/// A source of CI identities of one kind.
pub(super) trait Source: Sync {
    /// Its name in the message that nothing was found; none where another source's name covers it.
    fn name(&self) -> Option<&'static str>;

    /// The kind of its identities.
    fn kind(&self) -> Kind;

    /// The settings that ask for this source. They exclude each other.
    fn settings(&self) -> &'static [&'static Setting] {
        &[]
    }

    /// Whether the settings of this kind are also its own.
    fn takes(&self, kind: Kind) -> bool {
        self.kind() == kind
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

    /// What the rank is of, as messages say it: "the token comes by a flag". None where the rank says it.
    fn ranked(&self, _: &Identity, _: &Context) -> Option<Ranked> {
        None
    }
}

/// All sources, in the order in which they are asked. A token is exchanged where that is asked for, before it is an identity itself.
pub(super) const SOURCES: [&dyn Source; 7] =
    [&exchange::Exchange, &bearer::Bearer, &openshift::Openshift, &kubeconfig::Named, &oidc::Oidc, &in_cluster::Pod, &kubeconfig::OfHome];

/// The source that found an identity with this origin.
pub(super) fn of(origin: &Origin) -> &'static dyn Source {
    match origin {
        Origin::Kubeconfig { .. } | Origin::KubeconfigText => &kubeconfig::Named,
        Origin::InCluster => &in_cluster::Pod,
        Origin::Bearer { .. } => &bearer::Bearer,
        Origin::Oidc { .. } => &oidc::Oidc,
        Origin::Openshift => &openshift::Openshift,
        Origin::Exchange => &exchange::Exchange,
    }
}

/// The reason for an identity that a lease remembers, in messages.
pub(super) const AGAIN: &str = "with which the pass was requested";

/// Whether a file that a lease remembers may be read.
pub(super) fn counts(path: &str, context: &Context, word: Word) -> bool {
    let is_named = || context.env.names_path(&context.env.absolute(path.as_ref()));
    context.platform != Platform::Tekton && (word == Word::Ours || is_named())
}
