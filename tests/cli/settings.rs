//! Variables that are no good, mistyped, or set by a step of the job that wants the pass to live on.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt as _};

use insta::assert_snapshot;
use jobpass::options::{ALL, Setting};

use crate::harness::{End, Job, Ran, World, doors};

/// Texts whose form is none of any setting's, or of none that takes one line.
fn forms() -> [(&'static str, OsString); 3] {
    [("a control character", b"a\x07b".to_vec()), ("no text", b"a\xffb".to_vec()), ("a line break", b"a\n\x07b".to_vec())]
        .map(|(name, bytes)| (name, OsString::from_vec(bytes)))
}

fn code(ran: &Ran, code: i32) {
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
}

/// A job whose identity is named by no setting of ours.
fn job(world: &World) -> Job<'_> {
    let job = Job::gitlab(world);
    job.unset("JOBPASS_KUBECONFIG");
    job.set("KUBECONFIG", job.identity_file());
    job
}

#[test]
fn request_refuses_what_it_reads_before_anything_is_sent_and_nothing_else() {
    // Read by `run`, `hold`, `revoke` or `scrub` alone.
    const OTHERS: [&str; 11] =
        ["lease", "lease-file", "receipt", "grace", "hide", "keep", "scrub-env", "max-lifetime", "ready", "until", "check"];
    let world = World::sandbox("nothing is sent");
    let job = job(&world);
    for (form, value) in forms() {
        for setting in ALL.iter().filter(|setting| !OTHERS.contains(&setting.name) && setting.name != "service-account") {
            let secret_text = setting.kind == jobpass::options::Kind::Secret && form != "no text";
            if secret_text {
                continue;
            }
            let ran = job.request().env(&setting.variable(), value.clone()).run();
            code(&ran, 2);
            assert!(ran.said().starts_with(&format!("error: `{}` ", setting.variable())), "{form}: {}", ran.said());
        }
    }
    let long = job.request().env("JOBPASS_DIR", "a".repeat(100_000)).run();
    assert_eq!(long.said(), "error: `JOBPASS_DIR` is longer than 4096 bytes");
    assert_eq!(world.relay().connections(), 0);
    let others = OTHERS.iter().filter_map(|name| ALL.iter().find(|setting| setting.name == *name));
    let unread = others.fold(job.request(), |request, setting| request.env(&setting.variable(), "a\n\x07b"));
    unread.succeed();
    let blank = ALL.iter().fold(job.request(), |request, setting| request.env(&setting.variable(), ["", " "][setting.name.len() % 2]));
    blank.succeed();
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn the_other_verbs_refuse_what_they_read_and_nothing_else() {
    let world = World::sandbox("nothing is sent");
    let job = job(&world);
    for (form, value) in forms() {
        let run = job.run("echo begun").env("JOBPASS_GRACE", value.clone()).run();
        code(&run, 125);
        assert!(run.said().starts_with("error: `JOBPASS_GRACE` "), "{form}: {}", run.said());
        let require = |name: &str| job.jobpass().arg("require").env(name, value.clone()).run();
        code(&require("JOBPASS_SERVICE_ACCOUNT"), 2);
        assert!(require("JOBPASS_TTL").said().starts_with("error: this job has no pass"));
        let scrub = |name: &str| job.jobpass().args(["scrub", "--scrub-env", "PATH"]).env(name, value.clone()).run();
        code(&scrub("JOBPASS_DIR"), 2);
        code(&scrub("JOBPASS_TTL"), 0);
    }
}

/// Ends a pass although these variables are set so.
fn ended_in_spite_of(job: &Job<'_>, world: &World, what: &str, variables: &[(String, OsString)]) -> String {
    job.request().succeed();
    let token = job.token();
    let revoke = variables.iter().fold(job.revoke(), |revoke, (name, value)| revoke.env(name, value.clone()));
    let ran = revoke.run();
    code(&ran, 0);
    assert!(ran.said().contains("revoked the pass"), "{what}: {}", ran.transcript());
    world.assert_dies(&token);
    job.assert_nothing_left();
    ran.said()
}

fn set(setting: &Setting, value: impl Into<OsString>) -> (String, OsString) {
    (setting.variable(), value.into())
}

#[test]
fn each_setting_that_is_nonsense_keeps_no_pass_alive() {
    let world = World::new();
    let job = job(&world);
    let mut said = Vec::new();
    for setting in ALL {
        let ran = ended_in_spite_of(&job, &world, setting.name, &[set(setting, "no such thing!")]);
        said.extend(ran.lines().filter(|line| line.starts_with("warning")).map(str::to_owned));
    }
    assert_snapshot!(said.join("\n"));
}

#[test]
fn all_settings_that_are_no_good_keep_no_pass_alive() {
    let world = World::new();
    let job = job(&world);
    let others = [("nonsense", "no such thing!".into()), ("long", "a".repeat(5000).into()), ("empty", "".into()), ("blank", "  ".into())];
    for (form, value) in forms().into_iter().chain(others) {
        let all: Vec<_> = ALL.iter().map(|setting| set(setting, value.clone())).collect();
        let said = ended_in_spite_of(&job, &world, form, &all);
        if form == "a line break" {
            assert_snapshot!(said);
        }
    }
}

#[test]
fn a_post_step_goes_on_without_an_input_that_has_become_nonsense() {
    let world = World::new();
    let job = Job::github(&world);
    job.request().args(["--action", "main"]).succeed();
    let token = job.token();
    let post = job.post().env("INPUT_TIMEOUT", "a\nb").env("JOBPASS_RECEIPT", "a\nb").env("JOBPASS_TTL", "a\nb").succeed();
    assert_snapshot!(post.said());
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn a_mistyped_name_is_warned_of_with_the_one_that_was_meant() {
    let world = World::new();
    let job = job(&world);
    job.set("JOBPASS_SERVICE_ACOUNT", "ci/hunter2");
    job.set("JOBPASS_server", "https://hunter2.example");
    job.set("JOBPASS_POD_UID", "x");
    let request = job.request().succeed();
    let warnings: Vec<_> = request.said().lines().filter(|line| line.starts_with("warning")).map(str::to_owned).collect();
    assert_snapshot!(warnings.join("\n"));
    let revoke = job.revoke().succeed();
    assert!(!revoke.said().contains("warning"), "{}", revoke.transcript());
    job.assert_nothing_left();
}

/// What a step can set for those after it.
fn hostile(job: &Job<'_>) {
    let elsewhere = job.directory().join("elsewhere");
    for (name, value) in [
        ("JOBPASS_ACTION", "post"),
        ("JOBPASS_DIR", &*elsewhere.to_string_lossy()),
        ("JOBPASS_JOB_KEY", "another"),
        ("JOBPASS_NAMESPACE", "other"),
        ("JOBPASS_SERVICE_ACCOUNT", "other/one"),
        ("JOBPASS_IF_HERE", "true"),
        ("JOBPASS_LEASE_FILE", "/nowhere/lease.json"),
    ] {
        job.set(name, value);
    }
}

#[test]
fn a_variable_takes_no_place_and_no_key_away() {
    let world = World::new();
    for (job, platform) in [(Job::github(&world), "local"), (Job::gitlab(&world), "github"), (Job::local(&world), "gitlab")] {
        job.request().succeed();
        let token = job.token();
        hostile(&job);
        job.set("JOBPASS_PLATFORM", platform);
        let ran = job.revoke().run();
        assert!(ran.said().contains("dead:"), "{}", ran.transcript());
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_flag_beats_every_variable() {
    let world = World::new();
    for job in [Job::github(&world), Job::gitlab(&world), Job::local(&world)] {
        job.request().succeed();
        let (token, lease) = (job.token(), format!("{}/{}", world.namespace(), job.lease()));
        hostile(&job);
        job.set("JOBPASS_STRICT", "false");
        job.set("JOBPASS_ALL", "true");
        let ran = job.revoke().args(["--strict", "--lease", &lease]).succeed();
        assert!(ran.said().contains("dead:"), "{}", ran.transcript());
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_pass_in_a_directory_whose_variable_is_lost_is_found() {
    let world = World::new();
    for job in [Job::github(&world), Job::gitlab(&world), Job::local(&world)] {
        let elsewhere = job.directory().join("elsewhere");
        job.request().env("JOBPASS_DIR", &elsewhere).succeed();
        assert!(job.places().is_empty(), "it is elsewhere");
        let ran = job.revoke().succeed();
        assert!(ran.said().contains("dead:"), "{}", ran.transcript());
        assert!(!elsewhere.join("jobpass").exists());
        job.assert_nothing_left();
    }
}

#[test]
fn a_pass_whose_directory_is_gone_is_not_taken_for_none() {
    let world = World::new();
    let mut said = Vec::new();
    for job in [Job::github(&world), Job::local(&world)] {
        job.request().succeed();
        let lease = format!("{}/{}", world.namespace(), job.lease());
        fs::remove_dir_all(job.place()).expect("a step does so");
        let ran = job.revoke().run();
        said.push(ran.said());
        code(&job.revoke().arg("--strict").run(), 1);
        assert_eq!(world.secrets().len(), 1, "nobody knows more than that there was one");
        job.revoke().args(["--lease", &lease]).succeed();
        job.assert_nothing_left();
        assert!(job.revoke().succeed().said().starts_with("nothing to revoke: no pass "));
    }
    assert_snapshot!(said.join("\n"));
}

#[test]
fn a_pass_whose_directory_is_gone_is_ended_where_its_name_is_known() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let token = job.token();
    fs::remove_dir_all(job.base().join("jobpass")).expect("a step does so");
    // A mark of another job is none of ours, whatever it says.
    let other = job.base().join(format!("jobpass-{:032x}.mark", 1));
    doors::write(&other, r#"{"apiVersion":"jobpass.dev/v1","kind":"Mark"}"#);
    job.revoke().arg("--strict").succeed();
    world.assert_dies(&token);
    fs::remove_file(other).expect("it is let alone");
    job.assert_nothing_left();
}
