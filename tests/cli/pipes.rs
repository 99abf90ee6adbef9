//! Pipes, devices and endless files where a file belongs: told by their kind before there is a pass, and nobody waits for them.

use std::{fs, os::unix::fs::symlink, os::unix::net::UnixListener, path::PathBuf};

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::harness::{End, Job, World, doors, random};

/// One of each kind that is no file, by name and path, with what keeps it alive.
fn kinds(job: &Job<'_>) -> (Vec<(&'static str, PathBuf)>, impl Sized + use<>) {
    let at = |name: &str| job.directory().join(name);
    for name in ["silent", "unwritten"] {
        doors::pipe(&at(name));
    }
    symlink(at("unwritten"), at("link")).expect("a link");
    symlink(at("nothing"), at("dangling")).expect("a link");
    let alive = (doors::hold_pipe(&at("silent")), UnixListener::bind(at("socket")).expect("a socket"));
    let made = ["silent", "unwritten", "link", "dangling", "socket", "home"].map(|name| (name, at(name)));
    let kinds = made.into_iter().chain([("zero", "/dev/zero".into()), ("random", "/dev/random".into())]);
    (kinds.collect(), alive)
}

#[test]
fn no_variable_makes_us_wait_for_what_is_no_file() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let (kinds, _alive) = kinds(&job);
    job.unset("KUBECONFIG");
    let mut said = Vec::new();
    for variable in ["KUBECONFIG", "JOBPASS_KUBECONFIG", "JOBPASS_IDENTITY_TOKEN_FILE", "JOBPASS_CERTIFICATE_AUTHORITY", "SSL_CERT_FILE"] {
        for (kind, path) in &kinds {
            for (verb, code) in [("request", 2), ("run", 125)] {
                let call = job.jobpass().args([verb, "-s", &world.account()]);
                let call = if verb == "run" { call.args(["--", "true"]) } else { call };
                let call = match variable {
                    "KUBECONFIG" | "JOBPASS_KUBECONFIG" => call,
                    "JOBPASS_IDENTITY_TOKEN_FILE" => call.env("JOBPASS_SERVER", world.url()),
                    _ => call.env("JOBPASS_SERVER", world.url()).env("JOBPASS_IDENTITY_TOKEN", world.identity_token()),
                };
                let ran = call.env(variable, path).run();
                assert_eq!(ran.end, End::Code(code), "{variable} {kind}\n{}", ran.transcript());
                assert_eq!(world.relay().connections(), 0, "{variable} {kind}\n{}", ran.transcript());
                job.assert_nothing_left();
                if verb == "request" && matches!(*kind, "silent" | "zero") {
                    said.push(format!("{variable}\n{}", ran.said()));
                }
            }
        }
    }
    assert_snapshot!(said.join("\n\n"));
}

#[test]
fn an_identity_in_dev_null_is_an_empty_one() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let ran = job.request().env("KUBECONFIG", "/dev/null").run();
    assert_eq!(ran.end, End::Code(2));
    assert!(ran.said().contains("it has no context at all"), "{}", ran.transcript());
}

#[test]
fn what_the_runner_or_the_user_is_to_get_goes_to_files() {
    let world = World::new();
    let job = Job::github(&world);
    let (kinds, _alive) = kinds(&job);
    let mut said = Vec::new();
    for variable in ["GITHUB_STATE", "GITHUB_OUTPUT", "GITHUB_ENV"] {
        for (kind, path) in kinds.iter().map(|(kind, path)| (*kind, path.clone())).chain([("null", "/dev/null".into())]) {
            if variable != "GITHUB_STATE" && !["silent", "zero"].contains(&kind) {
                continue;
            }
            let kept = job.get(variable).expect("set");
            job.set(variable, job.directory().join("empty"));
            doors::write(&job.directory().join("empty"), "");
            let ran = job.request().env(variable, &path).run();
            job.set(variable, kept);
            assert_eq!((ran.end, ran.requests.len()), (End::Code(1), 0), "{variable} {kind}\n{}", ran.transcript());
            job.assert_nothing_left();
            if variable == "GITHUB_STATE" {
                said.push(format!("{kind}\n{}", ran.stderr.trim_end()));
            }
        }
    }
    assert_snapshot!(world.plain(&said.join("\n\n")));
    // The summary is for people only.
    for (kind, path) in kinds.iter().filter(|(kind, _)| ["silent", "unwritten", "home"].contains(kind)) {
        let ran = job.request().env("GITHUB_STEP_SUMMARY", path).succeed();
        assert_eq!(ran.stderr.contains("warning: cannot write"), *kind != "silent", "{kind}\n{}", ran.transcript());
        job.post().succeed();
        job.new_step();
    }
    job.assert_nothing_left();
}

#[test]
fn a_receipt_goes_where_somebody_takes_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let (kinds, _alive) = kinds(&job);
    for (kind, path) in kinds.iter().filter(|(kind, _)| ["unwritten", "link", "dangling", "socket", "home"].contains(kind)) {
        let ran = job.run("true").env("JOBPASS_RECEIPT", path).run();
        assert_eq!((ran.end, ran.requests.len()), (End::Code(125), 0), "{kind}\n{}", ran.transcript());
        assert!(ran.stderr.contains("`JOBPASS_RECEIPT` names no file that takes the receipt"), "{kind}\n{}", ran.transcript());
        // The end of a pass comes first.
        job.request().succeed();
        let revoked = job.revoke().env("JOBPASS_RECEIPT", path).succeed();
        assert!(revoked.stderr.contains("warning: cannot write"), "{kind}\n{}", revoked.transcript());
        job.assert_nothing_left();
    }
    for path in ["/dev/null", "/dev/stderr", "/dev/fd/2"] {
        let ran = job.run_with(["--receipt", path], "true").succeed();
        assert_eq!(ran.stderr.contains("\"kind\":\"Receipt\""), path != "/dev/null", "{path}\n{}", ran.transcript());
    }
    let full = job.run_with(["--receipt", "/dev/full"], "exit 3").run();
    assert_eq!(full.end, End::Code(3), "{}", full.transcript());
    assert!(full.stderr.contains("no space left on device"), "{}", full.transcript());
    let strict = job.run_with(["--receipt", "/dev/full", "--strict"], "exit 3").run();
    assert_eq!(strict.end, End::Code(125), "{}", strict.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_flag_may_name_a_pipe() {
    let world = World::new();
    let job = Job::local(&world);
    job.unset("KUBECONFIG");
    let (account, url) = (world.account(), world.url());
    let kubeconfig = job.identity_file().to_string_lossy().into_owned();
    doors::write(&job.directory().join("token"), world.identity_token());
    doors::write(&job.directory().join("ca.crt"), &world.ca_pem());
    let (token, authority) = (job.directory().join("token"), job.directory().join("ca.crt"));
    let sh = |script: String| job.shell("sh", &script).succeed();
    sh(format!("cat {kubeconfig} | jobpass run -s {account} --kubeconfig /dev/stdin -- true"));
    let request = sh(format!("cat {kubeconfig} | jobpass request -s {account} --kubeconfig /dev/stdin"));
    assert_snapshot!(request.said());
    let lease = job.place().join("lease.json");
    let hidden = sh(format!("cat {} | jobpass scrub --lease-file /dev/stdin", lease.display()));
    assert_eq!(hidden.stdout, "", "what was read is not passed on");
    sh(format!("cat {kubeconfig} | jobpass revoke --kubeconfig /dev/stdin"));
    job.assert_nothing_left();
    let bearer = format!("--server {url} --certificate-authority {} --identity-token-file /dev/stdin", authority.display());
    sh(format!("cat {} | jobpass request -s {account} {bearer}", token.display()));
    let by_lease = format!("--kubeconfig {kubeconfig} --lease-file /dev/stdin");
    sh(format!("cat {} | jobpass revoke {by_lease}", job.place().join("lease.json").display()));
    job.assert_nothing_left();
    let by_authority = format!("--server {url} --identity-token-file {} --certificate-authority /dev/stdin", token.display());
    // With a byte in a comment that is no UTF-8.
    sh(format!("{{ printf '# \\344\\n'; cat {}; }} | jobpass run -s {account} {by_authority} -- true", authority.display()));
    job.assert_nothing_left();
}

#[test]
fn a_file_of_certificates_need_not_be_text() {
    let world = World::new();
    let job = Job::local(&world);
    let authority = job.directory().join("ca.crt");
    let script = format!("printf '# \\344\\n' >{0}; cat >>{0} <<'PEM'\n{1}\nPEM", authority.display(), world.ca_pem());
    job.shell("sh", &script).succeed();
    job.run_with(["--certificate-authority", &authority.to_string_lossy()], "true").succeed();
    let text = world.kubeconfig();
    let (head, rest) = text.split_once("certificate-authority-data: ").expect("there");
    let (_, rest) = rest.split_once('\n').expect("a line");
    // Beside the kubeconfig, and named from there.
    doors::write(&job.identity_file(), &format!("{head}certificate-authority: ca.crt\n{rest}"));
    job.run("true").succeed();
    // By the byte order mark of an editor of Windows.
    doors::write(&job.identity_file(), &format!("\u{feff}{text}"));
    job.run("true").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_pipe_that_nobody_writes_to_is_left_on_a_signal_and_in_time() {
    let world = World::new();
    let job = Job::local(&world);
    // Each call has a pipe of its own: our end of the former one may live on for a moment, in a process that another test is just
    // starting, and its end would be that of the next call's text.
    let new_pipe = || {
        let pipe = job.directory().join(format!("pipe-{}", random()));
        doors::pipe(&pipe);
        (pipe.to_string_lossy().into_owned(), pipe)
    };
    for flag in ["--kubeconfig", "--identity-token-file", "--certificate-authority"] {
        for (verb, code) in [("request", 1), ("run", 125)] {
            for signal in [Signal::TERM, Signal::INT] {
                let (path, pipe) = new_pipe();
                let call = job.jobpass().args([verb, "-s", &world.account(), flag, &path]);
                let call = if verb == "run" { call.args(["--", "true"]) } else { call };
                let running = call.start();
                let writer = running.reads(&pipe);
                running.signal(signal);
                let ran = running.wait();
                drop(writer);
                assert_eq!((ran.end, ran.requests.len()), (End::Code(code), 0), "{flag} {}", ran.transcript());
                assert!(ran.stderr.contains("interrupted by SIG"), "{flag} {}", ran.transcript());
            }
        }
    }
    let late = job.request().args(["--kubeconfig", &new_pipe().0, "--timeout", "1s"]).run();
    assert_eq!(late.end, End::Code(2));
    assert_snapshot!(late.said());
    job.request().succeed();
    for flag in ["--lease-file", "--kubeconfig"] {
        let (path, pipe) = new_pipe();
        let running = job.revoke().args([flag, &path]).start();
        let writer = running.reads(&pipe);
        running.signal(Signal::TERM);
        let ran = running.wait();
        drop(writer);
        assert_eq!(ran.end, End::Code(1), "{flag} {}", ran.transcript());
    }
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn no_file_of_a_pass_makes_us_wait() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let token = job.place().join("token");
    fs::remove_file(&token).expect("there");
    doors::pipe(&token);
    let _silent = doors::hold_pipe(&token);
    let required = job.jobpass().arg("require").run();
    assert_eq!(required.end, End::Code(1));
    assert!(required.said().contains("it is a pipe"), "{}", required.transcript());
    job.shell("sh", "jobpass scrub --lease \"$JOBPASS_LEASE\" </dev/null; test $? = 1").succeed();
    job.revoke().succeed();
    assert_eq!(world.secrets(), [""; 0]);
    // A lease that is none is said, and hangs nobody.
    let place = job.base().join(format!("jobpass/jobpass-{:032x}", 1));
    doors::make_directory(&place);
    doors::pipe(&place.join("lease.json"));
    let revoked = job.revoke().arg("--all").run();
    assert!(revoked.said().contains("it is no regular file of this user"), "{}", revoked.transcript());
}
