//! `jobpass leases sweep`: removes what is over. It asks nothing, as no token of such a lease may live; a job in the cluster may run it.

use std::{cell::Cell, future::ready};

use clap::Args;
use futures_util::{StreamExt as _, future::join_all, stream};
use serde::Serialize;

use super::{
    ended::{AT_ONCE, end, until_told},
    filter::{Filter, is_left_over},
    held::Held,
    list::count,
    pages::Pages,
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    operate::{
        Outcome,
        document::{Format, Output, print},
        progress::Progress,
        reach::{Opened, Reach},
        server::Server,
    },
    out::Out,
};

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// In these namespaces only, separated by commas; it then takes rights in no others [default: all]
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',')]
    namespace: Vec<String>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
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

/// What became of one cluster.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Swept {
    cluster: String,
    leases: u64,
    over: u64,
    removed: u64,
    failed: u64,
    /// Why the first of them failed, or the cluster could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether all of its leases were looked at.
    complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sweep {
    clusters: Vec<Swept>,
    dry_run: bool,
}

/// What is to be done in each cluster.
struct Task<'a> {
    namespaces: &'a [Option<String>],
    is_dry: bool,
    output: Output,
    progress: &'a Progress,
    /// Whether nothing more is to be begun.
    stopped: &'a Cell<bool>,
    out: &'a Out,
}

/// Sweeps.
///
/// # Errors
/// When the call is wrong, or the only cluster cannot be asked.
pub async fn sweep(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Arguments { namespace, dry_run, format, reach } = arguments;
    let filter = Filter { namespace: namespace.clone(), ..Filter::default() };
    let chosen = filter.chosen()?;
    let opened = reach.open(env, out).await?;
    let progress = Progress::new("leases", 0);
    let stopped = Cell::new(false);
    let task =
        Task { namespaces: &chosen.namespaces, is_dry: *dry_run, output: format.output, progress: &progress, stopped: &stopped, out };
    let task = &task;
    let swept = opened.into_iter().map(async |Opened { name, server }| {
        let mut swept = Swept { cluster: name, ..Swept::default() };
        let done = match &server {
            Ok(server) => of_cluster(server, task, &mut swept).await,
            Err(failure) => Err(failure.clone()),
        };
        (swept, done)
    });
    let all = until_told(&stopped, join_all(swept)).await;
    progress.end();
    let tried = all.len();
    let mut clusters = Vec::new();
    for (mut swept, done) in all {
        match done {
            Ok(()) => swept.complete = true,
            Err(failure) if tried == 1 && swept.leases == 0 => return Err(failure),
            Err(failure) => swept.reason = Some(failure.brief()),
        }
        clusters.push(swept);
    }
    let left_out = clusters.iter().filter(|swept| !swept.complete).count();
    let failed = clusters.iter().filter(|swept| !swept.complete || swept.failed > 0).count();
    let is_nothing = clusters.iter().all(|swept| swept.removed == 0);
    let outcome = if failed > 0 && !is_nothing { Outcome::Partly } else { Outcome::of(tried, failed) };
    match format.output {
        Output::Json => print("Sweep", &Sweep { clusters, dry_run: *dry_run }, out)?,
        Output::Table | Output::Wide => {
            clusters.iter().try_for_each(|swept| out.data(&line(swept, *dry_run)))?;
            if clusters.len() > 1 {
                let removed = clusters.iter().map(|swept| swept.removed).sum::<u64>();
                let left = if left_out > 0 { format!(", {} left out", count(left_out, "cluster", "clusters")) } else { String::new() };
                out.say(format!("{removed} removed{left}"));
            }
        }
        // Each was printed when it was removed.
        Output::Name => {
            for swept in clusters.iter().filter(|swept| swept.reason.is_some()) {
                out.warn(line(swept, *dry_run));
            }
        }
    }
    Ok(outcome)
}

/// Sweeps one cluster, page by page.
async fn of_cluster(server: &Server, task: &Task<'_>, swept: &mut Swept) -> Result<(), Failure> {
    if !server.has_told_its_time() {
        let failure = Failure::new(Code::ApiAnswer, format!("cannot say which leases of `{}` are over", server.name));
        return Err(failure.cause("the API server does not tell its time, and this machine's clock decides nothing"));
    }
    for namespace in task.namespaces {
        let mut pages = Pages::of(server, namespace.as_deref());
        while let Some(page) = pages.next().await? {
            if task.stopped.get() {
                return Err(Failure::new(Code::Interrupted, "interrupted"));
            }
            swept.leases += page.leases.len() as u64;
            task.progress.more(page.leases.len() as u64);
            // What is deleted already waits for its finalizer.
            let over = page.leases.into_iter().filter(|lease| is_left_over(lease) && !lease.deleting);
            // Somebody else's, whatever its type: it is no failure of every sweep from now on.
            let (over, strange): (Vec<_>, Vec<_>) = over.partition(Held::has_a_leases_name);
            if let Some(first) = strange.first() {
                let few = count(strange.len(), "Secret has", "Secrets have");
                let text =
                    format!("{}: {few} the type of a lease and not the name of one, such as `{}`; left alone", server.name, first.id());
                task.out.warn(text);
            }
            swept.over += over.len() as u64;
            let ended = async |lease: Held| {
                let ended = if task.is_dry { Ok(()) } else { end(server, &lease).await.map(drop) };
                (lease.id(), ended)
            };
            let begun = stream::iter(over).take_while(|_| ready(!task.stopped.get())).map(ended);
            let mut all = std::pin::pin!(begun.buffer_unordered(AT_ONCE));
            while let Some((id, ended)) = all.next().await {
                match ended {
                    Ok(()) => {
                        swept.removed += u64::from(!task.is_dry);
                        if task.output == Output::Name {
                            task.out.data(&id)?;
                        }
                    }
                    Err(failure) => {
                        swept.failed += 1;
                        swept.reason.get_or_insert_with(|| failure.brief());
                    }
                }
            }
            if task.stopped.get() {
                return Err(Failure::new(Code::Interrupted, "interrupted"));
            }
        }
    }
    Ok(())
}

/// What became of a cluster, in a line.
fn line(swept: &Swept, is_dry: bool) -> String {
    let Swept { cluster, leases, over, removed, failed, reason, complete } = swept;
    let reason = reason.as_deref().unwrap_or_default();
    if !complete && *leases == 0 {
        return format!("{cluster}  cannot be asked: {reason}");
    }
    let removed = if is_dry { "none removed, as this is a dry run".to_owned() } else { format!("{removed} removed") };
    let failed = if *failed > 0 { format!(", {failed} not: {reason}") } else { String::new() };
    let rest = if *complete { String::new() } else { format!(", and then no further: {reason}") };
    format!("{cluster}  {}, {over} over, {removed}{failed}{rest}", count(usize::try_from(*leases).unwrap_or(usize::MAX), "lease", "leases"))
}
