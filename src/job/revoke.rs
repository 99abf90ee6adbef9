//! The story of `revoke`: find the passes, end each, tell what became of it.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{Job, NOTHING, REVOKE, TIMEOUT, meet, piped, unheard};
use crate::{
    action::{self, Revoke},
    export::Export,
    failure::Failure,
    identity::{Identity, way::Way},
    options as o,
    out::Out,
    pass::{Ended, Ending, Terms},
    place,
    platform::{Platform, github, key::holds_uuid},
    receipt::Proof,
    signals::{self, Signals},
    targets::{self, Found},
};

mod identity;

use identity::identity;

/// How long `revoke` takes at least for each of several passes.
const LEAST: Duration = Duration::from_secs(2);

/// How long `revoke --wait-dead` may take: more than the API server's cache and its own clock.
const WAIT_DEAD: Duration = Duration::from_secs(25);

impl Job {
    /// What our post step is to do. An input that has become nonsense since the main step keeps no pass alive.
    fn wish(&self, out: &Out) -> Revoke {
        action::revoke(&self.env).unwrap_or_else(|failure| {
            out.warn(failure.brief());
            Revoke::Yes
        })
    }

    /// What was read of a setting. A variable or an input that has become nonsense since the pass was requested must not keep it
    /// alive: it is passed over.
    fn tolerated<T: Default>(&self, out: &Out, setting: &o::Setting, read: Result<T, Failure>) -> Result<T, Failure> {
        let (value, bad) = match read {
            Err(failure) if self.post => (T::default(), Some(failure)),
            read => self.options.tolerated(&[setting], read)?,
        };
        if let Some(bad) = bad {
            passed_over(out, &bad);
        }
        Ok(value)
    }

    /// Find the passes, end each, print the receipts. On CI a job does not fail for a pass that ends by itself soon.
    ///
    /// # Errors
    /// When it is not clear which passes are meant, or with `--strict` when one could not be ended.
    pub async fn revoke(&self, out: &Out) -> Result<ExitCode, Failure> {
        let Self { options, env, platform, others, post, .. } = self;
        let platforms: Vec<_> = [*platform].into_iter().chain(others.iter().copied()).collect();
        let limit = options.duration(&o::TIMEOUT, TIMEOUT).ok().flatten().unwrap_or(REVOKE);
        self.take_flags(&piped::LEASE, limit).await?;
        // First of all: where there is nothing to revoke, nothing else needs to be right.
        let found = match targets::find(options, env, &platforms, self.user) {
            // A post step fails its job only where it is asked to.
            Err(failure) if *post => Found { unknown: vec![failure], ..Found::default() },
            found => found?,
        };
        if found.is_empty() && *post {
            // Of a main step that failed: what made it fail is not said once more.
            out.say(NOTHING);
            return Ok(ExitCode::SUCCESS);
        }
        for bad in self.passed_over.iter().chain(&found.passed_over) {
            passed_over(out, bad);
        }
        for note in &found.notes {
            out.warn(note);
        }
        if found.is_empty() {
            // As our template says at the end of each job, whose pass mostly is over.
            if options.flag(&o::IF_HERE).is_none() {
                out.say(format!("{NOTHING}: {}", nowhere(*platform, &found.looked)));
            }
            return Ok(ExitCode::SUCCESS);
        }
        // What the call itself names is ended whatever else is said.
        let is_named = [&o::LEASE, &o::LEASE_FILE, &o::ALL_LEASES].iter().any(|setting| options.flag(setting).is_some());
        let wish = if *post && !is_named { self.wish(out) } else { Revoke::Yes };
        if wish == Revoke::No {
            for lease in found.endings.iter().map(|ending| &ending.lease) {
                let (account, valid) = (&lease.service_account, lease.validity());
                out.say(format!("the pass of service account `{account}` stays, as `revoke: false` asks: it is {valid}"));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let strict = wish == Revoke::Strict
            || self.tolerated(out, &o::STRICT, options.switch(&o::STRICT))?
            || !platform.tolerates_failed_revocation();
        let mut wait_dead = self.tolerated(out, &o::WAIT_DEAD, options.switch(&o::WAIT_DEAD))?;
        if *post && wait_dead {
            out.warn("`wait-dead` takes longer than a post step of GitHub has: the receipt says how far the revocation is proved");
            wait_dead = false;
        }
        let timeout = self.tolerated(out, &o::TIMEOUT, options.duration(&o::TIMEOUT, TIMEOUT))?;
        let usual = if wait_dead { WAIT_DEAD } else { REVOKE };
        // Whoever may set a variable may not take the time away that ending a pass needs.
        let timeout = timeout.filter(|asked| *asked > usual || options.flag(&o::TIMEOUT).is_some()).unwrap_or(usual);
        // The input is for the request; all posts of a job share their time.
        let timeout = if *post { timeout.min(REVOKE) } else { timeout };
        let mut unknown: Vec<_> = found.unknown.into_iter().map(|unknown| unknown.within("a pass may be left alive")).collect();
        if !strict {
            unknown.drain(..).for_each(|unknown| warn_of(out, &unknown, *post));
        }
        let end = Instant::now() + timeout;
        self.take_flags(&piped::IDENTITY, timeout).await?;
        let work = async {
            let mut failed = None;
            for ending in &found.endings {
                // The time is for all of them together, with a little for each that comes late.
                let left = end.saturating_duration_since(Instant::now()).max(LEAST);
                let telling = match &failed {
                    None if strict => Telling::Returned,
                    Some(_) | None => Telling::Warned { annotated: *post && !strict },
                };
                let new = self.end(out, ending, Terms { timeout: left, wait_dead }, telling).await?;
                failed = failed.or(new);
            }
            Ok(failed)
        };
        // The signal that ends the job comes while it is being cleaned up: the pass is ended all the same.
        let failed = tokio::select! {
            failed = work => failed?,
            notice = signals::repeated(|notice| out.say(format!("{notice}: revoking first"))) => {
                return Err(Failure::new("cannot revoke the pass").cause(format!("interrupted by {notice} once more")));
            }
        };
        if !strict {
            return Ok(ExitCode::SUCCESS);
        }
        // One of them is the error of this call, which says all that a warning would.
        let mut failures = failed.into_iter().chain(unknown);
        let first = failures.next();
        failures.for_each(|unknown| warn_of(out, &unknown, false));
        first.map_or(Ok(ExitCode::SUCCESS), Err)
    }

    /// Reads the pipes that these flags name. Only where there is one is a signal kept from ending us.
    async fn take_flags(&self, settings: &[&'static o::Setting], limit: Duration) -> Result<(), Failure> {
        if settings.iter().all(|setting| self.options.flag(setting).is_none()) {
            return Ok(());
        }
        let mut signals = Signals::ending().ok_or_else(unheard)?;
        self.take_pipes(settings, limit, Some(&mut signals)).await
    }

    /// Ends one pass and tells what became of it. Whatever fails here is returned, so that the next one still gets its turn.
    ///
    /// # Errors
    /// When there is none, and all that was known of it is what somebody has typed.
    async fn end(&self, out: &Out, ending: &Ending, terms: Terms, telling: Telling) -> Result<Option<Failure>, Failure> {
        let Self { options, env, platform, .. } = self;
        let identity = identity(options, env, *platform, ending, |bad| passed_over(out, bad));
        if let Ok(identity) = &identity {
            meet(out, identity);
        }
        let identity = identity.and_then(|identity| self.on_its_way(out, identity, ending));
        let ended = ending.end(identity, terms, out).await;
        let is_of_this_pod = |key: &str| *platform == Platform::Tekton && !ending.known && !holds_uuid(key);
        if ended.receipt.proof == Proof::Absent && options.text(&o::JOB_KEY).is_some_and(is_of_this_pod) {
            // In a `finally` it would be another pod's pass that is meant.
            let failure = Failure::new("this pod has no pass of that job key, and a key without a UUID in it means no other pod's")
                .hint("give a pass that another pod is to end a key such as `$(context.pipelineRun.uid)/TASK`");
            if let Telling::Warned { annotated } = telling {
                warn(out, &[format!("a pass may be left alive: {}", failure.brief())], annotated);
            }
            return Ok(Some(failure));
        }
        if ending.is_hearsay() && ended.receipt.proof == Proof::Absent {
            return Err(Failure::new(format!("there is no lease `{}`", ended.receipt.lease))
                .cause("the API server has no Secret of that name in that namespace")
                .hint("check namespace and name; it may have been revoked already"));
        }
        if ended.receipt.proof.is_success() {
            for platform in [*platform].into_iter().chain(self.others.iter().copied()) {
                self.unmark_of(platform, &ending.lease.name);
            }
        }
        Ok(self.tell(out, ended, ending.known, telling))
    }

    /// The identity with the way to its server. A post step goes that of its main step, whatever a step between has set.
    fn on_its_way(&self, out: &Out, mut identity: Identity, ending: &Ending) -> Result<Identity, Failure> {
        identity.way = if self.post {
            let mark = ending.lease.way.clone().unwrap_or_default();
            let (way, passed_over) = Way::again(&identity, &self.env, &mark)?;
            for what in passed_over {
                out.warn(what);
            }
            way
        } else {
            Way::of(&identity, &self.env)?
        };
        Ok(identity)
    }

    /// Tells what became of a pass, and returns what failed.
    pub(super) fn tell(&self, out: &Out, ended: Ended, known: bool, telling: Telling) -> Option<Failure> {
        let Self { options, env, platform, json, .. } = self;
        let export = Export { platform: *platform, env, out, phase: options.phase(), json: *json };
        let Ended { receipt, mut failure, life, warning, leftover } = ended;
        let whose =
            if receipt.service_account.is_empty() { String::new() } else { format!(" of service account `{}`", receipt.service_account) };
        match &receipt.proof {
            Proof::Failed { reason, .. } => {
                let what = if known {
                    format!("the pass{whose} is not revoked")
                } else {
                    // Only its name is known: it may never have been begun.
                    format!("a pass{whose} may be left alive")
                };
                let valid = life.map(|life| format!("{life}; the lease is `{}`", receipt.lease));
                match telling {
                    Telling::Returned => {
                        let why = failure.take().unwrap_or_else(|| Failure::new(reason)).within(what);
                        failure = Some(valid.into_iter().fold(why, Failure::cause));
                    }
                    Telling::Warned { annotated } => {
                        let warnings: Vec<_> = [format!("{what}: {reason}")].into_iter().chain(valid).collect();
                        warn(out, &warnings, annotated);
                        if let Some(hint) = failure.as_ref().and_then(Failure::advice) {
                            out.say(format!("hint: {hint}"));
                        }
                    }
                }
            }
            proof => out.say(format!("revoked the pass{whose}, lease `{}`\n  {proof}", receipt.lease)),
        }
        if let Some(warning) = warning {
            out.warn(warning);
        }
        if let Some(leftover) = leftover {
            out.warn(leftover.brief());
        }
        export.summarise(&receipt);
        let mut written = Ok(());
        if let Some(given) = options.get(&o::RECEIPT) {
            written = place::append(&env.absolute(given.text.as_ref()), &(receipt.json() + "\n"), place::Accepts::Stream);
        }
        if *json {
            written = written.and(out.data(&receipt.json()));
        }
        if let Err(unwritten) = written {
            if failure.is_some() || telling != Telling::Returned {
                out.warn(unwritten.brief());
            }
            failure = failure.or(Some(unwritten));
        }
        failure
    }
}

/// How the one who reads the log learns of a pass that could not be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// By the error of this call, and by nothing else.
    Returned,
    /// By warnings, which may be put on the run's page: what the job does not fail for.
    Warned {
        /// Whether they are put there.
        annotated: bool,
    },
}

/// Where there is no pass.
fn nowhere(platform: Platform, looked: &[String]) -> String {
    let whose = match platform {
        Platform::Github | Platform::Gitlab | Platform::Tekton => " of this job",
        Platform::Local => "",
    };
    format!("no pass{whose} in {}", looked.join(" or "))
}

/// Warns of a pass that may be left alive.
fn warn_of(out: &Out, unknown: &Failure, annotated: bool) {
    warn(out, &[unknown.brief()], annotated);
    if let Some(hint) = unknown.advice() {
        out.say(format!("hint: {hint}"));
    }
}

/// Warns of a setting without which `revoke` goes on.
fn passed_over(out: &Out, setting: &Failure) {
    out.warn(format!("{}; it is passed over", setting.brief()));
}

/// Warns of what belongs together; as one annotation where the run's page is to show it.
fn warn(out: &Out, warnings: &[String], annotate: bool) {
    if annotate {
        out.say_as(warnings.join("\n"), |text| github::annotation("warning", text));
    } else {
        warnings.iter().map(String::as_str).for_each(|warning| out.warn(warning));
    }
}
