//! The one static file in an image that has nothing else: no shell, no C library, no certificates, no `/proc`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    harness::{World, doors, leak},
    shared::tools,
};

/// The root directory of a job of GitLab, with jobpass in it. Only root can play it: `.ci/run` is root.
pub(super) struct Image<'w> {
    world: &'w World,
    directory: TempDir,
    emulator: Option<&'static str>,
}

impl<'w> Image<'w> {
    /// With the file of this name among the tools, which `tests/platforms/static` makes.
    pub(super) fn new(world: &'w World, binary: &str) -> Self {
        let image = Self { world, directory: TempDir::new().expect("a directory"), emulator: None };
        doors::make_directory(&image.at("builds"));
        image.install(&tools(&[binary]).join(binary), "jobpass");
        image
    }

    /// By another process: one that we write ourselves another test's child may hold open.
    pub(super) fn install(&self, program: &Path, name: &str) {
        doors::tool("/usr/bin/install").arg("-D").arg(program).arg(self.at(name)).assert().success();
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        doors::make_directory(path.parent().expect("in the image"));
        doors::write(&path, text);
    }

    /// jobpass in it, as the job's own, with the variables of the job.
    pub(super) fn jobpass(&self, arguments: &[&str]) -> Command {
        let mut job = doors::program("unshare");
        job.arg("--root").arg(self.directory.path()).args(self.emulator).arg("/jobpass").args(arguments).stdin(Stdio::null());
        for (name, value) in [
            ("GITLAB_CI", "true"),
            ("CI_SERVER_HOST", "gitlab.example.com"),
            ("CI_PROJECT_ID", "42"),
            ("CI_JOB_ID", "4712"),
            ("CI_PROJECT_DIR", "/builds/app"),
        ] {
            job.env(name, value);
        }
        job
    }

    /// What it printed. No secret is in it, and no file is left.
    pub(super) fn log(&self, output: &Output) -> String {
        let log = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
        let secrets: Vec<_> = self.world.tokens_of_passes().into_iter().chain([self.world.identity_token().to_owned()]).collect();
        assert_eq!(leak::find(&log, &secrets), None, "{log}");
        log
    }

    pub(super) fn assert_nothing_left(&self) {
        assert_eq!(self.world.secrets(), [""; 0]);
        let left = fs::read_dir(self.at("builds/app.tmp/jobpass")).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "files are left");
    }
}

#[test]
fn it_runs_where_there_is_nothing_but_itself() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let image = Image::new(&world, "jobpass-static");
    image.write("identity", &world.kubeconfig());
    let run = ["run", "--service-account", &world.account(), "--", "/jobpass", "require"];
    let output = image.jobpass(&run).env("JOBPASS_KUBECONFIG", "/identity").output().expect("unshare is there");
    let log = image.log(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("this job has a pass for service account"), "{log}");
    assert!(log.contains("revoked the pass"), "{log}");
    image.assert_nothing_left();
    let refused = image.jobpass(&["leases", "list"]).output().expect("unshare is there");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("without the verbs of operators"), "{refused:?}");
}

#[test]
fn the_one_for_arm64_does_so_too() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let mut image = Image::new(&world, "jobpass-static-arm64");
    // The processor is played; a command of `run` would need the kernel's help for that.
    image.install(&tools(&["qemu-aarch64-static"]).join("qemu-aarch64-static"), "emulator");
    image.emulator = Some("/emulator");
    image.write("identity", &world.kubeconfig());
    let account = world.account();
    let mut env_file = String::new();
    for arguments in [vec!["request", "--service-account", &account], vec!["require"], vec!["revoke"]] {
        let mut jobpass = image.jobpass(&arguments);
        if let Some(place) = env_file.strip_suffix("/env") {
            // As the job's shell has them when it has sourced the file.
            jobpass.env("JOBPASS_TOKEN_FILE", format!("{place}/token")).env("KUBECONFIG", format!("{place}/kubeconfig"));
        }
        let output = jobpass.env("JOBPASS_KUBECONFIG", "/identity").output().expect("unshare is there");
        let log = image.log(&output);
        assert!(output.status.success(), "{arguments:?}: {log}");
        if arguments[0] == "request" {
            env_file = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
    }
    image.assert_nothing_left();
}
