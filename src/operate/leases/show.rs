//! `jobpass leases show`: everything of one lease.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{
    events::{self, Told},
    filter::{Filter, Named, is_left_over, shortest},
    gather::{Gathered, gather},
    held::Held,
    list::{Columns, one},
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    operate::{
        Outcome,
        document::{Format, Output, Unreached, print},
        locks::{self, Lock},
        reach::Reach,
        server::Server,
        table::Screen,
        when,
    },
    out::{Out, instant, one_line},
};

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The lease: its first digits, at least 4, or NAMESPACE/jobpass-…
    lease: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.format.output
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    lease: &'a Held,
    locks: &'a [Lock],
    events: &'a [Told],
}

/// Shows it.
///
/// # Errors
/// When no lease or several have this name, or no cluster can be asked.
pub async fn show(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Arguments { lease, format, reach } = arguments;
    let named = Named::parse(lease)?;
    let filter = Filter { namespace: named.namespace().map(str::to_owned).into_iter().collect(), ..Filter::default() };
    let chosen = filter.chosen()?;
    let opened = reach.open(env, out).await?;
    let found = gather(opened, reach, &chosen, |lease| named.is(lease)).await?;
    let outcome = Outcome::of(found.tried, found.errors.len());
    let lease = only(lease, &found.leases.iter().collect::<Vec<_>>(), &found, env, out)?;
    let Some(server) = found.server(lease) else { return Ok(Outcome::Failed) };
    let locks = locks_of(server, lease).await;
    let told = events::last(server, lease).await;
    let events = told.as_ref().map(Vec::as_slice).unwrap_or_default();
    match format.output {
        Output::Name => out.data(&lease.id())?,
        Output::Json => print("Lease", &Shown { lease, locks: &locks, events }, out)?,
        Output::Table | Output::Wide => {
            out.data(&described(lease, &locks, events, server, Screen::of(env)))?;
            if let Err(failure) = &told {
                out.warn(failure.brief());
            }
            let name = &shortest(std::slice::from_ref(lease))[0];
            let flags = one(reach, &lease.cluster);
            let next = if is_left_over(lease) { format!("sweep{flags}") } else { format!("revoke {name} --reason \"...\"{flags}") };
            out.say(format!("next:  jobpass leases {next}"));
        }
    }
    Ok(outcome)
}

/// The one lease of that name.
///
/// # Errors
/// When there is none, or there are several, which are listed.
pub fn only<'a>(name: &str, leases: &[&'a Held], found: &Gathered, env: &Env, out: &Out) -> Result<&'a Held, Failure> {
    match leases {
        [lease] => Ok(lease),
        [] => {
            let failure = Failure::new(Code::LeaseMissing, format!("there is no lease `{name}`"));
            let unasked = |error: &Unreached| format!("`{}` cannot be asked: {}", error.cluster, error.reason);
            Err(found.errors.iter().map(unasked).fold(failure, Failure::cause).hint("`jobpass leases list` shows all"))
        }
        several => {
            let screen = Screen { has_colours: false, ..Screen::of(env) };
            let rows: Vec<_> = several.iter().map(|lease| (*lease).clone()).collect();
            out.say(Columns { is_wide: false, has_cluster: true }.table(&rows, &[], screen, |lease| found.now(lease)).render(screen));
            let hint = if rows.iter().all(|lease| lease.name == rows[0].name) {
                "name one cluster by `--context`, or the namespace as `NAMESPACE/jobpass-…`"
            } else {
                "write more of its digits"
            };
            Err(Failure::new(Code::LeaseSeveral, format!("{} leases begin with `{name}`", rows.len())).hint(hint))
        }
    }
}

async fn locks_of(server: &Server, lease: &Held) -> Vec<Lock> {
    let all = locks::all(server, &[Some(lease.namespace.clone())]).await;
    all.into_iter().filter(|lock| lock.holds_for(&lease.namespace, lease.account())).collect()
}

/// All that is known of a lease, a line each.
fn described(lease: &Held, locks: &[Lock], events: &[Told], server: &Server, screen: Screen) -> String {
    let now = server.now();
    let moment =
        |at: jiff::Timestamp, words: String| if screen.width.is_some() { format!("{} ({words})", instant(at)) } else { instant(at) };
    let over = if is_left_over(lease) { ", left over" } else { "" };
    let ends = lease.expires_at.map(|at| moment(at, when::end(at, now, screen)) + over);
    let lines = [
        ("cluster", Some(lease.cluster.clone())),
        ("lease", Some(lease.id())),
        ("uid", Some(lease.uid.clone())),
        ("identity", lease.identity.clone().map(|user| user + "    (checked by the policies)")),
        ("made", lease.created_at.map(|at| moment(at, when::age(at, now, screen) + " ago"))),
        ("ends", Some(ends.unwrap_or_else(|| format!("not said, after 8 days at most{over}")))),
        ("deleted", lease.deleting.then(|| "yes, but a finalizer holds it".to_owned())),
        ("account*", lease.service_account.clone()),
        ("platform*", lease.platform.clone()),
        ("repository*", lease.repository.clone()),
        ("run*", lease.run_id.clone()),
        ("url*", lease.run_url.clone()),
        ("commit*", lease.commit.clone()),
        ("by*", lease.actor.clone()),
    ];
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13}{}", one_line(value));
    };
    for (name, value) in lines {
        line(name, value.as_deref().unwrap_or("-"));
    }
    for lock in locks {
        line("lock", &lock.line());
    }
    for event in events {
        let at = event.at.map(|at| instant(at) + " ").unwrap_or_default();
        line("event", &format!("{at}{} {}", event.reason, event.message));
    }
    text + "* as told by the job"
}
