//! One line for a job on each CI system.

use std::{path::Path, thread};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    ci::Platform,
    job,
    screen::{Mood, Screen},
};

/// Plays them side by side.
pub(crate) fn play(jobpass: &Path, screen: &Screen) -> Result<()> {
    screen.heading("3. A job of several steps: `jobpass request`, use it, `jobpass revoke`, use it");
    let seen = thread::scope(|scope| {
        let jobs = Platform::ALL.map(|platform| (platform, scope.spawn(move || job::play(platform, jobpass, &Screen::kept()))));
        jobs.map(|(platform, job)| (platform, job.join().unwrap_or_else(|_| Err(anyhow!("a thread has panicked")))))
    });
    for (platform, seen) in seen {
        let seen = seen.with_context(|| format!("on {platform}"))?;
        let [during, after] = seen.answers.each_ref().map(|answer| answer.split(' ').next().unwrap_or_default());
        let text = format!("{:<15} {} variables, {}; files in {}", platform.name(), seen.variables, platform.way(), seen.place);
        screen.fact(&text, Mood::Good, &format!("{during}, {after}"));
    }
    Ok(())
}
