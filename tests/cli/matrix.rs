//! The fault matrix: every call to the API server × everything that can happen to it × the verb under which it is made.
//!
//! A cell is one run of one verb, in which one call meets one fault, once or for ever. Every fault is met at every call and under
//! every verb; all three together where a verb makes the call in a way of its own, else in turns. What must come of a cell is said by
//! a few rules over the enums below; whoever adds a call, a fault or a verb is asked by the compiler what comes of it.

mod cell;
mod faults;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use insta::assert_snapshot;

use cell::Cell;
use faults::Fault;

/// An enum that can be walked through.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $kind:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name { $($(#[$kind_doc])* $kind,)+ }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$kind,)+];
        }
    };
}
use kinds;

kinds! {
    /// Under which verb, on which platform.
    Verb { RequestLocal, RequestGithub, RequestGitlab, Run, RevokeLocal, RevokeGitlab, PostGithub, }
}

kinds! {
    /// Which call meets the fault.
    Call {
        /// Who makes the lease, asked for an identity that is no service account.
        Maker,
        Create,
        Token,
        /// The DELETE of a pass that could not be begun.
        Undo,
        /// The DELETE of a pass that is to end.
        Delete,
        Probe,
        /// The token of a command that outlives its first one.
        Renewal,
    }
}

kinds! {
    /// How many of its requests.
    Often { Once, Always, }
}

/// How many cells are played at the same time that mostly wait, and how many that mostly work.
const AT_ONCE: (usize, usize) = (40, 6);

/// What was said of each fault, and at which calls.
type Table = BTreeMap<Fault, BTreeMap<String, BTreeSet<Call>>>;

#[test]
fn every_fault_at_every_call_under_every_verb() {
    let (waiting, working): (Vec<_>, Vec<_>) = Cell::all().into_iter().partition(Cell::waits);
    let (failed, table) = (Mutex::new(Vec::new()), Mutex::new(Table::new()));
    let play = |cell: &Cell| match catch_unwind(AssertUnwindSafe(|| cell.play())) {
        Ok(None) => {}
        Ok(Some(why)) => drop(table.lock().expect("sound").entry(cell.fault).or_default().entry(why).or_default().insert(cell.call)),
        // It has said so, and the others are played all the same.
        Err(_) => failed.lock().expect("sound").push(*cell),
    };
    std::thread::scope(|scope| {
        for (cells, at_once) in [(&waiting, AT_ONCE.0), (&working, AT_ONCE.1)] {
            let next = Arc::new(AtomicUsize::new(0));
            for _ in 0..at_once {
                let (next, play) = (next.clone(), &play);
                scope.spawn(move || {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                        play(cell);
                    }
                });
            }
        }
    });
    let failed = failed.into_inner().expect("sound");
    assert!(failed.is_empty(), "{} of {} cells: {failed:#?}", failed.len(), waiting.len() + working.len());
    assert_snapshot!(shown(&table.into_inner().expect("sound")));
}

/// One part a fault, each with what is said of it at which calls.
fn shown(table: &Table) -> String {
    let mut text = String::new();
    for (fault, said) in table {
        writeln!(text, "{fault:?}").expect("a text can be written to");
        for (why, calls) in said {
            let calls: Vec<_> = calls.iter().map(|call| format!("{call:?}")).collect();
            writeln!(text, "  {}\n    {}", calls.join(" "), why.replace('\n', "\n    ")).expect("a text can be written to");
        }
    }
    text
}

#[test]
fn every_kind_of_cell_is_there() {
    let cells = Cell::all();
    let is_there = |is: &dyn Fn(&Cell) -> bool| cells.iter().any(is);
    for verb in Verb::ALL {
        assert!(verb.calls().iter().all(|call| is_there(&|cell| cell.verb == *verb && cell.call == *call)), "{verb:?}");
    }
    for fault in Fault::ALL {
        for call in Call::ALL {
            assert!(is_there(&|cell| cell.call == *call && cell.fault == *fault), "{call:?} {fault:?}");
        }
        for verb in Verb::ALL {
            assert!(is_there(&|cell| cell.verb == *verb && cell.fault == *fault), "{verb:?} {fault:?}");
        }
        let forms: BTreeSet<_> = cells.iter().filter(|cell| cell.fault == *fault).map(|cell| cell.form).collect();
        assert_eq!(forms.len(), fault.forms(), "{fault:?}");
    }
}
