//! `jobpass setup`: what a cluster gets once, so that jobs can ask for passes: policies, accounts, rights. Printed, or applied.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::future::join_all;

use super::{
    Outcome,
    consent::Consent,
    document::{Format, Output, Unreached, print as document},
    finding::{Finding, worst},
    reach::Reach,
    table::Screen,
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    out::Out,
};

mod authentication;
mod carry;
mod force;
mod given;
mod identity;
mod judge;
mod live;
mod object;
mod objects;
mod print;
mod shown;
mod snippet;
mod survey;
mod teams;
mod wish;

use given::Given;
use shown::{Cluster, Setup};
use survey::{How, Survey};
use wish::{DEPLOY, Wish};

/// Its flags.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    all: All,
}

/// What else it makes.
#[derive(Debug, Subcommand)]
enum Part {
    /// Print a kubeconfig of a CI identity, with an end: what goes into a CI system's secret
    Identity(identity::Arguments),
    /// Print what to paste into a pipeline
    Snippet(snippet::Arguments),
    /// Print the API server's trust in the jobs of GitHub or GitLab, filled in
    #[command(subcommand)]
    Authentication(authentication::Trust),
}

#[derive(Args, Debug)]
struct All {
    #[command(flatten)]
    given: Given,
    /// Write files for Argo CD or Flux into this directory, with kustomizations
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "apply")]
    out: Option<String>,
    /// Print a role that we ship: deploy
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["apply", "out"])]
    show_role: Option<String>,
    /// End with 12 or 13 where a role gives a pass more than it should
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    apply: Apply,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Applying")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Apply {
    /// Apply it: policies first, and rights only when these are seen to refuse
    #[arg(long = "apply", id = "apply")]
    is_asked: bool,
    /// Show each line that changes
    #[arg(long, requires = "apply")]
    diff: bool,
    /// Take over fields that others have set
    #[arg(long, requires = "apply")]
    force_conflicts: bool,
    /// Delete what carries our labels and the file has no more; never namespaces, policies, or accounts with living passes
    #[arg(long, requires = "apply")]
    prune: bool,
    /// Set up a cluster that has no admission policies: for trials, as its CI identities can make tokens that never end
    #[arg(long, requires = "apply")]
    without_policies: bool,
    /// How long to wait until the policies are in force
    #[arg(long, value_name = "LENGTH", default_value = "60s", requires = "apply")]
    wait: String,
    #[command(flatten)]
    consent: Consent,
}

impl Arguments {
    /// How the answer is printed.
    #[must_use]
    pub fn output(&self) -> Output {
        self.all.format.output
    }
}

/// Does what is asked for.
///
/// # Errors
/// When the call is wrong, or nothing could be done at all.
pub async fn run(arguments: Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    match arguments.part {
        Some(Part::Identity(arguments)) => Box::pin(identity::make(&arguments, env, out)).await,
        Some(Part::Snippet(arguments)) => snippet::print(&arguments, out),
        Some(Part::Authentication(trust)) => authentication::print(&trust, out),
        None => arguments.all.run(env, out).await,
    }
}

impl All {
    async fn run(&self, env: &Env, out: &Out) -> Result<Outcome, Failure> {
        if let Some(role) = &self.show_role {
            if role != DEPLOY {
                let what = format!("there is no role `{role}` of ours");
                return Err(Failure::new(Code::UsageValue, what).hint("the only one is `deploy`"));
            }
            out.data(objects::role_text().trim_end())?;
            return Ok(Outcome::Done);
        }
        let wish = self.given.wish(env)?;
        if self.apply.prune && !self.given.is_whole() {
            return Err(Failure::new(Code::UsageMissing, "`--prune` needs a file that says all that is to be there")
                .hint("write it down: `-f teams.yaml`"));
        }
        if self.apply.is_asked {
            return Box::pin(self.apply(&wish, env, out)).await;
        }
        if self.format.output != Output::Table {
            return Err(Failure::new(Code::UsageNotHere, "`--output` has no effect here: what is printed is YAML")
                .hint("leave it out, or add `--apply`"));
        }
        if let Some(flag) = self.of_applying() {
            let what = format!("`{flag}` has no effect here: what is printed is YAML, and no cluster is asked");
            return Err(Failure::new(Code::UsageNotHere, what).hint("leave it out, or add `--apply`"));
        }
        let wish = self.one_cluster(&wish)?;
        let mut findings = Vec::new();
        for team in &wish.teams {
            let (found, unknown) = judge::offline(team);
            for line in shown::warnings([(team, found.as_slice())].into_iter()) {
                out.say(line);
            }
            for role in unknown {
                out.say(format!("note: {}: what `{role}` lets a pass do is not known here; `--apply` looks at it", team.account));
            }
            findings.extend(found);
        }
        if let Some(directory) = &self.out {
            let count = print::write(&wish, directory, env)?;
            out.say(format!(
                "wrote {count} files; each directory is to be applied when the one before is there: policies, accounts, rights"
            ));
            out.say(format!("next:  kubectl kustomize {directory}"));
        } else {
            out.data(&print::all(&wish))?;
            if wish.sweeper.is_none() {
                out.say("note: no sweeper, as there is no `--sweeper-image`: run `jobpass leases sweep` now and then");
            }
            out.say("note: between policies and rights some seconds have to pass; `jobpass setup … --apply` waits until the policies refuse, `kubectl apply` does not");
        }
        Ok(self.judged(Outcome::Done, &findings))
    }

    /// A flag that only means something where a cluster is asked. One context may be named, which chooses a cluster of the file.
    fn of_applying(&self) -> Option<&'static str> {
        let Consent { yes, dry_run } = self.apply.consent;
        let flags = [
            (yes, "--yes"),
            (dry_run, "--dry-run"),
            (self.reach.is_file_given(), "--kubeconfig"),
            (self.reach.is_many() && self.reach.names().is_empty(), "--all-contexts"),
            (self.reach.is_many(), "--context"),
        ];
        flags.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }

    /// Without `--out` there is one stdout for all clusters.
    fn one_cluster(&self, wish: &Wish) -> Result<Wish, Failure> {
        let named: Vec<_> = wish.clusters().into_iter().map(str::to_owned).collect();
        match (self.reach.names(), &self.out) {
            ([name], _) => {
                let wish = wish.on(name);
                if wish.teams.is_empty() {
                    return Err(Failure::new(Code::UsageValue, format!("the file has nothing for the cluster `{name}`")));
                }
                Ok(wish)
            }
            (_, None) if named.len() > 1 => Err(Failure::new(Code::UsageMissing, format!("the file names {} clusters", named.len()))
                .hint("name one by `--context`, or write a directory for each by `--out`")),
            (_, _) => Ok(wish.clone()),
        }
    }

    fn judged(&self, outcome: Outcome, findings: &[Finding]) -> Outcome {
        match (outcome, worst(findings)) {
            (Outcome::Done, Some(severity)) if self.strict => Outcome::Found(severity),
            (outcome, _) => outcome,
        }
    }

    async fn apply(&self, wish: &Wish, env: &Env, out: &Out) -> Result<Outcome, Failure> {
        let Apply { diff, force_conflicts, prune, without_policies, wait, consent, .. } = &self.apply;
        consent.check()?;
        let patience = wish::duration(wait)
            .ok_or_else(|| Failure::new(Code::UsageValue, "`--wait` is no length of time").hint("write it as `60s`"))?;
        let how = How { is_forced: *force_conflicts, without_policies: *without_policies, is_pruning: *prune };
        if *without_policies {
            out.warn("without policies whoever has a CI identity can make tokens that never end, and read Secrets: only for trials");
        }
        let opened = self.reach.open(env, out).await?;
        let tried = opened.len();
        let looked = opened.into_iter().map(async |opened| {
            let looked = match opened.server {
                Ok(server) => {
                    let wish = wish.on(&opened.name);
                    if wish.teams.is_empty() {
                        return (opened.name, None);
                    }
                    Survey::of(&opened.name, server, wish, how, out).await
                }
                Err(failure) => Err(failure),
            };
            (opened.name, Some(looked))
        });
        let (mut surveys, mut errors) = (Vec::new(), Vec::new());
        for (name, looked) in join_all(looked).await {
            match looked {
                None => out.say(format!("{name}: the file has nothing for it")),
                Some(Ok(survey)) => surveys.push(survey),
                Some(Err(failure)) if tried == 1 => return Err(failure),
                Some(Err(failure)) => errors.push(Unreached { cluster: name, reason: failure.brief() }),
            }
        }
        self.show(&surveys, &errors, *diff, env, out)?;
        let findings: Vec<_> = surveys.iter().flat_map(|survey| survey.findings.iter().flatten()).cloned().collect();
        let is_given = surveys.iter().all(|survey| survey.changes() + survey.left.len() == 0) && !consent.dry_run
            || consent.given(&question(&surveys), out);
        if !is_given {
            self.print(&surveys, errors, &[], out)?;
            out.say("nothing was changed");
            let is_refused = !consent.dry_run;
            return Ok(if is_refused { Outcome::Failed } else { self.judged(Outcome::of(tried, tried - surveys.len()), &findings) });
        }
        let carried = surveys.iter().map(async |survey| {
            let done = carry::carry_out(survey, *force_conflicts, patience).await?;
            carry::prune(survey).await?;
            Ok::<_, Failure>(done)
        });
        let (mut done, mut failed) = (Vec::new(), 0);
        for (survey, carried) in surveys.iter().zip(join_all(carried).await) {
            match carried {
                Ok(carried) => {
                    tell(survey, &carried, out);
                    done.push(Some(carried));
                }
                Err(failure) if tried == 1 => return Err(failure),
                Err(failure) => {
                    failed += 1;
                    out.say(failure.to_string());
                    errors.push(Unreached { cluster: survey.name.clone(), reason: failure.brief() });
                    done.push(None);
                }
            }
        }
        let failed = failed + tried - surveys.len();
        self.print(&surveys, errors, &done, out)?;
        if let Some((survey, _)) = surveys.iter().zip(&done).find(|(_, done)| done.is_some()) {
            self.next(wish, &survey.name, out);
        }
        Ok(self.judged(Outcome::of(tried, failed), &findings))
    }

    /// What would become of the clusters, for people.
    fn show(&self, surveys: &[Survey], errors: &[Unreached], is_diff: bool, env: &Env, out: &Out) -> Result<(), Failure> {
        if self.format.output == Output::Json {
            return Ok(());
        }
        if is_diff {
            for survey in surveys {
                let text = shown::diff(survey);
                if !text.is_empty() {
                    out.data(text.trim_end())?;
                }
            }
        }
        let clusters: Vec<_> = surveys.iter().map(|survey| Cluster::of(survey, None)).collect();
        out.data(&shown::table(&clusters, errors, self.reach.is_many() || self.format.output == Output::Wide).render(Screen::of(env)))?;
        let teams = surveys.iter().flat_map(|survey| survey.wish.teams.iter().zip(survey.findings.iter().map(Vec::as_slice)));
        for line in shown::warnings(teams) {
            out.say(line);
        }
        for survey in surveys {
            for (object, _) in &survey.left {
                out.say(format!("{}: {} is not in the file any more, and is to be deleted", survey.name, object.id()));
            }
        }
        Ok(())
    }

    fn print(&self, surveys: &[Survey], errors: Vec<Unreached>, done: &[Option<carry::Done>], out: &Out) -> Result<(), Failure> {
        if self.format.output != Output::Json {
            return Ok(());
        }
        let of = |(at, survey)| Cluster::of(survey, done.get(at).and_then(Option::as_ref));
        document("Setup", &Setup { clusters: surveys.iter().enumerate().map(of).collect(), errors }, out)
    }

    /// What to type next, for a cluster that is set up now.
    fn next(&self, wish: &Wish, cluster: &str, out: &Out) {
        if self.format.output == Output::Json {
            return;
        }
        let identity = wish.teams.iter().flat_map(|team| &team.identities).find(|identity| matches!(identity, wish::Identity::Account(_)));
        match identity {
            Some(identity) => {
                let flags = if self.reach.is_many() { self.reach.flags_of(cluster) } else { self.reach.flags() };
                out.say(format!("next:  jobpass setup identity {identity} --ttl 90d{flags} --out ci.kubeconfig"));
            }
            None => out.say("next:  jobpass setup snippet github"),
        }
    }
}

fn question(surveys: &[Survey]) -> String {
    let each = surveys.iter().map(|survey| {
        let left = survey.left.len();
        let deleted = if left > 0 { format!(" and delete {left} objects") } else { String::new() };
        format!("{} changes to {}{deleted}", survey.changes(), survey.name)
    });
    format!("apply {}?", each.collect::<Vec<_>>().join(", "))
}

fn tell(survey: &Survey, done: &carry::Done, out: &Out) {
    let seconds = |length: Duration| format!("{:.1} s", length.as_secs_f64());
    let name = &survey.name;
    let changes = survey.changes();
    if changes == 0 {
        out.say(format!("{name}: same"));
    } else {
        out.say(format!(
            "{name}: {changes} objects applied in {}, with {} requests",
            seconds(done.applied),
            survey.requests + done.requests
        ));
    }
    match done.in_force {
        Some(after) => out
            .say(format!("{name}: in force after {}: a Secret that is no lease was refused, and a token without a lease", seconds(after))),
        None => out.warn(format!("{name}: nothing limits its CI identities")),
    }
    if !survey.left.is_empty() {
        out.say(format!("{name}: {} objects deleted", survey.left.len()));
    }
}
