//! The store: the private directory of a pass with its files. It is created, filled and emptied here, without following any
//! link.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use rustix::{
    fs::{AtFlags, FlockOperation, RawMode},
    io::Errno,
    process::geteuid,
};

use crate::{
    failure::{Code, Failure},
    files::{self, create, is_ours_alone, plain, read_at, reason},
    platform::Base,
};

mod create;
mod exchange;
mod marks;
mod memory;
mod published;

pub use exchange::Exchange;
pub use marks::{read_marks, remove_mark, write_mark};
pub use published::{Published, READY, State};

/// The directory that holds the stores of all leases.
const PARENT: &str = "jobpass";

/// The usual name of that directory, and another one for this user alone. The second is used where the usual one belongs to
/// somebody else, such as one left on a volume by a killed job of another user, which we cannot remove.
fn parents() -> [String; 2] {
    [PARENT.to_owned(), format!("{PARENT}-{}", geteuid().as_raw())]
}

/// What to do where the place of passes cannot be used.
const ANOTHER_PLACE: &str = "name a directory of your own by `--dir`";

/// The same on a plain shell, where the session's directory was taken: `su`, `sudo` and containers keep the variable of somebody else.
const ANOTHER_SESSION: &str =
    "unset `XDG_RUNTIME_DIR`, which names this directory, or let it name one of this user's own; or name one by `--dir`";

/// What to do where the files of a pass must be in memory, and are not.
const IN_MEMORY: &str = "mount an `emptyDir` with `medium: Memory` there, or name such a directory by `--dir`";

/// The name of the lease file.
pub const LEASE: &str = "lease.json";
/// The name of the token file.
pub const TOKEN: &str = "token";
/// The name of the kubeconfig.
pub const KUBECONFIG: &str = "kubeconfig";
/// The name of the file with the API server's certificate authority, as PEM.
pub const AUTHORITY: &str = "ca.crt";
/// The name of the file that says when the token expires.
pub const EXPIRY: &str = "expires-at";
/// The name of the curl configuration.
pub const CURL: &str = "curlrc";
/// The name of the env file, which a shell sources.
pub const ENV: &str = "env";

/// The suffix of a new file before it is renamed to replace the old one.
const NEW: &str = ".new";

/// All names that may be in a store, in the order of removal. The lease is last: if we are killed before that, `revoke` still finds
/// it.
///
/// kubectl and oc create the `.lock` file while they change the kubeconfig, and leave it behind if they are killed.
const NAMES: [&str; 13] = [
    ENV,
    "curlrc.new",
    CURL,
    "kubeconfig.new",
    KUBECONFIG,
    "kubeconfig.lock",
    "token.new",
    TOKEN,
    AUTHORITY,
    "expires-at.new",
    EXPIRY,
    "lease.json.new",
    LEASE,
];

/// The names of the files that hold the token, or the path to it, and of what goes with them.
pub const SECRETS: &[&str] = &[ENV, "curlrc.new", CURL, "kubeconfig.new", KUBECONFIG, "token.new", TOKEN, AUTHORITY];

/// Who may read the files of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only the user who requested the pass.
    User,
    /// That user's group, too: needed where the containers of a pod run as different users.
    Group,
}

impl Readers {
    /// The readers that a file mode allows.
    #[must_use]
    pub fn of(mode: RawMode) -> Self {
        if mode & 0o040 == 0 { Self::User } else { Self::Group }
    }
}

/// The store of a lease. Its path is known before anything exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    base: Base,
    /// The directory below the base that holds the stores: one of `parents`.
    parent: String,
    name: String,
    /// The directory in memory for the secret files, if they are kept apart from the lease file.
    memory: Option<PathBuf>,
}

impl Store {
    /// The store of a lease: where it exists, else where it will be. Creates nothing.
    #[must_use]
    pub fn of(base: &Base, lease: &str) -> Self {
        let [usual, own] = parents().map(|parent| Self::below(base, parent, lease));
        if usual.open().is_ok() || own.open().is_err() && usual.is_free() { usual } else { own }
    }

    /// The store that contains the given path, if the path has our form: `…/jobpass/LEASE/FILE`.
    #[must_use]
    pub fn around(path: &Path, file: &str, lease: &str, memory: Option<PathBuf>) -> Option<Self> {
        let base = Base { memory, ..Base::at(path.ancestors().nth(3)?.to_owned()) };
        let mut stores = parents().into_iter().map(|parent| Self::below(&base, parent, lease));
        stores.find(|store| store.path().join(file) == path)
    }

    fn below(base: &Base, parent: String, lease: &str) -> Self {
        Self { base: base.clone(), parent, name: lease.to_owned(), memory: None }
    }

    /// Whether the parent directory can be used: it does not exist yet, or is ours alone.
    fn is_free(&self) -> bool {
        self.open_base().map_or(true, |base| is_ours_alone(&base, &self.parent))
    }

    /// The path of the store, where the lease file is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.base.path.join(&self.parent).join(&self.name)
    }

    /// The path of one of the files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.home(name).map_or_else(|| self.path(), |home| home.path()).join(name)
    }

    /// All paths where this file may be: beside the lease file, or apart in memory.
    pub fn files(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.homes(name).map(move |home| home.path().join(name))
    }

    /// Creates one of the files, exclusively, with exactly this mode whatever the umask.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8], mode: RawMode) -> Result<(), Failure> {
        let store = self.home(name).map_or_else(|| self.open(), |home| home.open());
        store.and_then(|store| create(&store, name, content, mode)).map_err(|error| unwritable(&self.file(name), error))
    }

    /// Replaces one of the files atomically: readers always see a whole file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&self, name: &str, content: &[u8], mode: RawMode) -> Result<(), Failure> {
        let new = name.to_owned() + NEW;
        let replace = || {
            let store = self.home(name).map_or_else(|| self.open(), |home| home.open())?;
            let _ = rustix::fs::unlinkat(&store, new.as_str(), AtFlags::empty());
            create(&store, &new, content, mode)?;
            rustix::fs::renameat(&store, new.as_str(), &store, name)
        };
        replace().map_err(|error| unwritable(&self.file(name), error))
    }

    /// Replaces the lease file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_lease(&self, json: &str) -> Result<(), Failure> {
        self.replace(LEASE, json.as_bytes(), 0o600)
    }

    /// Reads one of the files; none if it does not exist.
    ///
    /// # Errors
    /// When it is a link, belongs to somebody else, or cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        for home in self.homes(name) {
            let failed = |cause: anyhow::Error| {
                Failure::new(Code::StoreUnreadable, format!("cannot read `{}`", home.file(name).display())).chain(&cause)
            };
            let store = match home.open() {
                Ok(store) => store,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(error) => return Err(failed(anyhow!(reason(error)))),
            };
            if let Some(text) = read_at(&store, name).map_err(failed)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Removes the files with these names; the directory stays.
    ///
    /// # Errors
    /// When one of them exists and cannot be removed.
    pub fn remove(&self, names: &[&str]) -> Result<(), Failure> {
        for memory in self.memory_stores() {
            memory.remove(names)?;
        }
        let failed = |error| {
            Failure::new(Code::StoreLeftover, format!("cannot remove the files of the pass in `{}`", self.path().display()))
                .cause(reason(error))
        };
        let store = match self.open() {
            Ok(store) => store,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for name in names {
            // A link itself is removed; its target is not touched.
            match rustix::fs::unlinkat(&store, *name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Removes all our files and the directory.
    ///
    /// # Errors
    /// When one of them exists and cannot be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        for memory in self.memory_stores() {
            memory.clear()?;
        }
        self.remove(&NAMES)?;
        let Ok(base) = self.open_base() else { return Ok(()) };
        let Ok(parent) = files::open_or_make(&base, &self.parent, None) else { return Ok(()) };
        match rustix::fs::unlinkat(&parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let what = format!("cannot remove the directory of the pass `{}`", self.path().display());
                return Err(Failure::new(Code::StoreLeftover, what).cause(reason(error)));
            }
        }
        // Fails while there are other stores in it; an empty parent directory is removed.
        let _ = rustix::fs::unlinkat(&base, &self.parent, AtFlags::REMOVEDIR);
        Ok(())
    }

    /// Whether the store exists.
    ///
    /// # Errors
    /// When it exists but we may not look into it.
    pub fn exists(&self) -> Result<bool, Failure> {
        match self.open() {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(error) => {
                Err(Failure::new(Code::StoreUnreadable, format!("cannot look into the place of a pass `{}`", self.path().display()))
                    .cause(reason(error))
                    .hint("run it as the user who requested the pass"))
            }
        }
    }

    /// Locks the directory, so that no other process takes this pass for one that is over. The lock is released when our process
    /// ends.
    ///
    /// # Errors
    /// When another process holds it.
    pub fn lock(&self) -> Result<Option<OwnedFd>, Failure> {
        let Ok(store) = self.open() else { return Ok(None) };
        Ok(self.locked(&store)?.then_some(store))
    }

    /// Locks it, and returns whether that worked: a file system without locks is no reason to fail.
    fn locked(&self, store: &OwnedFd) -> Result<bool, Failure> {
        match rustix::fs::flock(store, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Err(Failure::new(Code::PassInUse, "another jobpass of this job is using the same pass")
                .cause(format!("it holds `{}`", self.path().display()))
                .hint("give one of the two a `--job-key` of its own")),
            Err(_) => Ok(false),
        }
    }

    /// Opens the directory step by step, so that no part below the base can be a link.
    fn open(&self) -> Result<OwnedFd, Errno> {
        let base = self.open_base().map_err(|_| Errno::NOENT)?;
        let store = files::open_below(&files::open_below(&base, &self.parent)?, &self.name)?;
        if rustix::fs::fstat(&store)?.st_uid != geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        Ok(store)
    }

    /// Creates the base directory if it does not exist, and opens it.
    fn make_base(&self) -> Result<OwnedFd, Failure> {
        let path = &self.base.path;
        let make = if self.base.private { files::make } else { files::make_with_parents };
        make(path).map_err(|error| {
            let failure = Failure::new(Code::StoreUnwritable, format!("cannot make `{}`", path.display())).cause(plain(&error));
            failure.hint(self.another_place())
        })?;
        self.open_base()
    }

    /// What to do where this place cannot be used.
    fn another_place(&self) -> &'static str {
        match (self.base.must_be_in_memory, self.base.of_session) {
            (true, _) => IN_MEMORY,
            (false, true) => ANOTHER_SESSION,
            (false, false) => ANOTHER_PLACE,
        }
    }

    /// Opens the base. The user or the platform has chosen its path, so links in it are followed, unless we create it ourselves.
    fn open_base(&self) -> Result<OwnedFd, Failure> {
        let path = &self.base.path;
        let failed = |error| {
            Failure::new(Code::StoreUnwritable, format!("cannot open `{}`", path.display())).cause(reason(error)).hint(self.another_place())
        };
        let open = if self.base.private { files::open_unlinked } else { files::open_named };
        let base = open(path).map_err(failed)?;
        if self.base.private {
            let stat = rustix::fs::fstat(&base).map_err(failed)?;
            if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
                return Err(Failure::new(Code::StoreInsecure, format!("cannot use `{}`", path.display()))
                    .cause("it belongs to somebody else, or others may look into it")
                    .hint(self.another_place()));
            }
        }
        Ok(base)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

/// All stores under a base, sorted by name, those of other users included; and why some may be invisible.
#[must_use]
pub fn list(base: &Base) -> (Vec<Store>, Option<Failure>) {
    let (mut stores, mut hidden) = (Vec::new(), None);
    for parent in parents() {
        let path = base.path.join(&parent);
        match files::children(&path) {
            Ok(names) => {
                let found = names.filter(|name| crate::name::is_name(name)).map(|name| Store::below(base, parent.clone(), &name));
                stores.extend(found.filter(|store| store.exists() != Ok(false)));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            // We never create it as a link, so there are no stores of ours behind one.
            Err(_) if path.is_symlink() => {}
            Err(error) => {
                let failure =
                    Failure::new(Code::StoreUnreadable, format!("cannot look for passes in `{}`", path.display())).cause(plain(&error));
                hidden = hidden.or(Some(failure.hint("run it as the user who requested them")));
            }
        }
    }
    stores.sort_by(|a, b| a.name.cmp(&b.name));
    (stores, hidden)
}

fn unwritable(path: &Path, error: Errno) -> Failure {
    Failure::new(Code::StoreUnwritable, format!("cannot write `{}`", path.display())).cause(reason(error))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests play whoever else writes there")]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    pub(super) const NAME: &str = "jobpass-0123456789abcdef0123456789abcdef";

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let base = Base::at(directory.path().to_owned());
        (directory, Store::of(&base, NAME))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn directory_and_files_are_readable_for_the_user_only() {
        let (_directory, store) = store();
        store.create(Readers::User).expect("made");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        store.save_lease("{}").expect("saved");
        assert_eq!((mode(&store.path()), mode(&store.file(TOKEN)), mode(&store.file(LEASE))), (0o700, 0o600, 0o600));
        assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok"));
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let (directory, store) = store();
        store.create(Readers::User).expect("made");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        store.clear().expect("cleared");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
        store.clear().expect("twice is once");
    }

    #[test]
    fn a_link_under_one_of_our_names_is_refused_and_its_target_untouched() {
        let (directory, store) = store();
        store.create(Readers::User).expect("made");
        let target = directory.path().join("target");
        fs::write(&target, "precious").expect("written");
        symlink(&target, store.file(TOKEN)).expect("linked");
        let failure = store.create(Readers::User).expect_err("a link");
        assert!(failure.to_string().contains("is a link or belongs to somebody else"), "{failure}");
        assert!(store.write(TOKEN, b"tok", 0o600).is_err());
        assert!(store.read(TOKEN).is_err());
        store.clear().expect("the link itself is removed");
        assert_eq!(fs::read_to_string(target).expect("there"), "precious");
    }

    #[test]
    fn a_link_in_place_of_a_directory_is_refused() {
        let (directory, store) = store();
        let elsewhere = tempfile::tempdir().expect("a directory");
        // A link that exists before gets another name chosen; a link that appears later is refused.
        symlink(elsewhere.path(), directory.path().join(PARENT)).expect("linked");
        assert!(store.create(Readers::User).expect_err("a link").to_string().contains("a part of the path is a link"));
        let store = Store::of(&store.base, NAME);
        store.create(Readers::User).expect("made beside it");
        assert_eq!(list(&store.base), (vec![store.clone()], None));
        store.clear().expect("cleared");
        assert_eq!(fs::read_dir(elsewhere.path()).expect("there").count(), 0);
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1, "the link stays");
    }

    #[test]
    fn another_name_is_taken_where_the_usual_one_is_somebody_elses_and_found_again() {
        let (directory, store) = store();
        let usual = directory.path().join(PARENT);
        fs::create_dir(&usual).expect("made");
        fs::set_permissions(&usual, fs::Permissions::from_mode(0o777)).expect("set");
        let base = store.base;
        let store = Store::of(&base, NAME);
        store.create(Readers::User).expect("made");
        assert_eq!(store.path(), directory.path().join(format!("{PARENT}-{}", geteuid().as_raw())).join(NAME));
        store.save_lease("{}").expect("saved");
        // It is found again even when the usual name is free once more.
        fs::remove_dir(&usual).expect("removed");
        let other = Store::of(&base, &NAME.replace('0', "f"));
        other.create(Readers::User).expect("made");
        assert!(other.path().starts_with(&usual));
        assert_eq!((Store::of(&base, NAME), list(&base).0.len()), (store.clone(), 2));
        let file = store.path().join(LEASE);
        assert_eq!(Store::around(&file, LEASE, NAME, None).expect("one of ours").path(), store.path());
        assert_eq!(Store::around(&file, TOKEN, NAME, None), None);
        store.clear().expect("cleared");
        other.clear().expect("cleared");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let (directory, store) = store();
        for parent in parents() {
            fs::create_dir(directory.path().join(&parent)).expect("made");
            fs::set_permissions(directory.path().join(&parent), fs::Permissions::from_mode(0o777)).expect("set");
        }
        let failure = Store::of(&store.base, NAME).create(Readers::User).expect_err("open to all").to_string();
        assert!(failure.contains("others may write") && failure.contains("hint: name a directory of your own"), "{failure}");
    }

    #[test]
    fn a_private_base_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("jobpass-1");
        fs::create_dir(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        let store = Store::of(&Base { private: true, ..Base::at(path) }, NAME);
        assert!(store.create(Readers::User).expect_err("readable").to_string().contains("others may look into it"));
    }

    #[test]
    fn a_base_that_must_be_in_memory_is_checked() {
        let directory = tempfile::tempdir_in(".").expect("a directory on disk");
        let memory = |path: &Path| Store::of(&Base { must_be_in_memory: true, ..Base::at(path.to_owned()) }, NAME);
        let failure = memory(directory.path()).create(Readers::User).expect_err("on disk");
        assert!(failure.to_string().contains("medium: Memory"), "{failure}");
        let shared = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        memory(shared.path()).create(Readers::User).expect("in memory");
    }

    #[test]
    fn a_second_pass_of_the_same_lease_replaces_the_first_ones_files() {
        let (_directory, store) = store();
        store.create(Readers::User).expect("made");
        store.write(TOKEN, b"old", 0o600).expect("written");
        assert!(store.write(TOKEN, b"new", 0o600).is_err(), "files are only ever made anew");
        store.create(Readers::User).expect("emptied");
        store.write(TOKEN, b"new", 0o600).expect("written");
    }

    #[test]
    fn a_place_that_somebody_uses_is_neither_made_anew_nor_emptied() {
        let (_directory, store) = store();
        let used = store.create(Readers::User).expect("made").expect("locked");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        assert!(store.create(Readers::User).expect_err("in use").to_string().contains("another jobpass of this job"));
        assert_eq!(store.read(TOKEN).expect("read").as_deref(), Some("tok"));
        drop(used);
        store.create(Readers::User).expect("free again");
    }

    #[test]
    fn jobs_that_come_and_go_do_not_take_the_directory_from_each_other() {
        let (directory, _place) = store();
        let base = Base::at(directory.path().to_owned());
        std::thread::scope(|scope| {
            for job in 0..4 {
                let store = Store::of(&base, &format!("{}{job}", &NAME[..NAME.len() - 1]));
                scope.spawn(move || {
                    for _ in 0..500 {
                        drop(store.create(Readers::User).expect("made"));
                        store.save_lease("{}").expect("saved");
                        store.clear().expect("cleared");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
    }

    #[test]
    fn only_places_of_leases_are_listed() {
        let (directory, store) = store();
        store.create(Readers::User).expect("made");
        fs::create_dir(directory.path().join(PARENT).join("other")).expect("made");
        let base = Base::at(directory.path().to_owned());
        assert_eq!(list(&base), (vec![store], None));
        assert_eq!(list(&Base { path: directory.path().join("none"), ..base }), (vec![], None));
    }
}
