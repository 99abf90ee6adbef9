//! A failure as users see it: its kind, what we could not do, why, and what to do now; its rendering and its exit code.
//!
//! The words stand where it fails: `Failure::new(Code::…, what).cause(…).hint(…)`. The row of its [`Code`] has its name and exit status.
//!
//! Inside a module a cause is an `anyhow::Error`, as long as nobody knows yet what could not be done because of it. Where it leaves
//! the module, it becomes a [`Failure`]. Only `files` hands causes out: its callers know what a file was for.

use std::fmt;

use serde::Serialize;

use crate::out::{API_VERSION, one_line};

mod code;

pub use code::Code;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something could not be done: exit code 1.
    Failed,
    /// The call itself is wrong, and nothing was sent: exit code 2.
    Usage,
    /// Only of `run`: the command exists but cannot be executed: exit code 126.
    NotExecutable,
    /// Only of `run`: the command does not exist: exit code 127.
    NotFound,
}

impl Exit {
    /// The exit code of all verbs but `run`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    /// The exit code of `run`: 125 for every failure of ours, as all other codes are the command's.
    #[must_use]
    pub fn code_of_run(self) -> u8 {
        match self {
            Self::Failed | Self::Usage => 125,
            Self::NotExecutable | Self::NotFound => self.code(),
        }
    }
}

/// A failure as the user reads it: an `error:` line, a `caused by:` line for each cause, and a `hint:` line where one helps.
///
/// It never holds a secret, a response body or an environment value. Foreign text enters through [`Failure::cause`], which turns it
/// into one harmless line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of this kind; `what` says what could not be done: lower case, names in backticks, no full stop.
    pub fn new(code: Code, what: impl fmt::Display) -> Self {
        Self { code, what: one_line(&what.to_string()), causes: Vec::new(), hint: None }
    }

    /// The kind of failure, on which callers branch.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The same failure with a more exact kind.
    #[must_use]
    pub fn as_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// Adds one cause; the words of a server or of the system come last.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        let cause = one_line(&words(cause));
        // Libraries often repeat an inner error in the text of the outer one: it is then left out.
        if !cause.is_empty() && !self.causes.iter().any(|known| known.contains(&cause)) {
            self.causes.push(cause);
        }
        self
    }

    /// Adds a line of what a program has said: as a cause, also where a part of another one is the same.
    #[must_use]
    pub fn said(mut self, line: &str) -> Self {
        self.causes.push(one_line(line));
        self
    }

    /// Adds every error of a chain as a cause, outermost first.
    #[must_use]
    pub fn chain(self, error: &anyhow::Error) -> Self {
        error.chain().fold(self, Self::cause)
    }

    /// Sets the hint: one imperative sentence that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(one_line(&hint.to_string()));
        self
    }

    /// How the process ends because of this failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// Puts a new sentence first; the former one becomes the first cause.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.what, one_line(&what.to_string())));
        self
    }

    /// What could not be done and why, on one line without the hint: for warnings and receipts.
    #[must_use]
    pub fn brief(&self) -> String {
        self.causes.iter().fold(self.what.clone(), |text, cause| text + ": " + cause)
    }

    /// The failure as one line of JSON, for callers who asked for `--output json`.
    #[must_use]
    pub fn json(&self, shown: impl Fn(&str) -> String) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document {
            api_version: &'static str,
            kind: &'static str,
            code: Code,
            message: String,
            causes: Vec<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<String>,
        }
        let Self { code, what, causes, hint } = self;
        let document = Document {
            api_version: API_VERSION,
            kind: "Failure",
            code: *code,
            message: shown(what),
            causes: causes.iter().map(|cause| shown(cause)).collect(),
            hint: hint.as_deref().map(shown),
        };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The hint alone.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The text of an error. From a system error the ` (os error N)` that Rust adds is removed, and its capital letter made small.
#[must_use]
pub fn words(error: impl fmt::Display) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_why_and_what_to_do() {
        let failure = Failure::new(Code::CommandFailed, "cannot x `a`").cause("403 Forbidden").cause("the server's words").hint("do y");
        assert_eq!(failure.to_string(), "error: cannot x `a`\n  caused by: 403 Forbidden\n  caused by: the server's words\n\nhint: do y");
        assert_eq!(failure.brief(), "cannot x `a`: 403 Forbidden: the server's words");
        assert_eq!(failure.exit().code(), 1);
    }

    #[test]
    fn under_run_our_own_failures_have_a_code_that_no_command_has() {
        assert_eq!([Exit::Failed, Exit::Usage, Exit::NotExecutable, Exit::NotFound].map(Exit::code_of_run), [125, 125, 126, 127]);
    }

    #[test]
    fn a_cause_is_one_line_and_is_not_repeated() {
        let failure = Failure::new(Code::UsageValue, "w").cause("a\r\n::b").cause("a ::b").cause("::b");
        assert_eq!(failure.to_string(), "error: w\n  caused by: a ::b\n  caused by: : :b");
        assert_eq!(failure.exit().code(), 2);
    }

    #[test]
    fn within_keeps_the_inner_sentence_as_the_first_cause() {
        let failure = Failure::new(Code::CommandFailed, "cannot read `f`").cause("gone").within("cannot load the lease");
        assert_eq!(failure.to_string(), "error: cannot load the lease\n  caused by: cannot read `f`\n  caused by: gone");
    }

    #[test]
    fn the_systems_words_come_without_their_number() {
        let error = std::io::Error::from_raw_os_error(32);
        assert_eq!(Failure::new(Code::CommandFailed, "w").cause(error).to_string(), "error: w\n  caused by: broken pipe");
        assert_eq!(words("Unauthorized"), "Unauthorized");
    }

    #[test]
    fn a_chain_keeps_its_order() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(Failure::new(Code::CommandFailed, "w").chain(&error).to_string(), "error: w\n  caused by: outer\n  caused by: inner");
    }
}
