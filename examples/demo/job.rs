//! The one sequence of all platforms: request, use, revoke, use again; and what must be true after each.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::client;
use serde_json::Value;

use crate::{
    ci::{HANDED, Job, Platform, Step},
    cluster::{CACHE, Cluster, USER},
    screen::Screen,
};

/// Plays a job from its first step to its last.
pub(crate) fn play(platform: Platform, jobpass: &Path, screen: &Screen) -> Result<()> {
    screen.title(platform.title(), platform.about());
    let cluster = Cluster::start();
    let mut job = Job::start(platform, jobpass, &cluster)?;
    let before = job.files()?;
    let show = |command: &str, step: Step| shown(screen, &cluster, command, step);

    let pass = Pass::of(&show(&platform.request(), job.request()?)?.handed)?;
    ensure!(cluster.leases() == [pass.lease.as_str()], "the lease is not in the cluster");
    if platform == Platform::Github {
        let careless = "echo \"$OPENSHIFT_TOKEN\"";
        let step = show(careless, job.run(careless)?)?;
        ensure!(step.log == "***\n", "the runner was not told to mask the token");
    }
    let answer = pass.used()?;
    ensure!(answer == format!("201 Created, {USER}"), "the token does not work: the API server says {answer}");
    screen.result(&format!("use the token: {answer}"));

    show(platform.revoke(), job.run(platform.revoke())?)?;
    let leases = cluster.leases();
    ensure!(leases.is_empty(), "the lease is still in the cluster: {}", leases.join(", "));
    cluster.outlast_cache();
    let answer = pass.used()?;
    ensure!(answer == "401 Unauthorized", "the token is not refused: the API server says {answer}");
    screen.result(&format!("use it again, {} s later: {answer}", CACHE.as_secs()));

    job.end()?;
    let left: Vec<_> = job.files()?.difference(&before).map(|path| path.display().to_string()).collect();
    ensure!(left.is_empty(), "the job has left files: {}", left.join(", "));
    screen.result("left behind: no lease Secret in the cluster, no file of jobpass");
    let strange = cluster.unimplemented();
    ensure!(strange.is_empty(), "the sandbox was asked for what it does not know: {}", strange.join(", "));
    Ok(())
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

    /// Asks the API server, by a client that shares no code with jobpass, whom it takes the token for.
    pub(crate) fn used(&self) -> Result<String> {
        let whoami = client::whoami(&self.server, &self.ca_pem, &self.token).context("the API server does not answer")?;
        Ok(match (whoami.status, whoami.username) {
            (201, Some(name)) => format!("201 Created, {name}"),
            (401, _) => "401 Unauthorized".to_owned(),
            (status, _) => status.to_string(),
        })
    }
}
