//! Clients of Kubernetes with a pass: whether `request` gives each what it needs; which of them goes on when `run` renews its token, with
//! which form of the kubeconfig; and that none is let in when the pass is over.
//!
//! The API server is the real one, behind a server of ours that shortens the tokens it grants (`go/shorten.go`). `jobpass run` has
//! two passes, one for each form, and every client asks for something each second with both, at the same time; then with one of
//! `jobpass request`. `.ci/run` runs this:
//! `JOBPASS_TEST_TOOLS` names the directory that `tests/platforms/tools` has filled, and `tests/platforms/tools clients` another one
//! beside it; `JOBPASS_TEST_CLUSTER` names the control plane.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod eks;
mod processes;
#[expect(dead_code, reason = "no client here runs in a pod")]
#[path = "../shared.rs"]
mod shared;
mod table;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use jobpass_harness as harness;
use serde_json::json;

use crate::{
    harness::{ControlPlane, World, doors},
    processes::{Answer, Clients},
    table::{ROWS, Seen},
};

/// How long a token lives. `jobpass hold` requests the next one when four fifths of it are over.
const LIFE: Duration = Duration::from_secs(20);

/// So long after its end a real API server still takes a token: a minute, as clocks differ
/// (<https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/serviceaccount/claims.go>), and ten seconds in which it remembers it. This is
/// not shortened, because the minute after which some clients read a file again is not, either.
const LEEWAY: Duration = Duration::from_secs(70);

/// How long a watch lasts whose client wants to begin a new one some time.
const WATCH: Duration = Duration::from_secs(7);

/// When the first token of a client is over for sure, counted from its first answer.
const OVER: Duration = LIFE.saturating_add(LEEWAY);

/// How long each client is watched after that.
const AFTER: Duration = Duration::from_secs(20);

/// How many answers to a client tell what has become of it.
const ENOUGH: usize = 3;

/// A machine that is busy starts a JVM slowly.
const LIMIT: Duration = Duration::from_mins(5);

/// How long a client may take to see that its pass is over, or to be asked for the first time.
const SOON: Duration = Duration::from_mins(1);

/// The forms of the kubeconfig.
const MODES: [&str; 2] = ["token", "exec"];

/// The pass of `request`, beside those of `run`, which are called as their forms.
const REQUEST: &str = "request";

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for whoever asks why the table says something else")]
fn which_client_takes_a_pass_and_goes_on_and_none_outlives_it() {
    let directory = doors::control_plane().expect("JOBPASS_TEST_CLUSTER names a running control plane");
    let world = World::new();
    // With it come the rights that the clients use.
    world.own_token();
    let mut clients = Clients::new(&world, ControlPlane::at(&directory));
    for mode in MODES {
        clients.run(mode);
    }
    let answers = watched(&world, ControlPlane::at(&directory), &clients);
    let mut seen = BTreeMap::new();
    for (mode, client) in expected() {
        let answers = &answers[&(mode, client)];
        println!("{client}, {mode}: {}", summary(answers));
        seen.insert((mode, client), judged(answers));
    }
    clients.end_runs();
    for mode in MODES {
        refused(&clients, mode);
    }
    clients.stop();
    clients.request();
    is_so_soon(&clients, REQUEST, "let in", |_| true, |answer| answer.status == "200");
    clients.revoke();
    refused(&clients, REQUEST);
    let unclear: Vec<_> = seen.iter().filter(|(_, seen)| seen.is_none()).map(|(which, _)| which).collect();
    assert!(unclear.is_empty(), "neither goes on nor fails: {unclear:?}");
    table::compare(|mode, client| seen[&(mode, client)].expect("it is clear"));
}

/// The pass is over: nobody is let in any more, whatever a client has in its memory.
fn refused(clients: &Clients, mode: &'static str) {
    let (ended, asks) = (Instant::now(), |client: &str| !WATCHES.contains(&client));
    is_so_soon(clients, mode, "refused", asks, |answer| answer.at > ended && answer.status != "200");
}

/// Waits until the last answer to each of these clients is as wanted.
fn is_so_soon(clients: &Clients, mode: &'static str, what: &str, which: impl Fn(&str) -> bool, is_so: impl Fn(&Answer) -> bool) {
    let begun = Instant::now();
    loop {
        let asked = ROWS.iter().map(|row| row.client).filter(|client| which(client));
        let late: Vec<_> = asked.filter(|client| !clients.answers(mode, client).last().is_some_and(&is_so)).collect();
        if late.is_empty() {
            return;
        }
        assert!(begun.elapsed() < SOON, "{mode}: not yet {what}: {late:?}\n{}", clients.complaints());
        thread::sleep(Duration::from_millis(500));
    }
}

/// Those whose one request stays open: they ask nothing any more.
const WATCHES: [&str; 1] = ["kubectl-watch"];

/// Each client with each form of the kubeconfig.
fn expected() -> impl Iterator<Item = (&'static str, &'static str)> {
    MODES.into_iter().flat_map(|mode| ROWS.iter().map(move |row| (mode, row.client)))
}

/// Changes an object every two seconds, of which some clients learn, until each client has gone on for long enough.
fn watched(world: &World, cluster: &ControlPlane, clients: &Clients) -> BTreeMap<(&'static str, &'static str), Vec<Answer>> {
    let begun = Instant::now();
    let maps = world.path("configmaps");
    cluster.must("POST", &maps, Some(&json!({"metadata": {"name": "beat"}})));
    for n in 0.. {
        let beat = json!({"metadata": {"name": "beat"}, "data": {"n": n.to_string()}});
        cluster.must("PUT", &format!("{maps}/beat"), Some(&beat));
        thread::sleep(Duration::from_secs(2));
        let answers: BTreeMap<_, _> = expected().map(|(mode, client)| ((mode, client), clients.answers(mode, client))).collect();
        let late: Vec<_> = answers.iter().filter(|(_, answers)| !is_enough(answers)).map(|(which, _)| which).collect();
        if late.is_empty() {
            return answers;
        }
        assert!(begun.elapsed() < LIMIT, "no answers for so long: {late:?}\n{}", clients.complaints());
    }
    unreachable!("the loop has a limit")
}

/// Whether a client was watched for long enough, and has asked often enough since its first token was over.
fn is_enough(answers: &[Answer]) -> bool {
    let ends = answers.first().zip(answers.last());
    ends.is_some_and(|(first, last)| last.at.duration_since(first.at) > OVER + AFTER) && late(answers).count() >= ENOUGH
}

/// The answers to a client since its first token was over.
fn late(answers: &[Answer]) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(|answer| answer.at.duration_since(answers[0].at) > OVER)
}

/// What has become of a client; none if it is neither the one nor the other.
fn judged(answers: &[Answer]) -> Option<Seen> {
    if answers.iter().all(|answer| answer.status == "200") {
        Some(Seen::GoesOn)
    } else if answers[0].status == "200" && late(answers).all(|answer| answer.status == "401") {
        Some(Seen::Fails)
    } else if answers.iter().all(|answer| answer.status.contains("not implemented")) {
        Some(Seen::Never)
    } else {
        None
    }
}

/// The answers in a row, each with how often it came.
fn summary(answers: &[Answer]) -> String {
    let runs = answers.chunk_by(|one, other| one.status == other.status);
    let begun = answers[0].at;
    let told = runs.map(|run| {
        let from = run[0].at.duration_since(begun).as_secs();
        format!("{} of {} from second {from}", run.len(), run[0].status)
    });
    told.collect::<Vec<_>>().join(", ")
}
