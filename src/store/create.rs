//! How a place comes into being; and how it goes where it never got as far as a lease.

use std::{os::fd::OwnedFd, thread::sleep, time::Duration};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{LEASE, NAMES, Readers, Store};
use crate::{
    failure::{Code, Failure},
    files::{is_in_memory, is_ours, is_removed, open_or_make, reason, stat},
};

/// How often, and after what time, it is looked whether somebody who holds a new place only clears it away.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(5));

/// How often a directory is made again with which another pass has taken away that of all passes.
const TRIES: u32 = 100;

impl Store {
    /// Makes the directory, readable for nobody else, holds it (see [`Store::lock`]), and takes away what an earlier pass of the same lease left in it.
    ///
    /// # Errors
    /// When a part of the path is a link or somebody else's, or one of our names is taken by what is no file of ours.
    pub fn create(&self, readers: Readers) -> Result<Option<OwnedFd>, Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let failed = |error: Errno| Failure::new(Code::StoreUnwritable, what()).cause(reason(error));
        let base = self.make_base().map_err(|failure| failure.within(what()))?;
        if self.base.must_be_in_memory && !is_in_memory(&base) {
            return Err(Failure::new(Code::StoreOnDisk, what())
                .cause(format!("`{}` is not in memory, and files on a node's disk outlive the job", self.base.path.display()))
                .hint("mount an `emptyDir` with `medium: Memory` there, or name such a directory by `--dir`"));
        }
        let mode = Mode::from_raw_mode(match readers {
            Readers::User => 0o700,
            Readers::Group => 0o750,
        });
        let (store, locked) = self.held(&base, mode)?;
        rustix::fs::fchmod(&store, mode).map_err(failed)?;
        for name in NAMES {
            match stat(&store, name).map_err(failed)? {
                None => {}
                Some(stat) if is_ours(&stat) => rustix::fs::unlinkat(&store, name, AtFlags::empty()).map_err(failed)?,
                Some(_) => {
                    let path = self.file(name);
                    return Err(Failure::new(Code::StoreInsecure, what())
                        .cause(format!("`{}` is a link or belongs to somebody else", path.display()))
                        .hint("find out who put it there, then remove it"));
                }
            }
        }
        // Of an earlier pass, too; where it is somebody else's it is not looked at by anybody.
        self.memory_stores().for_each(|memory| drop(memory.clear()));
        Ok(locked.then_some(store))
    }

    /// Makes the directory and holds it, before anything in it is touched: another process may have begun at the same moment. Says
    /// whether it could be locked.
    fn held(&self, base: &OwnedFd, mode: Mode) -> Result<(OwnedFd, bool), Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let hint = "name a directory of your own by `--dir`, or remove what is there";
        let mut looks = 0..LOOKS.0;
        loop {
            let (parent, store) =
                self.made_in(base, mode).map_err(|cause| Failure::new(Code::StoreUnwritable, what()).chain(&cause).hint(hint))?;
            if mode.contains(Mode::RGRP) {
                // Whatever the umask was: the group must get through to the files that it may read.
                rustix::fs::fchmod(&parent, mode).map_err(|error| Failure::new(Code::StoreUnwritable, what()).cause(reason(error)))?;
            }
            match self.locked(&store) {
                Ok(locked) if !is_removed(&store) => return Ok((store, locked)),
                // See `clear_abandoned`.
                Ok(_) | Err(_) if looks.next().is_some() => sleep(LOOKS.1),
                locked => return locked.map(|locked| (store, locked)),
            }
        }
    }

    /// Makes the directory of all places, and in it the one of this lease.
    fn made_in(&self, base: &OwnedFd, mode: Mode) -> anyhow::Result<(OwnedFd, OwnedFd)> {
        let mut tries = 0..TRIES;
        loop {
            let parent = open_or_make(base, &self.parent, Some(mode))?;
            match open_or_make(&parent, &self.name, Some(mode)) {
                // Another pass ended at this moment, and took the directory with it that it found empty.
                Err(_) if is_removed(&parent) && tries.next().is_some() => {}
                store => return Ok((parent, store?)),
            }
        }
    }

    /// Removes it if nobody uses it and there is no lease in it: whoever made it was killed before anything was asked of a server.
    pub fn clear_abandoned(&self) {
        // Held until it is gone; a lock on one that is gone already says nothing of what is there now.
        if let Ok(Some(store)) = self.lock()
            && !is_removed(&store)
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

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::of(&Base::at(directory.path().to_owned()), NAME);
        (directory, store)
    }

    #[test]
    fn what_never_had_a_lease_is_cleared_away_and_nothing_else() {
        let (directory, store) = store();
        store.clear_abandoned();
        let used = store.create(Readers::User).expect("made");
        store.clear_abandoned();
        assert!(store.path().exists(), "somebody is about to save the lease");
        drop(used);
        // As left by a process that was killed while it saved the lease.
        store.write("lease.json.new", b"{", 0o600).expect("written");
        store.clear_abandoned();
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);

        drop(store.create(Readers::User).expect("made"));
        store.save_lease("{}").expect("saved");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        store.clear_abandoned();
        assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok"));
    }

    #[test]
    fn whoever_clears_away_does_not_keep_anybody_from_beginning() {
        let (_directory, store) = store();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    store.clear_abandoned();
                }
            });
            let begun = (0..300).try_for_each(|_| {
                let _used = store.create(Readers::User)?;
                store.save_lease("{}")?;
                store.clear()
            });
            over.store(true, Ordering::Relaxed);
            begun.expect("each of them began");
        });
    }
}
