//! Control planes of a suite's own, as many as it needs: each is started by it, and ends with it however that ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{ControlPlane, doors, eventually};

/// A control plane that nobody else has.
pub struct Plane {
    cluster: ControlPlane,
    directory: PathBuf,
    process: Child,
}

impl Plane {
    /// Starts control planes at the same time, each in a directory and with options of `jobpass-cluster up`; returns when the policies
    /// of `deploy/` refuse on all of them. What an earlier run left in the directories is removed.
    pub fn start(wanted: &[(&Path, &[&str])]) -> Vec<Self> {
        Self::begun(wanted, ControlPlane::prepared)
    }

    /// One to which nobody has applied anything.
    pub fn bare(directory: &Path, options: &[&str]) -> Self {
        Self::begun(&[(directory, options)], ControlPlane::read).remove(0)
    }

    fn begun(wanted: &[(&Path, &[&str])], seen: impl Fn(&Path) -> ControlPlane) -> Vec<Self> {
        let started: Vec<_> = wanted
            .iter()
            .map(|(directory, options)| {
                doors::make_directory(directory);
                let mut command = doors::program(ControlPlane::binary());
                // It ends when nobody holds the other end of this pipe any more, even if the tests are killed.
                command.args(["up", "--until-stdin-closes", "--dir"]).arg(directory).args(*options).env("PATH", "/usr/bin:/bin");
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                (*directory, command.spawn().expect("tests/cluster/build has built it"))
            })
            .collect();
        started
            .into_iter()
            .map(|(directory, mut process)| {
                let mut line = String::new();
                BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("text");
                if !line.starts_with("ready ") {
                    let mut said = String::new();
                    let _ = process.stderr.take().expect("a pipe").read_to_string(&mut said);
                    panic!("no control plane in {}: {said}", directory.display());
                }
                Self { cluster: seen(directory), directory: directory.to_owned(), process }
            })
            .collect()
    }

    /// The kubeconfig of its admin.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// Where its API servers listen: the first is `url`.
    pub fn urls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.kubeconfig()).expect("it was written before it was ready");
        text.lines().filter_map(|line| line.trim().strip_prefix("server: ")).map(str::to_owned).collect()
    }

    /// Ends it, as when a machine room burns: all that was in it is gone.
    pub fn stop(&mut self) {
        let mut has_ended = || !matches!(self.process.try_wait(), Ok(None));
        if !has_ended() {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
            eventually("the control plane ends", || !matches!(self.process.try_wait(), Ok(None)));
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.cluster
    }
}
