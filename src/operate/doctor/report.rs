//! What was checked and how it stands: one list, from which the lines, the JSON and the exit code are made.

use std::fmt::Write as _;

use console::{Style, measure_text_width};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    operate::{
        Outcome,
        finding::{Finding, Id, Severity},
        table::Screen,
    },
    out::one_line,
};

/// What a check is about, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The way to the API server.
    Reach,
    /// The certificate of the API server.
    Trust,
    /// The two clocks.
    Clock,
    /// As whom we ask.
    Identity,
    /// What the CI identity must be allowed to do.
    May,
    /// What must be refused to it.
    MayNot,
    /// The service account, and a pass of it.
    Account,
    /// What the pass may do.
    Rights,
    /// Which variable each client reads.
    Clients,
    /// What the CI system gives the job.
    Job,
    /// The policies of the cluster, as its admin sees them.
    Policies,
    /// The namespace of the service accounts, as the cluster's admin sees it.
    Namespace,
    /// The audit log.
    Audit,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Trust => "trust",
            Self::Clock => "clock",
            Self::Identity => "identity",
            Self::May => "may",
            Self::MayNot => "may not",
            Self::Account => "account",
            Self::Rights => "rights",
            Self::Clients => "clients",
            Self::Job => "job",
            Self::Policies => "policies",
            Self::Namespace => "namespace",
            Self::Audit => "audit",
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Warn,
    /// It is wrong.
    Fail,
    /// It was not checked.
    Skipped,
}

impl State {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "!",
            Self::Fail => "x",
            Self::Skipped => "-",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::new().green(),
            Self::Warn => Style::new().yellow(),
            Self::Fail => Style::new().red(),
            Self::Skipped => Style::new().dim(),
        }
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The finding that it can raise; of what can raise none, its own name.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// How it ended.
    pub state: State,
    /// How bad it is, where it is a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What was seen, in a sentence without full stop.
    pub text: String,
    /// The same for programs.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub evidence: Value,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All checks.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
    /// Whether the API server did not let us see a part.
    pub is_partial: bool,
}

impl Report {
    /// All is well.
    pub fn ok(&mut self, area: Area, id: &'static str, text: impl AsRef<str>) -> &mut Check {
        self.add(Check { id, area, state: State::Ok, severity: None, text: one_line(text.as_ref()), evidence: Value::Null, fix: None })
    }

    /// It was not checked, for this reason.
    pub fn skipped(&mut self, area: Area, id: &'static str, why: impl AsRef<str>) {
        self.ok(area, id, why).state = State::Skipped;
    }

    /// Nothing more can be checked, as the API server does not answer, or does not know us.
    pub fn rest_skipped(&mut self) {
        for (area, id) in [
            (Area::Trust, Id::TrustEnds.name()),
            (Area::Clock, Id::ClockSkew.name()),
            (Area::Identity, Id::IdentityUnwatched.name()),
            (Area::May, Id::PermissionMissing.name()),
            (Area::MayNot, Id::PolicyMissing.name()),
            (Area::Account, Id::AccountMissing.name()),
            (Area::Rights, "rights"),
        ] {
            if self.checks.iter().all(|check| check.area != area) {
                self.skipped(area, id, "not checked, as there is no answer to go on");
            }
        }
    }

    /// Something is wrong.
    pub fn found(&mut self, area: Area, finding: Finding) -> &mut Check {
        let Finding { id, severity, text, fix } = finding;
        let state = match severity {
            Severity::High => State::Fail,
            Severity::Low | Severity::Medium => State::Warn,
        };
        let (text, fix) = (one_line(&text), fix.map(|fix| one_line(&fix)));
        self.add(Check { id: id.name(), area, state, severity: Some(severity), text, evidence: Value::Null, fix })
    }

    /// Something failed as it fails for every verb: its words, and its hint.
    pub fn failed(&mut self, area: Area, id: Id, failure: &Failure) {
        let mut finding = Finding::new(id, failure.brief());
        finding.fix = failure.advice().map(str::to_owned);
        self.found(area, finding).evidence = json!({"code": failure.code().name()});
    }

    fn add(&mut self, check: Check) -> &mut Check {
        let at = self.checks.partition_point(|known| known.area <= check.area);
        self.checks.insert(at, check);
        &mut self.checks[at]
    }

    /// The checks in their order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether this finding was raised.
    pub fn has(&self, id: Id) -> bool {
        self.checks.iter().any(|check| check.id == id.name() && check.severity.is_some())
    }

    /// Which end it is.
    pub fn outcome(&self) -> Outcome {
        if self.has(Id::ServerUnreachable) || self.has(Id::IdentityRefused) {
            return Outcome::Failed;
        }
        self.checks.iter().filter_map(|check| check.severity).max().map_or(Outcome::Done, Outcome::Found)
    }

    /// How many there are of each.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let of = |severity| self.checks.iter().filter(|check| check.severity == Some(severity)).count();
        let in_state = |state| self.checks.iter().filter(|check| check.state == state).count();
        let severities = [Severity::High, Severity::Medium, Severity::Low].map(|severity| (severity.name(), of(severity)));
        let all = severities.into_iter().chain([("ok", in_state(State::Ok)), ("skipped", in_state(State::Skipped))]);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// The lines for people. On a terminal they are broken at its width; where they are piped each check is one line.
    pub fn render(&self, screen: Screen) -> String {
        let mut text = String::new();
        let mut before = None;
        for Check { area, state, severity, text: words, fix, .. } in &self.checks {
            let name = if before == Some(*area) && screen.width.is_some() { "" } else { area.name() };
            before = Some(*area);
            let mark = format!("{:<3}", state.mark());
            let mark = if screen.has_colours { state.style().force_styling(true).apply_to(mark).to_string() } else { mark };
            let grade = severity.map(|severity| format!("{}: ", severity.name())).unwrap_or_default();
            let _ = writeln!(text, "  {mark} {name:<10} {}", folded(&format!("{grade}{words}"), screen));
            if let Some(fix) = fix {
                let _ = writeln!(text, "{:INDENT$}{}", "", folded(&format!("fix: {fix}"), screen));
            }
        }
        text.trim_end().to_owned()
    }
}

/// The columns before the words.
const INDENT: usize = 17;

/// The words in lines that fit behind the indent.
fn folded(words: &str, screen: Screen) -> String {
    let Some(width) = screen.width.map(|width| usize::from(width).saturating_sub(INDENT).max(20)) else { return words.to_owned() };
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && measure_text_width(line) + 1 + measure_text_width(word) > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{:INDENT$}", ""))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.skipped(Area::Job, "masking", "nothing masks a token in this log; commands under `jobpass run` are scrubbed");
        report.ok(Area::Reach, "server-unreachable", "https://api.prod-eu.acme.test:6443, 12 ms, Kubernetes v1.33.4");
        report.ok(Area::Identity, "identity-refused", "system:serviceaccount:jobpass:shop\u{1b}[31m");
        let finding = Finding::new(Id::CredentialEternal, "its credential never ends: it is a token Secret");
        report.found(Area::Identity, finding.fix("jobpass setup identity jobpass/shop --ttl 90d"));
        let finding =
            Finding::new(Id::RightsMint, "the pass can create tokens that outlive it, by RoleBinding ci/edit -> ClusterRole edit");
        report.found(Area::Rights, finding.fix("kubectl delete rolebinding edit -n ci, and bind a smaller role"));
        report
    }

    #[test]
    fn lines_fit_a_terminal_and_are_whole_where_they_are_piped() {
        let screen = |width, has_colours| Screen { width, has_colours };
        let texts = [screen(None, false), screen(Some(80), false), screen(Some(200), false), screen(Some(80), true)];
        let texts = texts.map(|screen| report().render(screen));
        assert!(texts[1].lines().all(|line| measure_text_width(line) <= 80), "{}", texts[1]);
        assert_snapshot!(texts.join("\n\n").replace('\u{1b}', "ESC"));
    }

    #[test]
    fn the_worst_decides_and_who_is_not_reached_is_no_finding() {
        let mut report = report();
        assert_eq!(report.outcome(), Outcome::Found(Severity::High));
        assert_eq!(report.counts(), [("high", 1), ("medium", 1), ("ok", 2), ("skipped", 1)]);
        report.found(Area::Reach, Finding::new(Id::ServerUnreachable, "x"));
        assert_eq!(report.outcome(), Outcome::Failed);
        assert_eq!(Report::default().outcome(), Outcome::Done);
    }
}
