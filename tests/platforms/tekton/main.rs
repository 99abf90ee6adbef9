//! The Tasks and Pipelines of `tekton/`, as they are shipped, on a whole real node with real Tekton: what becomes of a pass in every event.
//!
//! `.ci/run` runs this: `JOBPASS_TEST_NODE` is the directory of a running `jobpass-cluster node up`, and `JOBPASS_TEST_TOOLS` has the
//! static jobpass that the images are made of. The table of docs/tekton.md is what it has seen: `JOBPASS_TEST_WRITE=1` writes it,
//! otherwise the two must agree in all but the seconds. `JOBPASS_TEST_PLAYS="pass-cancel run-"` plays only those whose names begin so; `page` is the examples.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "`--nocapture` shows the seconds of each play")]

mod audit;
mod events;
mod forms;
mod node;
mod page;
mod play;
mod processes;
#[path = "../shared.rs"]
#[allow(dead_code, reason = "the other suites need more of it")]
mod shared;
mod table;

use jobpass_harness as harness;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use events::Event;
use forms::Form;
use node::Node;
use play::{Began, Outcome, Play};

/// So many run at a time: more only wait for each other on two cores.
const AT_A_TIME: usize = 8;

const SIDECARS: (&str, &str) = ("enable-kubernetes-sidecar", "true");
const KEEP_PODS: (&str, &str) = ("keep-pod-on-cancel", "true");

/// What is played: the settings of Tekton are the whole node's, so plays with different ones follow each other.
struct Phase {
    name: &'static str,
    flags: &'static [(&'static str, &'static str)],
    plays: Vec<Play>,
    /// What happens to all of them at once, when all of them have used their tokens.
    together: bool,
}

fn phases(node: &Node) -> Vec<Phase> {
    let of = |forms: &[Form], events: &[Event]| -> Vec<Play> {
        let pairs = events.iter().flat_map(|event| forms.iter().map(move |form| Play { form: *form, event: *event }));
        pairs.filter(|play| play.is_meant() && node.is_wanted(&play.name())).collect()
    };
    // The longest first, so that none of them is alone in the end.
    let events = [
        Event::Timeout,
        Event::PipelineTimeout,
        Event::TasksTimeout,
        Event::StepTimeout,
        Event::Stubborn,
        Event::KillFirst,
        Event::KillJobpass,
        Event::KillCommand,
        Event::Retries,
        Event::EarlyCancel(0),
        Event::EarlyCancel(700),
        Event::CancelAtBegin,
        Event::PipelineCancel,
        Event::PipelineCancelFinally,
        Event::PodDeleted,
        Event::Cancel,
        Event::Fail,
        Event::Success,
        Event::TwoPasses,
        Event::TwoRuns,
        Event::OtherUser,
    ];
    let plain = [Form::Run, Form::Deploy, Form::Pass];
    vec![
        Phase { name: "events", flags: &[], plays: of(&plain, &events), together: false },
        Phase { name: "kubelet away", flags: &[], plays: of(&plain, &[Event::Away]), together: true },
        Phase { name: "keep-pod-on-cancel", flags: &[KEEP_PODS], plays: of(&plain, &[Event::KeepPod]), together: false },
        Phase { name: "native sidecars", flags: &[SIDECARS], plays: of(&[Form::Native], &events), together: false },
        Phase { name: "native sidecars, kubelet away", flags: &[SIDECARS], plays: of(&[Form::Native], &[Event::Away]), together: true },
        Phase {
            name: "native sidecars, keep-pod-on-cancel",
            flags: &[SIDECARS, KEEP_PODS],
            plays: of(&[Form::Native], &[Event::KeepPod]),
            together: false,
        },
    ]
}

#[test]
fn every_event_ends_the_pass_as_the_table_says() {
    let node = Node::given();
    node.furnish();
    let mut failures = Vec::new();
    if node.is_wanted("page") {
        let begun = node.now();
        failures.extend(caught(|| page::failures(&node)).unwrap_or_else(|failure| vec![failure]));
        eprintln!("the examples of the pages, and the samples: {:.0} s", node.now() - begun);
    }
    let mut seen = Vec::new();
    for phase in phases(&node).into_iter().filter(|phase| !phase.plays.is_empty()) {
        node.set_flags(phase.flags);
        let begun = node.now();
        let outcomes = if phase.together { all_together(&node, &phase.plays) } else { side_by_side(&node, &phase.plays) };
        eprintln!("{}: {} plays in {:.0} s", phase.name, phase.plays.len(), node.now() - begun);
        seen.extend(outcomes);
    }
    node.set_flags(&[]);
    failures.extend(seen.iter().filter_map(|(play, outcome)| Some(format!("{}: {}", play.name(), outcome.as_ref().err()?))));
    let outcomes: Vec<(Play, Outcome)> = seen.into_iter().filter_map(|(play, outcome)| Some((play, outcome.ok()?))).collect();
    for (play, outcome) in &outcomes {
        eprintln!("{}: {}", play.name(), outcome.cell());
        failures.extend(play.judge(outcome).into_iter().map(|fault| format!("{}: {fault}", play.name())));
    }
    let secrets: Vec<String> = outcomes.iter().flat_map(|(_, outcome)| outcome.tokens.iter().cloned()).collect();
    assert!(secrets.len() >= outcomes.len(), "{} tokens in {} plays", secrets.len(), outcomes.len());
    failures.extend(node.leaks(&secrets).map(|place| format!("a token is in {place}")));
    node.clear();
    failures.extend(node.left());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if node.wants_all() {
        table::compare(&outcomes);
    }
}

type Seen = Vec<(Play, Result<Outcome, String>)>;

/// Several plays at a time, each with its own event.
fn side_by_side(node: &Node, plays: &[Play]) -> Seen {
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(play) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = caught(|| {
                        let mut began = Began::begin(node, *play);
                        began.act();
                        began.end()
                    });
                    seen.lock().unwrap().push((*play, outcome));
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// All plays meet the same event: the kubelet goes, the runs are cancelled, the kubelet comes back.
fn all_together(node: &Node, plays: &[Play]) -> Seen {
    let begun: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = plays.iter().map(|play| scope.spawn(|| caught(|| Began::begin(node, *play)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut begun: Vec<_> = plays.iter().zip(begun).collect();
    node.without_kubelet(|| {
        for (_, began) in &mut begun {
            if let Ok(began) = began {
                began.act();
            }
        }
    });
    std::thread::scope(|scope| {
        let end = |began: Result<Began<'_>, String>| began.and_then(|began| caught(|| began.end()));
        let threads: Vec<_> = begun.into_iter().map(|(play, began)| scope.spawn(move || (*play, end(began)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// One play that cannot go on is no reason not to see the others.
fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other.downcast_ref::<&str>().map_or_else(|| "it panicked".to_owned(), |text| (*text).to_owned()),
    };
    catch_unwind(AssertUnwindSafe(f)).map_err(text)
}
