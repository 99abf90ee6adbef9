//! How the command line knows a verb: its name, its help, and the settings that it reads.

use super::{
    CERTIFICATE_AUTHORITY, CONTEXT, EXCHANGE_AUDIENCE, EXCHANGE_CLIENT_ID, EXCHANGE_RESOURCE, EXCHANGE_SCOPE, EXCHANGE_SUBJECT_TYPE,
    EXCHANGE_URL, IDENTITY, IDENTITY_PASSWORD_FILE, IDENTITY_TOKEN_FILE, IDENTITY_USERNAME, INSECURE_SKIP_TLS_VERIFY, KUBECONFIG,
    OIDC_AUDIENCE, REVOKE_IDENTITY, SERVER, Setting,
};

/// How a verb is called.
pub struct Call {
    /// The name of the verb on the command line.
    pub name: &'static str,
    /// What it does, in one line of help.
    pub about: &'static str,
    /// The text below its flags in `--help`.
    pub after: &'static str,
    /// The settings that it reads beside those of the connection, in the order of its help.
    pub settings: &'static [&'static Setting],
    /// Help texts that differ from the setting's own, by the setting's name.
    pub otherwise: &'static [(&'static str, &'static str)],
    /// Whether it asks the API server, so that it reads the settings of the connection, too.
    pub connects: bool,
    /// Whether our GitHub action starts it, so that it takes the hidden flag `--action`.
    pub in_action: bool,
    /// Whether it takes a command after `--`.
    pub takes_command: bool,
}

impl Call {
    /// All settings that it reads: those of the connection come last, under a heading of their own.
    pub fn all(&self) -> impl Iterator<Item = &'static Setting> {
        self.settings.iter().copied().chain(REACHED.into_iter().filter(|_| self.connects))
    }
}

/// The connection settings that are flags: how the API server is reached and as whom.
pub const REACHED: [&Setting; 17] = [
    &IDENTITY,
    &SERVER,
    &CERTIFICATE_AUTHORITY,
    &KUBECONFIG,
    &CONTEXT,
    &IDENTITY_TOKEN_FILE,
    &OIDC_AUDIENCE,
    &EXCHANGE_URL,
    &EXCHANGE_AUDIENCE,
    &EXCHANGE_SCOPE,
    &EXCHANGE_RESOURCE,
    &EXCHANGE_CLIENT_ID,
    &EXCHANGE_SUBJECT_TYPE,
    &IDENTITY_USERNAME,
    &IDENTITY_PASSWORD_FILE,
    &REVOKE_IDENTITY,
    &INSECURE_SKIP_TLS_VERIFY,
];
