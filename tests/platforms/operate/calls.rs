//! A call of jobpass, and what it cost.
#![expect(clippy::disallowed_methods, reason = "a variable names the binary that is measured")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::doors;

/// The jobpass that is measured.
pub(crate) fn binary() -> PathBuf {
    env::var_os("JOBPASS_TEST_BINARY").filter(|path| !path.is_empty()).map_or_else(|| env!("CARGO_BIN_EXE_jobpass").into(), PathBuf::from)
}

/// What came of a call.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    /// The most memory that it had, in MB.
    pub(crate) peak: f64,
}

/// Calls jobpass as an operator with this kubeconfig does, under GNU time.
pub(crate) fn operator(kubeconfig: &Path, arguments: &[&str]) -> Ran {
    let home = TempDir::new().unwrap();
    let measured = home.path().join("measured");
    // GNU time forks: a child of this process would be charged with its size.
    let mut command = doors::program("/usr/bin/time");
    command.args(["--quiet", "--format", "%M", "--output"]).arg(&measured).arg(binary()).args(arguments);
    command.env("HOME", home.path()).env("KUBECONFIG", kubeconfig).env("PATH", "/usr/bin:/bin");
    let begun = Instant::now();
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("time is there");
    let took = begun.elapsed();
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let kilobytes: f64 = fs::read_to_string(&measured).unwrap().trim().parse().expect("a number of kB");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr), took, peak: kilobytes * 1024.0 / 1e6 }
}

impl Ran {
    /// Asserts how it ended.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The document that it printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr, .. } = self;
        // With thousands of rows nobody finds what is wrong.
        let short: String = stdout.chars().take(4000).collect();
        write!(formatter, "exit {code:?}\n{stderr}\n{short}")
    }
}
