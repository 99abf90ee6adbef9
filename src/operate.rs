//! What those who own a cluster run: `setup`, `doctor`, `leases`, `lock` and `unlock`. The binary that a job fetches is built without
//! this room (the feature `operate`).
//!
//! Each verb is a file or a directory here. They share:
//!
//! - `reach`: which clusters are meant, each opened once and all at the same time; one that cannot be reached is a row and no end.
//! - `server`: one API server as an operator sees it: kube's client over our own connection, the server's time, its refusals in our words.
//! - `table`: what people read: cut to the width of a terminal, whole where it is piped.
//! - `document`: what programs read: one JSON document, made of the same list as the table.
//! - `consent`: what ends something shows it first and asks.
//! - `finding`: what is wrong, with a name that stays and a severity.
//! - `rights`: what a set of rules lets somebody do to a cluster's tokens.
//! - `reason`: why something is ended or locked, fit to be repeated.
//! - `locks`: the locks of namespaces.
//! - `progress`: how far a long work is.
//! - `when`: times and lengths of time.
//! - `outcome`: how it ends.
//!
//! A new verb: a file here, a variant of [`Operation`], an arm in [`run`], and a row in `docs/commands.md`.

use clap::Subcommand;

use crate::{env::Env, failure::Failure, out::Out};

mod consent;
pub mod doctor;
mod document;
pub mod finding;
mod leases;
mod lock;
mod locks;
mod outcome;
mod progress;
mod reach;
mod reason;
mod rights;
mod server;
mod setup;
mod table;
mod when;

use document::Output;
pub use outcome::Outcome;

/// What an operator asks for.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// See and end the passes of a cluster
    #[command(subcommand)]
    Leases(leases::Operation),
    /// Let a cluster give out no new passes for some time
    Lock(lock::Locking),
    /// Take a lock away
    Unlock(lock::Unlocking),
    /// Set up a cluster for jobs: policies, accounts, rights
    Setup(Box<setup::Arguments>),
    /// Check the way from this job to its cluster, with no rights beyond the job's own
    Doctor(doctor::Arguments),
}

impl Operation {
    /// Whether the answer is to be JSON, a failure too.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let output = match self {
            Self::Leases(operation) => operation.output(),
            Self::Lock(arguments) => arguments.output(),
            Self::Unlock(arguments) => arguments.output(),
            Self::Setup(arguments) => arguments.output(),
            Self::Doctor(arguments) => arguments.output(),
        };
        output == Output::Json
    }
}

/// Does what is asked for.
///
/// # Errors
/// When nothing could be done at all.
pub async fn run(operation: Operation, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    match operation {
        Operation::Leases(operation) => leases::run(operation, env, out).await,
        Operation::Lock(arguments) => lock::lock(&arguments, env, out).await,
        Operation::Unlock(arguments) => lock::unlock(&arguments, env, out).await,
        Operation::Setup(arguments) => setup::run(*arguments, env, out).await,
        Operation::Doctor(arguments) => Box::pin(doctor::doctor(&arguments, env, out)).await,
    }
}
