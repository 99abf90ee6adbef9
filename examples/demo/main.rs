//! Why a pass, on one screen: the old way, a command that leaks its token, four CI systems, a killed run. `cargo run --example demo`.
//!
//! With the names of platforms behind it, it plays a whole job on each: `cargo run --example demo -- gitlab`. The jobpass that runs is
//! the real one, as a process in the environment that each CI system gives a job; the client that uses the token shares no code with
//! it. What is shown was seen: every step is checked, so that the demo fails where jobpass does.

mod binary;
mod careless;
mod ci;
mod cluster;
mod doors;
mod job;
mod killed;
mod leaky;
mod old_way;
mod platforms;
mod processes;
mod runner;
mod screen;
mod sidecar;

use std::{path::Path, process::ExitCode, thread};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{ci::Platform, screen::Screen};

/// What a shell says of a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let screen = Screen::new();
    let played = careless::play().and_then(|is_over| if is_over { Ok(()) } else { hear().and_then(|()| play(&screen)) });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if processes::is_interrupted() => {
            screen::fail("the demo was interrupted");
            INTERRUPTED.into()
        }
        Err(error) => {
            screen::fail(&format!("the demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// From now on a signal ends what runs, and so the demo, which then removes its directories as it always does.
fn hear() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    let [mut interrupt, mut terminate, mut hangup, mut quit] = {
        let _inside = runtime.enter();
        let signals: Vec<Signal> = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
        signals.try_into().map_err(|_| anyhow!("the signals cannot be heard"))?
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
        });
        processes::interrupt();
    });
    Ok(())
}

fn play(screen: &Screen) -> Result<()> {
    let platforms = platforms(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()))?;
    let jobpass = binary::find()?;
    if platforms.is_empty() { tell(&jobpass, screen) } else { whole_jobs(&platforms, &jobpass, screen) }
}

/// A part of the story.
type Part = fn(&Path, &Screen) -> Result<()>;

/// The one screen. Its parts know nothing of each other, so they are played side by side and shown in order.
fn tell(jobpass: &Path, screen: &Screen) -> Result<()> {
    screen.text(&format!(
        "Seen just now: the real jobpass, and an API server in this process. At the right is what that server says to a token of `{}`.",
        cluster::TARGET,
    ));
    let parts: [Part; 4] = [|_, screen| old_way::play(screen), leaky::play, platforms::play, killed::play];
    thread::scope(|scope| {
        let played = parts.map(|part| {
            scope.spawn(move || {
                let kept = Screen::kept();
                part(jobpass, &kept).map(|()| kept)
            })
        });
        for (part, number) in played.into_iter().zip(1..) {
            let played = part.join().unwrap_or_else(|_| Err(anyhow!("a thread has panicked")));
            screen.show(played.with_context(|| format!("in part {number}"))?);
        }
        Ok::<(), anyhow::Error>(())
    })?;
    screen.end("Every pass is dead, and nothing is left of it: no lease in the cluster, no file.");
    screen.text(&format!("An API server's cache may take a dead token for 10 s: here {} s were skipped.", cluster::CACHE.as_secs()));
    Ok(())
}

fn whole_jobs(platforms: &[Platform], jobpass: &Path, screen: &Screen) -> Result<()> {
    screen.text(&format!(
        "A whole job, played with the real jobpass. The API server is a sandbox in this process. The job wants the token of the service \
         account `{}`; its CI identity may do nothing but ask for it. Who uses the token is another client than jobpass. A real API \
         server may go on taking a revoked token for 10 s, from its cache; here that time is skipped by setting the sandbox's clock.",
        cluster::TARGET
    ));
    for platform in platforms {
        job::play(*platform, jobpass, screen).with_context(|| format!("on {platform}"))?;
        if *platform == Platform::Tekton {
            sidecar::play(jobpass, screen).with_context(|| format!("on {platform}, with a sidecar"))?;
        }
    }
    let names: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    screen.end(&format!("On {}: the token worked, was revoked, and was refused. Nothing is left.", names.join(", ")));
    Ok(())
}

/// The platforms that were asked for.
fn platforms(words: impl Iterator<Item = String>) -> Result<Vec<Platform>> {
    let mut asked = Vec::new();
    for word in words {
        match Platform::ALL.into_iter().find(|platform| platform.to_string() == word) {
            Some(platform) => asked.push(platform),
            None => bail!("there is no platform `{word}`: it plays `github`, `gitlab`, `tekton` and `local`"),
        }
    }
    Ok(asked)
}
