//! How a call ended and what it left: output, requests, files. Every one of them is swept for secrets.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::Output,
};

use assert_cmd::assert::{Assert, OutputAssertExt as _};

use super::{
    Job,
    job::{FILE_COMMANDS, On},
    leak,
};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A call that has ended.
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// All that it wrote to stdout.
    pub stdout: String,
    /// All that it wrote to stderr.
    pub stderr: String,
    /// jobpass's requests during the call.
    pub requests: Vec<String>,
    output: Output,
    transcript: String,
}

impl Ran {
    pub(super) fn of(job: &Job<'_>, shown: &str, output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all output is UTF-8");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let end = output.status.code().map_or_else(|| End::Signal(output.status.signal().unwrap_or_default()), End::Code);
        learn(job);
        let requests = job.world.new_requests();
        sweep(job, &stdout, &stderr);
        let mut ran = Self { end, stdout, stderr, requests, output, transcript: String::new() };
        ran.transcript = ran.describe(job, shown);
        ran
    }

    /// Whether it ended by itself with exit code 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Code(0)
    }

    /// What may be asserted of it; a failure shows the transcript.
    pub fn assert(&self) -> Assert {
        self.output.clone().assert().append_context("transcript", self.transcript.clone())
    }

    /// Everything that is seen of the call, with words in the place of what differs from run to run.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// What was said to the person who reads the log, with the words of the transcript.
    pub fn said(&self) -> String {
        let part = |head: &str| {
            let (_, rest) = self.transcript.split_once(head)?;
            let end = rest.find("\n--- ").unwrap_or(rest.len());
            Some(rest[..end].trim_end().to_owned())
        };
        [part("--- stdout\n"), part("--- stderr\n")].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    fn describe(&self, job: &Job<'_>, shown: &str) -> String {
        let mut text = format!("$ {shown}\n");
        match self.end {
            End::Code(code) => writeln!(text, "exit {code}"),
            End::Signal(signal) => writeln!(text, "killed by signal {signal}"),
        }
        .expect("a text can be written to");
        let mut part = |head: &str, body: &str| {
            if !body.is_empty() {
                write!(text, "--- {head}\n{}\n", body.trim_end_matches('\n')).expect("a text can be written to");
            }
        };
        part("stdout", &self.stdout);
        part("stderr", &self.stderr);
        part("requests", &self.requests.join("\n"));
        for name in FILE_COMMANDS {
            part(name, &job.file_command(name));
        }
        let made: Vec<_> = job.files().iter().filter_map(|path| shown_file(path)).collect();
        part("files", &made.join("\n"));
        job.world.names().plain(text.trim_end())
    }
}

/// A file of ours with its mode; what the harness itself made is not shown.
fn shown_file(path: &Path) -> Option<String> {
    let ours = path.components().any(|part| part.as_os_str() == "jobpass" || part.as_os_str() == "out.docker")
        || path.file_name()?.to_str()?.starts_with("out");
    let mode = fs::symlink_metadata(path).ok()?.permissions().mode() & 0o7777;
    ours.then(|| format!("{} {mode:04o}", path.display()))
}

/// From now on the tokens of the passes that are here count as secrets, and have names.
fn learn(job: &Job<'_>) {
    job.world.learn_of_jobs();
    let of_files = job.files().into_iter().filter(|path| path.ends_with("token") && path.parent().is_some_and(is_place));
    let tokens: Vec<_> =
        of_files.filter(|path| path.is_file()).filter_map(|path| fs::read_to_string(path).ok()).chain(job.world.issued()).collect();
    for token in tokens {
        let mut known = job.world.secrets_known();
        if !known.contains(&token) {
            known.push(token.clone());
        }
        drop(known);
        job.world.names().token(&token, None);
    }
}

fn is_place(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jobpass-"))
}

/// No secret is anywhere but where it must be.
fn sweep(job: &Job<'_>, stdout: &str, stderr: &str) {
    let secrets = job.world.secrets_known().clone();
    let masked = |text: &str| text.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n");
    // Only a runner takes these lines out, and only of stderr, which nothing in a script takes from it.
    let stderr = match job.on() {
        On::Github => masked(stderr),
        On::Gitlab | On::Tekton | On::Local if job.may_mask() => masked(stderr),
        On::Gitlab | On::Tekton | On::Local => stderr.to_owned(),
    };
    assert_eq!(leak::find(stdout, &secrets), None, "a secret on stdout");
    assert_eq!(leak::find(&stderr, &secrets), None, "a secret on stderr");
    for path in job.files() {
        // A pipe of a scenario would be waited for.
        // What a link leads to is looked at where it is: `hold` shows the files of its pass by links.
        if is_made_for_secrets(job, &path) || !path.is_file() || path.is_symlink() {
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        let found = leak::find(&String::from_utf8_lossy(&content), &secrets);
        assert_eq!(found, None, "a secret in {}", path.display());
        let name = path.to_string_lossy().into_owned();
        assert_eq!(leak::find(&name, &secrets), None, "a secret in a file's name");
    }
}

/// The places of a job where a token belongs. The lease and the env file are none.
fn is_made_for_secrets(job: &Job<'_>, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_of_pass = path.parent().is_some_and(is_place) && ["token", "kubeconfig", "curlrc"].contains(&&*name);
    let is_named = name.starts_with("out.kubeconfig") || path.parent().is_some_and(|parent| parent.ends_with("out.docker"));
    let is_runners = name.starts_with("GITHUB_ENV") || name.starts_with("GITHUB_OUTPUT");
    let of_identity = ["identity.mount", ".kube"].iter().any(|directory| path.parent().is_some_and(|parent| parent.ends_with(directory)));
    let is_the_identitys = path.parent() == Some(job.directory()) && (name == "token" || name.starts_with("identity."));
    is_of_pass || is_named || is_runners || is_the_identitys || of_identity
}
