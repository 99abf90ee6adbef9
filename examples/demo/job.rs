//! The one sequence of all platforms: request, use, revoke, use again; and what must be true after each.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    ci::{HANDED, Job, Platform, Step},
    cluster::{self, ACCEPTED, CACHE, Cluster, REFUSED},
    screen::Screen,
};

/// What a job has seen of its pass.
pub(crate) struct Seen {
    /// How many variables it was handed.
    pub(crate) variables: usize,
    /// Where their files are: the variable of the CI system that names the place.
    pub(crate) place: &'static str,
    /// What the API server said to the token while the job ran, and after it.
    pub(crate) answers: [String; 2],
}

/// Plays a job from its first step to its last.
pub(crate) fn play(platform: Platform, jobpass: &Path, screen: &Screen) -> Result<Seen> {
    screen.title(platform.title(), platform.about());
    let cluster = Cluster::start();
    let mut job = Job::start(platform, jobpass, &cluster)?;
    let before = job.files()?;
    let show = |command: &str, step: Step| shown(screen, &cluster, command, step);

    let handed = show(&platform.request(), job.request()?)?.handed;
    let pass = Pass::of(&handed)?;
    ensure!(cluster.leases() == [pass.lease.as_str()], "the lease is not in the cluster");
    if platform == Platform::Github {
        let careless = "echo \"$OPENSHIFT_TOKEN\"";
        let step = show(careless, job.run(careless)?)?;
        ensure!(step.log == "***\n", "the runner was not told to mask the token");
    }
    let place = job.place(&handed["JOBPASS_TOKEN_FILE"]).context("the token's file is not where the platform has such files")?;
    let worked = pass.works()?;
    screen.result(&format!("use the token: {worked}"));

    show(platform.revoke(), job.run(platform.revoke())?)?;
    let leases = cluster.leases();
    ensure!(leases.is_empty(), "the lease is still in the cluster: {}", leases.join(", "));
    cluster.outlast_cache();
    let refused = pass.is_refused()?;
    screen.result(&format!("use it again, {} s later: {refused}", CACHE.as_secs()));

    job.end()?;
    job.nothing_is_left(&before)?;
    screen.result("left behind: no lease Secret in the cluster, no file of jobpass");
    cluster.knew_all()?;
    Ok(Seen { variables: HANDED.len(), place, answers: [worked, refused] })
}

/// Shows a command and its output, unless that gives a token away, and goes on if it has succeeded.
pub(crate) fn shown(screen: &Screen, cluster: &Cluster, command: &str, step: Step) -> Result<Step> {
    screen.command(command);
    for token in cluster.tokens() {
        // Whoever has the signature has what cannot be guessed.
        let signature = token.rsplit('.').next().unwrap_or(&token);
        ensure!(!step.log.contains(&token) && !step.log.contains(signature), "a token stands in the log of `{command}`");
    }
    screen.log(&step.log);
    ensure!(step.status.success(), "`{command}` ended with {}", step.status);
    Ok(step)
}

/// What the job holds.
pub(crate) struct Pass {
    lease: String,
    token: String,
    server: String,
    ca_pem: String,
}

impl Pass {
    /// The pass that was handed over. Its three forms must be the same: variable, file and kubeconfig.
    fn of(handed: &BTreeMap<String, String>) -> Result<Self> {
        let missing: Vec<_> = HANDED.into_iter().filter(|name| handed.get(*name).is_none_or(String::is_empty)).collect();
        ensure!(missing.is_empty(), "the job was not handed {}", missing.join(", "));
        let read = |name: &str| fs::read_to_string(&handed[name]).with_context(|| format!("`{name}` names no file"));
        let kubeconfig: Value = serde_json::from_str(&read("KUBECONFIG")?).context("`KUBECONFIG` names no kubeconfig of a pass")?;
        let token = handed["OPENSHIFT_TOKEN"].clone();
        ensure!(read("JOBPASS_TOKEN_FILE")? == token, "`OPENSHIFT_TOKEN` and `JOBPASS_TOKEN_FILE` differ");
        ensure!(kubeconfig["users"][0]["user"]["token"] == *token, "`OPENSHIFT_TOKEN` and `KUBECONFIG` differ");
        let reached = &kubeconfig["clusters"][0]["cluster"];
        let server = reached["server"].as_str().context("`KUBECONFIG` names no server")?.to_owned();
        ensure!(server == handed["JOBPASS_PASS_SERVER"], "`JOBPASS_PASS_SERVER` and `KUBECONFIG` differ");
        let authority = STANDARD.decode(reached["certificate-authority-data"].as_str().unwrap_or_default());
        let ca_pem = String::from_utf8(authority.context("`KUBECONFIG` has no CA")?).context("`KUBECONFIG` has no CA")?;
        Ok(Self { lease: handed["JOBPASS_LEASE"].clone(), token, server, ca_pem })
    }

    /// The pass that `hold` shows in this directory.
    pub(crate) fn held(directory: &Path) -> Result<Self> {
        let read = |name: &str| fs::read_to_string(directory.join(name)).with_context(|| format!("`hold` shows no `{name}`"));
        let kubeconfig: Value = serde_json::from_str(&read("kubeconfig")?).context("`hold` shows no kubeconfig of a pass")?;
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().context("the kubeconfig names no server")?.to_owned();
        let token = read("token")?;
        ensure!(kubeconfig["users"][0]["user"]["token"] == *token, "the token and the kubeconfig differ");
        let lease = read("ready")?.trim().trim_start_matches("ready: lease ").to_owned();
        Ok(Self { lease, token, server, ca_pem: read("ca.crt")? })
    }

    /// Uses the token, which must work.
    pub(crate) fn works(&self) -> Result<String> {
        must(ACCEPTED, cluster::ask(&self.server, &self.ca_pem, &self.token)?)
    }

    /// Uses the token, which must be refused.
    pub(crate) fn is_refused(&self) -> Result<String> {
        must(REFUSED, cluster::ask(&self.server, &self.ca_pem, &self.token)?)
    }
}

/// The answer of the API server, if it is what it has to be.
pub(crate) fn must(be: &str, answer: String) -> Result<String> {
    ensure!(answer == be, "the API server has to say `{be}` to the token, and says `{answer}`");
    Ok(answer)
}
