//! Hands a pass to the command of `run`, and to nobody else: the platform learns nothing of it.

use std::ffi::OsString;

use super::{announcement, marks::Marks, write};
use crate::{
    context::Context,
    failure::Failure,
    lease::Lease,
    out::Out,
    pass::{Observer, Pass},
    platform::mask,
    secret::Secret,
    spec::TokenSpec,
};

/// Hands the pass over to the command.
pub struct ForCommand<'a> {
    context: &'a Context,
    out: &'a Out,
    marks: Marks<'a>,
}

impl Observer for ForCommand<'_> {
    /// Hides the secret in our own messages; the command's output is scrubbed in `child`.
    fn mask(&self, secret: &Secret) -> Result<(), Failure> {
        self.out.hide(secret);
        Ok(())
    }

    /// Leaves a mark only: the lease file in the store is enough for `revoke` after a crash, and the job's other processes need not
    /// know of the pass.
    fn save(&self, lease: &Lease) -> Result<(), Failure> {
        self.marks.leave(lease);
        Ok(())
    }

    fn forget(&self) -> Result<(), Failure> {
        self.marks.take_away();
        Ok(())
    }
}

impl<'a> ForCommand<'a> {
    /// The hand-over in this job.
    #[must_use]
    pub fn of(context: &'a Context, out: &'a Out) -> Self {
        Self { context, out, marks: Marks::of(context) }
    }

    /// Writes the files of the pass, and returns the variables that the command gets.
    ///
    /// # Errors
    /// When something cannot be written; then the caller ends the pass.
    pub fn hand_over(&self, pass: &Pass, spec: &TokenSpec) -> Result<Vec<(String, OsString)>, Failure> {
        for form in mask::forms(&pass.token) {
            self.out.hide(&form);
        }
        let outputs = write(self.context, pass, spec)?;
        let token = spec.variable.clone().map(|name| (name, pass.token.expose().into()));
        let others = outputs.variables().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        Ok(token.into_iter().chain(others).collect())
    }

    /// Tells the person who reads the log about the pass, just before the command is started.
    pub fn announce(&self, pass: &Pass) {
        self.out.say_aside(announcement(pass));
    }

    /// Removes the mark, as the pass is over.
    pub fn is_over(&self) {
        self.marks.take_away();
    }
}
