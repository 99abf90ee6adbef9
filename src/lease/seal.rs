//! The seal of a GitLab job: with it no other job can predict a lease's name, or write a lease file that passes for this job's.
//!
//! The key is `CI_JOB_TOKEN`: all stages of a job have the same one, `after_script` too, and no two jobs do. It is never sent
//! anywhere as a credential, and never printed.

use ring::hmac;

use super::{Lease, derived};
use crate::{
    context::Context,
    name::{PREFIX, hex, unhex},
    origin::Word,
    platform::{Platform, gitlab},
    spec::ServiceAccount,
};

/// What a job can seal its lease files with.
#[derive(Clone, Debug)]
pub enum Seal {
    /// A key that no other job has.
    Keyed(hmac::Key),
    /// There should be a key, but there is none; the text says why.
    Missing(&'static str),
    /// This platform has no secret of the job.
    None,
}

impl Seal {
    /// The seal of this job.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        match context.platform {
            Platform::Gitlab => match gitlab::job_token(&context.env) {
                Ok(token) => Self::Keyed(hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes())),
                Err(why) => Self::Missing(why),
            },
            Platform::Github | Platform::Tekton | Platform::Local => Self::None,
        }
    }

    /// Why a lease file cannot be authenticated as this job's own.
    #[must_use]
    pub fn why_not(&self) -> &'static str {
        match self {
            Self::Keyed(_) => "it was not written with the `CI_JOB_TOKEN` of this job as it is now",
            Self::Missing(why) => why,
            Self::None => "other containers of the pod can write it",
        }
    }

    /// The name of this job's lease for a service account.
    #[must_use]
    pub fn name(&self, key: &str, account: &ServiceAccount) -> String {
        match self {
            // The zero byte separates the two without ambiguity, as neither a variable nor an argument can contain one.
            Self::Keyed(seal) => format!("{PREFIX}{}", hex(&tag(seal, "name", &format!("{key}\0{account}")).as_ref()[..16])),
            Self::Missing(_) | Self::None => derived(key, account),
        }
    }

    /// A lease's JSON as its file holds it: with the seal, where there is a key.
    #[must_use]
    pub fn json(&self, lease: &Lease) -> String {
        let seal = match self {
            Self::Keyed(seal) => Some(hex(tag(seal, "file", &content(lease)).as_ref())),
            Self::Missing(_) | Self::None => None,
        };
        Lease { seal, ..lease.clone() }.json()
    }

    /// How far the content of a lease file is believed.
    #[must_use]
    pub fn word(&self, platform: Platform, lease: &Lease) -> Word {
        match (platform, self) {
            // The file is in a directory of this user or this job.
            (Platform::Github | Platform::Local, _) => Word::Ours,
            (Platform::Gitlab | Platform::Tekton, Self::Keyed(seal)) => {
                let told = lease.seal.as_deref().and_then(unhex).unwrap_or_default();
                let text = message("file", &content(lease));
                if hmac::verify(seal, text.as_bytes(), &told).is_ok() { Word::Ours } else { Word::Hearsay }
            }
            (Platform::Gitlab | Platform::Tekton, Self::Missing(_) | Self::None) => Word::Hearsay,
        }
    }
}

/// The content that is sealed: the lease without the seal itself.
fn content(lease: &Lease) -> String {
    Lease { seal: None, ..lease.clone() }.json()
}

fn tag(seal: &hmac::Key, label: &str, text: &str) -> hmac::Tag {
    hmac::sign(seal, message(label, text).as_bytes())
}

/// The label separates the purposes: a tag made for one never verifies for another.
fn message(label: &str, text: &str) -> String {
    format!("jobpass.dev/v1\0{label}\0{text}")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lease, *};
    use crate::context::context;

    fn seal(token: &str) -> Seal {
        Seal::of(&context(Platform::Gitlab, &[], &[("CI_JOB_TOKEN", token)]).expect("valid"))
    }

    fn account() -> ServiceAccount {
        lease().service_account
    }

    #[test]
    fn the_name_is_the_documented_one() {
        // The name is from: printf 'jobpass.dev/v1\0name\0gitlab.com/1/2\0ci/deploy-bot' | openssl dgst -sha256 -hmac
        // glcbt-64_0123456789abcdef
        let name = seal("glcbt-64_0123456789abcdef\n").name("gitlab.com/1/2", &account());
        assert_eq!(name, "jobpass-6e3a282803ec83dff95820835a45959c");
    }

    #[test]
    fn another_token_gives_another_name() {
        let name = |token| seal(token).name("gitlab.com/1/2", &account());
        assert_ne!(name("0123456789abcdef"), name("0123456789abcdeg"));
        assert_eq!(name(""), derived("gitlab.com/1/2", &account()));
    }

    #[test]
    fn a_token_that_is_too_short_is_no_key() {
        assert!(matches!(seal("0123456789abcde"), Seal::Missing(why) if why.contains("too short")));
        assert!(matches!(seal(" 0123456789abcde "), Seal::Missing(_)));
        assert!(matches!(seal(""), Seal::Missing(why) if why.contains("not set")));
        assert!(matches!(seal("0123456789abcdef"), Seal::Keyed(_)));
    }

    #[test]
    fn a_file_is_ours_as_long_as_nobody_has_touched_it() {
        let ours = seal("0123456789abcdef");
        let read = |text: &str| Lease::parse(text).expect("a lease");
        let text = ours.json(&Lease { uid: Some("u".into()), ..lease() });
        let word = |seal: &Seal, text: &str| seal.word(Platform::Gitlab, &read(text));
        assert_eq!(word(&ours, &text), Word::Ours);
        for (old, new) in [("\"u\"", "\"v\""), ("deploy-bot", "other-bot"), ("127.0.0.1", "127.0.0.2"), ("\"seal\":\"", "\"seal\":\"00")] {
            assert_eq!(word(&ours, &text.replace(old, new)), Word::Hearsay, "{old}");
        }
        assert_eq!(word(&seal("0123456789abcdeg"), &text), Word::Hearsay);
        assert_eq!(word(&seal(""), &text), Word::Hearsay);
        assert_eq!(word(&ours, &lease().json()), Word::Hearsay);
    }

    #[test]
    fn the_key_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", seal("0123456789abcdef")).contains("0123456789"));
    }
}
