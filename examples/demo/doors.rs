//! The doors to the machine, which clippy.toml keeps shut elsewhere: files, programs, the terminal, the demo's own environment.
#![expect(clippy::disallowed_methods, reason = "the demo plays the CI system, which starts jobpass and makes its files")]

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, IsTerminal, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    process::Command,
};

/// A program with the demo's own environment.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// A variable of the demo's own environment.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The names of all of them.
pub(crate) fn variables() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).collect()
}

/// Makes a file that only its owner may read, and the directories above it.
pub(crate) fn make_file(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_directory)?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// Makes a directory that only its owner may look into, and those above it.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Prints one line. Whoever reads no further has seen enough: the demo goes on without them.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints one line where errors go.
pub(crate) fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether somebody sees what is printed, and sees colours.
pub(crate) fn is_coloured() -> bool {
    sees_colours(&io::stdout())
}

/// The same where errors go.
pub(crate) fn is_error_coloured() -> bool {
    sees_colours(&io::stderr())
}

fn sees_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && variable("NO_COLOR").is_none_or(|value| value.is_empty())
}
