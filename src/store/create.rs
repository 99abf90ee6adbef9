//! Creates a store; and removes one that was abandoned before it had a lease file.

use std::{os::fd::OwnedFd, thread::sleep, time::Duration};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{IN_MEMORY, LEASE, NAMES, Readers, Store};
use crate::{
    failure::{Code, Failure},
    files::{is_in_memory, is_ours, is_removed, open_or_make, reason, stat},
};

/// How often, and at what interval, we check whether the process that holds the lock of a new store is only removing it.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(5));

/// How often the parent directory is created again after another pass has removed it.
const TRIES: u32 = 100;

impl Store {
    /// Creates the directory, readable for nobody else, locks it (see [`Store::lock`]), and removes what an earlier pass of the
    /// same lease left in it.
    ///
    /// # Errors
    /// When a part of the path is a link or belongs to somebody else, or a file that is not ours has one of our names.
    pub fn create(&self, readers: Readers) -> Result<Option<OwnedFd>, Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let failed = |error: Errno| Failure::new(Code::StoreUnwritable, what()).cause(reason(error));
        let base = self.make_base().map_err(|failure| failure.within(what()))?;
        if self.base.must_be_in_memory && !is_in_memory(&base) {
            return Err(Failure::new(Code::StoreOnDisk, what())
                .cause(format!("`{}` is not in memory, and files on a node's disk outlive the job", self.base.path.display()))
                .hint(IN_MEMORY));
        }
        let mode = Mode::from_raw_mode(match readers {
            Readers::User => 0o700,
            Readers::Group => 0o750,
        });
        let (store, locked) = self.held(&base, mode)?;
        set_mode(&store, mode).map_err(|error| failed(error).hint(self.another_place()))?;
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
        // Files in memory of an earlier pass are removed, too. Errors are ignored: a directory of somebody else is never read.
        self.memory_stores().for_each(|memory| drop(memory.clear()));
        Ok(locked.then_some(store))
    }

    /// Creates the directory and locks it before anything in it is touched, as another process may begin at the same moment.
    /// Returns also whether locking worked.
    fn held(&self, base: &OwnedFd, mode: Mode) -> Result<(OwnedFd, bool), Failure> {
        let what = || format!("cannot make the place of the pass `{}`", self.path().display());
        let hint = self.another_place();
        let mut looks = 0..LOOKS.0;
        loop {
            let (parent, store) =
                self.made_in(base, mode).map_err(|cause| Failure::new(Code::StoreUnwritable, what()).chain(&cause).hint(hint))?;
            if mode.contains(Mode::RGRP) {
                // Set again, whatever the umask was: the group must get through to the files that it may read.
                set_mode(&parent, mode).map_err(|error| Failure::new(Code::StoreUnwritable, what()).cause(reason(error)))?;
            }
            match self.locked(&store) {
                Ok(locked) if !is_removed(&store) => return Ok((store, locked)),
                // The directory was removed, or is locked by `clear_abandoned`: try again.
                Ok(_) | Err(_) if looks.next().is_some() => sleep(LOOKS.1),
                locked => return locked.map(|locked| (store, locked)),
            }
        }
    }

    /// Creates the parent directory, and in it the one of this lease.
    fn made_in(&self, base: &OwnedFd, mode: Mode) -> anyhow::Result<(OwnedFd, OwnedFd)> {
        let mut tries = 0..TRIES;
        loop {
            let parent = open_or_make(base, &self.parent, Some(mode))?;
            match open_or_make(&parent, &self.name, Some(mode)) {
                // Another pass ended at this moment and removed the empty parent directory.
                Err(_) if is_removed(&parent) && tries.next().is_some() => {}
                store => return Ok((parent, store?)),
            }
        }
    }

    /// Removes the store if no process uses it and it has no lease file: its process was killed before it asked any server.
    pub fn clear_abandoned(&self) {
        // The lock is held until the store is removed. A lock on a directory that is removed already says nothing about a new one
        // of the same name.
        if let Ok(Some(store)) = self.lock()
            && !is_removed(&store)
            && let Ok(None) = self.read(LEASE)
        {
            let _ = self.clear();
        }
    }
}

/// Sets the mode of a directory, but leaves it the set-gid bit that it has from the one above. By that bit what is made in a volume gets the
/// group of the volume, `fsGroup` of a pod, and not that of the process.
fn set_mode(directory: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    let has = Mode::from_raw_mode(rustix::fs::fstat(directory)?.st_mode);
    rustix::fs::fchmod(directory, mode | (has & Mode::SGID))
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
        // The state after a process was killed while it saved the lease.
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
    fn the_group_of_the_volume_stays_that_of_all_that_is_made_in_it() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, store) = store();
        for (bits, expected) in [(0o2777, 0o2750), (0o777, 0o750)] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(bits)).expect("set");
            store.create(Readers::Group).expect("made");
            let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
            assert_eq!((mode(&store.path()), mode(store.path().parent().expect("one"))), (expected, expected));
            store.clear().expect("cleared");
        }
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
