//! Changes a file of the store that the job's own tools change, too, under the lock that kubectl, oc and helm use.

use std::path::PathBuf;

use rustix::{
    fs::{AtFlags, Stat},
    io::Errno,
};

use super::{NEW, Store};
use crate::{
    files::{create, read_at, reason, stat},
    secret::Secret,
};

/// The suffix of client-go's lock file beside a kubeconfig that it changes: `lockFile` in `tools/clientcmd/config.go`.
const LOCK: &str = ".lock";

/// The result of changing a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The file has the new content.
    Done,
    /// Another program is changing it, or was killed while it did; the path of its lock file.
    Busy(PathBuf),
    /// The file was left unchanged; the reason.
    Left(String),
}

impl Store {
    /// Replaces the text of a file by what `change` makes of it, atomically and with the file's mode. `None` from `change` leaves
    /// the file unchanged.
    ///
    /// Whoever finds the lock taken gives up at once, kubectl too. So we hold it for a few system calls only.
    pub fn exchange(&self, name: &str, change: impl Fn(&str) -> Option<Secret>) -> Exchange {
        let exchanged = || -> Result<Exchange, Errno> {
            let store = self.home(name).map_or_else(|| self.open(), |home| home.open())?;
            let (new, lock) = (name.to_owned() + NEW, name.to_owned() + LOCK);
            let busy = || Exchange::Busy(self.file(name).with_file_name(&lock));
            let is_locked = || stat(&store, &lock).map(|stat| stat.is_some());
            let Some(before) = stat(&store, name)? else { return Ok(Exchange::Left("it is gone".to_owned())) };
            let text = match read_at(&store, name) {
                Ok(text) => Secret::new(text.unwrap_or_default()),
                Err(cause) => return Ok(Exchange::Left(cause.to_string())),
            };
            let Some(changed) = change(text.expose()) else {
                // A locked file may be half written, so the token may be missing only for the moment.
                return Ok(if is_locked()? { busy() } else { Exchange::Left("it holds no token of this pass any more".to_owned()) });
            };
            if changed == text {
                return Ok(Exchange::Done);
            }
            let _ = rustix::fs::unlinkat(&store, new.as_str(), AtFlags::empty());
            create(&store, &new, changed.expose().as_bytes(), before.st_mode & 0o777)?;
            let renamed = match create(&store, &lock, b"", 0) {
                Ok(()) => {
                    // If the file was changed after we read it, that change would be lost.
                    let is_same = stat(&store, name).map(|now| now.is_some_and(|now| is_same(&before, &now)));
                    let renamed = match is_same {
                        Ok(true) => rustix::fs::renameat(&store, new.as_str(), &store, name).map(|()| Exchange::Done),
                        Ok(false) => Ok(busy()),
                        Err(error) => Err(error),
                    };
                    let _ = rustix::fs::unlinkat(&store, lock.as_str(), AtFlags::empty());
                    renamed
                }
                Err(Errno::EXIST) => Ok(busy()),
                Err(error) => Err(error),
            };
            if renamed != Ok(Exchange::Done) {
                let _ = rustix::fs::unlinkat(&store, new.as_str(), AtFlags::empty());
            }
            renamed
        };
        exchanged().unwrap_or_else(|error| Exchange::Left(reason(error)))
    }
}

/// Whether the file was neither written to nor replaced.
fn is_same(before: &Stat, now: &Stat) -> bool {
    let of = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    of(before) == of(now)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests play whoever else writes there")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::super::{KUBECONFIG, Readers, tests::NAME};
    use super::*;
    use crate::platform::Base;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::of(&Base::at(directory.path().to_owned()), NAME);
        store.create(Readers::User).expect("made");
        store.write(KUBECONFIG, b"old", 0o640).expect("written");
        (directory, store)
    }

    fn renewed(text: &str) -> Option<Secret> {
        text.contains("old").then(|| Secret::new(text.replace("old", "new")))
    }

    #[test]
    fn it_is_exchanged_with_its_mode_and_nothing_stays_beside_it() {
        let (_directory, store) = store();
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Done);
        let path = store.file(KUBECONFIG);
        assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(store.path()).expect("there").count(), 1);
    }

    #[test]
    fn the_lock_of_another_program_is_respected_and_left() {
        let (_directory, store) = store();
        let lock = store.path().join("kubeconfig.lock");
        fs::write(&lock, "").expect("made");
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Busy(lock.clone()));
        // The file as kubectl leaves it between truncating and writing.
        fs::write(store.file(KUBECONFIG), "").expect("written");
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Busy(lock.clone()));
        assert!(lock.exists());
        assert_eq!(fs::read_dir(store.path()).expect("there").count(), 2);
    }

    #[test]
    fn what_is_written_meanwhile_is_not_lost() {
        let (_directory, store) = store();
        let path = store.file(KUBECONFIG);
        let exchanged = store.exchange(KUBECONFIG, |text| {
            fs::write(&path, "old, and more").expect("written");
            renewed(text)
        });
        assert!(matches!(exchanged, Exchange::Busy(_)));
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Done);
        assert_eq!(fs::read_to_string(&path).expect("there"), "new, and more");
    }

    #[test]
    fn what_is_no_longer_ours_is_left_as_it_is() {
        let (directory, store) = store();
        let path = store.file(KUBECONFIG);
        fs::write(&path, "theirs").expect("written");
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Left("it holds no token of this pass any more".to_owned()));
        fs::remove_file(&path).expect("there");
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Left("it is gone".to_owned()));
        let other = directory.path().join("other");
        fs::write(&other, "old").expect("written");
        symlink(&other, &path).expect("made");
        assert_eq!(store.exchange(KUBECONFIG, renewed), Exchange::Left("it is a link".to_owned()));
        assert_eq!(fs::read_to_string(&other).expect("there"), "old");
    }
}
