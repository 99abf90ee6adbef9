//! What would become of the clusters, and what was done: one list behind the table and the document.

use std::collections::BTreeMap;

use serde::Serialize;
use similar::TextDiff;

use super::{carry::Done, live::Change, object::Object, print::yaml, survey::Survey, wish::Team};
use crate::operate::{
    document::Unreached,
    finding::Finding,
    table::{Cell, Table, Tone},
};

/// The document.
#[derive(Serialize)]
pub struct Setup {
    /// Each cluster that was looked at.
    pub clusters: Vec<Cluster>,
    /// Those that could not be set up.
    pub errors: Vec<Unreached>,
}

/// One cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    context: String,
    version: Option<String>,
    policies: &'static str,
    shared: Vec<Shown>,
    teams: Vec<Row>,
    left: Vec<Left>,
    in_force: bool,
    applied: bool,
}

/// One team in it.
#[derive(Debug, Serialize)]
struct Row {
    team: Option<String>,
    account: String,
    identities: Vec<String>,
    rights: Vec<String>,
    objects: Vec<Shown>,
    findings: Vec<Finding>,
}

/// One object.
#[derive(Debug, Serialize)]
struct Shown {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    change: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<String>,
}

/// An object that the input has no more.
#[derive(Debug, Serialize)]
struct Left {
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl Shown {
    fn of((object, change): &(Object, Change)) -> Self {
        let parts = match change {
            Change::Changed { parts, .. } => parts.clone(),
            Change::New | Change::Same => Vec::new(),
        };
        Self {
            kind: object.kind().to_owned(),
            namespace: object.namespace().map(str::to_owned),
            name: object.name().to_owned(),
            change: change.name(),
            parts,
        }
    }
}

impl Cluster {
    /// What was found of a cluster, and done in it.
    #[must_use]
    pub fn of(survey: &Survey, done: Option<&Done>) -> Self {
        let row = |(team, findings): (&Team, &Vec<Finding>)| Row {
            team: team.name.clone(),
            account: team.account.to_string(),
            identities: team.identities.iter().map(ToString::to_string).collect(),
            rights: team.rights.iter().map(ToString::to_string).collect(),
            objects: survey.of_teams(std::slice::from_ref(team)).map(Shown::of).collect(),
            findings: findings.clone(),
        };
        let left = |(object, _): &(Object, String)| Left {
            kind: object.kind().to_owned(),
            namespace: object.namespace().map(str::to_owned),
            name: object.name().to_owned(),
        };
        Self {
            context: survey.name.clone(),
            version: survey.server.version.clone(),
            policies: if survey.has_policies { worst(survey.policies.iter().map(|(_, change)| change)) } else { "unsupported" },
            shared: survey.shared().map(Shown::of).collect(),
            teams: survey.wish.teams.iter().zip(&survey.findings).map(row).collect(),
            left: survey.left.iter().map(left).collect(),
            in_force: done.is_some_and(|done| done.in_force.is_some()),
            applied: done.is_some(),
        }
    }
}

/// What becomes of several objects, in a word.
fn worst<'a>(changes: impl Iterator<Item = &'a Change>) -> &'static str {
    let mut word = "same";
    let (mut has_new, mut has_same) = (false, false);
    for change in changes {
        match change {
            Change::New => has_new = true,
            Change::Same => has_same = true,
            Change::Changed { .. } => word = "changed",
        }
    }
    match (word, has_new, has_same) {
        ("same", true, false) => "new",
        ("same", true, true) => "changed",
        (word, ..) => word,
    }
}

/// What becomes of a team's objects, in a line.
fn change(objects: &[Shown]) -> (String, Tone) {
    let differ: Vec<_> = objects.iter().filter(|object| object.change != "same").collect();
    if differ.is_empty() {
        return ("same".to_owned(), Tone::Faint);
    }
    if differ.len() == objects.len() && differ.iter().all(|object| object.change == "new") {
        return (format!("new, {} objects", differ.len()), Tone::Good);
    }
    let mut parts: BTreeMap<_, usize> = BTreeMap::new();
    for object in &differ {
        let parts_of = if object.parts.is_empty() { "new".to_owned() } else { object.parts.join(" and ") };
        *parts.entry(format!("{} {parts_of}", object.kind)).or_default() += 1;
    }
    let parts = parts.into_iter().map(|(part, count)| if count > 1 { format!("{part} ({count})") } else { part });
    (format!("changed: {}", parts.collect::<Vec<_>>().join(", ")), Tone::Doubtful)
}

/// The table of all clusters: a row a team, and one for the policies.
#[must_use]
pub fn table(clusters: &[Cluster], errors: &[Unreached], is_many: bool) -> Table {
    let heads = ["CLUSTER", "TEAM", "ACCOUNT", "IDENTITY", "RIGHTS", "CHANGE"];
    let mut table = Table::new(if is_many { heads.to_vec() } else { heads[1..].to_vec() });
    let mut row = |cluster: &str, cells: [Cell; 5]| {
        let first = is_many.then(|| Cell::from(cluster));
        table.row(first.into_iter().chain(cells).collect::<Vec<_>>());
    };
    for cluster in clusters {
        let tone = match cluster.policies {
            "same" => Tone::Faint,
            "unsupported" => Tone::Bad,
            _ => Tone::Good,
        };
        row(&cluster.context, ["-".into(), "(policies)".into(), "-".into(), "-".into(), Cell::toned(cluster.policies, tone)]);
        let (words, tone) = change(&cluster.shared);
        row(&cluster.context, ["-".into(), "(shared)".into(), "-".into(), "-".into(), Cell::toned(words, tone)]);
        for team in &cluster.teams {
            let rights = if team.rights.is_empty() { "-".to_owned() } else { team.rights.join("; ") };
            let rights = match team.findings.iter().max_by_key(|finding| finding.severity) {
                Some(worst) => Cell::toned(format!("{rights} ! {}", worst.id.name()), Tone::Bad),
                None => rights.into(),
            };
            let (words, tone) = change(&team.objects);
            let name = team.team.clone().unwrap_or_else(|| "-".to_owned());
            row(
                &cluster.context,
                [name.into(), team.account.clone().into(), team.identities.join(", ").into(), rights, Cell::toned(words, tone)],
            );
        }
    }
    for error in errors {
        let nothing = || Cell::from("-");
        row(
            &error.cluster,
            [nothing(), nothing(), nothing(), nothing(), Cell::toned(format!("cannot be set up: {}", error.reason), Tone::Bad)],
        );
    }
    table
}

/// What changes, line by line.
#[must_use]
pub fn diff(survey: &Survey) -> String {
    let mut text = String::new();
    for (object, change) in survey.all() {
        let (from, to) = match change {
            Change::Same => continue,
            Change::New => (String::new(), yaml(object)),
            Change::Changed { from, to, .. } => (yaml(&Object(from.clone())), yaml(&Object(to.clone()))),
        };
        let name = format!("{}: {}", survey.name, object.id());
        text += &TextDiff::from_lines(&from, &to).unified_diff().header(&name, &name).to_string();
    }
    text
}

/// Each finding in a line, with what to do instead, for people.
#[must_use]
pub fn warnings<'a>(teams: impl Iterator<Item = (&'a Team, &'a [Finding])>) -> Vec<String> {
    let mut lines = Vec::new();
    for (team, findings) in teams {
        for finding in findings {
            let fix = finding.fix.as_ref().map(|fix| format!("; instead: `{fix}`")).unwrap_or_default();
            let line = format!("! {} ({}, {}): {}{fix}", team.account, finding.id.name(), finding.severity.name(), finding.text);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::operate::{finding::Id, table::Screen};

    fn object(kind: &str, change: &'static str, parts: &[&str]) -> Shown {
        Shown { kind: kind.into(), namespace: None, name: "x".into(), change, parts: parts.iter().map(|part| (*part).to_owned()).collect() }
    }

    fn clusters() -> Vec<Cluster> {
        let row = |team: &str, right: &str, objects: Vec<Shown>, findings: Vec<Finding>| Row {
            team: Some(team.into()),
            account: format!("{team}-ci/deploy-bot"),
            identities: vec![format!("jobpass/{team}")],
            rights: vec![right.into()],
            objects,
            findings,
        };
        let five = || ["Namespace", "ServiceAccount", "ServiceAccount", "Role", "RoleBinding"].map(|kind| object(kind, "new", &[])).into();
        let changed = vec![object("Role", "same", &[]), object("RoleBinding", "changed", &["subjects"]), object("RoleBinding", "new", &[])];
        let found = vec![Finding::new(Id::RightsExec, "x"), Finding::new(Id::RightsMint, "`edit` in `billing` may create tokens")];
        let teams = vec![
            row("shop", "deploy in shop-prod, shop-stage", five(), Vec::new()),
            row("billing", "edit in billing", changed, found),
            row("search\u{1b}[31m", "deploy in search", vec![object("Role", "same", &[])], Vec::new()),
        ];
        let cluster = Cluster {
            context: "prod-eu".into(),
            version: Some("v1.33.4".into()),
            policies: "same",
            shared: vec![object("ClusterRole", "new", &[]), object("CronJob", "same", &[])],
            teams,
            left: Vec::new(),
            in_force: false,
            applied: false,
        };
        vec![cluster]
    }

    #[test]
    fn the_table_is_cut_to_the_terminal_and_whole_where_it_is_piped() {
        let error = Unreached { cluster: "stage".into(), reason: "401 Unauthorized".into() };
        let text = |width, has_colours, is_many| {
            let errors: &[Unreached] = if is_many { std::slice::from_ref(&error) } else { &[] };
            table(&clusters(), errors, is_many).render(Screen { width, has_colours })
        };
        assert_snapshot!("setup_piped", text(None, false, true));
        assert_snapshot!("setup_80", text(Some(80), false, true));
        assert_snapshot!("setup_200_coloured", text(Some(200), true, false));
    }

    #[test]
    fn the_document_is_the_same_list() {
        let document = serde_json::to_value(Setup { clusters: clusters(), errors: Vec::new() }).expect("JSON");
        assert_eq!(
            document["clusters"][0]["teams"][1]["objects"][1],
            json!({"kind": "RoleBinding", "name": "x", "change": "changed", "parts": ["subjects"]})
        );
        assert_eq!(document["clusters"][0]["teams"][1]["findings"][1]["id"], "rights-mint");
    }
}
