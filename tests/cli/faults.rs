//! A fault of our own: whatever panics, the pass is ended first, and its command too.

use std::{fs, path::PathBuf, thread};

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::harness::{End, Job, World, doors};

/// The process that the tests below start in the place of jobpass: the same, with a second thread that panics on a word.
#[test]
fn a_jobpass_with_a_fault() {
    let Some((pipe, arguments)) = doors::fault() else { return };
    thread::spawn(move || {
        let _ = fs::read(pipe);
        panic!("hunter2-hunter2-hunter2");
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(jobpass::run(arguments));
}

/// Where the word is given: not among the job's files, which are all read in the end.
fn pipe() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let pipe = directory.path().join("pipe");
    doors::tool("/usr/bin/mkfifo").arg(&pipe).assert().success();
    (directory, pipe)
}

/// The last word, without its place in the source.
fn last_word(said: &str) -> String {
    let place = regex::Regex::new(r"\(\w+\.rs:\d+\)").expect("a pattern");
    let line = said.lines().rfind(|line| line.starts_with("error:")).expect("it says so");
    assert!(place.is_match(line) && !said.contains("hunter2"), "{said}");
    place.replace(line, "(PLACE)").into_owned()
}

#[test]
fn a_panic_while_the_command_runs_ends_it_and_its_pass() {
    let world = World::new();
    let job = Job::local(&world);
    let (_directory, pipe) = pipe();
    let script = format!("echo $$ >pid; : >'{}'; sleep 300", pipe.display());
    let ran = job.faulty(&pipe, &["run", "-s", &world.account(), "--", "sh", "-c", &script]).run();
    assert_eq!(ran.end, End::Code(125), "{}", ran.transcript());
    assert!(!doors::is_running(fs::read_to_string(job.workspace().join("pid")).expect("written").trim()));
    assert_snapshot!(last_word(&ran.said()));
    job.assert_nothing_left();
}

#[test]
fn a_panic_while_a_pass_is_requested_ends_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let (_directory, pipe) = pipe();
    // The token exists, and nobody here has seen it.
    world.relay().hold_answer(2);
    let running = job.faulty(&pipe, &["request", "-s", &world.account()]).start();
    world.relay().wait_held();
    doors::write(&pipe, "now");
    let ran = running.wait();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert_snapshot!(last_word(&ran.said()));
    job.assert_nothing_left();
}

#[test]
fn a_panic_whose_pass_cannot_be_ended_says_until_when_it_lives() {
    let world = World::new();
    world.take_away("delete", "secrets");
    let job = Job::local(&world);
    let (_directory, pipe) = pipe();
    let script = format!(": >'{}'; sleep 300", pipe.display());
    let ran = job.faulty(&pipe, &["run", "-s", &world.account(), "--", "sh", "-c", &script]).run();
    assert_eq!(ran.end, End::Code(125), "{}", ran.transcript());
    assert_snapshot!(last_word(&ran.said()));
    assert!(!job.place().join("token").exists(), "the lease is kept for `revoke`, the secrets go");
}
