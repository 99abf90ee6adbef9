//! A file of a place that the job's own tools change too: exchanged under the lock that kubectl, oc and helm take.

use std::path::PathBuf;

use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    NEW, Place,
    file::{create, read_at, stat},
    reason,
};
use crate::secret::Secret;

/// What client-go adds to the name of a kubeconfig that it is about to change: `lockFile` in `tools/clientcmd/config.go`.
const LOCK: &str = ".lock";

/// What became of a file that was to be exchanged.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// It holds what it is to hold.
    Done,
    /// Another program changes it at this moment, or was killed while it did: this is its lock.
    Busy(PathBuf),
    /// It is left alone, for this reason.
    Left(String),
}

impl Place {
    /// Exchanges one of the files for what `change` makes of its text, in one step and with the mode that it has: there is always a
    /// whole one. `None` leaves it alone.
    ///
    /// Whoever finds the lock gives up, kubectl too: it is held for three system calls and no longer.
    pub fn exchange(&self, name: &str, change: impl Fn(&str) -> Option<Secret>) -> Exchange {
        let exchanged = || -> Result<Exchange, Errno> {
            let place = self.home(name).map_or_else(|| self.open(), |home| home.open())?;
            let (new, lock) = (name.to_owned() + NEW, name.to_owned() + LOCK);
            let busy = || Exchange::Busy(self.file(name).with_file_name(&lock));
            let is_locked = || stat(&place, &lock).map(|stat| stat.is_some());
            let Some(before) = stat(&place, name)? else { return Ok(Exchange::Left("it is gone".to_owned())) };
            let text = match read_at(&place, name) {
                Ok(text) => Secret::new(text.unwrap_or_default()),
                Err(cause) => return Ok(Exchange::Left(cause.to_string())),
            };
            let Some(changed) = change(text.expose()) else {
                // Half of it may not be written yet.
                return Ok(if is_locked()? { busy() } else { Exchange::Left("it holds no token of this pass any more".to_owned()) });
            };
            if changed == text {
                return Ok(Exchange::Done);
            }
            let _ = rustix::fs::unlinkat(&place, new.as_str(), AtFlags::empty());
            create(&place, &new, changed.expose().as_bytes(), before.st_mode & 0o777)?;
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let renamed = match rustix::fs::openat(&place, lock.as_str(), flags, Mode::empty()) {
                Ok(_) => {
                    // What came in between would be lost.
                    let is_same = stat(&place, name).map(|now| now.is_some_and(|now| is_same(&before, &now)));
                    let renamed = match is_same {
                        Ok(true) => rustix::fs::renameat(&place, new.as_str(), &place, name).map(|()| Exchange::Done),
                        Ok(false) => Ok(busy()),
                        Err(error) => Err(error),
                    };
                    let _ = rustix::fs::unlinkat(&place, lock.as_str(), AtFlags::empty());
                    renamed
                }
                Err(Errno::EXIST) => Ok(busy()),
                Err(error) => Err(error),
            };
            if renamed != Ok(Exchange::Done) {
                let _ = rustix::fs::unlinkat(&place, new.as_str(), AtFlags::empty());
            }
            renamed
        };
        exchanged().unwrap_or_else(|error| Exchange::Left(reason(error)))
    }
}

/// Whether nobody has written to it, or put another file in its place.
fn is_same(before: &Stat, now: &Stat) -> bool {
    let of = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    of(before) == of(now)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::super::{KUBECONFIG, tests::NAME};
    use super::*;
    use crate::platform::Base;

    fn place() -> (tempfile::TempDir, Place) {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::of(&Base::at(directory.path().to_owned()), NAME);
        place.create(false).expect("made");
        place.write(KUBECONFIG, b"old", 0o640).expect("written");
        (directory, place)
    }

    fn renewed(text: &str) -> Option<Secret> {
        text.contains("old").then(|| Secret::new(text.replace("old", "new")))
    }

    #[test]
    fn it_is_exchanged_with_its_mode_and_nothing_stays_beside_it() {
        let (_directory, place) = place();
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Done);
        let path = place.file(KUBECONFIG);
        assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 1);
    }

    #[test]
    fn the_lock_of_another_program_is_respected_and_left() {
        let (_directory, place) = place();
        let lock = place.path().join("kubeconfig.lock");
        fs::write(&lock, "").expect("made");
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Busy(lock.clone()));
        // Truncated, and not written yet.
        fs::write(place.file(KUBECONFIG), "").expect("written");
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Busy(lock.clone()));
        assert!(lock.exists());
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 2);
    }

    #[test]
    fn what_is_written_meanwhile_is_not_lost() {
        let (_directory, place) = place();
        let path = place.file(KUBECONFIG);
        let exchanged = place.exchange(KUBECONFIG, |text| {
            fs::write(&path, "old, and more").expect("written");
            renewed(text)
        });
        assert!(matches!(exchanged, Exchange::Busy(_)));
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Done);
        assert_eq!(fs::read_to_string(&path).expect("there"), "new, and more");
    }

    #[test]
    fn what_is_no_longer_ours_is_left_as_it_is() {
        let (directory, place) = place();
        let path = place.file(KUBECONFIG);
        fs::write(&path, "theirs").expect("written");
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Left("it holds no token of this pass any more".to_owned()));
        fs::remove_file(&path).expect("there");
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Left("it is gone".to_owned()));
        let other = directory.path().join("other");
        fs::write(&other, "old").expect("written");
        symlink(&other, &path).expect("made");
        assert_eq!(place.exchange(KUBECONFIG, renewed), Exchange::Left("it is a link".to_owned()));
        assert_eq!(fs::read_to_string(&other).expect("there"), "old");
    }
}
