//! What must come of a cell: how it ends, with which exit code, and what may be left.

use super::{Call, Often, Verb, cell::Cell, faults::Fault};

/// What a command says that has done its work.
pub(super) const SEVEN: i32 = 7;

/// How a cell must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The verb has done its work.
    Done,
    /// There is no pass, and nothing is left of it.
    NotBegun,
    /// There is no pass, and nobody knows what is left of it.
    NotUndone,
    /// The pass could not be ended, as far as anybody knows.
    NotEnded,
}

/// What a fault means for the call that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The call succeeds, or the verb goes on without it.
    GoesOn,
    /// The call is made again.
    TriedAgain,
    /// That was it.
    Refused,
}

impl Verb {
    /// The calls that it makes and that are not just like another verb's.
    pub(super) fn calls(self) -> &'static [Call] {
        match self {
            Self::RequestLocal => &[Call::Maker, Call::Create, Call::Token, Call::Undo],
            Self::RequestGithub | Self::RequestGitlab => &[Call::Create, Call::Token, Call::Undo],
            Self::Run => &[Call::Maker, Call::Create, Call::Token, Call::Undo, Call::Delete, Call::Probe, Call::Renewal],
            Self::RevokeLocal | Self::RevokeGitlab | Self::PostGithub => &[Call::Delete, Call::Probe],
        }
    }

    /// Where verbs make a call by the same code, and nothing that is said here tells them apart, they take turns at the faults: how many
    /// turns there are, and which one is theirs.
    fn turn(self, call: Call) -> (usize, usize) {
        match (call, self) {
            (Call::Maker, Self::RequestLocal) => (2, 0),
            (Call::Maker, Self::Run) => (2, 1),
            (Call::Probe, Self::Run) => (4, 0),
            (Call::Probe, Self::RevokeLocal) => (4, 1),
            (Call::Probe, Self::RevokeGitlab) => (4, 2),
            (Call::Probe, Self::PostGithub) => (4, 3),
            // One meets all of them at all of its calls, and each other one every fault at one of them.
            (Call::Create, Self::RequestGithub) | (Call::Token, Self::RequestGitlab) | (Call::Undo, Self::Run) => (3, 0),
            (Call::Token, Self::RequestGithub) | (Call::Undo, Self::RequestGitlab) | (Call::Create, Self::Run) => (3, 1),
            (Call::Undo, Self::RequestGithub) | (Call::Create, Self::RequestGitlab) | (Call::Token, Self::Run) => (3, 2),
            (Call::Create | Call::Token | Call::Undo, Self::RequestLocal)
            | (Call::Delete, Self::Run | Self::RevokeLocal | Self::RevokeGitlab | Self::PostGithub)
            | (Call::Renewal, Self::Run) => (1, 0),
            (call, verb) => unreachable!("{verb:?} makes no {call:?}"),
        }
    }

    /// Whether it shows how a call goes on that was tried again.
    fn goes_on(self, call: Call) -> bool {
        match (call, self) {
            (Call::Maker | Call::Create | Call::Token | Call::Undo, verb) => verb == Self::RequestLocal,
            (Call::Delete | Call::Probe, verb) => verb == Self::RevokeGitlab,
            (Call::Renewal, verb) => verb == Self::Run,
        }
    }

    /// Whether the pass is there before.
    pub(super) fn is_revocation(self) -> bool {
        match self {
            Self::RequestLocal | Self::RequestGithub | Self::RequestGitlab | Self::Run => false,
            Self::RevokeLocal | Self::RevokeGitlab | Self::PostGithub => true,
        }
    }

    /// Whether the pass is there afterwards.
    pub(super) fn leaves_a_pass(self) -> bool {
        match self {
            Self::RequestLocal | Self::RequestGithub | Self::RequestGitlab => true,
            Self::Run | Self::RevokeLocal | Self::RevokeGitlab | Self::PostGithub => false,
        }
    }

    /// Whether the lease's name is known to be ours alone, whatever uid the server has for it.
    fn owns_the_name(self) -> bool {
        match self {
            Self::RequestLocal | Self::RequestGithub | Self::RequestGitlab | Self::Run | Self::RevokeGitlab | Self::PostGithub => true,
            Self::RevokeLocal => false,
        }
    }

    pub(super) fn code(self, fate: Fate) -> i32 {
        match (self, fate) {
            (Self::Run, Fate::Done | Fate::NotEnded) => SEVEN,
            (Self::Run, Fate::NotBegun | Fate::NotUndone) => 125,
            (
                Self::RequestLocal | Self::RequestGithub | Self::RequestGitlab | Self::RevokeLocal,
                Fate::NotBegun | Fate::NotUndone | Fate::NotEnded,
            ) => 1,
            // On CI a job does not fail for a pass that ends by itself soon.
            (Self::RequestLocal | Self::RequestGithub | Self::RequestGitlab | Self::RevokeLocal, Fate::Done)
            | (Self::RevokeGitlab | Self::PostGithub, Fate::Done | Fate::NotBegun | Fate::NotUndone | Fate::NotEnded) => 0,
        }
    }
}

impl Call {
    /// The requests that it is made of: method, part of the path, and from which one on.
    pub(super) fn requests(self) -> (&'static str, &'static str, usize) {
        match self {
            Self::Maker | Self::Probe => ("POST", "/selfsubjectreviews", 1),
            Self::Create => ("POST", "/secrets", 1),
            Self::Token => ("POST", "/token", 1),
            Self::Undo | Self::Delete => ("DELETE", "/secrets", 1),
            Self::Renewal => ("POST", "/token", 2),
        }
    }

    /// What is said that could not be done where it fails.
    pub(super) fn what(self) -> &'static str {
        match self {
            // That nobody answers is told of the next one.
            Self::Maker | Self::Create => "cannot create the lease `NS/LEASE-1` for service account `NS/deploy-bot`: ",
            Self::Token | Self::Renewal => "cannot request a token for service account `NS/deploy-bot`: ",
            Self::Undo | Self::Delete | Self::Probe => "cannot revoke the lease `NS/LEASE-1`: ",
        }
    }

    fn is_deletion(self) -> bool {
        match self {
            Self::Undo | Self::Delete => true,
            Self::Maker | Self::Create | Self::Token | Self::Probe | Self::Renewal => false,
        }
    }
}

impl Fault {
    /// Whether a moment later the call may succeed.
    fn is_passing(self) -> bool {
        match self {
            Self::Gone
            | Self::Silent
            | Self::ResetBefore
            | Self::ResetAfter
            | Self::Truncated
            | Self::Busy
            | Self::TooMany
            | Self::Internal
            | Self::InternalAfter
            | Self::Unavailable
            | Self::Huge => true,
            Self::Unauthorized
            | Self::Forbidden
            | Self::NoPage
            | Self::NoPath
            | Self::AlreadyExists
            | Self::Replaced
            | Self::Invalid
            | Self::Slow
            | Self::WrongJson
            | Self::NoJson
            | Self::Redirect => false,
        }
    }
}

impl Cell {
    /// Whether it differs from every other one.
    pub(super) fn is_played(&self) -> bool {
        let (of, turn) = self.verb.turn(self.call);
        let is_its_turn = self.fault as usize % of == turn;
        let often = match (self.course(), self.often) {
            // A server that is gone does not come back.
            (_, often) if self.fault == Fault::Gone => often == Often::Always,
            // What is refused is not asked again: it would meet no second fault, and is taken for done where it is.
            (Course::Refused, often) => often == Often::Once,
            (Course::GoesOn, often) => often == Often::Always,
            // How it goes on is no verb's own.
            (Course::TriedAgain, Often::Once) => self.verb.goes_on(self.call),
            (Course::TriedAgain, Often::Always) => true,
        };
        is_its_turn && often
    }

    pub(super) fn course(&self) -> Course {
        match (self.call, self.fault) {
            (_, Fault::Slow) | (Call::Maker | Call::Probe, _) => Course::GoesOn,
            // The next one is due anyway; and whoever has the lease's name is deleted, as it is ours alone.
            (Call::Renewal, _) | (Call::Create, Fault::AlreadyExists) => Course::TriedAgain,
            (call, Fault::Replaced) if call.is_deletion() && self.verb.owns_the_name() => Course::TriedAgain,
            (Call::Create | Call::Token | Call::Undo | Call::Delete, fault) if fault.is_passing() => Course::TriedAgain,
            (Call::Create | Call::Token | Call::Undo | Call::Delete, _) => Course::Refused,
        }
    }

    /// Whether the call never succeeds, nor the verb without it.
    pub(super) fn fails(&self) -> bool {
        match (self.course(), self.often) {
            // Nobody is there to ask what comes next, either.
            _ if self.fault == Fault::Gone => self.call != Call::Probe,
            (Course::GoesOn, Often::Once | Often::Always) | (Course::TriedAgain, Often::Once) => false,
            (Course::TriedAgain, Often::Always) | (Course::Refused, Often::Once | Often::Always) => true,
        }
    }

    pub(super) fn fate(&self) -> Fate {
        let is_gone = self.fault == Fault::Gone;
        match self.call {
            Call::Undo if self.fails() => Fate::NotUndone,
            Call::Undo => Fate::NotBegun,
            Call::Create | Call::Token if is_gone => Fate::NotUndone,
            Call::Renewal if is_gone => Fate::NotEnded,
            Call::Maker | Call::Create | Call::Token if self.fails() => Fate::NotBegun,
            Call::Delete if self.fails() => Fate::NotEnded,
            Call::Maker | Call::Create | Call::Token | Call::Delete | Call::Probe | Call::Renewal => Fate::Done,
        }
    }

    /// Whether it ends when its time is up.
    pub(super) fn takes_all_its_time(&self) -> bool {
        let is_asked_again = self.fails() && self.fault.is_passing();
        is_asked_again || (self.fault == Fault::Silent && self.often == Often::Always)
    }

    /// Whether most of its time is spent waiting: for a deadline, for what a server asks for, for a token's end.
    pub(super) fn waits(&self) -> bool {
        self.takes_all_its_time() || self.fault == Fault::TooMany || self.call == Call::Renewal
    }

    /// Whether it is the fault, and no slow machine, where nobody has answered in time.
    pub(super) fn is_late(&self) -> bool {
        self.fault == Fault::Silent && self.often == Often::Always && self.call != Call::Maker
    }

    /// Whether the server itself must have said, or not have said, that the token is dead.
    pub(super) fn is_proved(&self) -> Option<bool> {
        (self.call == Call::Probe).then_some(matches!(self.fault, Fault::Slow | Fault::Unauthorized))
    }

    /// What the log must show before a command ends that is to see its token's renewal fail.
    pub(super) fn not_renewed(&self) -> &'static str {
        // Of silence nobody says that it is tried again before it has lasted.
        if self.fault.is_passing() && self.fault != Fault::Silent { "trying again" } else { "is not renewed" }
    }
}
