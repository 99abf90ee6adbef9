//! The directories on the way to a place: made with a mode of ours whatever the umask, and opened without following a link.

use std::os::fd::OwnedFd;

use anyhow::{anyhow, bail};
use rustix::{
    fs::{FileType, Mode},
    io::Errno,
    process::{geteuid, umask},
};

use super::{DIRECTORY, TRIES, file::stat, reason};

/// The directory that holds the places of all leases.
pub(super) const PARENT: &str = "jobpass";

/// What it is called, and what it is called for this user alone where the former is somebody else's: as one that a killed job of
/// another user has left on a volume, which only that one may remove.
pub(super) fn parents() -> [String; 2] {
    [PARENT.to_owned(), format!("{PARENT}-{}", geteuid().as_raw())]
}

/// Whether there is nothing yet, or a directory that is ours alone.
pub(super) fn is_ours_alone(at: &OwnedFd, name: &str) -> bool {
    match stat(at, name) {
        Ok(Some(stat)) => {
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            is_directory && stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o722 == 0o700
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Opens a directory below another one, and makes it first if `mode` says how.
pub(super) fn directory(at: &OwnedFd, name: &str, mode: Option<Mode>) -> anyhow::Result<OwnedFd> {
    let failed = |error| anyhow!(reason(error));
    let mut tries = 0..TRIES;
    let opened = loop {
        if let Some(mode) = mode {
            match unmasked(|| rustix::fs::mkdirat(at, name, mode)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => bail!(reason(error)),
            }
        }
        match rustix::fs::openat(at, name, DIRECTORY, Mode::empty()) {
            // It was there a moment ago: see `Place::made_in`.
            Err(Errno::NOENT) if mode.is_some() && tries.next().is_some() => {}
            opened => break opened.map_err(failed)?,
        }
    };
    let stat = rustix::fs::fstat(&opened).map_err(failed)?;
    if stat.st_uid != geteuid().as_raw() {
        bail!("the directory `{name}` belongs to somebody else");
    }
    if stat.st_mode & 0o022 != 0 {
        // An umask of 0, as in GitLab's containers, does not reach us: whoever made this one could exchange what is in it.
        bail!("others may write to the directory `{name}`");
    }
    Ok(opened)
}

pub(super) fn is_removed(directory: &OwnedFd) -> bool {
    rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Makes a directory that we can use ourselves, which an umask may keep us from. It is the whole process's: what another thread
/// makes at this moment is open to nobody else either, and nothing of ours makes a file that is to be.
pub(super) fn unmasked<T>(make: impl FnOnce() -> T) -> T {
    let former = umask(Mode::RWXG | Mode::RWXO);
    let result = make();
    umask(former);
    result
}
