//! What ends something shows it first, and asks.

use clap::Args;

use crate::{
    failure::{Code, Failure},
    out::Out,
};

/// How the user has agreed to what is to be done.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Consent {
    /// Do it without asking; needed where there is no terminal
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl Consent {
    /// Refuses a call that cannot ask, before anything else is done.
    ///
    /// # Errors
    /// When neither `--yes` nor `--dry-run` is given and stdin or stderr is no terminal.
    pub fn check(self) -> Result<(), Failure> {
        if self.yes || self.dry_run || is_askable() {
            return Ok(());
        }
        Err(Failure::new(Code::UsageMissing, "there is no terminal on which you could be asked")
            .hint("add `--yes` to do it, or `--dry-run` to see what would be done"))
    }

    /// Whether it may be done. On a terminal the question is asked; only `y` and `yes` are a yes.
    #[must_use]
    pub fn given(self, question: &str, out: &Out) -> bool {
        if self.yes || self.dry_run {
            return self.yes;
        }
        // Without a line end, so that the answer stands behind it.
        out.ask(&format!("{question} [y/N] "));
        let mut answer = String::new();
        // The end of the input is a no, as everything is that is no yes.
        let _ = std::io::stdin().read_line(&mut answer);
        matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }
}

/// Whether somebody can be asked.
fn is_askable() -> bool {
    console::user_attended_stderr() && rustix::termios::isatty(rustix::stdio::stdin())
}
