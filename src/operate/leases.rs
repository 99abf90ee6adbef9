//! `jobpass leases`: who holds passes, and their end.

use clap::Subcommand;

use super::{Outcome, document::Output};
use crate::{env::Env, failure::Failure, out::Out};

mod ended;
mod events;
mod filter;
mod gather;
pub(super) mod held;
mod list;
pub(super) mod pages;
mod revoke;
mod show;
mod sweep;
mod telling;
mod watch;

/// What is to be done with leases.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List the leases of one or more clusters
    List(list::Arguments),
    /// Show everything of one lease
    Show(show::Arguments),
    /// End passes of others
    Revoke(revoke::Arguments),
    /// Remove the leases that are over
    Sweep(sweep::Arguments),
    /// Print a line for each lease that begins or ends
    Watch(watch::Arguments),
}

impl Operation {
    /// How the answer is printed.
    #[must_use]
    pub fn output(&self) -> Output {
        match self {
            Self::List(arguments) => arguments.output(),
            Self::Show(arguments) => arguments.output(),
            Self::Revoke(arguments) => arguments.output(),
            Self::Sweep(arguments) => arguments.output(),
            Self::Watch(arguments) => arguments.output(),
        }
    }
}

/// Does it.
///
/// # Errors
/// When nothing could be done at all.
pub async fn run(operation: Operation, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    match operation {
        Operation::List(arguments) => list::list(&arguments, env, out).await,
        Operation::Show(arguments) => show::show(&arguments, env, out).await,
        Operation::Revoke(arguments) => Box::pin(revoke::revoke(&arguments, env, out)).await,
        Operation::Sweep(arguments) => sweep::sweep(&arguments, env, out).await,
        Operation::Watch(arguments) => watch::watch(&arguments, env, out).await,
    }
}
