//! Builds the jobpass that the demo runs: cargo builds no binary along with an example.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{doors, processes::Process};

/// The binary that `JOBPASS_TEST_BINARY` names, or else the one of this repository.
pub(crate) fn find() -> Result<PathBuf> {
    match doors::variable("JOBPASS_TEST_BINARY").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(path).context("`JOBPASS_TEST_BINARY` is no path"),
        None => build(),
    }
}

/// This program itself. Where cargo has built it anew meanwhile, the one that has taken its place.
pub(crate) fn own() -> Result<PathBuf> {
    let path = std::env::current_exe().context("this program cannot say where it is")?;
    Ok(path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map_or_else(|| path.clone(), PathBuf::from))
}

/// Builds the binary in the profile that the demo itself was built in, and returns where it is.
fn build() -> Result<PathBuf> {
    let demo = own()?;
    // TARGET/PROFILE/examples/demo; only the profile `dev` has another name than its directory.
    let directory = demo.ancestors().nth(2).context("this program is not where cargo puts examples")?;
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = doors::program(doors::variable("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.args(["build", "--locked", "--profile", profile, "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    // The example is named too: with it the dependencies have the features that they were just built with, and none is built twice.
    cargo.args(["--bin", "jobpass", "--example", "demo", "--message-format", "json-render-diagnostics"]);
    if directory.join("jobpass").exists() {
        // Nothing to tell, or not much; the first build says what takes so long.
        cargo.arg("--quiet");
    }
    // Build scripts that look at what `cargo run` has told us would run again, as cargo tells them something else.
    for name in doors::variables() {
        if name.to_str().is_some_and(|name| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = Process::start(output).and_then(Process::output).context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo could not build jobpass");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binary = artifacts.find(|message| message["target"]["name"] == "jobpass" && message["executable"].is_string());
    let path = binary.as_ref().and_then(|message| message["executable"].as_str()).context("cargo does not say where it put jobpass")?;
    Ok(path.into())
}
