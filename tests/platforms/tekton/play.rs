//! One form in one event: it begins, the event happens, and what becomes of the pass is seen.

use std::{
    fs,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    audit::What,
    events::Event,
    forms::{self, Form},
    harness::random,
    node::{NAMESPACE, Node, PATIENCE},
    processes,
};

/// So long after the end of the run a pass may still end by itself; what is there then stays.
const LATE: Duration = Duration::from_secs(30);

/// A command that ignores TERM gets KILL after 30 s, which Tekton does not wait for.
const STUBBORN: Duration = Duration::from_mins(1);

/// The API server takes a token for good for 10 s that it has just seen.
const CACHED: Duration = Duration::from_secs(25);

/// The most that the secure form may take, on a machine that does much else: mostly it is one or two.
const SOON: f64 = 15.0;
/// The time between TERM and KILL of a pod of Tekton's, in seconds.
const KILL: f64 = 30.0;

#[derive(Clone, Copy)]
pub(crate) struct Play {
    pub(crate) form: Form,
    pub(crate) event: Event,
}

impl Play {
    pub(crate) fn name(self) -> String {
        format!("{}-{}", self.form.name(), self.event.name())
    }

    /// Whether the form has this event, and is not the same as another's.
    pub(crate) fn is_meant(self) -> bool {
        match self.event {
            Event::PipelineCancelFinally | Event::TasksTimeout => self.form == Form::Deploy,
            Event::PipelineCancel | Event::PipelineTimeout => self.form != Form::Native,
            Event::Retries | Event::Timeout | Event::EarlyCancel(_) | Event::CancelAtBegin | Event::TwoPasses => self.form != Form::Deploy,
            Event::TwoRuns => matches!(self.form, Form::Run | Form::Pass),
            Event::OtherUser => self.form == Form::Pass,
            _ => true,
        }
    }

    /// How many passes there are.
    fn passes(self) -> usize {
        match self.event {
            Event::Retries | Event::TwoPasses | Event::TwoRuns => 2,
            Event::EarlyCancel(_) | Event::CancelAtBegin => 0,
            _ => 1,
        }
    }

    /// How many must have been used before the event.
    fn used_before(self) -> usize {
        if self.event == Event::Retries { 1 } else { self.passes() }
    }

    /// Whether nothing happens to the run but that it goes its way.
    fn is_undisturbed(self) -> bool {
        matches!(self.event, Event::Success | Event::Fail | Event::Retries | Event::TwoPasses | Event::TwoRuns | Event::OtherUser)
    }

    /// What is wrong with the outcome, whatever the table says.
    pub(crate) fn judge(self, outcome: &Outcome) -> Vec<String> {
        let mut faults = Vec::new();
        if outcome.used < self.passes() {
            faults.push(format!("{} tokens were used, not {}", outcome.used, self.passes()));
        }
        if outcome.alive > 0 {
            faults.push("a token is accepted although its lease is gone".to_owned());
        }
        if let Event::Success | Event::TwoPasses | Event::TwoRuns | Event::OtherUser = self.event
            && !outcome.succeeded
        {
            faults.push("the run has not succeeded".to_owned());
        }
        // Where jobpass was killed nobody else is left to end the pass.
        let is_finallys = matches!(self.event, Event::StepTimeout | Event::KillJobpass | Event::KillFirst | Event::KeepPod);
        if self.form == Form::Deploy && is_finallys && !outcome.by_finally {
            faults.push("`finally` has not ended the pass".to_owned());
        }
        // The promise of the secure form. A jobpass that was killed can keep none: the next row says what bounds that.
        let is_promised = self.form.has_sidecar() && self.event != Event::KillJobpass;
        if is_promised && outcome.kept > 0 {
            faults.push("the secure form has left a pass".to_owned());
        }
        // A native sidecar gets TERM only after the command has ended: by itself, or by the KILL that comes 30 s later, as where it was
        // cancelled before it could listen. Without kubelet nothing is told of anything.
        let soon = if self.form == Form::Native { SOON + KILL } else { SOON };
        if is_promised && self.event != Event::Away && outcome.deleted.is_some_and(|after| after > soon) {
            faults.push(format!("the secure form took {:.1} s", outcome.deleted.unwrap_or_default()));
        }
        faults
    }
}

/// What became of the passes of a play.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The latest DELETE of a lease, in seconds from the event.
    pub(crate) deleted: Option<f64>,
    /// The latest 401, in seconds from the event.
    dead: Option<f64>,
    by_finally: bool,
    /// Leases that nobody deleted.
    kept: usize,
    /// Tokens that outlived their leases.
    alive: usize,
    used: usize,
    succeeded: bool,
    pub(crate) tokens: Vec<String>,
    early: bool,
}

impl Outcome {
    /// The cell of the table.
    pub(crate) fn cell(&self) -> String {
        let seconds = |of: Option<f64>| of.map_or_else(|| "–".to_owned(), |after| format!("{after:+.1}"));
        let by = if self.by_finally { "`finally` " } else { "" };
        let times = format!("{by}{} / {}", seconds(self.deleted), seconds(self.dead));
        match (self.kept, self.early) {
            (0, false) => times,
            // Which of the two it is depends on the moment.
            (0, true) => format!("≤ {:+.1} / ≤ {:+.1}, or no token", self.deleted.unwrap_or_default(), self.dead.unwrap_or_default()),
            _ => "**kept**".to_owned(),
        }
    }

    /// A row begins with its first play.
    pub(crate) fn of_row(first: &Self) -> Self {
        let mut row = Self { early: first.early, ..Self::default() };
        row.join(first);
        row
    }

    /// Several plays of one row: the worst of each.
    pub(crate) fn join(&mut self, other: &Self) {
        let latest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).max_by(f64::total_cmp);
        (self.deleted, self.dead) = (latest(self.deleted, other.deleted), latest(self.dead, other.dead));
        (self.kept, self.by_finally) = (self.kept + other.kept, self.by_finally || other.by_finally);
    }
}

struct Token {
    value: String,
    lease: String,
    id: String,
    seen: f64,
    /// When the API server first refused it. It is asked only when the lease is deleted: before, the question would warm its cache.
    dead: Option<f64>,
}

/// A lease that a pod of the run has made.
struct Lease {
    name: String,
    begun: f64,
    deleted: Option<(f64, String)>,
}

impl Token {
    fn read(value: String, seen: f64) -> Option<Self> {
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value.split('.').nth(1)?).ok()?).ok()?;
        let lease = claims["kubernetes.io"]["secret"]["name"].as_str()?.to_owned();
        Some(Self { lease, id: format!("JTI={}", claims["jti"].as_str()?), value, seen, dead: None })
    }
}

fn status(wanted: &str) -> String {
    json!({"spec": {"status": wanted}}).to_string()
}

/// A play that runs.
pub(crate) struct Began<'a> {
    node: &'a Node,
    play: Play,
    name: String,
    kind: &'static str,
    tokens: Vec<Token>,
    /// When the event was.
    acted: Option<f64>,
}

impl<'a> Began<'a> {
    /// Starts the run and waits until the command has used its token, or until it starts if that is the moment.
    pub(crate) fn begin(node: &'a Node, play: Play) -> Self {
        let name = format!("{}-{}", play.name(), random());
        let runs = forms::runs(play.form, play.event, &name);
        let kind = if runs[0]["kind"] == "PipelineRun" { "pipelinerun" } else { "taskrun" };
        for run in &runs {
            let answer = node.ask("POST", &format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/{kind}s?fieldValidation=Strict"), Some(run));
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
        let mut began = Self { node, play, name, kind, tokens: Vec::new(), acted: None };
        match play.event {
            Event::EarlyCancel(after) => {
                began.until(PATIENCE, "the command starts", |began| began.container("step-command").is_some());
                std::thread::sleep(Duration::from_millis(after));
            }
            Event::CancelAtBegin => began.until(PATIENCE, "the pass begins", |began| !began.leases().is_empty()),
            _ => began.until(PATIENCE, "the token is used", |began| began.used() >= play.used_before()),
        }
        began
    }

    /// Lets the event happen.
    pub(crate) fn act(&mut self) {
        let acted = self.node.now();
        match self.play.event {
            Event::Cancel | Event::EarlyCancel(_) | Event::CancelAtBegin | Event::Stubborn | Event::Away | Event::KeepPod => {
                let run = self.task_run();
                self.patch("taskrun", &run, "TaskRunCancelled");
            }
            Event::PipelineCancel => self.patch("pipelinerun", &self.name, "Cancelled"),
            Event::PipelineCancelFinally => self.patch("pipelinerun", &self.name, "CancelledRunFinally"),
            Event::PodDeleted => {
                let pod = self.pods().swap_remove(0);
                let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", pod["metadata"]["name"].as_str().unwrap());
                assert!(self.node.ask("DELETE", &path, None).status < 300);
            }
            // With jobpass around it the command is one deeper.
            Event::KillCommand => self.kill("step-command", if self.play.form.has_sidecar() { 1 } else { 2 }),
            Event::KillJobpass if self.play.form.has_sidecar() => self.kill("sidecar-jobpass", 0),
            Event::KillJobpass => self.kill("step-command", 1),
            Event::KillFirst => self.kill("step-command", 0),
            Event::Success
            | Event::Fail
            | Event::Retries
            | Event::Timeout
            | Event::StepTimeout
            | Event::PipelineTimeout
            | Event::TasksTimeout
            | Event::TwoPasses
            | Event::TwoRuns
            | Event::OtherUser => return,
        }
        self.acted = Some(acted);
    }

    /// Waits for the end of the run and of its passes.
    pub(crate) fn end(mut self) -> Outcome {
        // Where process 1 was killed the run may go on until its timeout; and where a pod is deleted Tekton sometimes makes it again,
        // when it has not seen in time how the old one ended. There only the pass is waited for.
        let is_left = matches!(self.play.event, Event::KillFirst | Event::PodDeleted);
        self.quietly(PATIENCE, |began| is_left || began.is_over());
        let late = if self.play.event == Event::Stubborn { STUBBORN } else { LATE };
        self.quietly(late, |began| {
            let leases = began.leases();
            leases.len() >= began.play.passes() && leases.iter().all(|lease| lease.deleted.is_some())
        });
        let leases = self.leases();
        let mut outcome = Outcome {
            early: matches!(self.play.event, Event::EarlyCancel(_) | Event::CancelAtBegin),
            used: self.used(),
            ..Outcome::default()
        };
        outcome.kept = leases.iter().filter(|lease| lease.deleted.is_none()).count();
        if outcome.kept == 0 {
            self.quietly(CACHED, |began| began.tokens.iter().all(|token| token.dead.is_some()));
            outcome.alive = self.tokens.iter().filter(|token| token.dead.is_none() && self.is_of(token, &leases)).count();
        }
        outcome.succeeded = self.state() == "True";
        let finished = self.finished();
        for lease in &leases {
            let Some((at, pod)) = &lease.deleted else { continue };
            let own = self.acted.or_else(|| if self.play.is_undisturbed() { self.last_use(&lease.name) } else { finished });
            let event = own.unwrap_or(*at);
            // What begins after the event is the next pass, of a sidecar that was started again.
            if lease.begun > event && self.acted.is_some() && !outcome.early {
                continue;
            }
            let tokens = self.tokens.iter().filter(|token| self.is_of(token, std::slice::from_ref(lease)));
            let dead = tokens.filter_map(|token| token.dead).max_by(f64::total_cmp).map(|at| at - event);
            outcome.join(&Outcome { deleted: Some(at - event), dead, by_finally: pod.contains("-revoke-"), ..Outcome::default() });
        }
        for lease in leases.iter().filter(|lease| lease.deleted.is_none()) {
            self.node.ask("DELETE", &format!("/api/v1/namespaces/ci/secrets/{}", lease.name), None);
        }
        if is_left && !self.is_over() {
            // It may end in this moment, and then Tekton refuses.
            let (run, patch) = (self.task_run(), status("TaskRunCancelled"));
            let _ = self.node.try_kubectl(&["patch", "taskrun", &run, "--namespace", NAMESPACE, "--type=merge", "--patch", &patch], "");
        }
        outcome.tokens = self.tokens.into_iter().map(|token| token.value).collect();
        outcome
    }

    /// Whether a token is bound to one of these leases: a name may be used again, so the time counts.
    fn is_of(&self, token: &Token, leases: &[Lease]) -> bool {
        let all = self.leases();
        let own = all.iter().rev().find(|lease| lease.name == token.lease && lease.begun <= token.seen);
        own.is_some_and(|own| leases.iter().any(|lease| lease.name == own.name && (lease.begun - own.begun).abs() < 1e-9))
    }

    fn until(&mut self, limit: Duration, what: &str, is_so: impl FnMut(&mut Self) -> bool) {
        assert!(self.quietly(limit, is_so), "{}: it did not happen: {what}; the run is {}", self.name, self.said());
    }

    /// Looks until it is so, and says whether.
    fn quietly(&mut self, limit: Duration, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            self.look();
            self.probe();
            if is_so(self) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Sees the tokens that there are now, as root from the memory volumes of the pods, and their logs.
    fn look(&mut self) {
        for pod in self.pods() {
            let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().to_owned();
            let (name, uid) = (text("name"), text("uid"));
            self.node.keep_logs(&name, &uid);
            let volumes = self.node.path("/var/lib/kubelet/pods").join(uid).join("volumes/kubernetes.io~empty-dir");
            for volume in fs::read_dir(volumes).into_iter().flatten().flatten() {
                for lease in fs::read_dir(volume.path().join("jobpass")).into_iter().flatten().flatten() {
                    let Ok(value) = fs::read_to_string(lease.path().join("token")) else { continue };
                    if self.tokens.iter().all(|token| token.value != value.trim()) {
                        self.tokens.extend(Token::read(value.trim().to_owned(), self.node.now()));
                    }
                }
            }
        }
    }

    /// Asks for the tokens whose leases are deleted whether they are refused by now.
    fn probe(&mut self) {
        let deleted: Vec<Lease> = self.leases().into_iter().filter(|lease| lease.deleted.is_some()).collect();
        let asked: Vec<bool> = self.tokens.iter().map(|token| token.dead.is_none() && self.is_of(token, &deleted)).collect();
        for (token, _) in self.tokens.iter_mut().zip(asked).filter(|(_, is_asked)| *is_asked) {
            if self.node.status_of(&token.value) == 401 {
                token.dead = Some(self.node.now());
            }
        }
    }

    fn pods(&self) -> Vec<Value> {
        let label = if self.kind == "pipelinerun" { "tekton.dev%2FpipelineRun" } else { "tekton.dev%2FtaskRun" };
        let selector = format!("{label}%20in%20({0},{0}-b)", self.name);
        let mut pods = self.node.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}"));
        serde_json::from_value(pods["items"].take()).unwrap_or_default()
    }

    /// The id of a container that runs.
    fn container(&self, name: &str) -> Option<String> {
        let pods = self.pods();
        let lists = pods.iter().flat_map(|pod| ["containerStatuses", "initContainerStatuses"].map(|list| &pod["status"][list]));
        let statuses = lists.filter_map(Value::as_array).flatten();
        let mut running = statuses.filter(|status| status["name"] == name && status["state"]["running"].is_object());
        Some(running.next_back()?["containerID"].as_str()?.trim_start_matches("containerd://").to_owned())
    }

    fn kill(&self, container: &str, depth: usize) {
        let id = self.container(container).unwrap_or_else(|| panic!("{}: {container} does not run", self.name));
        processes::kill(processes::at_depth(&id, depth).unwrap_or_else(|| panic!("{}: no process at depth {depth}", self.name)));
    }

    fn patch(&self, kind: &str, name: &str, wanted: &str) {
        let patch = status(wanted);
        self.node.kubectl(&["patch", kind, name, "--namespace", NAMESPACE, "--type=merge", "--patch", &patch]);
    }

    fn task_run(&self) -> String {
        if self.kind == "pipelinerun" { format!("{}-deploy", self.name) } else { self.name.clone() }
    }

    fn condition(&self, kind: &str, name: &str) -> Value {
        let run = self.node.get(&format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/{kind}s/{name}"));
        run["status"]["conditions"][0].clone()
    }

    fn state(&self) -> String {
        self.condition(self.kind, &self.name)["status"].as_str().unwrap_or_default().to_owned()
    }

    fn said(&self) -> String {
        self.condition(self.kind, &self.name)["message"].to_string()
    }

    fn is_over(&self) -> bool {
        matches!(self.state().as_str(), "True" | "False")
            && (self.play.event != Event::TwoRuns || self.condition("taskrun", &format!("{}-b", self.name))["status"] != "Unknown")
    }

    /// When Tekton took the run of the Task for ended.
    fn finished(&self) -> Option<f64> {
        let condition = self.condition("taskrun", &self.task_run());
        let at: jiff::Timestamp = condition["lastTransitionTime"].as_str()?.parse().ok()?;
        (condition["status"] == "False").then(|| at.as_duration().as_secs_f64())
    }

    /// The leases of the run, and when each was deleted, and by which pod.
    fn leases(&self) -> Vec<Lease> {
        let records = self.node.records(|record| !matches!(record.what, What::Used(_)));
        let mut leases = Vec::new();
        for (number, record) in records.iter().enumerate() {
            let What::Begun(name) = &record.what else { continue };
            if !record.pod.starts_with(&self.name)
                || self.play.event == Event::PodDeleted && self.acted.is_some_and(|acted| record.at > acted)
            {
                continue;
            }
            let deleted = records[number..].iter().find(|later| later.what == What::Deleted(name.clone()));
            leases.push(Lease { name: name.clone(), begun: record.at, deleted: deleted.map(|record| (record.at, record.pod.clone())) });
        }
        leases
    }

    fn used(&self) -> usize {
        let is_used = |token: &&Token| !self.node.records(|record| record.what == What::Used(token.id.clone())).is_empty();
        self.tokens.iter().filter(is_used).count()
    }

    fn last_use(&self, lease: &str) -> Option<f64> {
        let ids: Vec<What> = self.tokens.iter().filter(|token| token.lease == lease).map(|token| What::Used(token.id.clone())).collect();
        self.node.records(|record| ids.contains(&record.what)).last().map(|record| record.at)
    }
}
