//! Files that the user or the platform has named: written, appended to and removed, but only where they are what we expect.

use std::{
    fs, io,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Access, AtFlags, FileType, Mode, OFlags, RawMode},
    io::Errno,
};

use super::{
    directory::open_named,
    file::{create, read_at, stat},
    foreign::Unusual,
    plain, reason,
};
use crate::{
    failure::{Code, Failure},
    secret::Secret,
};

/// What the new text of a file is called before it takes the old one's place.
const NEW: &str = ".jobpass-new";

/// How long we wait for the reader of a pipe that we write to.
const READER: Duration = Duration::from_secs(1);

/// What a file that we append to may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Only a regular file, as somebody reads it later.
    File,
    /// Also a pipe that has a reader, a terminal, or `/dev/null`.
    Stream,
}

/// What becomes of a file.
#[derive(Debug)]
pub enum Change {
    /// It gets another text.
    Replace(Secret),
    /// It goes.
    Remove,
}

/// Writes a file that the user has named: it is created, or replaces one that we wrote before (`is_former` recognises it by its
/// text); never through a link. Whoever waits for it sees it with its whole text, or not yet.
///
/// # Errors
/// When something else has the name, or the file cannot be written.
pub fn write_user_file(path: &Path, content: &[u8], mode: RawMode, is_former: impl Fn(&str) -> bool) -> Result<(), Failure> {
    remove_user_file(path, is_former)?;
    let (parent, name) = split(path);
    let open = || open_named(&parent);
    open().and_then(|parent| create_whole(&parent, &name, content, mode)).map_err(|error| unwritable(path, error))
}

/// Creates a file that has its whole text from the moment that it has its name.
fn create_whole(parent: &OwnedFd, name: &str, content: &[u8], mode: RawMode) -> Result<(), Errno> {
    let new = name.to_owned() + NEW;
    if create(parent, &new, content, mode).is_ok() {
        // Unlike a renaming, a link never takes the place of what somebody else has put there meanwhile.
        let linked = rustix::fs::linkat(parent, new.as_str(), parent, name, AtFlags::empty());
        let _ = rustix::fs::unlinkat(parent, new.as_str(), AtFlags::empty());
        if matches!(linked, Ok(()) | Err(Errno::EXIST)) {
            return linked;
        }
    }
    // A file system without links, or a name that cannot be longer.
    create(parent, name, content, mode)
}

/// Checks beforehand whether [`write_user_file`] could succeed.
///
/// # Errors
/// When something else has the name, or the directory is missing or not writable.
pub fn check_user_file(path: &Path, is_former: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let (parent, name) = split(path);
    let directory = open_named(&parent);
    let directory = directory.map_err(|error| unwritable(path, error))?;
    let is_free = match read_at(&directory, &name) {
        Ok(None) => Ok(()),
        Ok(Some(text)) if is_former(&text) => Ok(()),
        Ok(Some(_)) => Err(occupied(path, "another file is there")),
        Err(cause) => Err(occupied(path, &cause.to_string())),
    };
    is_free.and_then(|()| takes_files(&parent).map_err(|error| unwritable(path, error)))
}

/// Removes a file that an earlier run of ours wrote where the user named it. It is no error if nothing is there.
///
/// # Errors
/// When it is no regular file, not ours, or `is_former` does not recognise it: then it is left alone.
pub fn remove_user_file(path: &Path, is_former: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let (parent, name) = split(path);
    let Ok(parent) = open_named(&parent) else { return Ok(()) };
    let new = name.clone() + NEW;
    if read_at(&parent, &new).is_ok_and(|text| text.is_some_and(|text| is_former(&text))) {
        // Left by one that was killed while it wrote.
        let _ = rustix::fs::unlinkat(&parent, new.as_str(), AtFlags::empty());
    }
    match read_at(&parent, &name) {
        Ok(None) => Ok(()),
        Ok(Some(text)) if is_former(&text) => {
            let removed = rustix::fs::unlinkat(&parent, &name, AtFlags::empty());
            removed.map_err(|error| Failure::new(Code::FileLeftover, format!("cannot remove `{}`", path.display())).cause(reason(error)))
        }
        Ok(Some(_)) => Err(occupied(path, "another file is there")),
        Err(cause) => Err(occupied(path, &cause.to_string())),
    }
}

/// Changes a file that an earlier run of ours wrote where the user named it, and others may have changed since. It is replaced
/// atomically and keeps its mode. Returns whether there was anything of ours in it: `change` says what becomes of its text.
///
/// # Errors
/// When it is no regular file, not ours, or cannot be written.
pub fn change_user_file(path: &Path, change: impl Fn(&str) -> Option<Change>) -> Result<bool, Failure> {
    let (parent, name) = split(path);
    let Ok(parent) = open_named(&parent) else { return Ok(false) };
    let text = match read_at(&parent, &name) {
        Ok(None) => return Ok(false),
        Ok(Some(text)) => Secret::new(text),
        Err(cause) => return Err(occupied(path, &cause.to_string())),
    };
    let changed = match change(text.expose()) {
        None => return Ok(false),
        Some(Change::Remove) => rustix::fs::unlinkat(&parent, &name, AtFlags::empty()),
        Some(Change::Replace(changed)) => {
            let new = name.clone() + NEW;
            let _ = rustix::fs::unlinkat(&parent, new.as_str(), AtFlags::empty());
            stat(&parent, &name)
                .and_then(|now| create(&parent, &new, changed.expose().as_bytes(), now.map_or(0o600, |now| now.st_mode & 0o777)))
                .and_then(|()| rustix::fs::renameat(&parent, new.as_str(), &parent, &name))
        }
    };
    changed.map(|()| true).map_err(|error| unwritable(path, error))
}

/// Appends to a file of the platform or the user. If a write fails half-way, what was written is cut off again where that is
/// possible.
///
/// # Errors
/// When it cannot be written, or is not of an accepted kind.
pub fn append(path: &Path, content: &str, accepts: Accepts) -> Result<(), Failure> {
    let append = || {
        let file = opened(path, accepts, OFlags::empty()).or_else(|error| match error.downcast_ref::<Errno>() {
            // A link to a missing file is refused: its maker would choose which file we create.
            Some(&Errno::NOENT) => opened(path, accepts, OFlags::CREATE | OFlags::EXCL),
            _ => Err(error),
        })?;
        written(&file, content.as_bytes()).map_err(|error| anyhow!(plain(&error)))
    };
    append().map_err(|cause| unappendable(path, &cause))
}

/// Checks beforehand whether [`append`] could succeed; creates nothing.
///
/// # Errors
/// When it is not of an accepted kind, or the directory is missing or not writable.
pub fn check_append(path: &Path, accepts: Accepts) -> Result<(), Failure> {
    let check = || match opened(path, accepts, OFlags::empty()) {
        Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::NOENT) => {
            if path.is_symlink() {
                bail!(Errno::EXIST);
            }
            Ok(takes_files(&split(path).0)?)
        }
        opened => opened.map(drop),
    };
    check().map_err(|cause| unappendable(path, &cause))
}

/// Opens the file without blocking.
fn opened(path: &Path, accepts: Accepts, more: OFlags) -> anyhow::Result<fs::File> {
    let refuse = |stat: &rustix::fs::Stat| match (Unusual::of(stat), accepts) {
        (None, _) | (Some(Unusual::Pipe), Accepts::Stream) => Ok(()),
        (Some(_), Accepts::Stream) if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice => Ok(()),
        (Some(unusual), _) => Err(anyhow!(unusual)),
    };
    // Looked at before it is opened: opening a device may have an effect.
    rustix::fs::stat(path).map_or(Ok(()), |stat| refuse(&stat))?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o666)) {
        Err(Errno::NXIO) => bail!("it is a pipe that nobody reads"),
        file => file?,
    };
    refuse(&rustix::fs::fstat(&file)?)?;
    Ok(file.into())
}

fn written(mut file: &fs::File, content: &[u8]) -> io::Result<()> {
    let length = || file.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len());
    let (before, mut left, end) = (length(), content, Instant::now() + READER);
    while !left.is_empty() {
        let error = match file.write(left) {
            Ok(written) => {
                left = &left[written..];
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let patience = end.saturating_duration_since(Instant::now());
        if error.kind() == io::ErrorKind::WouldBlock && !patience.is_zero() {
            let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&patience));
            continue;
        }
        // Half a record would garble what others append after it, so it is cut off again.
        let half = (content.len() - left.len()) as u64;
        if let Some(before) = before.filter(|before| half > 0 && length() == Some(before + half)) {
            let _ = file.set_len(before);
        }
        return Err(if error.kind() == io::ErrorKind::WouldBlock { io::Error::other("its reader does not read") } else { error });
    }
    Ok(())
}

/// Whether we may create files in a directory.
fn takes_files(directory: &Path) -> Result<(), Errno> {
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)
}

fn unwritable(path: &Path, error: Errno) -> Failure {
    Failure::new(Code::FileUnwritable, format!("cannot write `{}`", path.display())).cause(reason(error))
}

fn unappendable(path: &Path, cause: &anyhow::Error) -> Failure {
    let failure = Failure::new(Code::FileUnwritable, format!("cannot write `{}`", path.display()));
    match cause.downcast_ref::<Errno>() {
        Some(&Errno::EXIST) => failure.cause("it is a link that leads nowhere"),
        Some(&error) => failure.cause(plain(&error.into())),
        None => failure.cause(cause),
    }
}

fn occupied(path: &Path, cause: &str) -> Failure {
    Failure::new(Code::FileOccupied, format!("cannot write `{}`", path.display()))
        .cause(cause)
        .hint("name a path where nothing is, or remove what is there")
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
        write_user_file(&path, b"ours 1", 0o600, ours).expect("made");
        write_user_file(&path, b"ours 2", 0o600, ours).expect("replaced");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "theirs").expect("written");
        assert!(write_user_file(&path, b"ours 3", 0o600, ours).is_err());
        assert!(remove_user_file(&path, ours).is_err());
        assert_eq!(fs::read_to_string(&path).expect("there"), "theirs");
    }

    #[test]
    fn a_named_file_is_there_with_its_whole_text_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, content) = (directory.path().join("k"), vec![b'x'; 1 << 19]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..50 {
                    write_user_file(&path, &content, 0o600, |_| true).expect("written");
                }
            });
            while !writer.is_finished() {
                let size = fs::metadata(&path).map_or(content.len() as u64, |file| file.len());
                assert_eq!(size, content.len() as u64, "half a file was seen");
            }
        });
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
    }

    #[test]
    fn what_one_left_that_was_killed_while_it_wrote_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let new = directory.path().join("k.jobpass-new");
        for (left, is_removed) in [("ours", true), ("theirs", false)] {
            fs::write(&new, left).expect("written");
            remove_user_file(&directory.path().join("k"), |text| text == "ours").expect("removed");
            assert_eq!(!new.exists(), is_removed);
        }
    }
}
