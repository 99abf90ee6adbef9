//! The form of Tekton that keeps the CI identity from the steps: a sidecar holds the pass, a step uses it, and the end of the step ends it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    ci::{Job, Platform, Step},
    cluster::{CACHE, Cluster},
    job::{Pass, shown},
    screen::Screen,
};

/// The sidecar's command: the end of the only step is seen by its exit file, which Tekton's entrypoint writes.
const HOLD: &str = "jobpass hold --dir \"$PASS_DIR\" --until \"$STEP_OUT\"";

/// The step's first line.
const WAIT: &str = "jobpass wait --dir \"$PASS_DIR\"";

/// How long the sidecar may take to see that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays a task from the start of its sidecar to its last receipt.
pub(crate) fn play(jobpass: &Path, screen: &Screen) -> Result<()> {
    screen.title(
        "Tekton: a sidecar that holds the pass, and a step that uses it",
        "The CI identity is mounted in the sidecar alone; both see PASS_DIR, which is in memory.",
    );
    let cluster = Cluster::start();
    let mut job = Job::start(Platform::Tekton, jobpass, &cluster)?;
    let directory = PathBuf::from(job.variable("PASS_DIR").context("the job has no PASS_DIR")?);
    let out = directory.with_file_name("out");
    job.set("STEP_OUT", &out.to_string_lossy());

    screen.command(&format!("{HOLD}    # the sidecar"));
    let sidecar = job.start_beside(HOLD)?;
    let waited = job.run_without_identity(WAIT)?;
    shown(screen, &cluster, &format!("{WAIT}    # the step"), waited)?;
    let pass = Pass::held(&directory)?;
    screen.result(&format!("use the token: {}", pass.works()?));

    crate::doors::make_file(&out, "").context("the step cannot end")?;
    let ended = Step::of(&sidecar.output_within(PATIENCE).context("the sidecar does not end")?);
    shown(screen, &cluster, "exit 0    # the step; the sidecar sees it and ends its pass", ended)?;
    let leases = cluster.leases();
    ensure!(leases.is_empty(), "the lease is still in the cluster: {}", leases.join(", "));
    cluster.outlast_cache();
    screen.result(&format!("use it again, {} s later: {}", CACHE.as_secs(), pass.is_refused()?));

    let receipt = fs::read_to_string(directory.join("receipt.json")).context("there is no receipt")?;
    let receipt: Value = serde_json::from_str(&receipt).context("the receipt is no JSON")?;
    screen.result(&format!("the receipt in its directory says: {}", receipt["proof"]["state"].as_str().unwrap_or_default()));
    let left: Vec<_> = fs::read_dir(&directory)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left == ["receipt.json"], "the sidecar has left files: {left:?}");
    Ok(())
}
