//! The shape of a failure: of which kind it is, what we could not do, why, and what to do now; its rendering and its exit code.
//!
//! Inside of a room a cause is an `anyhow::Error`, as long as nobody knows yet what could not be done because of it. At the room's door
//! it becomes a [`Failure`]. Only `files` hands causes out: whoever has named a file knows what it was for.

use std::fmt;

use serde::Serialize;

use crate::out::{API_VERSION, one_line};

mod code;

pub use code::Code;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something could not be done: 1.
    Failed,
    /// The call itself is wrong, and nothing was sent: 2.
    Usage,
    /// `run`: the command is there and cannot be executed: 126.
    NotExecutable,
    /// `run`: the command is not there: 127.
    NotFound,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    /// The number of `run`, whose others are the command's: 125 for every failure of ours.
    #[must_use]
    pub fn code_of_run(self) -> u8 {
        match self {
            Self::Failed | Self::Usage => 125,
            Self::NotExecutable | Self::NotFound => self.code(),
        }
    }
}

/// A failure as the user reads it: `error:`, one `caused by:` a line, and a `hint:` where one helps.
///
/// It never holds a secret, a response body or an environment value. Foreign text comes in through [`Failure::cause`],
/// which makes one harmless line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// What could not be done: lower case, names in backticks, no full stop.
    pub fn new(code: Code, what: impl fmt::Display) -> Self {
        Self { code, what: one_line(&what.to_string()), causes: Vec::new(), hint: None }
    }

    /// Of which kind it is: what callers branch on.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The same failure, of which more is known by now.
    #[must_use]
    pub fn as_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// Adds one cause; the words of a server or of the system come last.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        let cause = one_line(&words(cause));
        // Libraries often repeat an inner error in the outer one's text.
        if !cause.is_empty() && !self.causes.iter().any(|known| known.contains(&cause)) {
            self.causes.push(cause);
        }
        self
    }

    /// Adds a whole chain of errors, outermost first.
    #[must_use]
    pub fn chain(self, error: &anyhow::Error) -> Self {
        error.chain().fold(self, Self::cause)
    }

    /// One imperative sentence that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(one_line(&hint.to_string()));
        self
    }

    /// How the process ends because of it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// Puts another sentence first and keeps the former one as the first cause.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.what, one_line(&what.to_string())));
        self
    }

    /// What could not be done and why, on one line: for warnings and receipts.
    #[must_use]
    pub fn brief(&self) -> String {
        self.causes.iter().fold(self.what.clone(), |text, cause| text + ": " + cause)
    }

    /// The JSON of it, on one line: what a caller reads who has asked for JSON.
    #[must_use]
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            api_version: &'static str,
            kind: &'static str,
            code: Code,
            message: &'a str,
            causes: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        let Self { code, what, causes, hint } = self;
        let document = Document { api_version: API_VERSION, kind: "Failure", code: *code, message: what, causes, hint: hint.as_deref() };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The hint alone.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The words of an error without the number that Rust adds to the system's, which begin with a capital there.
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
