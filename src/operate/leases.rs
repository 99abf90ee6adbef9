//! `jobpass leases`: who holds passes, and their end.

use clap::Subcommand;

use super::{Outcome, document::Output};
use crate::{env::Env, failure::Failure, out::Out};

pub(super) mod held;
mod list;

/// What is to be done with leases.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List the leases of one or more clusters
    List(list::Arguments),
}

impl Operation {
    /// How the answer is printed.
    #[must_use]
    pub fn output(&self) -> Output {
        match self {
            Self::List(arguments) => arguments.output(),
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
    }
}
