//! Keeps the secret files apart from the lease file, in memory, where only the command of `run` needs them.
//!
//! A job may be killed together with everything that could clean up. Files on a volume then stay for the next job, but the memory
//! of a container is gone with it.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Readers, SECRETS, Store};
use crate::{
    files::{children, is_ours_alone, open_unlinked},
    name::random_hex,
    platform::Base,
};

/// The prefix of our directories in memory.
const OWN: &str = "jobpass-";

/// The file system in memory that all users of a machine share; each container has its own.
const SHARED: &str = "/dev/shm";

impl Store {
    /// From now on keeps the secret files in memory, if the base names a directory for that. Returns a warning if they could not be
    /// put there: in a directory that all users share, anybody may have taken our name first.
    #[must_use]
    pub fn with_secrets_in_memory(mut self) -> (Self, Option<String>) {
        let Some(usual) = self.base.memory.clone() else { return (self, None) };
        let (directory, name) = own(&usual);
        let new = directory.join(format!("{name}-{}", &random_hex()[..8]));
        let mut all = memories(&usual).into_iter().chain([new]);
        let found = all.find(|path| self.is(&self.at(path)) || self.at(path).create(Readers::User).is_ok());
        if found.as_ref().is_some_and(|path| self.is(&self.at(path))) {
            // The store itself is there already.
            return (self, None);
        }
        self.memory = found;
        let warning = match &self.memory {
            Some(path) if *path == usual => None,
            Some(path) => Some(format!(
                "`{}` is no directory in memory that is this user's alone: the token's files are in `{}`",
                usual.display(),
                path.display()
            )),
            None => Some(format!(
                "there is no directory in memory that is this user's alone, as `{}` is not: the token's files are in `{self}`",
                usual.display()
            )),
        };
        (self, warning)
    }

    /// All stores in memory where the secret files may be: of this command's pass, or of an earlier one.
    pub(super) fn memory_stores(&self) -> impl Iterator<Item = Self> {
        let all = self.base.memory.as_deref().map(memories).unwrap_or_default();
        all.into_iter().map(|path| self.at(&path)).filter(|memory| !self.is(memory))
    }

    fn at(&self, memory: &Path) -> Self {
        let base = Base { must_be_in_memory: true, private: true, ..Base::at(memory.to_owned()) };
        Self::of(&base, &self.name)
    }

    /// Whether both are the same directory on disk: two variables may name one directory in different ways, through links or
    /// mounts. False while one of them does not exist.
    fn is(&self, other: &Self) -> bool {
        let identity = |store: &Self| rustix::fs::fstat(store.open().ok()?).ok().map(|stat| (stat.st_dev, stat.st_ino));
        identity(self).is_some_and(|own| identity(other) == Some(own))
    }

    /// The store in memory to which this file is written, if it is a secret file that is kept apart.
    pub(super) fn home(&self, name: &str) -> Option<Self> {
        self.memory.as_deref().filter(|_| SECRETS.contains(&name)).map(|memory| self.at(memory))
    }

    /// All stores where this file may be.
    pub(super) fn homes(&self, name: &str) -> impl Iterator<Item = Self> {
        let memory_stores: Vec<_> = if SECRETS.contains(&name) { self.memory_stores().collect() } else { Vec::new() };
        [self.clone()].into_iter().chain(memory_stores)
    }
}

/// All directories in memory that may hold our secret files, the usual one first. Those with a random suffix are recognised by
/// their owner.
fn memories(usual: &Path) -> Vec<PathBuf> {
    let (directory, name) = own(usual);
    let mut all = vec![usual.to_owned(), directory.join(&name)];
    all.dedup();
    let prefix = format!("{name}-");
    let Ok(opened) = open_unlinked(&directory) else { return all };
    let is_ours = |name: &String| name.starts_with(&prefix) && is_ours_alone(&opened, name);
    let mut others: Vec<_> = children(&directory).into_iter().flatten().filter(is_ours).collect();
    others.sort();
    all.extend(others.into_iter().map(|name| directory.join(name)));
    all
}

/// The directory in which other names are looked for, and their prefix.
fn own(usual: &Path) -> (PathBuf, String) {
    let named = usual.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(OWN)).zip(usual.parent());
    named.map_or_else(
        || (SHARED.into(), format!("{OWN}{}", geteuid().as_raw())),
        |(name, directory)| (directory.to_owned(), name.to_owned()),
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests play whoever else writes there")]
mod tests {
    use std::fs;

    use super::super::{KUBECONFIG, LEASE, TOKEN, tests::NAME};
    use super::*;

    /// A volume, a directory in memory, and a store that may use both.
    fn store() -> (tempfile::TempDir, tempfile::TempDir, Store) {
        let (volume, memory) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir_in("/dev/shm").expect("in memory"));
        let store = Store::of(&Base { memory: Some(memory.path().join("jobpass-7")), ..Base::at(volume.path().to_owned()) }, NAME);
        (volume, memory, store)
    }

    fn filled(store: Store) -> Store {
        store.create(Readers::User).expect("made");
        let (store, _) = store.with_secrets_in_memory();
        store.save_lease("{}").expect("saved");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        store.write(KUBECONFIG, b"config", 0o600).expect("written");
        store.replace(TOKEN, b"tok2", 0o600).expect("replaced");
        store
    }

    #[test]
    fn only_the_lease_is_on_the_volume() {
        let (volume, memory, store) = store();
        let store = filled(store);
        let names = |path: std::path::PathBuf| {
            let mut names: Vec<_> = fs::read_dir(path).expect("there").flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(volume.path().join("jobpass").join(NAME)), [LEASE]);
        assert_eq!(names(memory.path().join("jobpass-7/jobpass").join(NAME)), [KUBECONFIG, TOKEN]);
        assert!(store.file(TOKEN).starts_with(memory.path()) && store.file(LEASE).starts_with(volume.path()));
    }

    #[test]
    fn whoever_only_knows_the_lease_finds_and_clears_both() {
        let (volume, memory, store) = store();
        filled(store.clone());
        assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok2"));
        store.remove(SECRETS).expect("removed");
        assert_eq!((store.read(TOKEN).expect("read"), store.read(LEASE).expect("read").as_deref()), (None, Some("{}")));
        filled(store.clone()).clear().expect("cleared");
        assert_eq!(fs::read_dir(volume.path()).expect("there").count(), 0);
        assert_eq!(fs::read_dir(memory.path().join("jobpass-7")).expect("there").count(), 0);
    }

    #[test]
    fn a_new_pass_of_the_same_lease_clears_what_was_apart() {
        let (_volume, memory, store) = store();
        filled(store.clone());
        store.create(Readers::User).expect("made anew");
        assert_eq!(store.read(TOKEN).expect("read"), None);
        assert_eq!(fs::read_dir(memory.path().join("jobpass-7")).expect("there").count(), 0);
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over_and_what_is_elsewhere_is_found_again() {
        let (_volume, memory, store) = store();
        let usual = memory.path().join("jobpass-7");
        let squatted: [&dyn Fn(); 3] =
            [&|| std::os::unix::fs::symlink("/etc", &usual).expect("a link"), &|| fs::write(&usual, "").expect("a file"), &|| {
                fs::create_dir(&usual).expect("made");
                fs::set_permissions(&usual, std::os::unix::fs::PermissionsExt::from_mode(0o770)).expect("set");
            }];
        for squat in squatted {
            squat();
            // Somebody else's link with a name like ours.
            std::os::unix::fs::symlink("/etc", memory.path().join("jobpass-7-0")).expect("a link");
            store.create(Readers::User).expect("made");
            let (with_secrets_in_memory, warning) = store.clone().with_secrets_in_memory();
            assert!(
                warning
                    .expect("said")
                    .contains("jobpass-7` is no directory in memory that is this user's alone: the token's files are in `")
            );
            with_secrets_in_memory.write(TOKEN, b"tok", 0o600).expect("written");
            assert!(
                with_secrets_in_memory.file(TOKEN).to_string_lossy().contains("/jobpass-7-"),
                "{}",
                with_secrets_in_memory.file(TOKEN).display()
            );
            // A process that only knows the lease finds them; and a second call uses the same directory.
            assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok"));
            assert_eq!(store.clone().with_secrets_in_memory().0.file(TOKEN), with_secrets_in_memory.file(TOKEN));
            with_secrets_in_memory.clear().expect("cleared");
            assert_eq!(store.read(TOKEN).expect("read"), None);
            fs::remove_file(memory.path().join("jobpass-7-0")).expect("there");
            if usual.is_symlink() || usual.is_file() { fs::remove_file(&usual) } else { fs::remove_dir(&usual) }.expect("as it was");
        }
    }

    #[test]
    fn they_stay_beside_the_lease_where_there_is_no_memory_of_ones_own_and_that_is_said() {
        let (_volume, _memory, store) = store();
        let on_disk = tempfile::tempdir_in(".").expect("on disk");
        let store = Store::of(&Base { memory: Some(on_disk.path().join("jobpass-7")), ..store.base.clone() }, NAME);
        store.create(Readers::User).expect("made");
        let (store, warning) = store.with_secrets_in_memory();
        assert!(warning.expect("said").contains("there is no directory in memory that is this user's alone"));
        store.write(TOKEN, b"tok", 0o600).expect("written");
        assert_eq!(store.file(TOKEN), store.path().join(TOKEN));
        assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok"));
        store.clear().expect("cleared");
    }
}
