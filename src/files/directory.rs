//! Directories: created with our own mode whatever the umask, and opened without following links below the named one.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use anyhow::{anyhow, bail};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
    process::{geteuid, umask},
};

use super::{file::stat, reason};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `tmpfs` and `ramfs`, from `linux/magic.h`.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// How often a directory is created again that another job has removed in the meantime.
const TRIES: u32 = 100;

/// Opens a directory that is not itself a link; parts of the path above it may be links.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn open_unlinked(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

/// Opens a directory that the user or the platform has named, following links: they have chosen the path.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn open_named(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())
}

/// Opens a directory inside another one; refuses a link.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn open_below(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, name, DIRECTORY, Mode::empty())
}

/// Creates a directory that only this user can use. An existing one is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make(path: &Path) -> io::Result<()> {
    made(path, fs::DirBuilder::new())
}

/// Creates a directory and its missing parents, for this user only. Existing ones are left as they are.
///
/// # Errors
/// When it cannot be made.
pub fn make_with_parents(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    made(path, builder)
}

fn made(path: &Path, mut builder: fs::DirBuilder) -> io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match unmasked(|| builder.create(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether nothing has this name yet, or a directory that belongs to us and that only we can write to.
#[must_use]
pub fn is_ours_alone(at: &OwnedFd, name: &str) -> bool {
    match stat(at, name) {
        Ok(Some(stat)) => {
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            is_directory && stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o722 == 0o700
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Opens a directory of ours inside another one. With a `mode`, it is created first if it is missing.
///
/// # Errors
/// When it cannot be created or opened, belongs to somebody else, or others may write to it.
pub fn open_or_make(at: &OwnedFd, name: &str, mode: Option<Mode>) -> anyhow::Result<OwnedFd> {
    let failed = |error| anyhow!(reason(error));
    let mut tries = 0..TRIES;
    let opened = loop {
        if let Some(mode) = mode {
            match unmasked(|| rustix::fs::mkdirat(at, name, mode)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => bail!(reason(error)),
            }
        }
        match open_below(at, name) {
            // Another job has removed it since `mkdirat`: try again.
            Err(Errno::NOENT) if mode.is_some() && tries.next().is_some() => {}
            opened => break opened.map_err(failed)?,
        }
    };
    let stat = rustix::fs::fstat(&opened).map_err(failed)?;
    if stat.st_uid != geteuid().as_raw() {
        bail!("the directory `{name}` belongs to somebody else");
    }
    if stat.st_mode & 0o022 != 0 {
        // Somebody else made this directory so, and could exchange what is in it. We never make such a one, even with an umask of 0
        // as in GitLab's containers.
        bail!("others may write to the directory `{name}`");
    }
    Ok(opened)
}

/// Whether the open directory has been removed from the file system.
#[must_use]
pub fn is_removed(directory: &OwnedFd) -> bool {
    rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Sets the umask so that we can use the directory that `make` creates, then restores it. The umask belongs to the whole process: a
/// file that another thread creates at this moment is readable for this user only, as all our files are.
fn unmasked<T>(make: impl FnOnce() -> T) -> T {
    let former = umask(Mode::RWXG | Mode::RWXO);
    let result = make();
    umask(former);
    result
}

/// Whether the directory is on a file system in memory.
#[must_use]
pub fn is_in_memory(directory: &OwnedFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|magic| IN_MEMORY.contains(&magic)))
}

/// The names in a directory, without those that are not UTF-8.
///
/// # Errors
/// When the directory cannot be read.
pub fn children(directory: &Path) -> io::Result<impl Iterator<Item = String>> {
    Ok(fs::read_dir(directory)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()))
}
