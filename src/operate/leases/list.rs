//! `jobpass leases list`: who holds passes.

use clap::Args;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    filter::{Filter, is_left_over, shortest},
    gather::{Gathered, gather},
    held::{Held, State},
    watch,
};
use crate::{
    env::Env,
    failure::Failure,
    operate::{
        Outcome,
        document::{Format, Output, Unreached, print},
        locks::{self, Lock},
        reach::Reach,
        table::{Cell, Screen, Table, Tone},
        when,
    },
    out::Out,
};

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Only those that are over
    #[arg(long, conflicts_with = "watch")]
    left_over: bool,
    /// Go on with a line for each that begins or ends, as `leases watch`
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct LeaseList<'a> {
    items: &'a [Held],
    locks: &'a [Lock],
    errors: &'a [Unreached],
}

impl Arguments {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.format.output
    }
}

/// Lists them.
///
/// # Errors
/// When the call is wrong, or no cluster can be asked.
pub async fn list(arguments: &Arguments, env: &Env, out: &Out) -> Result<Outcome, Failure> {
    let Arguments { filter, left_over, watch, format, reach } = arguments;
    let chosen = filter.chosen()?;
    if *watch {
        return watch::follow(&chosen, format.output, reach, (env, out)).await;
    }
    let opened = reach.open(env, out).await?;
    let found = gather(opened, reach, &chosen, |lease| !left_over || is_left_over(lease)).await?;
    let outcome = Outcome::of(found.tried, found.errors.len());
    match format.output {
        Output::Name => found.leases.iter().try_for_each(|lease| out.data(&lease.id()))?,
        Output::Json => {
            let locks = all_locks(&found, &chosen.namespaces).await;
            print("LeaseList", &LeaseList { items: &found.leases, locks: &locks, errors: &found.errors }, out)?;
        }
        Output::Table | Output::Wide => {
            let locks = all_locks(&found, &chosen.namespaces).await;
            let is_wide = format.output == Output::Wide;
            let columns = Columns { is_wide, has_cluster: is_wide || reach.is_many() };
            let table = columns.table(&found.leases, &found.errors, Screen::of(env), |lease| found.now(lease));
            if !table.is_empty() {
                out.data(&table.render(Screen::of(env)))?;
            }
            if Screen::of(env).width.is_some() {
                // In the table it may be cut.
                found.errors.iter().for_each(|error| out.warn(format!("`{}` cannot be asked: {}", error.cluster, error.reason)));
            }
            foot(&found, &locks, &chosen.namespaces, reach, out);
        }
    }
    Ok(outcome)
}

async fn all_locks(found: &Gathered, namespaces: &[Option<String>]) -> Vec<Lock> {
    join_all(found.servers.iter().map(|server| locks::all(server, namespaces))).await.concat()
}

/// What stands below the table: how many, what the job has told, which locks hold, what to type next.
fn foot(found: &Gathered, locks: &[Lock], namespaces: &[Option<String>], reach: &Reach, out: &Out) {
    let (all, over) = (found.leases.len(), found.leases.iter().filter(|lease| is_left_over(lease)).count());
    let left = if over > 0 { format!(", {over} left over") } else { String::new() };
    let unasked =
        if found.errors.is_empty() { String::new() } else { format!(", {} not asked", count(found.errors.len(), "cluster", "clusters")) };
    out.say(format!("{}{left}{unasked}    * as told by the job; IDENTITY is checked by the policies", count(all, "pass", "passes")));
    for lock in locks {
        let cluster = if reach.is_many() { format!("{}: ", lock.cluster) } else { String::new() };
        out.say(format!("{cluster}{}", lock.line()));
    }
    let names = shortest(&found.leases);
    let alive = found.leases.iter().zip(&names).find(|(lease, _)| !is_left_over(lease));
    if let Some((lease, name)) = alive {
        out.say(format!("next:  jobpass leases show {name}{}", one(reach, &lease.cluster)));
    }
    if over > 0 {
        let asked: Vec<_> = namespaces.iter().flatten().map(String::as_str).collect();
        let only = if asked.len() == namespaces.len() { format!(" -n {}", asked.join(",")) } else { String::new() };
        out.say(format!("next:  jobpass leases sweep{only}{}", reach.flags()));
    }
}

/// The flags that reach the cluster of one lease.
pub fn one(reach: &Reach, cluster: &str) -> String {
    if reach.is_many() { reach.flags_of(cluster) } else { reach.flags() }
}

/// A number with its noun.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Which columns a table of leases has.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Namespace, commit and URL as well.
    pub is_wide: bool,
    /// The cluster first.
    pub has_cluster: bool,
}

impl Columns {
    /// The table; `now` is the server's time for a lease.
    pub fn table(self, leases: &[Held], errors: &[Unreached], screen: Screen, now: impl Fn(&Held) -> Timestamp) -> Table {
        let mut heads = vec!["LEASE", "ACCOUNT*", "IDENTITY", "PLATFORM*", "RUN*", "BY*", "AGE", "ENDS"];
        if self.has_cluster {
            heads.insert(0, "CLUSTER");
        }
        if self.is_wide {
            heads.extend(["NAMESPACE", "COMMIT*", "URL*"]);
        }
        let mut table = Table::new(heads).keeping(["LEASE", "AGE", "ENDS"]);
        for (lease, name) in leases.iter().zip(shortest(leases)) {
            table.row(self.row(lease, &name, now(lease), screen));
        }
        for error in errors {
            let mut row = vec![Cell::from("-"); if self.is_wide { 12 } else { 9 }];
            row[0] = Cell::from(&error.cluster);
            // In a column that gives way on a terminal.
            row[5] = Cell::toned(format!("cannot be asked: {}", error.reason), Tone::Bad);
            table.row(row);
        }
        table
    }

    fn row(self, lease: &Held, name: &str, now: Timestamp, screen: Screen) -> Vec<Cell> {
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
        let words = |text: String| Cell::from(if text.is_empty() { "-".to_owned() } else { text });
        let mut row = Vec::new();
        if self.has_cluster {
            row.push(Cell::from(&lease.cluster));
        }
        row.extend([
            Cell::from(name),
            text(&lease.service_account),
            words(lease.who()),
            text(&lease.platform),
            words(lease.run()),
            text(&lease.actor),
            words(lease.created_at.map(|at| when::age(at, now, screen)).unwrap_or_default()),
            ends(lease, now, screen),
        ]);
        if self.is_wide {
            row.extend([Cell::from(&lease.namespace), text(&lease.commit), text(&lease.run_url)]);
        }
        row
    }
}

/// When a lease ends.
fn ends(lease: &Held, now: Timestamp, screen: Screen) -> Cell {
    let end = lease.expires_at.map(|at| when::end(at, now, screen));
    let end = if lease.deleting { Some("held by a finalizer".to_owned()) } else { end };
    match (lease.state, end) {
        (State::Alive, end) => Cell::toned(end.unwrap_or_default(), Tone::Good),
        (State::Over, end) => {
            let length = lease.expires_at.filter(|_| screen.width.is_some()).map(|at| when::length(now.duration_since(at)));
            let words = length.map(|length| format!("left over, {length}")).or(end.map(|end| format!("{end}, left over")));
            Cell::toned(words.unwrap_or_else(|| "left over".to_owned()), Tone::Bad)
        }
        (State::Unknown, Some(end)) => Cell::toned(end, Tone::Doubtful),
        (State::Unknown, None) => Cell::toned("not said", Tone::Doubtful),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::{
        super::held::tests::{held, now},
        *,
    };

    fn leases() -> Vec<Held> {
        let shop = [
            ("lifetime", "3600"),
            ("service-account", "ci/deploy-bot"),
            ("identity", "system:serviceaccount:jobpass:shop"),
            ("actor", "octocat"),
        ];
        let mut github = held("jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6", 24, &shop);
        github.platform = Some("github".to_owned());
        github.repository = Some("acme/shop".to_owned());
        github.run_id = Some("471101".to_owned());
        github.commit = Some("0f1e2d3c".to_owned());
        github.run_url = Some("https://github.com/acme/shop/actions/runs/471101".to_owned());
        let mut old = held("jobpass-35cad200000000000000000000000000", 180, &shop);
        old.cluster = "prod-us".to_owned();
        old.repository = Some("acme/a-repository-with-a-name-that-is-too-long-for-a-terminal".to_owned());
        let hostile = held(
            "jobpass-c22de800000000000000000000000000",
            24,
            &[
                ("lifetime", "1e30"),
                ("actor", "\u{1b}[2J\u{1b}]0;title\u{7}\nnext: rm -rf \u{202e}x"),
                ("service-account", "ci/deploy-bot"),
            ],
        );
        vec![github, old, hostile]
    }

    fn drawn(columns: Columns, screen: Screen) -> String {
        let errors = [Unreached { cluster: "stage".to_owned(), reason: "401 Unauthorized: the token expired 3 days ago".to_owned() }];
        columns.table(&leases(), if columns.has_cluster { &errors } else { &[] }, screen, |_| now()).render(screen)
    }

    #[test]
    fn a_table_fits_where_it_is_shown() {
        for has_cluster in [false, true] {
            for is_wide in [false, true] {
                let columns = Columns { is_wide, has_cluster };
                let name = format!("leases_{}{}", if has_cluster { "clusters" } else { "one" }, if is_wide { "_wide" } else { "" });
                let shown = [Some(80), Some(200), None].map(|width| drawn(columns, Screen { width, has_colours: false }));
                assert_snapshot!(name, shown.join("\n\n"));
            }
        }
    }

    #[test]
    fn what_a_job_has_written_cannot_leave_its_row() {
        let piped = drawn(Columns { is_wide: true, has_cluster: true }, Screen::default());
        assert_eq!(piped.lines().count(), 5);
        assert!(!piped.contains(|c: char| c.is_control() && c != '\n'), "{piped:?}");
    }

    #[test]
    fn ends_have_the_colour_of_their_state() {
        let shown = drawn(Columns { is_wide: false, has_cluster: false }, Screen { width: Some(200), has_colours: true });
        assert_snapshot!("leases_in_colours", shown.replace('\u{1b}', "ESC"));
    }
}
