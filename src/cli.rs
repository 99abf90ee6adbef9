//! The command line: verbs and their flags. No logic; what a flag means stands in its row of `options.rs`.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::{
    action::Phase,
    options::{self as o, Flags},
};

/// A pass for one job: a short-lived Kubernetes or OpenShift service account token that is revoked when the job ends
#[derive(Debug, Parser)]
#[command(name = "jobpass", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Request a token for a service account and hand it to the job
    Request(RequestArgs),
    /// Revoke the job's tokens and prove that they are dead
    Revoke(RevokeArgs),
    /// Fail clearly where this job has no pass, without asking the API server
    Require(RequireArgs),
    /// Run a command under a pass of its own: it alone gets the token, its output is scrubbed, and the pass ends with it
    Run(RunArgs),
    /// Pass stdin on to stdout, without the secrets that are named
    Scrub(ScrubArgs),
}

impl Verb {
    /// The step of our GitHub action that this is, if it is one.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Request(args) => args.action,
            Self::Revoke(args) => args.action,
            Self::Require(_) | Self::Run(_) | Self::Scrub(_) => None,
        }
    }

    /// Its flags by their names.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let flags = match self {
            Self::Request(args) => serde_json::to_value(args),
            Self::Revoke(args) => serde_json::to_value(args),
            Self::Require(args) => serde_json::to_value(args),
            Self::Run(args) => serde_json::to_value(args),
            Self::Scrub(args) => serde_json::to_value(args),
        };
        flags.ok().and_then(|flags| serde_json::from_value(flags).ok()).unwrap_or_default()
    }
}

/// The flags of `request`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "Examples:
  . \"$(jobpass request --service-account ci/deploy-bot)\"            in a shell or a GitLab CI job; `jobpass revoke` ends it
  jobpass request --service-account ci/deploy-bot --ttl 15m         in a GitHub Actions step: exported to the steps after it
  jobpass request --service-account ci/deploy-bot --no-variable     only KUBECONFIG, no token in the environment

Every flag can also be set by a variable: --service-account by JOBPASS_SERVICE_ACCOUNT.
The CI identity's own token or kubeconfig is never a flag: JOBPASS_IDENTITY_TOKEN, JOBPASS_IDENTITY_KUBECONFIG.")]
pub struct RequestArgs {
    /// The step of our GitHub action that this is: its shim says it, and nobody else has a use for it.
    #[arg(long, value_enum, hide = true)]
    pub action: Option<Phase>,
    #[command(flatten)]
    #[serde(flatten)]
    token: TokenArgs,
    #[arg(long, value_name = "PATH", help = o::KUBECONFIG_OUT.help)]
    kubeconfig_out: Option<String>,
    #[arg(long, help = o::NO_KUBECONFIG.help)]
    no_kubeconfig: bool,
    #[arg(long, value_name = "MODE", help = o::FILE_MODE.help)]
    file_mode: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    job: JobArgs,
    #[command(flatten)]
    #[serde(flatten)]
    connection: ConnectionArgs,
}

/// The flags of `revoke`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(
    after_help = "Without a flag: on GitHub, GitLab and Tekton every pass of this job; on a plain shell the one that $JOBPASS_LEASE names,
or the only one there is. With --service-account on GitLab and Tekton also the lease whose file is lost; --if-here leaves that out.
Only the flags --lease and --lease-file name another one: JOBPASS_LEASE and JOBPASS_LEASE_FILE do not.
Nothing to revoke is success, unless a flag names it."
)]
pub struct RevokeArgs {
    /// See [`RequestArgs::action`].
    #[arg(long, value_enum, hide = true)]
    pub action: Option<Phase>,
    #[arg(long, value_name = "NAMESPACE/NAME", help = o::LEASE.help)]
    lease: Option<String>,
    #[arg(long, value_name = "PATH", help = o::LEASE_FILE.help)]
    lease_file: Option<String>,
    #[arg(long, help = o::ALL_LEASES.help)]
    all: bool,
    #[arg(long, help = o::IF_HERE.help)]
    if_here: bool,
    #[arg(long, short = 's', value_name = "NAMESPACE/NAME", help = o::SERVICE_ACCOUNT.help)]
    service_account: Option<String>,
    #[arg(long, short, value_name = "NAMESPACE", help = o::NAMESPACE.help)]
    namespace: Option<String>,
    #[arg(long, help = o::STRICT.help)]
    strict: bool,
    #[arg(long, help = o::WAIT_DEAD.help)]
    wait_dead: bool,
    #[arg(long, value_name = "PATH", help = o::RECEIPT.help)]
    receipt: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    job: JobArgs,
    #[command(flatten)]
    #[serde(flatten)]
    connection: ConnectionArgs,
}

/// The flags of `require`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "For the head of a script whose pass is begun elsewhere, so that no command goes on without it or as somebody else.
With --service-account the pass must be for that one.")]
pub struct RequireArgs {
    #[arg(long, short = 's', value_name = "NAMESPACE/NAME", help = o::SERVICE_ACCOUNT.help)]
    service_account: Option<String>,
    #[arg(long, short, value_name = "NAMESPACE", help = o::NAMESPACE.help)]
    namespace: Option<String>,
    #[arg(long, value_name = "PLATFORM", help = o::PLATFORM.help)]
    platform: Option<String>,
    #[arg(long, value_name = "DIR", help = o::DIR.help)]
    dir: Option<String>,
}

/// The flags of `run`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "Examples:
  jobpass run -s ci/deploy-bot -- kubectl apply -f manifests/
  jobpass run -s ci/deploy-bot --no-variable --scrub-env DB_PASSWORD -- ./deploy.sh
  jobpass run -s ci/deploy-bot -- sh -c 'helm upgrade app ./chart && kubectl rollout status deploy/app'

The exit status is the command's, 128+n if signal n ended it; 125 for a failure of ours, 126 and 127 if there is no such program.
Every flag can also be set by a variable: --service-account by JOBPASS_SERVICE_ACCOUNT.")]
pub struct RunArgs {
    #[command(flatten)]
    #[serde(flatten)]
    token: TokenArgs,
    #[arg(long, value_name = "DURATION", help = o::MAX_LIFETIME.help)]
    max_lifetime: Option<String>,
    #[arg(long, value_name = "DURATION", help = o::GRACE.help)]
    grace: Option<String>,
    #[arg(long, value_name = "VARIABLE", help = o::HIDE.help)]
    hide: Vec<String>,
    #[arg(long, value_name = "VARIABLE", help = o::KEEP.help)]
    keep: Vec<String>,
    #[arg(long, value_name = "VARIABLE", help = o::SCRUB_ENV.help)]
    scrub_env: Vec<String>,
    #[arg(long, help = o::STRICT.help)]
    strict: bool,
    #[arg(long, value_name = "PATH", help = o::RECEIPT.help)]
    receipt: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    #[serde(flatten)]
    connection: ConnectionArgs,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    #[serde(skip)]
    pub command: Vec<OsString>,
}

/// The flags of `scrub`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "Examples:
  ./deploy.sh 2>&1 | jobpass scrub --scrub-env OPENSHIFT_TOKEN
  ./deploy.sh 2>&1 | jobpass scrub --lease \"$JOBPASS_LEASE\" --scrub-env DB_PASSWORD")]
pub struct ScrubArgs {
    #[arg(long, value_name = "NAMESPACE/NAME", help = "Lease whose token is hidden, as NAMESPACE/NAME")]
    lease: Option<String>,
    #[arg(long, value_name = "PATH", help = "Lease file whose token is hidden")]
    lease_file: Option<String>,
    #[arg(long, value_name = "VARIABLE", help = o::SCRUB_ENV.help)]
    scrub_env: Vec<String>,
    #[arg(long, value_name = "PLATFORM", help = o::PLATFORM.help)]
    platform: Option<String>,
    #[arg(long, value_name = "DIR", help = o::DIR.help)]
    dir: Option<String>,
}

/// What token is asked for, and how the job finds it; the same for `request` and `run`.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TokenArgs {
    #[arg(long, short = 's', value_name = "NAMESPACE/NAME", help = o::SERVICE_ACCOUNT.help)]
    service_account: Option<String>,
    #[arg(long, short, value_name = "NAMESPACE", help = o::NAMESPACE.help)]
    namespace: Option<String>,
    #[arg(long, value_name = "DURATION", help = o::TTL.help)]
    ttl: Option<String>,
    #[arg(long, value_name = "AUDIENCE", help = o::AUDIENCE.help)]
    audience: Vec<String>,
    #[arg(long, value_name = "NAME", help = o::VARIABLE.help)]
    variable: Option<String>,
    #[arg(long, help = o::NO_VARIABLE.help)]
    no_variable: bool,
    #[arg(long, value_name = "NAMESPACE", help = o::TARGET_NAMESPACE.help)]
    target_namespace: Option<String>,
}

/// Which job this is and how it is told; the same for all verbs.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct JobArgs {
    #[command(flatten)]
    #[serde(flatten)]
    place: PlaceArgs,
    #[arg(long, short, value_name = "FORMAT", help = o::OUTPUT.help)]
    output: Option<String>,
}

/// Which job this is and where its passes are kept.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PlaceArgs {
    #[arg(long, value_name = "PLATFORM", help = o::PLATFORM.help)]
    platform: Option<String>,
    #[arg(long, value_name = "DIR", help = o::DIR.help)]
    dir: Option<String>,
    #[arg(long, value_name = "TEXT", help = o::JOB_KEY.help)]
    job_key: Option<String>,
    #[arg(long, value_name = "DURATION", help = o::TIMEOUT.help)]
    timeout: Option<String>,
}

/// How the API server is reached and as whom; the same for all verbs.
#[derive(Args, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Connection")]
struct ConnectionArgs {
    #[arg(long, value_name = "URL", help = o::SERVER.help)]
    server: Option<String>,
    #[arg(long, value_name = "FILE-OR-PEM-OR-BASE64", help = o::CERTIFICATE_AUTHORITY.help)]
    certificate_authority: Option<String>,
    #[arg(long, value_name = "PATH", help = o::KUBECONFIG.help)]
    kubeconfig: Option<String>,
    #[arg(long, value_name = "NAME", help = o::CONTEXT.help)]
    context: Option<String>,
    #[arg(long, value_name = "PATH", help = o::IDENTITY_TOKEN_FILE.help)]
    identity_token_file: Option<String>,
    #[arg(long, help = o::INSECURE_SKIP_TLS_VERIFY.help)]
    insecure_skip_tls_verify: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_is_a_setting_and_every_plain_setting_a_flag() {
        let command = Cli::command();
        let flags: BTreeSet<_> = command
            .get_subcommands()
            .flat_map(clap::Command::get_arguments)
            .filter_map(|arg| arg.get_long())
            .filter(|name| !["help", crate::action::FLAG].contains(name))
            .collect();
        let plain = |setting: &&&o::Setting| setting.kind != o::Kind::Secret;
        let settings: BTreeSet<_> = o::ALL.iter().filter(plain).map(|setting| setting.name).collect();
        assert_eq!(flags, settings);
    }

    #[test]
    fn no_secret_is_a_flag() {
        for secret in o::ALL.iter().filter(|setting| setting.kind == o::Kind::Secret) {
            let flag = format!("--{}=x", secret.name);
            assert!(Cli::try_parse_from(["jobpass", "request", &flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
