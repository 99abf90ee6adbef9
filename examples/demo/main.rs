//! Plays a whole job on the built-in sandbox: request, use, revoke, refusal. `cargo run --example demo [PLATFORM…]`.
//!
//! The jobpass that runs is the real one, as a process in the environment that each CI system gives a job; the client that uses the
//! token shares no code with it. Every step is checked, so that the demo fails where jobpass does.

mod binary;
mod ci;
mod cluster;
mod doors;
mod job;
mod runner;
mod screen;
mod sidecar;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{ci::Platform, screen::Screen};

fn main() -> ExitCode {
    let screen = Screen::new();
    match play(&screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.fail(&format!("the demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(screen: &Screen) -> Result<()> {
    let platforms = platforms(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()))?;
    let jobpass = binary::build()?;
    screen.text(&format!(
        "A whole job, played with the real jobpass. The API server is a sandbox in this process. The job wants the token of the service \
         account `{}`; its CI identity may do nothing but ask for it. Who uses the token is another client than jobpass. A real API \
         server may go on taking a revoked token for 10 s, from its cache; here that time is skipped by setting the sandbox's clock.",
        cluster::TARGET
    ));
    for platform in &platforms {
        job::play(*platform, &jobpass, screen).with_context(|| format!("on {platform}"))?;
        if *platform == Platform::Tekton {
            sidecar::play(&jobpass, screen).with_context(|| format!("on {platform}, with a sidecar"))?;
        }
    }
    let names: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    screen.end(&format!("On {}: the token worked, was revoked, and was refused. Nothing is left.", names.join(", ")));
    Ok(())
}

/// The platforms that were asked for; all where none was.
fn platforms(words: impl Iterator<Item = String>) -> Result<Vec<Platform>> {
    let mut asked = Vec::new();
    for word in words {
        match Platform::ALL.into_iter().find(|platform| platform.to_string() == word) {
            Some(platform) => asked.push(platform),
            None => bail!("there is no platform `{word}`: it plays `github`, `gitlab`, `tekton` and `local`"),
        }
    }
    Ok(if asked.is_empty() { Platform::ALL.to_vec() } else { asked })
}
