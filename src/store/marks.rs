//! The mark files in a base directory: small hints beside the stores. They contain no secret, and nothing depends on them.

use rustix::{
    fs::{AtFlags, Dir, Mode},
    io::Errno,
};

use super::Store;
use crate::{
    failure::{Code, Failure},
    files::{create, read_at, reason},
    name::is_name,
    platform::Base,
};

/// The suffix of a mark file; the name of its lease comes before it.
const END: &str = ".mark";

/// Writes the mark of a lease, replacing an earlier one.
///
/// # Errors
/// When it cannot be written.
pub fn write_mark(base: &Base, lease: &str, text: &str) -> Result<(), Failure> {
    let name = lease.to_owned() + END;
    let failed = |error: Errno| {
        Failure::new(Code::StoreUnwritable, format!("cannot write `{}`", base.path.join(&name).display())).cause(reason(error))
    };
    let directory = Store::of(base, lease).make_base()?;
    match rustix::fs::unlinkat(&directory, name.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(failed(error)),
    }
    create(&directory, &name, text.as_bytes(), Mode::from_raw_mode(0o600).bits()).map_err(failed)
}

/// The texts of all marks of this user. Files that cannot be read are skipped.
#[must_use]
pub fn read_marks(base: &Base) -> Vec<String> {
    let Ok(directory) = Store::of(base, "").open_base() else { return Vec::new() };
    let Ok(entries) = Dir::read_from(&directory) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    let mut names: Vec<_> = names.filter(|name| name.strip_suffix(END).is_some_and(is_name)).collect();
    names.sort();
    names.iter().filter_map(|name| read_at(&directory, name).ok()?).collect()
}

/// Removes the mark of a lease.
pub fn remove_mark(base: &Base, lease: &str) {
    if let Ok(directory) = Store::of(base, lease).open_base() {
        let _ = rustix::fs::unlinkat(&directory, lease.to_owned() + END, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::tests::NAME;
    use super::*;

    #[test]
    fn only_a_regular_file_of_ours_is_read_and_a_link_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = Base::at(directory.path().join("base"));
        assert_eq!(read_marks(&base), [""; 0]);
        write_mark(&base, NAME, "{}").expect("made, with the base");
        assert_eq!(read_marks(&base), ["{}"]);
        let path = base.path.join(format!("{NAME}.mark"));
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        remove_mark(&base, NAME);
        symlink("/etc/hostname", &path).expect("a link");
        assert_eq!(read_marks(&base), [""; 0]);
        write_mark(&base, NAME, "{1}").expect("replaced");
        assert_eq!((read_marks(&base), path.is_symlink()), (vec!["{1}".to_owned()], false));
    }
}
