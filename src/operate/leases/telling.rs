//! What `leases revoke` says: before it does anything, and what became of it.

use serde::Serialize;

use super::{
    events::Ending,
    filter::shortest,
    gather::Gathered,
    held::Held,
    list::{Columns, count},
};
use crate::{
    env::Env,
    failure::Failure,
    operate::{
        Outcome,
        document::{Output, Unreached, print},
        locks::Lock,
        reach::Reach,
        table::{Cell, Screen, Table, Tone},
    },
    out::Out,
    receipt::{Proof, Receipt},
};

/// A receipt of a pass that somebody else than its job has ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipted<'a> {
    cluster: &'a str,
    #[serde(flatten)]
    receipt: Receipt,
    reason: &'a str,
    by: &'a str,
}

#[derive(Serialize)]
struct ReceiptList<'a> {
    items: Vec<Receipted<'a>>,
    locks: &'a [Lock],
    errors: Vec<Unreached>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned<'a> {
    items: &'a [Held],
    errors: &'a [Unreached],
    dry_run: bool,
}

/// What is meant, on stderr, as stdout has what was done.
pub fn preview(found: &Gathered, reach: &Reach, env: &Env, out: &Out) {
    let screen = Screen { has_colours: false, ..Screen::of(env) };
    let columns = Columns { is_wide: false, has_cluster: reach.is_many() };
    let table = columns.table(&found.leases, &found.errors, screen, |lease| found.now(lease));
    if table.is_empty() {
        out.say("no pass is meant");
    } else {
        out.say(table.render(screen));
    }
}

/// What a dry run answers.
///
/// # Errors
/// When stdout cannot be written.
pub fn dry(found: &Gathered, output: Output, out: &Out) -> Result<(), Failure> {
    match output {
        Output::Json => print("LeaseList", &Planned { items: &found.leases, errors: &found.errors, dry_run: true }, out)?,
        Output::Name => found.leases.iter().try_for_each(|lease| out.data(&lease.id()))?,
        Output::Table | Output::Wide => {}
    }
    out.say(format!("{} would be revoked; nothing was done, as this is a dry run", count(found.leases.len(), "pass", "passes")));
    Ok(())
}

/// What was done.
pub struct Report {
    /// The leases, each with how far its tokens are dead.
    pub ended: Vec<(Held, Proof)>,
    /// The locks that were set.
    pub locks: Vec<Lock>,
    /// Why others were not.
    pub unlocked: Vec<Failure>,
    /// Where they were.
    pub found: Gathered,
    /// Who did it, and why.
    pub ending: Ending,
}

impl Report {
    fn failed(&self) -> usize {
        self.ended.iter().filter(|(_, proof)| !proof.is_success()).count()
    }

    /// How the call ends.
    pub fn outcome(&self) -> Outcome {
        let failed = self.failed() + self.unlocked.len() + self.found.errors.len();
        let done = self.ended.len() - self.failed() + self.locks.len();
        match (failed, done) {
            (0, _) => Outcome::Done,
            (_, 0) if self.found.servers.is_empty() || !self.ended.is_empty() => Outcome::Failed,
            _ => Outcome::Partly,
        }
    }

    /// Says it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn tell(&self, output: Output, reach: &Reach, env: &Env, out: &Out) -> Result<(), Failure> {
        match output {
            Output::Json => {
                let items = self.ended.iter().map(|(lease, proof)| self.receipt(lease, proof)).collect();
                let unlocked = self.unlocked.iter().map(|failure| Unreached { cluster: String::new(), reason: failure.brief() });
                let errors = self.found.errors.iter().cloned().chain(unlocked).collect();
                print("ReceiptList", &ReceiptList { items, locks: &self.locks, errors }, out)?;
            }
            Output::Name => {
                let done = self.ended.iter().filter(|(_, proof)| proof.is_success());
                done.map(|(lease, _)| lease.id()).try_for_each(|id| out.data(&id))?;
            }
            Output::Table | Output::Wide => {
                let table = self.table(reach.is_many());
                if !table.is_empty() {
                    out.data(&table.render(Screen::of(env)))?;
                }
                self.locks.iter().try_for_each(|lock| out.data(&lock.line()))?;
            }
        }
        for failure in &self.unlocked {
            out.warn(failure.brief());
        }
        self.summary(output, reach, out);
        Ok(())
    }

    fn table(&self, has_cluster: bool) -> Table {
        let heads = if has_cluster { vec!["CLUSTER", "LEASE", "RESULT"] } else { vec!["LEASE", "RESULT"] };
        let leases: Vec<_> = self.ended.iter().map(|(lease, _)| lease.clone()).collect();
        let mut table = Table::new(heads);
        for ((lease, proof), name) in self.ended.iter().zip(shortest(&leases)) {
            let mut row = vec![Cell::from(name), result(proof)];
            if has_cluster {
                row.insert(0, Cell::from(&lease.cluster));
            }
            table.row(row);
        }
        table
    }

    /// How many; what goes on all the same; what to type next.
    fn summary(&self, output: Output, reach: &Reach, out: &Out) {
        let (all, failed) = (self.ended.len(), self.failed());
        if all > 0 {
            out.say(format!("{} revoked, {failed} failed", all - failed));
        }
        if all > failed {
            out.say("still open: watches and log streams that were begun before, and tokens that these passes have made themselves");
        }
        if output == Output::Json {
            return;
        }
        for lock in &self.locks {
            out.say(format!("next:  jobpass unlock {}{}", lock.target(), super::list::one(reach, &lock.cluster)));
        }
        if self.locks.is_empty() {
            out.say(format!("next:  jobpass leases list{}", reach.flags()));
        }
    }

    fn receipt<'a>(&'a self, lease: &'a Held, proof: &Proof) -> Receipted<'a> {
        let server = self.found.server(lease);
        let receipt = Receipt::from_outside(
            (lease.id(), lease.uid.clone()),
            lease.service_account.clone().unwrap_or_default(),
            server.map(|server| server.cluster.identity().server().to_owned()).unwrap_or_default(),
            self.found.now(lease),
            proof.clone(),
        );
        Receipted { cluster: &lease.cluster, receipt, reason: &self.ending.reason, by: &self.ending.by }
    }
}

/// What became of a lease.
fn result(proof: &Proof) -> Cell {
    match proof {
        Proof::Pending { until: Some(until) } => {
            Cell::toned(format!("gone, in every API server's cache until {until} at the latest"), Tone::Good)
        }
        Proof::Absent => Cell::toned("was gone already", Tone::Good),
        Proof::Deleting { until: Some(until) } => {
            Cell::toned(format!("a finalizer holds it; its tokens die by {until} at the latest"), Tone::Doubtful)
        }
        Proof::Failed { reason, .. } => Cell::toned(format!("failed: {reason}"), Tone::Bad),
        Proof::Removed | Proof::Dead | Proof::Expired | Proof::Pending { until: None } | Proof::Deleting { until: None } => {
            Cell::toned(proof.to_string(), Tone::Good)
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use jiff::Timestamp;

    use super::{super::held::tests::held, *};
    use crate::{clock::ServerTime, failure::Code};

    #[test]
    fn each_end_is_told_in_its_row() {
        let until = Some(ServerTime::said("2026-11-28T12:00:11Z".parse::<Timestamp>().expect("a time")));
        let failed = Proof::Failed { code: Code::ApiRbac, reason: "403 Forbidden\u{1b}[31m: no right".to_owned(), until };
        let proofs = [Proof::Pending { until }, Proof::Absent, Proof::Deleting { until }, failed];
        let name = |at: usize| format!("jobpass-{at:032x}");
        let ended = proofs.into_iter().enumerate().map(|(at, proof)| (held(&name(at), 1, &[]), proof)).collect();
        let found = Gathered { servers: Vec::new(), leases: Vec::new(), errors: Vec::new(), tried: 1 };
        let ending = Ending { by: "alice".to_owned(), reason: "INC-4711".to_owned() };
        let report = Report { ended, locks: Vec::new(), unlocked: Vec::new(), found, ending };
        assert_eq!(report.outcome(), Outcome::Partly);
        let shown = [(false, Some(80)), (true, Some(200)), (true, None)];
        let shown = shown.map(|(clusters, width)| report.table(clusters).render(Screen { width, has_colours: false }));
        assert_snapshot!("leases_revoked", shown.join("\n\n"));
    }
}
