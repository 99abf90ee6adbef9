//! The one static file in an image that has nothing else: no shell, no C library, no certificates, no `/proc`.

use std::{fs, process::Stdio};

use tempfile::TempDir;

use crate::{
    harness::{World, doors, leak},
    shared::tools,
};

#[test]
fn it_runs_where_there_is_nothing_but_itself() {
    if !doors::is_root() {
        // Only root can change the root directory. `.ci/run` is root.
        return;
    }
    // `tests/platforms/static` makes it.
    let binary = tools(&["jobpass-static"]).join("jobpass-static");

    let world = World::new();
    let image = TempDir::new().expect("a directory");
    let at = |path: &str| image.path().join(path);
    doors::make_directory(&at("builds"));
    // By another process: one that we write ourselves another test's child may hold open.
    doors::tool("/usr/bin/install").arg(&binary).arg(at("jobpass")).assert().success();
    doors::write(&at("identity"), &world.kubeconfig());
    let account = world.account();
    let mut job = doors::program("unshare");
    job.arg("--root").arg(image.path()).args(["/jobpass", "run", "--service-account", &account, "--", "/jobpass", "require"]);
    for (name, value) in [
        ("GITLAB_CI", "true"),
        ("CI_SERVER_HOST", "gitlab.example.com"),
        ("CI_PROJECT_ID", "42"),
        ("CI_JOB_ID", "4712"),
        ("CI_PROJECT_DIR", "/builds/app"),
        ("JOBPASS_KUBECONFIG", "/identity"),
    ] {
        job.env(name, value);
    }
    let output = job.stdin(Stdio::null()).output().expect("unshare is there");
    let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("this job has a pass for service account"), "{log}");
    assert!(log.contains("revoked the pass"), "{log}");
    assert_eq!(world.secrets(), [""; 0]);
    let secrets: Vec<_> = world.tokens_of_passes().into_iter().chain([world.identity_token().to_owned()]).collect();
    assert_eq!(leak::find(&log, &secrets), None, "{log}");
    let mut operator = doors::program("unshare");
    let refused = operator.arg("--root").arg(image.path()).args(["/jobpass", "leases", "list"]).output().expect("unshare is there");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("without the verbs of operators"), "{refused:?}");
    let left = fs::read_dir(at("builds/app.tmp/jobpass")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "files are left");
}
