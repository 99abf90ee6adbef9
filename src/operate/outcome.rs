//! How an operator's verb ends: the same numbers for all of them.

use std::process::ExitCode;

use super::finding::Severity;

/// How it ends, where it did not fail as a whole: that is a `Failure`, with 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything was done, and nothing is wrong: 0.
    Done,
    /// The worst that was found has this severity: 11, 12 or 13.
    Found(Severity),
    /// Nothing was done of what was asked: 1.
    Failed,
    /// A part was done: 3.
    Partly,
}

impl Outcome {
    /// The exit code.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Partly => 3,
            Self::Found(Severity::Low) => 11,
            Self::Found(Severity::Medium) => 12,
            Self::Found(Severity::High) => 13,
        }
    }

    /// Of several parts that were tried, some of which failed.
    #[must_use]
    pub fn of(tried: usize, failed: usize) -> Self {
        match failed {
            0 => Self::Done,
            failed if failed == tried => Self::Failed,
            _ => Self::Partly,
        }
    }

    /// The same, where findings are no reason to end otherwise than well.
    #[must_use]
    pub fn exit_zero(self, is_asked: bool) -> Self {
        match self {
            Self::Found(_) if is_asked => Self::Done,
            outcome => outcome,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_number_of_its_own() {
        let found = [Severity::Low, Severity::Medium, Severity::High].map(Outcome::Found);
        let all: Vec<_> = [Outcome::Done, Outcome::Failed, Outcome::Partly].into_iter().chain(found).map(Outcome::number).collect();
        assert_eq!(all, [0, 1, 3, 11, 12, 13]);
    }

    #[test]
    fn a_part_that_failed_is_told_from_the_whole() {
        assert_eq!(
            [Outcome::of(0, 0), Outcome::of(3, 0), Outcome::of(3, 1), Outcome::of(3, 3)],
            [Outcome::Done, Outcome::Done, Outcome::Partly, Outcome::Failed]
        );
    }

    #[test]
    fn only_findings_can_be_passed_over() {
        assert_eq!(Outcome::Found(Severity::High).exit_zero(true), Outcome::Done);
        assert_eq!(Outcome::Found(Severity::High).exit_zero(false), Outcome::Found(Severity::High));
        assert_eq!(Outcome::Partly.exit_zero(true), Outcome::Partly);
    }
}
