//! `jobpass leases watch`: a line for each lease that begins or ends, until it is told to stop.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use clap::Args;
use futures_util::{TryStreamExt as _, future::try_join_all};
use jiff::Timestamp;
use kube::{api::WatchParams, core::WatchEvent};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{
    filter::{Chosen, Filter},
    held::Held,
    list::count,
    pages::{Pages, secrets, selector},
};
use crate::{
    env::Env,
    failure::Failure,
    operate::{
        Outcome,
        document::{Format, Output},
        reach::{Opened, Reach},
        server::Server,
    },
    out::{API_VERSION, Out, instant, one_line},
    signals::Signals,
};

/// In seconds: how long the server lets one watch go on.
const EACH: u32 = 240;

/// A watch that has said nothing for so long, not even that it is over, is broken.
const SILENT: Duration = Duration::from_mins(5);

/// How long we wait before a watch that has broken is begun again: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    filter: Filter,
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

/// A lease that has begun or ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseEvent<'a> {
    api_version: &'static str,
    kind: &'static str,
    r#type: &'static str,
    at: String,
    lease: &'a Held,
}

/// Watches.
///
/// # Errors
/// When the call is wrong, or no cluster can be asked.
pub async fn watch(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let chosen = arguments.filter.chosen()?;
    follow(&chosen, arguments.format.output, &arguments.reach, (env, out)).await
}

/// The same for `leases list --watch`.
///
/// # Errors
/// As [`watch`].
pub async fn follow(chosen: &Chosen<'_>, output: Output, reach: &Reach, (env, out): (&Env, &Out)) -> Result<Outcome, Failure> {
    let mut signals = Signals::ending();
    let watched = async {
        let mut servers = Vec::new();
        for Opened { name, server } in reach.open(env, out).await? {
            match server {
                Ok(server) => servers.push(server),
                Err(failure) if !reach.is_many() => return Err(failure),
                Err(failure) => out.warn(format!("`{name}` cannot be asked, and is not watched: {}", failure.brief())),
            }
        }
        if servers.is_empty() {
            return Ok(Outcome::Failed);
        }
        let teller = Teller { output, has_cluster: reach.is_many(), out };
        let each = servers.iter().flat_map(|server| chosen.namespaces.iter().map(move |namespace| (server, namespace)));
        let followed: Vec<_> =
            each.map(|(server, namespace)| Followed { server, namespace: namespace.as_deref(), chosen, teller, known: None }).collect();
        // Only a stdout that nobody reads ends one of them, and then all.
        let ended = try_join_all(followed.into_iter().map(Followed::go)).await;
        Ok(if ended.is_err() { Outcome::Done } else { Outcome::Failed })
    };
    let mut watched = pin!(watched);
    let told = async {
        match &mut signals {
            Some(signals) => signals.ending_one().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = &mut watched => outcome,
        _ = told => Ok(Outcome::Done),
    }
}

/// How it is told.
#[derive(Clone, Copy)]
struct Teller<'a> {
    output: Output,
    has_cluster: bool,
    out: &'a Out,
}

impl Teller<'_> {
    fn tell(self, what: &'static str, lease: &Held, now: Timestamp) -> Result<(), Failure> {
        let line = match self.output {
            Output::Json => {
                let event = LeaseEvent { api_version: API_VERSION, kind: "LeaseEvent", r#type: what, at: instant(now), lease };
                self.out.without_hidden(&serde_json::to_string(&event).unwrap_or_default())
            }
            Output::Name => lease.id(),
            Output::Table | Output::Wide => line(what, lease, now, self.has_cluster),
        };
        self.out.data(&line)
    }
}

/// One line for people: what, when, and whose.
fn line(what: &str, lease: &Held, now: Timestamp, has_cluster: bool) -> String {
    let cluster = if has_cluster { format!("{}  ", lease.cluster) } else { String::new() };
    let by = lease.actor.as_deref().map(|actor| format!("by {actor}"));
    let parts = [Some(lease.id()), lease.service_account.clone(), Some(lease.who()), lease.platform.clone(), Some(lease.run()), by];
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| one_line(&part)).filter(|part| !part.is_empty()).collect();
    format!("{}  {cluster}{what}  {}", instant(now), parts.join("  "))
}

/// What is watched: a namespace of a cluster, or all of them.
struct Followed<'a> {
    server: &'a Server,
    namespace: Option<&'a str>,
    chosen: &'a Chosen<'a>,
    teller: Teller<'a>,
    /// The leases that are there, by their uid; none before the first list.
    known: Option<BTreeMap<String, Held>>,
}

/// Why a watch is over.
enum Over {
    /// It may go on from this version.
    At(String),
    /// What has happened since is forgotten: list anew.
    Forgotten,
    /// It broke off.
    Broken(String, Failure),
}

impl Followed<'_> {
    /// Goes on until stdout has no reader.
    async fn go(mut self) -> Result<(), Failure> {
        let mut pause = PAUSES.0;
        let mut version = None;
        loop {
            let from = match version.take() {
                Some(version) => version,
                None => match self.listed().await {
                    Ok(listed) => listed?,
                    Err(failure) => {
                        self.wait(&failure, &mut pause).await;
                        continue;
                    }
                },
            };
            match self.watched(&from).await? {
                // Not at once, where a server ends each watch as soon as it begins.
                Over::At(at) if at == from => {
                    sleep(pause).await;
                    version = Some(at);
                }
                Over::At(at) => {
                    pause = PAUSES.0;
                    version = Some(at);
                }
                Over::Forgotten => sleep(pause).await,
                Over::Broken(at, failure) => {
                    self.wait(&failure, &mut pause).await;
                    version = Some(at);
                }
            }
        }
    }

    /// Says the first failure of a row, and waits a while.
    async fn wait(&self, failure: &Failure, pause: &mut Duration) {
        if *pause == PAUSES.0 {
            self.teller.out.warn(format!("{}; it is tried again", failure.brief()));
        }
        sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
    }

    /// Lists what is there, and tells what has changed since it was known; the version of the list. The inner failure is stdout's.
    async fn listed(&mut self) -> Result<Result<String, Failure>, Failure> {
        let (mut pages, mut here, mut version) = (Pages::of(self.server, self.namespace), BTreeMap::new(), None);
        while let Some(page) = pages.next().await? {
            if page.is_again {
                here.clear();
            }
            version = page.version.or(version);
            let now = self.server.now();
            let meant = page.leases.into_iter().filter(|lease| self.chosen.has(lease, now));
            here.extend(meant.map(|lease| (lease.uid.clone(), lease)));
        }
        let told = self.compared(&here);
        self.known = Some(here);
        Ok(told.map(|()| version.unwrap_or_default()))
    }

    fn compared(&self, here: &BTreeMap<String, Held>) -> Result<(), Failure> {
        let now = self.server.now();
        let Some(known) = &self.known else {
            let place = self.namespace.map(|namespace| format!(" in `{namespace}`")).unwrap_or_default();
            let leases = count(here.len(), "lease", "leases");
            self.teller.out.say(format!("watching `{}`{place}: {leases} now", self.server.name));
            return Ok(());
        };
        for lease in known.values().filter(|lease| !here.contains_key(&lease.uid)) {
            self.teller.tell("ended", lease, now)?;
        }
        here.values().filter(|lease| !known.contains_key(&lease.uid)).try_for_each(|lease| self.teller.tell("began", lease, now))
    }

    /// One watch, from its beginning to its end. Fails only where stdout does.
    async fn watched(&mut self, from: &str) -> Result<Over, Failure> {
        let api = secrets(self.server, self.namespace);
        let params = WatchParams::default().fields(&selector()).timeout(EACH);
        let mut version = from.to_owned();
        let broken = |version, error: &kube::Error| {
            let failure = self.server.failed("the watch of the leases broke off", "`watch` on `secrets`", error);
            Over::Broken(version, failure)
        };
        let events = match api.watch_metadata(&params, from).await {
            Ok(events) => events,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(Over::Forgotten),
            Err(error) => return Ok(broken(version, &error)),
        };
        let mut events = pin!(events);
        loop {
            let event = match timeout(SILENT, events.try_next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) | Err(_) => return Ok(Over::At(version)),
                Ok(Err(error)) => return Ok(broken(version, &error)),
            };
            let now = self.server.now();
            let (is_there, meta) = match event {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret) => (true, secret.metadata),
                WatchEvent::Deleted(secret) => (false, secret.metadata),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(_) => return Ok(Over::Forgotten),
            };
            version = meta.resource_version.clone().unwrap_or(version);
            let lease = Held::of(&self.server.name, meta, now);
            let known = self.known.get_or_insert_default();
            if is_there && !known.contains_key(&lease.uid) && self.chosen.has(&lease, now) {
                self.teller.tell("began", &lease, now)?;
                known.insert(lease.uid.clone(), lease);
            } else if !is_there && known.remove(&lease.uid).is_some() {
                self.teller.tell("ended", &lease, now)?;
            }
        }
    }
}
