//! `jobpass leases revoke`: ends passes of others, and says what that does not end.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    future::ready,
};

use clap::Args;
use futures_util::{StreamExt as _, future::join_all, stream};

use super::{
    ended::{AT_ONCE, end, until_told},
    events::Ending,
    filter::{Chosen, Filter, Named},
    gather::{Gathered, gather},
    held::Held,
    list::count,
    show::only,
    telling::{self, Report},
};
use crate::{
    clock::ServerTime,
    env::Env,
    failure::{Code, Failure},
    operate::{
        Outcome,
        consent::Consent,
        document::{Format, Output},
        lock::Wanted,
        locks::{self, Lock},
        progress::Progress,
        reach::Reach,
        reason,
        server::Server,
    },
    out::Out,
    receipt::Proof,
};

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The leases: their first digits, at least 4, or NAMESPACE/jobpass-…
    leases: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All there are
    #[arg(long)]
    all: bool,
    /// Why: it is written into the receipts, into Events, and into the job's log; has to be given
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Give out no new ones for so long, such as `4h`; 30 days at most
    #[arg(long, value_name = "TIME")]
    lock: Option<String>,
    #[command(flatten)]
    consent: Consent,
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

    /// The names that are given, once it is sure which leases are meant.
    fn named(&self) -> Result<Vec<Named<'_>>, Failure> {
        if self.leases.is_empty() && self.filter.is_empty() && !self.all {
            return Err(Failure::new(Code::UsageMissing, "nothing says which passes are meant").hint(
                "name them as `jobpass leases list` shows them, or choose by `--service-account`, `--run` and the like; `--all` is all",
            ));
        }
        if self.all && !self.leases.is_empty() {
            return Err(Failure::new(Code::UsageConflict, "`--all` and names of leases exclude each other"));
        }
        self.leases.iter().map(|name| Named::parse(name)).collect()
    }
}

/// Revokes.
///
/// # Errors
/// When the call is wrong, a name means none or several, or the only cluster cannot be asked.
pub async fn revoke(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Arguments { filter, reason, lock, consent, format, reach, .. } = arguments;
    let named = arguments.named()?;
    let mut chosen = filter.chosen()?;
    narrow(&mut chosen, &named);
    let reason = if consent.dry_run && reason.is_none() { String::new() } else { reason::checked(reason.as_deref())? };
    let lock = lock.as_deref().map(|length| Wanted::parse("--lock", length, &reason)).transpose()?;
    consent.check()?;
    let opened = reach.open(env, out).await?;
    let mut found = gather(opened, reach, &chosen, |lease| named.is_empty() || named.iter().any(|name| name.is(lease))).await?;
    for (text, name) in arguments.leases.iter().zip(&named) {
        let of_name: Vec<_> = found.leases.iter().filter(|lease| name.is(lease)).collect();
        only(text, &of_name, &found, env, out)?;
    }
    let targets = match &lock {
        Some(_) => targets(filter, &found)?,
        None => Vec::new(),
    };
    if lock.is_some() && targets.is_empty() {
        return Err(Failure::new(Code::UsageMissing, "`--lock` does not know what to lock, as no pass is meant")
            .hint("name it: `jobpass lock NAMESPACE/ACCOUNT --for 4h`, or `-s` or `-n` here"));
    }
    telling::preview(&found, reach, env, out);
    if consent.dry_run {
        telling::dry(&found, format.output, out)?;
        return Ok(Outcome::of(found.tried, found.errors.len()));
    }
    let is_to_do = !found.leases.is_empty() || !targets.is_empty();
    if is_to_do && !consent.given(&question(&found, lock.as_ref(), &targets), out) {
        out.say("nothing was done");
        return Ok(Outcome::Failed);
    }
    let ending = Ending { by: asker(&mut found.servers).await, reason };
    // First, so that no new pass comes between.
    let (locks, unlocked) = locked(&found.servers, lock.as_ref(), &targets, out).await;
    let ended = all(&found, &ending, out).await;
    let report = Report { ended, locks, unlocked, found, ending };
    report.tell(format.output, reach, env, out)?;
    Ok(report.outcome())
}

/// Asks only the namespaces of the leases that are named, where each of them is named with one.
fn narrow(chosen: &mut Chosen<'_>, named: &[Named<'_>]) {
    let namespaces: Option<Vec<_>> = named.iter().map(|name| name.namespace().map(str::to_owned)).collect();
    if let (Some(mut namespaces), [None]) = (namespaces.filter(|all| !all.is_empty()), chosen.namespaces.as_slice()) {
        namespaces.sort();
        namespaces.dedup();
        chosen.namespaces = namespaces.into_iter().map(Some).collect();
    }
}

/// What is to be locked: the account that was named, else the namespaces. Which account a lease has, only its job says.
fn targets(filter: &Filter, found: &Gathered) -> Result<Vec<(String, Option<String>)>, Failure> {
    if let Some((namespace, account)) = filter.account()? {
        return Ok(vec![(namespace.to_owned(), Some(account.to_owned()))]);
    }
    let namespaces: BTreeSet<_> =
        found.leases.iter().map(|lease| lease.namespace.clone()).chain(filter.namespace.iter().cloned()).collect();
    Ok(namespaces.into_iter().map(|namespace| (namespace, None)).collect())
}

fn question(found: &Gathered, lock: Option<&Wanted>, targets: &[(String, Option<String>)]) -> String {
    let passes = count(found.leases.len(), "pass", "passes");
    let clusters: BTreeSet<_> = found.leases.iter().map(|lease| lease.cluster.as_str()).collect();
    let on = if clusters.is_empty() { String::new() } else { format!(" on {}", clusters.into_iter().collect::<Vec<_>>().join(", ")) };
    let targets: Vec<_> = targets.iter().map(|(namespace, account)| locks::target(namespace, account.as_deref())).collect();
    let lock = lock.map(|lock| format!(" and give out no new ones of {} for {}", targets.join(", "), lock.length())).unwrap_or_default();
    format!("revoke {passes}{on}{lock}?")
}

/// Who we are, as the first cluster that says so knows us.
async fn asker(servers: &mut [Server]) -> String {
    for server in servers {
        if let Some(name) = server.asker().await {
            return name;
        }
    }
    "somebody whom the API server does not name".to_owned()
}

/// Locks what is to be locked, on each cluster.
async fn locked(servers: &[Server], lock: Option<&Wanted>, targets: &[(String, Option<String>)], out: &Out) -> (Vec<Lock>, Vec<Failure>) {
    let Some(lock) = lock else { return (Vec::new(), Vec::new()) };
    let each = servers.iter().flat_map(|server| targets.iter().map(move |target| (server, target)));
    let done = each.map(async |(server, (namespace, account))| lock.put(server, (namespace, account.as_deref()), out).await);
    let (mut locks, mut failures) = (Vec::new(), Vec::new());
    for done in join_all(done).await {
        match done {
            Ok(lock) => locks.push(lock),
            Err(failure) => failures.push(failure),
        }
    }
    (locks, failures)
}

/// Ends all leases, several at the same time, and writes down why. They come back in their order.
async fn all(found: &Gathered, ending: &Ending, out: &Out) -> Vec<(Held, Proof)> {
    let progress = Progress::new("leases", found.leases.len() as u64);
    let told = async |(at, lease): (usize, Held)| {
        let Some(server) = found.server(&lease) else { return (at, lease, Proof::Absent, None) };
        let proof = end(server, &lease).await.unwrap_or_else(|failure| Proof::Failed {
            code: failure.code(),
            reason: failure.brief(),
            until: lease.expires_at.map(ServerTime::said),
        });
        let unsaid = if proof.is_success() { ending.tell_lease(server, &lease, server.now()).await.err() } else { None };
        progress.more(1);
        (at, lease, proof, unsaid)
    };
    let stopped = Cell::new(false);
    let begun = stream::iter(found.leases.iter().cloned().enumerate()).take_while(|_| ready(!stopped.get())).map(told);
    let mut done: Vec<_> = until_told(&stopped, begun.buffer_unordered(AT_ONCE).collect()).await;
    progress.end();
    if stopped.get() {
        let begun: BTreeSet<_> = done.iter().map(|(at, ..)| *at).collect();
        let left = found.leases.iter().cloned().enumerate().filter(|(at, _)| !begun.contains(at));
        done.extend(left.map(|(at, lease)| {
            let until = lease.expires_at.map(ServerTime::said);
            (at, lease, Proof::Failed { code: Code::Interrupted, reason: "interrupted before it was its turn".to_owned(), until }, None)
        }));
    }
    done.sort_by_key(|(at, ..)| *at);
    let mut unsaid: Option<Failure> = done.iter_mut().find_map(|(.., unsaid)| unsaid.take());
    let ended: Vec<_> = done.into_iter().map(|(_, lease, proof, _)| (lease, proof)).collect();
    let tried = tell_accounts(found, &ended, ending).await;
    if let Some(failure) = unsaid.take().or(tried) {
        // The passes are ended all the same.
        out.warn(failure.brief());
    }
    ended
}

/// An Event on each service account, where `kubectl describe` shows it.
async fn tell_accounts(found: &Gathered, ended: &[(Held, Proof)], ending: &Ending) -> Option<Failure> {
    let mut accounts: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for (lease, _) in ended.iter().filter(|(_, proof)| proof.is_success()) {
        if let Some(account) = lease.account() {
            accounts.entry((&lease.cluster, &lease.namespace, account)).or_default().push(lease.name.clone());
        }
    }
    let mut failed = None;
    for ((cluster, namespace, account), leases) in accounts {
        let Some(server) = found.servers.iter().find(|server| server.name == cluster) else { continue };
        let done = ending.tell_account(server, (namespace, account), &leases, server.now()).await;
        failed = failed.or(done.err());
    }
    failed
}
