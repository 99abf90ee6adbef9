//! The files that hold a token, kept apart from the lease: in memory, where only the command of `run` needs them.
//!
//! A job may be killed together with all that could tidy up after it. What lies on a volume then stays for the next job; what is
//! in the memory of its container is gone with it.

use super::{Place, SECRETS};
use crate::platform::Base;

impl Place {
    /// Keeps these files apart from now on, where the base names a directory for that and it can be had; else beside the lease.
    #[must_use]
    pub fn parted(mut self) -> Self {
        self.is_parted = self.apart().is_some_and(|apart| apart.create(false).is_ok());
        self
    }

    /// The place that they are in, if they are apart.
    pub(super) fn apart(&self) -> Option<Self> {
        let path = self.base.apart.clone()?;
        let base = Base { in_memory: true, private: true, ..Base::at(path) };
        Some(Self::of(&base, &self.name))
    }

    /// The place where such a file is written.
    pub(super) fn home(&self, name: &str) -> Option<Self> {
        self.apart().filter(|_| self.is_parted && SECRETS.contains(&name))
    }

    /// The places where such a file may be: this command's pass, or one of an earlier command.
    pub(super) fn homes(&self, name: &str) -> impl Iterator<Item = Self> {
        let apart = self.apart().filter(|_| SECRETS.contains(&name));
        [Some(self.clone()), apart].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{KUBECONFIG, LEASE, TOKEN, tests::NAME};
    use super::*;

    /// A volume, memory, and the place of a lease that may use both.
    fn place() -> (tempfile::TempDir, tempfile::TempDir, Place) {
        let (volume, memory) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir_in("/dev/shm").expect("in memory"));
        let place = Place::of(&Base { apart: Some(memory.path().join("own")), ..Base::at(volume.path().to_owned()) }, NAME);
        (volume, memory, place)
    }

    fn filled(place: Place) -> Place {
        place.create(false).expect("made");
        let place = place.parted();
        place.save_lease("{}").expect("saved");
        place.write(TOKEN, b"tok", 0o600).expect("written");
        place.write(KUBECONFIG, b"config", 0o600).expect("written");
        place.replace(TOKEN, b"tok2", 0o600).expect("replaced");
        place
    }

    #[test]
    fn only_the_lease_is_on_the_volume() {
        let (volume, memory, place) = place();
        let place = filled(place);
        let names = |path: std::path::PathBuf| {
            let mut names: Vec<_> = fs::read_dir(path).expect("there").flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(volume.path().join("jobpass").join(NAME)), [LEASE]);
        assert_eq!(names(memory.path().join("own/jobpass").join(NAME)), [KUBECONFIG, TOKEN]);
        assert!(place.file(TOKEN).starts_with(memory.path()) && place.file(LEASE).starts_with(volume.path()));
    }

    #[test]
    fn whoever_only_knows_the_lease_finds_and_clears_both() {
        let (volume, memory, place) = place();
        filled(place.clone());
        assert_eq!(place.read(TOKEN).expect("read").as_deref(), Some("tok2"));
        place.remove(SECRETS).expect("removed");
        assert_eq!((place.read(TOKEN).expect("read"), place.read(LEASE).expect("read").as_deref()), (None, Some("{}")));
        filled(place.clone()).clear().expect("cleared");
        assert_eq!(fs::read_dir(volume.path()).expect("there").count(), 0);
        assert_eq!(fs::read_dir(memory.path().join("own")).expect("there").count(), 0);
    }

    #[test]
    fn a_new_pass_of_the_same_lease_clears_what_was_apart() {
        let (_volume, memory, place) = place();
        filled(place.clone());
        place.create(false).expect("made anew");
        assert_eq!(place.read(TOKEN).expect("read"), None);
        assert_eq!(fs::read_dir(memory.path().join("own")).expect("there").count(), 0);
    }

    #[test]
    fn they_stay_beside_the_lease_where_there_is_no_memory_of_ones_own() {
        let (_volume, memory, place) = place();
        // Anybody may have made it first, in a directory that all users share.
        fs::create_dir(memory.path().join("own")).expect("made");
        fs::set_permissions(memory.path().join("own"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("set");
        let on_disk = tempfile::tempdir_in(".").expect("on disk");
        let elsewhere = Place::of(&Base { apart: Some(on_disk.path().join("own")), ..place.base.clone() }, NAME);
        for place in [place, elsewhere] {
            let place = filled(place);
            assert_eq!(place.file(TOKEN), place.path().join(TOKEN));
            assert_eq!(place.read(TOKEN).expect("read").as_deref(), Some("tok2"));
            place.clear().expect("cleared");
        }
    }
}
