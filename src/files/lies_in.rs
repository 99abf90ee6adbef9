//! Whether a path is inside a directory, under whatever name.

use std::path::{Component, Path, PathBuf};

/// Whether a path is inside a directory: either as written, or as it really is on disk. So a path cannot hide that by `..`, by a
/// link or by a second mount of the directory.
#[must_use]
pub fn lies_in(path: &Path, directory: &Path) -> bool {
    let is_written = written(path).starts_with(written(directory));
    let (path, directory) = (real(path), real(directory));
    let identity = |path: &Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let own = identity(&directory);
    is_written || path.starts_with(&directory) || own.is_some() && path.ancestors().any(|above| identity(above) == own)
}

/// The path as written, with `.` and `..` resolved without looking at the disk.
fn written(path: &Path) -> PathBuf {
    let mut written = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(written.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => written.push(part),
        }
    }
    written
}

/// The path with links resolved, as far as it exists, and with `..` resolved in the rest.
fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => real.push(part),
        }
        // `..` after a link means the parent of the link's target, so links are resolved part by part.
        real = real.canonicalize().unwrap_or(real);
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_in_a_directory_by_whatever_name() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        for name in ["work", "other"] {
            std::fs::create_dir_all(at(name)).expect("made");
        }
        for (target, link) in [("work", "in"), ("other", "work/out")] {
            std::os::unix::fs::symlink(at(target), at(link)).expect("a link");
        }
        for name in ["work", "work/", "work//x", "other/../work/x", "in/x", "other/../in", "work/./x", "work/out/x"] {
            assert!(lies_in(&at(name), &at("work")), "{name}");
        }
        assert!(lies_in(&at("work/x"), &at("in/")));
        for name in ["other", "work/../other", "work/../work.tmp", "workshop"] {
            assert!(!lies_in(&at(name), &at("work")), "{name}");
        }
    }
}
