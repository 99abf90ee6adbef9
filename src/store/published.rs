//! What `hold` shows in the directory that `--dir` names: links to the files of its pass by names that stay the same, and marks that say
//! how far it is. Others only read them; the pass itself never depends on them.

use std::{
    cell::RefCell,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, RawMode},
    io::Errno,
};

use super::{AUTHORITY, CURL, ENV, EXPIRY, KUBECONFIG, NEW, PARENT, Readers, Store, TOKEN};
use crate::{
    failure::{Code, Failure},
    files::{self, create, is_ours, reason, stat},
};

/// The names that lead to files of the pass.
const LINKS: [&str; 6] = [TOKEN, KUBECONFIG, AUTHORITY, CURL, ENV, EXPIRY];

/// There while the pass can be used; the name of its lease stands in it.
pub const READY: &str = "ready";
/// Why there is no pass, or none any more.
const ERROR: &str = "error";
/// What became of the pass.
const RECEIPT: &str = "receipt.json";

/// Everybody who sees the volume may read the marks: there is no secret in them.
const FOR_ALL: RawMode = 0o644;

/// The directory in which `hold` shows its pass.
#[derive(Debug)]
pub struct Published {
    directory: PathBuf,
    ready: Option<PathBuf>,
    /// The mark, as long as this process keeps it: whoever was killed keeps nothing.
    kept: RefCell<Option<OwnedFd>>,
    /// The directory, in which no other `hold` shows anything as long as this process lives.
    locked: RefCell<Option<OwnedFd>>,
}

/// How far the pass in such a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No `hold` has shown a pass yet; false if not even the directory is there.
    Awaited(bool),
    /// The pass can be used.
    Ready,
    /// `hold` has failed; its message.
    Failed(String),
    /// The pass has ended.
    Over,
}

impl Published {
    /// The directory; `ready` is `--ready`, a file elsewhere that is there while the pass can be used.
    #[must_use]
    pub fn at(directory: PathBuf, ready: Option<PathBuf>) -> Self {
        Self { directory, ready, kept: RefCell::default(), locked: RefCell::default() }
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of the names in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn ready(&self) -> PathBuf {
        self.ready.clone().unwrap_or_else(|| self.path(READY))
    }

    /// How far the pass is. The mark of a `hold` that was killed counts for nothing.
    #[must_use]
    pub fn state(&self) -> State {
        if let Ok(text) = files::read_text(&self.path(ERROR)) {
            return State::Failed(text);
        }
        let ready = self.ready();
        if ready.exists() {
            return if files::is_let_go(&ready) { State::Awaited(true) } else { State::Ready };
        }
        if self.path(RECEIPT).exists() { State::Over } else { State::Awaited(self.directory.is_dir()) }
    }

    /// Takes the directory for this process, and makes it if it is missing. Whoever may read the files of the pass may look into it.
    ///
    /// # Errors
    /// When another `hold` has it.
    pub fn lock(&self, readers: Readers) -> Result<(), Failure> {
        let is_missing = !self.directory.exists();
        if is_missing && files::make_with_parents(&self.directory).is_err() {
            // Whoever makes the store says why that cannot be.
            return Ok(());
        }
        let directory = self.open()?;
        if is_missing && readers == Readers::Group {
            let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP;
            rustix::fs::fchmod(&directory, mode).map_err(|error| self.unwritable(&self.directory, error))?;
        }
        files::keep_directory(&directory).map_err(|_| {
            Failure::new(Code::PassInUse, format!("another `jobpass hold` shows its pass in `{}`", self.directory.display()))
                .hint("give this one a directory of its own by `--dir`")
        })?;
        self.locked.replace(Some(directory));
        Ok(())
    }

    /// Whether this path is one of the names in the directory.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        let is_ours = |name: &str| {
            let name = name.strip_suffix(NEW).unwrap_or(name);
            LINKS.contains(&name) || [READY, ERROR, RECEIPT, PARENT].contains(&name)
        };
        path.parent() == Some(&self.directory) && path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)
    }

    /// Checks before there is a pass that all names are free, or are those of an earlier `hold`; takes away what that one has left.
    ///
    /// # Errors
    /// When somebody else's file has one of the names.
    pub fn prepare(&self) -> Result<(), Failure> {
        if let Some(ready) = self.ready.as_ref().filter(|ready| self.owns(ready)) {
            let what = format!("`{}` is a name of `jobpass hold` itself", ready.display());
            return Err(Failure::new(Code::UsagePlace, what).hint("leave `--ready` out, or name another file"));
        }
        let directory = match files::open_named(&self.directory) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return self.prepare_ready(),
            Err(error) => return Err(self.unwritable(&self.directory, error)),
        };
        for name in LINKS {
            if !self.is_free(&directory, name, FileType::Symlink)? {
                return Err(self.occupied(name));
            }
        }
        for name in [READY, ERROR, RECEIPT] {
            if !self.is_free(&directory, name, FileType::RegularFile)? {
                return Err(self.occupied(name));
            }
        }
        for name in [READY, ERROR, RECEIPT].into_iter().chain(LINKS) {
            remove(&directory, name).map_err(|error| self.unwritable(&self.path(name), error))?;
        }
        self.prepare_ready()
    }

    fn prepare_ready(&self) -> Result<(), Failure> {
        self.ready.as_deref().map_or(Ok(()), |path| {
            files::remove_user_file(path, is_mark)?;
            files::check_user_file(path, is_mark)
        })
    }

    /// Shows the files of a pass, the mark last: whoever sees it can use all others.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn show(&self, store: &Store, lease: &str) -> Result<(), Failure> {
        let directory = self.open()?;
        for name in LINKS {
            let file = store.file(name);
            if !file.exists() {
                continue;
            }
            // Relative, as the volume may be mounted at another path in another container.
            let target = file.strip_prefix(&self.directory).map_or_else(|_| file.clone(), Path::to_owned);
            let new = name.to_owned() + NEW;
            let link = || {
                remove(&directory, &new)?;
                rustix::fs::symlinkat(&target, &directory, new.as_str())?;
                rustix::fs::renameat(&directory, new.as_str(), &directory, name)
            };
            link().map_err(|error| self.unwritable(&self.path(name), error))?;
        }
        let text = mark(lease);
        match &self.ready {
            Some(path) => files::write_user_file(path, text.as_bytes(), FOR_ALL, is_mark),
            None => return self.write(READY, &text),
        }?;
        self.kept.replace(files::keep(&self.ready()));
        Ok(())
    }

    /// Takes the mark and the links away. Errors are of no account: others may have removed or replaced everything by now.
    pub fn withdraw(&self) {
        self.kept.take();
        if let Some(path) = &self.ready {
            let _ = files::remove_user_file(path, is_mark);
        }
        if let Ok(directory) = self.open() {
            for name in [READY].into_iter().chain(LINKS) {
                let _ = remove(&directory, name);
            }
        }
    }

    /// Says why there is no pass, or none any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fail(&self, message: &str) -> Result<(), Failure> {
        let directory = self.open()?;
        if !self.is_free(&directory, ERROR, FileType::RegularFile)? {
            return Err(self.occupied(ERROR));
        }
        self.write(ERROR, message)
    }

    /// Says what became of the pass.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn over(&self, receipt: &str) -> Result<(), Failure> {
        self.write(RECEIPT, receipt)
    }

    /// Writes one of the marks atomically: nobody reads half of it.
    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let directory = self.open()?;
        let new = name.to_owned() + NEW;
        let write = || {
            remove(&directory, &new)?;
            create(&directory, &new, text.as_bytes(), FOR_ALL)?;
            if name == READY {
                // Before anybody can see it: whoever looks at it must find it kept.
                self.kept.replace(files::keep(&self.path(&new)));
            }
            rustix::fs::renameat(&directory, new.as_str(), &directory, name)
        };
        write().map_err(|error| self.unwritable(&self.path(name), error))
    }

    fn open(&self) -> Result<OwnedFd, Failure> {
        files::open_named(&self.directory).map_err(|error| self.unwritable(&self.directory, error))
    }

    /// Whether nothing has the name, or what an earlier `hold` of this user has left: a link into a store, or a mark.
    fn is_free(&self, directory: &OwnedFd, name: &str, kind: FileType) -> Result<bool, Failure> {
        let found = stat(directory, name).map_err(|error| self.unwritable(&self.path(name), error))?;
        Ok(found.is_none_or(|stat| match kind {
            FileType::Symlink => FileType::from_raw_mode(stat.st_mode) == kind && stat.st_uid == rustix::process::geteuid().as_raw(),
            _ => is_ours(&stat),
        }))
    }

    fn occupied(&self, name: &str) -> Failure {
        Failure::new(Code::FileOccupied, format!("cannot show a pass in `{}`", self.directory.display()))
            .cause(format!("`{name}` there is not of an earlier `hold` of this user"))
            .hint("give `hold` a directory of its own by `--dir`")
    }

    fn unwritable(&self, path: &Path, error: Errno) -> Failure {
        Failure::new(Code::FileUnwritable, format!("cannot show a pass in `{}`", self.directory.display())).cause(format!(
            "`{}`: {}",
            path.display(),
            reason(error)
        ))
    }
}

fn remove(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The text of the mark that a pass can be used.
fn mark(lease: &str) -> String {
    format!("ready: lease {lease}\n")
}

fn is_mark(text: &str) -> bool {
    text.starts_with("ready: lease ")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests play whoever else writes there")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::super::{Readers, tests::NAME};
    use super::*;
    use crate::platform::Base;

    fn published() -> (tempfile::TempDir, Published, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::of(&Base::at(directory.path().to_owned()), NAME);
        let published = Published::at(directory.path().to_owned(), None);
        (directory, published, store)
    }

    #[test]
    fn what_is_shown_is_the_pass_and_goes_with_it() {
        let (directory, published, store) = published();
        assert_eq!(published.state(), State::Awaited(true));
        published.prepare().expect("free");
        store.create(Readers::User).expect("made");
        store.write(TOKEN, b"tok", 0o600).expect("written");
        published.show(&store, "ci/x").expect("shown");
        assert_eq!(published.state(), State::Ready);
        // As after its process was killed.
        published.kept.take();
        assert_eq!(published.state(), State::Awaited(true));
        published.show(&store, "ci/x").expect("shown");
        assert_eq!(fs::read_to_string(directory.path().join("token")).expect("there"), "tok");
        assert!(fs::read_link(directory.path().join("token")).expect("a link").is_relative());
        store.replace(TOKEN, b"tok2", 0o600).expect("replaced");
        assert_eq!(fs::read_to_string(directory.path().join("token")).expect("there"), "tok2");
        published.withdraw();
        store.clear().expect("cleared");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
        published.over("{}").expect("written");
        assert_eq!(published.state(), State::Over);
        published.fail("error: no").expect("written");
        assert_eq!(published.state(), State::Failed("error: no".to_owned()));
        published.prepare().expect("ours");
        assert_eq!(published.state(), State::Awaited(true));
    }

    #[test]
    fn what_is_of_others_is_not_replaced() {
        for name in ["token", "kubeconfig"] {
            let (directory, published, _) = published();
            fs::write(directory.path().join(name), "mine").expect("written");
            fs::write(directory.path().join("error"), "mine").expect("written");
            assert!(published.prepare().expect_err("not ours").to_string().contains("a directory of its own"));
            assert_eq!(fs::read_to_string(directory.path().join(name)).expect("there"), "mine");
            assert!(directory.path().join("error").exists());
        }
        let (directory, published, _) = published();
        symlink("/etc/hostname", directory.path().join("ready")).expect("made");
        published.prepare().expect_err("a link where a mark belongs");
    }

    #[test]
    fn a_mark_elsewhere_is_written_and_taken_away() {
        let (directory, _, store) = published();
        let path = directory.path().join("elsewhere");
        let published = Published::at(directory.path().to_owned(), Some(path.clone()));
        published.prepare().expect("free");
        published.show(&store, "ci/x").expect("shown");
        assert!(path.exists() && published.state() == State::Ready && !directory.path().join("ready").exists());
        published.withdraw();
        assert!(!path.exists());
        fs::write(&path, "mine").expect("written");
        assert!(published.prepare().is_err());
    }
}
