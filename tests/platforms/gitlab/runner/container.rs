//! A container: what its image has, and directories of its own. The build volume is none of it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::harness::doors;

/// What the template and the scripts of the scenarios call.
const TOOLS: [&str; 26] = [
    "base64",
    "cat",
    "chmod",
    "cp",
    "cut",
    "dirname",
    "env",
    "find",
    "grep",
    "head",
    "id",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "sh",
    "sleep",
    "sort",
    "stat",
    "touch",
    "tr",
    "wc",
    "which",
];

/// What a container is made from.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Whether its tools are busybox's, as on Alpine.
    pub(crate) is_busybox: bool,
    /// `curl`, `wget`, both or none.
    pub(crate) fetchers: &'static [&'static str],
    /// Whether jobpass is in it.
    pub(crate) has_jobpass: bool,
}

/// A container that runs, or the machine of the shell executor: its files, and what it has in memory.
pub(super) struct Container {
    files: TempDir,
    memory: TempDir,
}

impl Container {
    pub(super) fn of(image: &Image) -> Self {
        let memory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir_in("/dev/shm");
        let container = Self { files: TempDir::new().expect("a directory"), memory: memory.expect("a directory in memory") };
        for directory in ["bin", "home", "tmp"] {
            doors::make_directory(&container.at(directory));
        }
        let busybox = found("busybox");
        for tool in TOOLS.iter().chain(image.fetchers) {
            let target = if image.is_busybox && *tool != "curl" {
                busybox.clone().expect("busybox is installed")
            } else {
                let Some(program) = found(tool) else { continue };
                program
            };
            symlink(target, container.at("bin").join(tool)).expect("a link");
        }
        // A shell, called by the name of the runner's helper.
        symlink("/bin/sh", container.at("bin/gitlab-runner-helper")).expect("a link");
        if image.has_jobpass {
            symlink(env!("CARGO_BIN_EXE_jobpass"), container.at("bin/jobpass")).expect("a link");
        }
        container
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.files.path().join(path)
    }

    /// Stands for the `/dev/shm` that each container has of its own. Here all of them would have this machine's.
    pub(super) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// The files that a pod has of its service account, to be mounted.
    pub(super) fn mount(&self, files: &[(&str, String)]) -> PathBuf {
        let mounted = self.at("mounted");
        doors::make_directory(&mounted);
        for (name, text) in files {
            doors::write(&mounted.join(name), text);
        }
        mounted
    }
}

/// A program of this machine.
pub(super) fn found(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .into_iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| fs::metadata(path).is_ok())
}
