//! Where a credential may be sent: the server, its authority and "no check" must come from a source of at least the credential's
//! rank.

use super::{
    Identity, mounted, server,
    source::{self, Ranked},
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    net::certificates,
    options::{self as o, Given, Options, Setting, Source},
    origin::{Origin, Word},
};

/// What the CI identity is needed for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// To begin a pass: a setting that may not decide is an error of the call.
    Begin,
    /// To end a pass, with the origin that its lease remembers: a setting that may not decide is ignored, so that it cannot keep
    /// the pass alive.
    End(Option<(&'a Origin, Word)>),
}

/// The rank of a source: the higher, the harder it is to change for somebody who can only set variables of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Variable,
    Input,
    Flag,
    /// The kubeconfig that contains the credential, and the server that it is for.
    Kubeconfig,
    /// The pod that the credential belongs to.
    Pod,
}

impl Rank {
    /// The rank of a setting's source.
    pub(super) fn of(source: &Source) -> Self {
        match source {
            Source::Flag(_) => Self::Flag,
            Source::Input(_) => Self::Input,
            Source::Variable(_) | Source::Default(_) => Self::Variable,
        }
    }

    /// The rank of whoever names the API server.
    pub(super) fn of_server(options: &Options) -> Self {
        options.get(&o::SERVER).map_or(Self::Flag, |given| Self::of(&given.source))
    }

    /// The rank of an identity's credential.
    pub(super) fn of_credential(identity: &Identity, context: &Context) -> Self {
        if mounted::is_own(identity) { Self::Pod } else { source::of(&identity.origin).rank(identity, context) }
    }

    /// Whether a setting of this rank may decide where a credential is sent. A flag may do that even for a kubeconfig: whoever
    /// writes the command line also chooses the kubeconfig, and could change the server in it. For a pod's credential no setting
    /// may.
    fn may_direct(self, credential: Self) -> bool {
        match credential {
            Self::Pod => false,
            Self::Kubeconfig => self == Self::Flag,
            Self::Flag | Self::Input | Self::Variable => self >= credential,
        }
    }
}

/// The settings that may decide where an identity's credential is sent.
#[derive(Default)]
pub(super) struct Directions<'a> {
    pub(super) server: Option<&'a Given>,
    pub(super) authority: Option<&'a Given>,
    pub(super) is_unchecked: bool,
    /// The settings that may not decide, and why.
    pub(super) passed_over: Vec<Failure>,
}

impl<'a> Directions<'a> {
    /// Sorts the settings for this identity.
    ///
    /// # Errors
    /// When a setting may not decide and cannot be ignored, or two exclude each other.
    pub(super) fn of(identity: &Identity, context: &'a Context, purpose: Purpose<'_>) -> Result<Self, Failure> {
        let options = &context.options;
        let credential = Rank::of_credential(identity, context);
        let mut directions = Self::default();
        for setting in [&o::SERVER, &o::CERTIFICATE_AUTHORITY, &o::INSECURE_SKIP_TLS_VERIFY] {
            let Some(given) = options.get(setting) else { continue };
            let rank = Rank::of(&given.source);
            if rank.may_direct(credential) {
                directions.take(setting, given, options)?;
            } else if !changes_nothing(setting, given, identity, context) {
                let refused = refused(setting, given, identity, context);
                match purpose {
                    Purpose::End(_) if rank < Rank::Flag => directions.passed_over.push(refused),
                    Purpose::End(_) | Purpose::Begin => return Err(refused),
                }
            }
        }
        if directions.authority.is_some() && directions.is_unchecked {
            options.exclusive(&o::CERTIFICATE_AUTHORITY, &o::INSECURE_SKIP_TLS_VERIFY)?;
        }
        Ok(directions)
    }

    fn take(&mut self, setting: &Setting, given: &'a Given, options: &Options) -> Result<(), Failure> {
        if setting.name == o::SERVER.name {
            self.server = Some(given);
        } else if setting.name == o::CERTIFICATE_AUTHORITY.name {
            self.authority = Some(given);
        } else {
            self.is_unchecked = options.switch(setting)?;
        }
        Ok(())
    }
}

/// Whether a setting only repeats what the identity itself says.
fn changes_nothing(setting: &Setting, given: &Given, identity: &Identity, context: &Context) -> bool {
    let source = given.source.to_string();
    if setting.name == o::SERVER.name {
        let plain = |server: &str| server::plain(server, &source).ok();
        let own = identity.cluster.server.as_deref().and_then(plain);
        own.is_some() && plain(&given.text) == own
    } else if setting.name == o::CERTIFICATE_AUTHORITY.name {
        let own = server::pem_of(&identity.cluster).ok().flatten();
        let other = server::authority(&given.text, &source, &context.env).ok();
        own.zip(other).is_some_and(|(own, other)| certificates(&own) == certificates(&other))
    } else {
        given.text == "false"
    }
}

fn refused(setting: &Setting, given: &Given, identity: &Identity, context: &Context) -> Failure {
    let source = &given.source;
    let whose = match source {
        Source::Flag(_) => "a flag",
        Source::Input(_) => "an input",
        Source::Variable(_) | Source::Default(_) => "a variable",
    };
    let credential = Rank::of_credential(identity, context);
    let (why, hint) = match credential {
        Rank::Pod => (
            "a pod's own token goes to the pod's own API server only, whoever asks".to_owned(),
            format!("leave {source} out, or hand over an identity that is meant for another API server"),
        ),
        Rank::Kubeconfig => (
            format!("a kubeconfig's credential goes where the kubeconfig says; {whose} has no say in it"),
            if setting.name == o::INSECURE_SKIP_TLS_VERIFY.name {
                format!("leave {source} out, and put the right `certificate-authority-data` into the kubeconfig")
            } else {
                format!("leave {source} out, and put the right one into the kubeconfig")
            },
        ),
        Rank::Flag | Rank::Input | Rank::Variable => {
            let (comes, too) = match credential {
                Rank::Flag => ("a flag", format!("give `--{}` too", setting.name)),
                Rank::Input | Rank::Variable | Rank::Kubeconfig | Rank::Pod => {
                    ("an input", format!("give the input `{}` too", setting.name))
                }
            };
            match source::of(&identity.origin).ranked(identity, context) {
                None => (format!("the token comes by {comes}, and {whose} counts less"), too),
                Some(Ranked { because, instead }) => (
                    format!("{because}, and {whose} has no say in that"),
                    instead.map_or_else(|| too.clone(), |instead| format!("{instead}, or {too}")),
                ),
            }
        }
    };
    Failure::new(Code::IdentityMisdirected, format!("{source} may not say where the credential of {} goes", identity.why))
        .cause(why)
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_counts_less_than_a_credential_directs_it() {
        use Rank::{Flag, Input, Kubeconfig, Pod, Variable};
        let directs = |credential: Rank| [Variable, Input, Flag].map(|rank| rank.may_direct(credential));
        assert_eq!(directs(Variable), [true, true, true]);
        assert_eq!(directs(Input), [false, true, true]);
        assert_eq!(directs(Flag), [false, false, true]);
        assert_eq!(directs(Kubeconfig), [false, false, true]);
        assert_eq!(directs(Pod), [false, false, false]);
    }
}
