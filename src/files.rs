//! The only door to files: ours are created exclusively and opened without following links; foreign ones are read with a limit, and
//! never waited for.
#![expect(clippy::disallowed_methods, reason = "this is the one door to files")]

use std::io;

use rustix::io::Errno;

use crate::failure::words;

mod directory;
mod file;
mod foreign;
mod lies_in;
mod user;

pub use directory::{
    children, is_in_memory, is_ours_alone, is_removed, make, make_with_parents, open_below, open_named, open_or_make, open_unlinked,
};
pub use file::{create, is_denied, is_kept, is_let_go, is_ours, keep, keep_directory, read_at, stat};
pub use foreign::{Pipe, Unusual, read_bytes, read_dated, read_public, read_text};
pub use lies_in::lies_in;
pub use user::{Accepts, Change, append, change_user_file, check_append, check_user_file, remove_user_file, write_user_file};

/// An error of the system in words, without the number that Rust adds.
#[must_use]
pub fn reason(error: Errno) -> String {
    match error {
        Errno::EXIST => "something is already there, and files of a pass are only ever made anew".into(),
        Errno::LOOP | Errno::NOTDIR => "a part of the path is a link or no directory".into(),
        error => plain(&io::Error::from(error)),
    }
}

/// The same for an error for which we have no words of our own.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    words(error)
}
