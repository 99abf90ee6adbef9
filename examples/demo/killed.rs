//! A `jobpass run` that is killed: what it leaves, who sees it, and who ends it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde_json::Value;

use crate::{
    careless::{COPY, SLOW},
    ci::{Job, Platform},
    cluster::{ACCEPTED, Cluster, REFUSED, TARGET, claims},
    job::must,
    screen::{Mood, Screen},
};

/// The list of who looks after the cluster.
const LIST: &str = "jobpass leases list";

/// Plays it.
pub(crate) fn play(jobpass: &Path, screen: &Screen) -> Result<()> {
    let cluster = Cluster::start();
    let mut job = Job::start(Platform::Local, jobpass, &cluster)?;
    job.add_admin(&cluster)?;
    let before = job.files()?;
    screen.heading("4. A run is killed by SIGKILL; what it leaves is found and ended");
    let command = format!("jobpass run -s {TARGET} -- {SLOW}");
    screen.command(&format!("{command}    # kill -9 of jobpass"));
    let mut run = job.start_beside(&command)?;
    // The command lives until this is closed, which it is at the latest with the demo's own end.
    let stdin = run.child.stdin.take();
    let mut first = String::new();
    let stdout = run.child.stdout.take().context("the command has no stdout")?;
    BufReader::new(stdout).read_line(&mut first)?;
    let pid = first.trim().strip_prefix("deploying as process ").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let left = pidfd_open(pid.context("the command does not run")?, PidfdFlags::empty())?;
    run.kill()?;

    let token = fs::read_to_string(job.path(COPY)).context("the command has kept no copy of its token")?;
    let said = claims(&token)?;
    let moment = |claim: &str| said[claim].as_i64().and_then(|at| Timestamp::from_second(at).ok()).context("the token has no end");
    let (begun, end) = (moment("iat")?, moment("exp")?);
    let minutes = end.duration_since(begun).as_secs() / 60;
    let own = format!("its token, which by itself ends at {}, after {minutes} min", end.strftime("%H:%M:%SZ"));
    screen.fact(&own, Mood::Bad, &must(ACCEPTED, cluster.answer(&token)?)?);

    let found = leases(&mut job)?;
    ensure!(found.len() == 1 && cluster.leases() == found, "an admin sees {} leases", found.len());
    screen.fact(&format!("$ {LIST}      # anywhere, as an admin of the cluster"), Mood::Bad, &counted(&found));
    let revoke = "jobpass revoke --all";
    job.run(revoke)?.succeeded(revoke)?;
    screen.command(&format!("{revoke}     # on that machine"));
    let found = leases(&mut job)?;
    ensure!(found.is_empty() && cluster.leases().is_empty(), "the lease is still in the cluster");
    screen.fact(&format!("$ {LIST}"), Mood::Good, &counted(&found));
    cluster.outlast_cache();
    screen.fact("its token", Mood::Good, &must(REFUSED, cluster.answer(&token)?)?);

    drop(stdin);
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    ensure!(poll(&mut [PollFd::new(&left, PollFlags::IN)], Some(&patience))? == 1, "the command goes on");
    fs::remove_file(job.path(COPY))?;
    job.nothing_is_left(&before)?;
    cluster.knew_all()
}

/// The leases that the list shows.
fn leases(job: &mut Job) -> Result<Vec<String>> {
    let log = job.run(&format!("KUBECONFIG=admin.kubeconfig {LIST} -o json 2>&1"))?.succeeded(LIST)?;
    let list: Value = serde_json::from_str(&log).context("the list is no JSON")?;
    let items = list["items"].as_array().context("the list has no items")?;
    Ok(items
        .iter()
        .map(|item| format!("{}/{}", item["namespace"].as_str().unwrap_or_default(), item["name"].as_str().unwrap_or_default()))
        .collect())
}

fn counted(leases: &[String]) -> String {
    match leases.len() {
        1 => "1 lease".to_owned(),
        number => format!("{number} leases"),
    }
}
