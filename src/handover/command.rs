//! For a command of ours, and nobody else: no platform learns of it.

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

/// The way from a pass to the command of `run`.
pub struct ForCommand<'a> {
    context: &'a Context,
    out: &'a Out,
    marks: Marks<'a>,
}

impl Observer for ForCommand<'_> {
    /// The command's output is scrubbed elsewhere; our own talk is here.
    fn mask(&self, secret: &Secret) -> Result<(), Failure> {
        self.out.hide(secret);
        Ok(())
    }

    /// The job's own processes do not learn of it: nothing is saved beside the place, where `revoke` finds it after a crash.
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
    /// For this job.
    #[must_use]
    pub fn of(context: &'a Context, out: &'a Out) -> Self {
        Self { context, out, marks: Marks::of(context) }
    }

    /// Writes the files of the pass, and says which variables the command gets.
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

    /// Tells the person who reads the log what there is now, while a command is about to use it.
    pub fn announce(&self, pass: &Pass) {
        self.out.say_aside(announcement(pass));
    }

    /// The pass is over.
    pub fn is_over(&self) {
        self.marks.take_away();
    }
}
