//! `jobpass leases list`.

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use super::held::{Held, State, all};
use crate::{
    env::Env,
    failure::Failure,
    operate::{
        Outcome,
        document::{Format, Output, Unreached, print},
        reach::Reach,
        table::{Cell, Screen, Table, Tone},
    },
    out::Out,
};

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Of this namespace only
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct LeaseList {
    items: Vec<Held>,
    errors: Vec<Unreached>,
}

impl Arguments {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.format.output
    }
}

/// Lists them.
///
/// # Errors
/// When the call is wrong, or no cluster can be asked.
pub async fn list(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let opened = arguments.reach.open(env, out).await?;
    let asked = opened.into_iter().map(async |opened| {
        let leases = match &opened.server {
            Ok(server) => all(server, arguments.namespace.as_deref()).await,
            Err(failure) => Err(failure.clone()),
        };
        (opened.name, leases)
    });
    let (mut items, mut errors, mut tried) = (Vec::new(), Vec::new(), 0);
    for (cluster, leases) in join_all(asked).await {
        tried += 1;
        match leases {
            Ok(leases) => items.extend(leases),
            Err(failure) if !arguments.reach.is_many() => return Err(failure),
            Err(failure) => errors.push(Unreached { cluster, reason: failure.brief() }),
        }
    }
    let outcome = Outcome::of(tried, errors.len());
    match arguments.format.output {
        Output::Json => print("LeaseList", &LeaseList { items, errors }, out)?,
        Output::Name => items.iter().try_for_each(|lease| out.data(&format!("{}/{}", lease.namespace, lease.name)))?,
        Output::Table | Output::Wide => {
            let mut table = Table::new(["CLUSTER", "LEASE", "ACCOUNT", "STATE"]);
            for lease in &items {
                let tone = match lease.state {
                    State::Alive => Tone::Good,
                    State::Over => Tone::Bad,
                    State::Unknown => Tone::Doubtful,
                };
                let account = lease.service_account.clone().unwrap_or_default();
                table.row([
                    lease.cluster.clone().into(),
                    lease.name.clone().into(),
                    account.into(),
                    Cell::toned(format!("{:?}", lease.state), tone),
                ]);
            }
            out.data(&table.render(Screen::of(env)))?;
        }
    }
    Ok(outcome)
}
