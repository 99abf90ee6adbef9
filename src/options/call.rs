//! A verb as the command line takes it: its name, its help, and the settings that it reads.

use super::{CERTIFICATE_AUTHORITY, CONTEXT, IDENTITY_TOKEN_FILE, INSECURE_SKIP_TLS_VERIFY, KUBECONFIG, SERVER, Setting};

/// How a verb is called.
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What stands below its flags.
    pub after: &'static str,
    /// The settings that it reads, in the order of its help; those of the connection come last, under a heading of their own.
    pub settings: &'static [&'static Setting],
    /// What else its help says of a setting, by name.
    pub otherwise: &'static [(&'static str, &'static str)],
    /// Whether our action starts it, and says for which of its steps.
    pub in_action: bool,
    /// Whether it takes a command.
    pub takes_command: bool,
}

/// How the API server is reached and as whom, as far as flags say it.
pub const REACHED: [&Setting; 6] =
    [&SERVER, &CERTIFICATE_AUTHORITY, &KUBECONFIG, &CONTEXT, &IDENTITY_TOKEN_FILE, &INSECURE_SKIP_TLS_VERIFY];
