//! The value of a setting, and where it came from.

use std::fmt;

/// Where a value came from, by the name that messages use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag, by its name without `--`.
    Flag(&'static str),
    /// An input of the GitHub action, by its name.
    Input(&'static str),
    /// A `JOBPASS_*` variable, by its full name.
    Variable(String),
    /// The default of the setting of this name.
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
    /// The text; the items of a list are on lines of their own.
    pub text: String,
    /// Where it came from.
    pub source: Source,
}
