//! Files that the user or the platform named: read, written, appended to and removed, where they are what they should be.
#![expect(clippy::disallowed_methods, reason = "this is the door to files outside of a place")]

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{
    DIRECTORY,
    file::{create, read_at, whole},
    plain, reason, unwritable,
};
use crate::failure::Failure;

/// A bundle of root certificates has a quarter of it.
const LARGEST: u64 = 4 << 20;

/// Reads a file that the user named; links in its path are the user's business.
///
/// # Errors
/// When it cannot be read, is no text or is endless.
pub fn read_named(path: &Path) -> anyhow::Result<String> {
    whole(fs::File::open(path).map_err(|error| anyhow!(plain(&error)))?)
}

/// Reads a public file of the system, such as its root certificates, if it is a regular one of a sensible size.
#[must_use]
pub fn read_public(path: &Path) -> Option<Vec<u8>> {
    // NONBLOCK: a pipe must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let mut content = Vec::new();
    let is_regular = file.metadata().ok()?.is_file();
    let read = is_regular.then(|| file.take(LARGEST + 1).read_to_end(&mut content))?.ok()?;
    (read as u64 <= LARGEST).then_some(content)
}

/// Writes a file that the user named: made anew, or a former one of ours replaced; never through a link.
///
/// # Errors
/// When something else is there, or it cannot be written.
pub fn write_named(path: &Path, content: &[u8], mode: u32, is_former: impl Fn(&str) -> bool) -> Result<(), Failure> {
    remove_named(path, is_former)?;
    let (parent, name) = split(path);
    let open = || rustix::fs::open(&parent, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty());
    open().and_then(|parent| create(&parent, &name, content, mode)).map_err(|error| unwritable(path, error))
}

/// Removes a file that an earlier run of ours wrote where the user named it. Nothing there is success.
///
/// # Errors
/// When it is no regular file, not ours, or not one that `is_former` knows again: then it is left alone.
pub fn remove_named(path: &Path, is_former: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let (parent, name) = split(path);
    let Ok(parent) = rustix::fs::open(&parent, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()) else { return Ok(()) };
    match read_at(&parent, &name) {
        Ok(None) => Ok(()),
        Ok(Some(text)) if is_former(&text) => {
            let removed = rustix::fs::unlinkat(&parent, &name, AtFlags::empty());
            removed.map_err(|error| Failure::new(format!("cannot remove `{}`", path.display())).cause(reason(error)))
        }
        Ok(Some(_)) => Err(occupied(path, "another file is there")),
        Err(cause) => Err(occupied(path, &cause.to_string())),
    }
}

/// Appends to a file of the platform or the user in one write.
///
/// # Errors
/// When it cannot be written.
pub fn append(path: &Path, content: &str) -> Result<(), Failure> {
    let append = || fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(content.as_bytes());
    append().map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).cause(plain(&error)))
}

fn occupied(path: &Path, cause: &str) -> Failure {
    Failure::new(format!("cannot write `{}`", path.display())).cause(cause).hint("name a path where nothing is, or remove what is there")
}

fn split(path: &Path) -> (PathBuf, String) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (parent.to_owned(), path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_named_file_is_replaced_only_if_it_was_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("k");
        let ours = |text: &str| text.starts_with("ours");
        write_named(&path, b"ours 1", 0o600, ours).expect("made");
        write_named(&path, b"ours 2", 0o600, ours).expect("replaced");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "theirs").expect("written");
        assert!(write_named(&path, b"ours 3", 0o600, ours).is_err());
        assert!(remove_named(&path, ours).is_err());
        assert_eq!(fs::read_to_string(&path).expect("there"), "theirs");
    }
}
