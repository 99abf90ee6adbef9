//! Changes a file of the store that the job's own tools change, too; the kubeconfig under the lock that kubectl, oc and helm use.

use std::path::PathBuf;

use rustix::{
    fs::{AtFlags, Stat},
    io::Errno,
};

use super::{KUBECONFIG, NEW, Store};
use crate::{
    files::{create, read_at, reason, stat},
    secret::Secret,
};

/// The suffix of client-go's lock file beside a kubeconfig that it changes: `lockFile` in `tools/clientcmd/config.go`.
const LOCK: &str = ".lock";

/// How often a file is tried that others change without a lock, and that was changed while we did.
const TRIES: usize = 10;

/// How others change a file that we change, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// They take the lock beside it. It may stay, so whoever calls decides when to try again.
    Lock,
    /// They just write: a lock of ours would keep nobody away.
    JustWrite,
}

impl Others {
    /// Only kubeconfigs have locks.
    fn of(name: &str) -> Self {
        if name == KUBECONFIG { Self::Lock } else { Self::JustWrite }
    }
}

/// The result of changing a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The file has the new content.
    Done,
    /// Another program is changing it, or was killed while it did; the path of its lock file, where it has one.
    Busy(PathBuf),
    /// The file was left unchanged; the reason.
    Left(String),
}

impl Store {
    /// Replaces the text of a file by what `change` makes of it, atomically and with the file's mode. `None` from `change` leaves
    /// the file unchanged.
    ///
    /// Whoever finds a lock taken gives up at once, kubectl too. So we hold it for a few system calls only.
    pub fn exchange(&self, name: &str, change: impl Fn(&str) -> Option<Secret>) -> Exchange {
        let others = Others::of(name);
        let tries = match others {
            Others::Lock => 1,
            Others::JustWrite => TRIES,
        };
        let exchanged = || self.exchange_once(name, others, &change);
        (1..tries).map(|_| exchanged()).find(|exchanged| !matches!(exchanged, Exchange::Busy(_))).unwrap_or_else(exchanged)
    }

    fn exchange_once(&self, name: &str, others: Others, change: &impl Fn(&str) -> Option<Secret>) -> Exchange {
        let exchanged = || -> Result<Exchange, Errno> {
            let store = self.home(name).map_or_else(|| self.open(), |home| home.open())?;
            let (new, lock) = (name.to_owned() + NEW, name.to_owned() + LOCK);
            let busy = || Exchange::Busy(self.file(name).with_file_name(&lock));
            let is_locked = || match others {
                Others::Lock => stat(&store, &lock).map(|stat| stat.is_some()),
                Others::JustWrite => Ok(false),
            };
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
            let rename = || {
                // If the file was changed after we read it, that change would be lost.
                if !stat(&store, name)?.is_some_and(|now| is_same(&before, &now)) {
                    return Ok(busy());
                }
                rustix::fs::renameat(&store, new.as_str(), &store, name).map(|()| Exchange::Done)
            };
            let renamed = match others {
                Others::JustWrite => rename(),
                Others::Lock => match create(&store, &lock, b"", 0) {
                    Ok(()) => {
                        let renamed = rename();
                        let _ = rustix::fs::unlinkat(&store, lock.as_str(), AtFlags::empty());
                        renamed
                    }
                    Err(Errno::EXIST) => Ok(busy()),
                    Err(error) => Err(error),
                },
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

    use super::super::{CURL, Readers, tests::NAME};
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
    fn what_nobody_locks_is_exchanged_without_a_lock_and_tried_again_where_it_was_changed_meanwhile() {
        let (_directory, store) = store();
        store.write(CURL, b"old", 0o600).expect("written");
        let (path, lock) = (store.file(CURL), store.path().join("curlrc.lock"));
        let written = std::cell::Cell::new(0);
        let exchanged = store.exchange(CURL, |text| {
            assert!(!lock.exists());
            if written.replace(written.get() + 1) == 0 {
                fs::write(&path, "old, and more").expect("written");
            }
            renewed(text)
        });
        assert_eq!((exchanged, written.get()), (Exchange::Done, 2));
        assert_eq!(fs::read_to_string(&path).expect("there"), "new, and more");
        // A lock of somebody's would mean nothing.
        fs::write(&lock, "").expect("made");
        assert_eq!(store.exchange(CURL, |text| Some(Secret::new(text.replace("new", "newer")))), Exchange::Done);
        let changing = |_: &str| {
            fs::write(&path, format!("{}", written.replace(written.get() + 1))).expect("written");
            Some(Secret::new("never".to_owned()))
        };
        assert!(matches!(store.exchange(CURL, changing), Exchange::Busy(_)), "whoever never stops is not waited for");
        assert_eq!(written.get(), 2 + TRIES);
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
