//! A value that somebody has set, and where it came from.

use std::fmt;

/// Where a value came from, as a message names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// An input of the GitHub action.
    Input(&'static str),
    /// A `JOBPASS_*` variable.
    Variable(String),
    /// The default.
    Default(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Default(name) => write!(f, "`--{name}`"),
            Self::Input(name) => write!(f, "input `{name}`"),
            Self::Variable(name) => write!(f, "`{name}`"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Given {
    /// The text; a list has one element a line.
    pub text: String,
    /// Where it came from.
    pub source: Source,
}
