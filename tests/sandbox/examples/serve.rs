//! Serves a sandbox to processes that are not Rust, as the bench's are: `cargo run -p jobpass-sandbox --example serve -- DIR`.
//!
//! It puts `kubeconfig`, `token` and `ca.crt` of a CI identity into DIR, which may request passes for the service account
//! `ci/deploy-bot` under the same policies as on a real cluster, prints `ready URL`, and ends with its standard input.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use jobpass_sandbox::Sandbox;

/// The CI identity of `deploy/`: a service account, so that its token says who makes a lease, and nobody has to be asked.
const USER: &str = "system:serviceaccount:jobpass:ci";
const GROUP: &str = "system:serviceaccounts:jobpass";

/// How often the record of requests is emptied: nobody reads it here, and thousands of them come in a minute.
const SWEEP: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return failed("usage: serve DIR");
    };
    let sandbox = Sandbox::start();
    let opaque = sandbox.add_user(USER, &[GROUP]);
    sandbox.add_service_account("jobpass", "ci");
    let token = sandbox.service_account_token("jobpass", "ci");
    sandbox.add_service_account("ci", "deploy-bot");
    sandbox.grant_jobpass(USER, "ci", "deploy-bot");
    sandbox.enable_policies();
    let files = [("kubeconfig", sandbox.kubeconfig(USER).replace(&opaque, &token)), ("token", token), ("ca.crt", sandbox.ca_pem())];
    if let Err(error) = hand_over(&directory, &files).and_then(|()| writeln!(io::stdout(), "ready {}", sandbox.url())) {
        return failed(&format!("cannot hand over by {}: {error}", directory.display()));
    }
    serve(&sandbox);
    ExitCode::SUCCESS
}

/// Keeps the server alive, and as fast and as small as at the start, until standard input ends.
fn serve(sandbox: &Sandbox) {
    let (alive, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        // What stands in it is nobody's business; an error is an end too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(alive);
    });
    while ended.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
        sandbox.clear_requests();
        sandbox.forget_issued_tokens();
    }
}

/// Writes the files, for the eyes of this user only.
fn hand_over(directory: &Path, files: &[(&str, String)]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    files.iter().try_for_each(|(name, text)| private(&directory.join(name))?.write_all(text.as_bytes()))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn failed(why: &str) -> ExitCode {
    // Whoever started this and closed stderr knows no better.
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}
