//! One file in a directory that is open already: created exclusively, read without following a link.

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::Path,
    thread::sleep,
    time::Duration,
};

use anyhow::{anyhow, bail, ensure};
use rustix::{
    fs::{Access, AtFlags, FileType, FlockOperation, Mode, OFlags, RawMode, Stat},
    io::Errno,
    process::geteuid,
};

use super::{plain, reason};

/// How often, and at what interval, it is tried to lock a file that somebody looks at.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(5));

/// In bytes: the largest file that we write or read.
pub(super) const LARGEST: u64 = 1 << 20;

/// Creates a file with exactly this mode, whatever the umask, and fills it. If writing fails, the file is removed again.
///
/// # Errors
/// When the name is taken already, or the file cannot be written.
pub fn create(at: &OwnedFd, name: &str, content: &[u8], mode: RawMode) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)?);
    let written = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        .and_then(|()| file.write_all(content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)));
    if written.is_err() {
        // Half a file is worse than none. The write error is reported, so an error of the removal does not matter.
        let _ = rustix::fs::unlinkat(at, name, AtFlags::empty());
    }
    written
}

/// Keeps a file of ours: as long as what is returned is not dropped, and no longer than this process lives, [`is_let_go`] is false of it.
/// None where the file system has no locks.
#[must_use]
pub fn keep(path: &Path) -> Option<OwnedFd> {
    let file = open_read(path)?;
    // Somebody may be looking at it at this moment.
    (0..LOOKS.0).find_map(|_| {
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(Errno::WOULDBLOCK) {
            sleep(LOOKS.1);
        }
        locked.ok()
    })?;
    Some(file)
}

/// The same for a directory that is open. An error where somebody else keeps it.
///
/// # Errors
/// [`Errno::WOULDBLOCK`] where it is kept by another process.
pub fn keep_directory(directory: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Errno::WOULDBLOCK),
        // A file system without locks is no reason to fail.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether somebody keeps this file. False where that cannot be told.
#[must_use]
pub fn is_kept(path: &Path) -> bool {
    open_read(path).is_some_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

/// Whether this user may not look at this path.
#[must_use]
pub fn is_denied(path: &Path) -> bool {
    match rustix::fs::stat(path) {
        Ok(_) => open_read(path).is_none() && rustix::fs::access(path, Access::READ_OK) == Err(Errno::ACCESS),
        Err(error) => error == Errno::ACCESS,
    }
}

/// Whether nobody keeps this file any more. False where that cannot be told.
#[must_use]
pub fn is_let_go(path: &Path) -> bool {
    open_read(path).is_some_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok())
}

fn open_read(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()
}

/// Reads a text file of this user; none if it does not exist.
///
/// # Errors
/// When it is a link, no regular file, somebody else's, larger than 1 MiB, or cannot be read.
pub fn read_at(at: &OwnedFd, name: &str) -> anyhow::Result<Option<String>> {
    // NONBLOCK: opening a named pipe under our name must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => bail!("it is a link"),
        Err(error) => bail!(reason(error)),
    };
    if !is_ours(&rustix::fs::fstat(&file).map_err(|error| anyhow!(reason(error)))?) {
        bail!("it is no regular file of this user");
    }
    whole(file).map(Some)
}

/// Reads the text of a file, up to the size limit.
fn whole(file: fs::File) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| anyhow!(plain(&error)))?;
    ensure!(read as u64 <= LARGEST, "it is larger than 1 MiB");
    Ok(text)
}

/// The attributes of what has this name, without following a link; none if nothing has it.
///
/// # Errors
/// When the attributes cannot be read.
pub fn stat(at: &OwnedFd, name: &str) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is a regular file that belongs to this user.
#[must_use]
pub fn is_ours(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == geteuid().as_raw()
}
