//! Shows a pass to others who see the same directory: the steps beside the sidecar in which `hold` runs.

use std::{cell::RefCell, collections::VecDeque, path::Path};

use super::{JOBPASS, announcement, marks::Marks, write_for};
use crate::{
    cluster::Patience,
    context::Context,
    failure::Failure,
    lease::Lease,
    out::Out,
    pass::{Observer, Pass},
    platform::{mask, shell},
    renewal::Learns,
    secret::Secret,
    spec::TokenSpec,
    store::{self, Published},
};

/// How many tokens of one kind are hidden in our messages: the one that counts, and the one before it, which lives on for a while.
const REMEMBERED: usize = 2;

/// Shows the pass in a directory.
pub struct ForOthers<'a> {
    out: &'a Out,
    published: &'a Published,
    marks: Marks<'a>,
    hidden: RefCell<Hidden>,
}

/// What is hidden in our own messages, the newest last.
#[derive(Default)]
struct Hidden {
    tokens: VecDeque<Vec<Secret>>,
    identities: VecDeque<Vec<Secret>>,
}

impl Observer for ForOthers<'_> {
    /// Hides the secret in our own messages: there is no runner that would listen.
    fn mask(&self, secret: &Secret) -> Result<(), Failure> {
        hide(self.out, &mut self.hidden.borrow_mut().identities, secret);
        Ok(())
    }

    fn save(&self, lease: &Lease) -> Result<(), Failure> {
        self.marks.leave(lease);
        Ok(())
    }

    /// Nobody reads along: a pod's network may take a while to be there.
    fn patience(&self) -> Patience {
        Patience::Whole
    }

    fn forget(&self) -> Result<(), Failure> {
        self.marks.take_away();
        Ok(())
    }
}

impl Learns for &ForOthers<'_> {
    fn identity(&mut self, token: &Secret) {
        hide(self.out, &mut self.hidden.borrow_mut().identities, token);
    }

    fn token(&mut self, token: &Secret) {
        hide(self.out, &mut self.hidden.borrow_mut().tokens, token);
    }
}

/// Hides a token in all its forms, and forgets the one before the last.
fn hide(out: &Out, known: &mut VecDeque<Vec<Secret>>, token: &Secret) {
    if known.iter().flatten().any(|form| form == token) {
        return;
    }
    let forms = mask::forms(token);
    for form in &forms {
        out.hide(form);
    }
    known.push_back(forms);
    if known.len() > REMEMBERED {
        known.pop_front().iter().flatten().for_each(|form| out.forget(form));
    }
}

impl<'a> ForOthers<'a> {
    /// The hand-over by this directory.
    #[must_use]
    pub fn of(context: &'a Context, published: &'a Published, out: &'a Out) -> Self {
        Self { out, published, marks: Marks::of(context), hidden: RefCell::default() }
    }

    /// Writes the files of the pass and shows them.
    ///
    /// # Errors
    /// When something cannot be written; then the caller ends the pass.
    pub fn hand_over(&self, pass: &Pass, spec: &TokenSpec) -> Result<(), Failure> {
        hide(self.out, &mut self.hidden.borrow_mut().tokens, &pass.token);
        // Others know the files by their links, and jobpass, if they have it at all, by a path of their own.
        let outputs = write_for(pass, spec, |name| self.published.path(name), Path::new(JOBPASS))?;
        let mut variables = outputs.variables();
        // A shell may source it when the token is another one; `expires-at` is a file here.
        variables.retain(|(name, _)| *name != "JOBPASS_EXPIRES_AT");
        pass.store.write(store::ENV, shell::env_file(&variables, None).as_bytes(), spec.file_mode)?;
        pass.store.write(store::EXPIRY, expiry(pass).as_bytes(), spec.file_mode)?;
        self.published.show(&pass.store, &pass.lease.id())
    }

    /// A renewed token is in its files: says until when it holds.
    pub fn renewed(&self, pass: &Pass, spec: &TokenSpec) {
        if let Err(failure) = pass.store.replace(store::EXPIRY, expiry(pass).as_bytes(), spec.file_mode) {
            self.out.warn_aside(failure.brief());
        }
    }

    /// Tells the person who reads the log about the pass.
    pub fn announce(&self, pass: &Pass) {
        self.out.say_aside(announcement(pass));
    }

    /// Removes the mark, as the pass is over.
    pub fn is_over(&self) {
        self.marks.take_away();
    }
}

fn expiry(pass: &Pass) -> String {
    format!("{}\n", pass.expires_at)
}
