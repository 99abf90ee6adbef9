//! How a place comes into being; and how it goes where it never got as far as a lease.

use std::{os::fd::OwnedFd, thread::sleep, time::Duration};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{
    LEASE, NAMES, Place, TRIES,
    directory::{directory, is_removed},
    file::{is_ours, stat},
    is_in_memory, reason,
};
use crate::failure::{Code, Failure};

/// How often, and after what time, it is looked whether somebody who holds a new place only clears it away.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(5));

impl Place {
    /// Makes the directory, readable for nobody else, holds it (see [`Place::lock`]), and takes away what an earlier pass of the same lease left in it.
    ///
    /// # Errors
    /// When a part of the path is a link or somebody else's, or one of our names is taken by what is no file of ours.
    pub fn create(&self, group: bool) -> Result<Option<OwnedFd>, Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let failed = |error: Errno| Failure::new(Code::StoreUnwritable, what()).cause(reason(error));
        let base = self.open_base(true).map_err(|failure| failure.within(what()))?;
        if self.base.in_memory && !is_in_memory(&base) {
            return Err(Failure::new(Code::StoreOnDisk, what())
                .cause(format!("`{}` is not in memory, and files on a node's disk outlive the job", self.base.path.display()))
                .hint("mount an `emptyDir` with `medium: Memory` there, or name such a directory by `--dir`"));
        }
        let mode = Mode::from_raw_mode(if group { 0o750 } else { 0o700 });
        let (place, locked) = self.held(&base, mode)?;
        rustix::fs::fchmod(&place, mode).map_err(failed)?;
        for name in NAMES {
            match stat(&place, name).map_err(failed)? {
                None => {}
                Some(stat) if is_ours(&stat) => rustix::fs::unlinkat(&place, name, AtFlags::empty()).map_err(failed)?,
                Some(_) => {
                    let path = self.file(name);
                    return Err(Failure::new(Code::StoreInsecure, what())
                        .cause(format!("`{}` is a link or belongs to somebody else", path.display()))
                        .hint("find out who put it there, then remove it"));
                }
            }
        }
        // Of an earlier pass, too; where it is somebody else's it is not looked at by anybody.
        self.aparts().for_each(|apart| drop(apart.clear()));
        Ok(locked.then_some(place))
    }

    /// Makes the directory and holds it, before anything in it is touched: another process may have begun at the same moment. Says
    /// whether it could be locked.
    fn held(&self, base: &OwnedFd, mode: Mode) -> Result<(OwnedFd, bool), Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let hint = "name a directory of your own by `--dir`, or remove what is there";
        let mut looks = 0..LOOKS.0;
        loop {
            let (parent, place) =
                self.made_in(base, mode).map_err(|cause| Failure::new(Code::StoreUnwritable, what()).chain(&cause).hint(hint))?;
            if mode.contains(Mode::RGRP) {
                // Whatever the umask was: the group must get through to the files that it may read.
                rustix::fs::fchmod(&parent, mode).map_err(|error| Failure::new(Code::StoreUnwritable, what()).cause(reason(error)))?;
            }
            match self.locked(&place) {
                Ok(locked) if !is_removed(&place) => return Ok((place, locked)),
                // See `clear_abandoned`.
                Ok(_) | Err(_) if looks.next().is_some() => sleep(LOOKS.1),
                locked => return locked.map(|locked| (place, locked)),
            }
        }
    }

    /// Makes the directory of all places, and in it the one of this lease.
    fn made_in(&self, base: &OwnedFd, mode: Mode) -> anyhow::Result<(OwnedFd, OwnedFd)> {
        let mut tries = 0..TRIES;
        loop {
            let parent = directory(base, &self.parent, Some(mode))?;
            match directory(&parent, &self.name, Some(mode)) {
                // Another pass ended at this moment, and took the directory with it that it found empty.
                Err(_) if is_removed(&parent) && tries.next().is_some() => {}
                place => return Ok((parent, place?)),
            }
        }
    }

    /// Removes it if nobody uses it and there is no lease in it: whoever made it was killed before anything was asked of a server.
    pub fn clear_abandoned(&self) {
        // Held until it is gone; a lock on one that is gone already says nothing of what is there now.
        if let Ok(Some(place)) = self.lock()
            && !is_removed(&place)
            && let Ok(None) = self.read(LEASE)
        {
            let _ = self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::super::{TOKEN, tests::NAME};
    use super::*;
    use crate::platform::Base;

    fn place() -> (tempfile::TempDir, Place) {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::of(&Base::at(directory.path().to_owned()), NAME);
        (directory, place)
    }

    #[test]
    fn what_never_had_a_lease_is_cleared_away_and_nothing_else() {
        let (directory, place) = place();
        place.clear_abandoned();
        let used = place.create(false).expect("made");
        place.clear_abandoned();
        assert!(place.path().exists(), "somebody is about to save the lease");
        drop(used);
        // As left by a process that was killed while it saved the lease.
        place.write("lease.json.new", b"{", 0o600).expect("written");
        place.clear_abandoned();
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);

        drop(place.create(false).expect("made"));
        place.save_lease("{}").expect("saved");
        place.write(TOKEN, b"tok", 0o600).expect("written");
        place.clear_abandoned();
        assert_eq!(place.read(TOKEN).expect("read").as_deref(), Some("tok"));
    }

    #[test]
    fn whoever_clears_away_does_not_keep_anybody_from_beginning() {
        let (_directory, place) = place();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    place.clear_abandoned();
                }
            });
            let begun = (0..300).try_for_each(|_| {
                let _used = place.create(false)?;
                place.save_lease("{}")?;
                place.clear()
            });
            over.store(true, Ordering::Relaxed);
            begun.expect("each of them began");
        });
    }
}
