//! The action's own part: what action.yml declares, what its inputs do, what it says on the page of the run.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use insta::assert_snapshot;
use jobpass::options::{ALL, Kind};

use crate::harness::{End, Job, World};

/// Settings that are no inputs: those of `run` and `scrub` are given where these are, and the others are no question here.
const NO_INPUTS: [&str; 17] = [
    // The post step revokes what its own state names; `revoke: strict` is there for `strict`, and no post step has time to wait.
    "lease",
    "lease-file",
    "all",
    "if-here",
    "strict",
    "wait-dead",
    // On GitHub the name of a lease is random, the platform is known, and outputs are how a step answers.
    "job-key",
    "platform",
    "output",
    "grace",
    "hide",
    "keep",
    "scrub-env",
    "max-lifetime",
    // Of `hold`, which no step of the action is.
    "ready",
    "until",
    "check",
];

fn action_yml() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/action.yml")).expect("there is one")
}

/// A section of action.yml.
fn section(name: &str) -> String {
    let text = action_yml();
    let (_, rest) = text.split_once(&format!("\n{name}:\n")).expect("it has such a section");
    rest.split("\n\n").next().expect("a section ends").to_owned()
}

#[test]
fn the_inputs_are_the_settings() {
    let mut expected = String::new();
    for setting in ALL.iter().filter(|setting| !NO_INPUTS.contains(&setting.name)) {
        writeln!(expected, "  {}:\n    description: '{}'", setting.name, setting.help.replace('\'', "''")).expect("a text");
    }
    // The rest are inputs of the action alone. No setting has a default there: it would win over the job's `env:`.
    let own = section("inputs").strip_prefix(&expected).expect("the settings come first, in their order, with their help").to_owned();
    assert!(own.starts_with("  revoke:\n") && own.contains("\n  export:\n"), "{own}");
    let secrets = ALL.iter().filter(|setting| setting.kind == Kind::Secret).count();
    assert_eq!(secrets, 4, "a secret that is no flag must be an input");
}

#[test]
fn the_outputs_are_those_of_request() {
    let world = World::new();
    let job = Job::github(&world);
    let docker = job.directory().join("out.docker");
    crate::harness::doors::make_directory(&docker);
    job.set("JOBPASS_REGISTRY_AUTH", docker.join("config.json"));
    job.request().succeed();
    let written: Vec<_> = crate::harness::records(&job.file_command("GITHUB_OUTPUT")).into_iter().map(|(name, _)| name).collect();
    let outputs = section("outputs");
    let mut declared: Vec<_> = outputs.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':')).collect();
    declared.sort_unstable();
    let mut written: Vec<_> = written.iter().map(String::as_str).collect();
    written.sort_unstable();
    assert_eq!(declared, written);
    job.post().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_is_to_stay_stays() {
    let world = World::new();
    let job = Job::github(&world);
    job.request().succeed();
    let token = job.token();
    let post = job.post().env("INPUT_REVOKE", "false").succeed();
    assert_snapshot!(post.said(), @"the pass of service account `NS/deploy-bot` stays, as `revoke: false` asks: it is valid until TIME");
    assert_eq!(post.requests, [""; 0]);
    assert!(world.accepts(&token));
    job.post().succeed();
    world.assert_dies(&token);
}

#[test]
fn a_revocation_that_fails_is_one_annotation_and_fails_the_job_only_where_it_is_strict() {
    for (wish, end, level) in [("true", End::Code(0), "warning"), ("strict", End::Code(1), "error"), ("nonsense", End::Code(0), "warning")]
    {
        let world = World::new();
        let job = Job::github(&world);
        job.request().succeed();
        world.take_away("delete", "secrets");
        let post = job.post().env("INPUT_REVOKE", wish).run();
        assert_eq!(post.end, end, "{}", post.transcript());
        let annotations: Vec<_> = post.stderr.lines().filter(|line| line.starts_with("::")).collect();
        assert_eq!(annotations.len(), 1, "{}", post.transcript());
        assert!(annotations[0].starts_with(&format!("::{level} title=jobpass::")), "{annotations:?}");
        assert_eq!(world.secrets().len(), 1);
    }
}

#[test]
fn a_state_that_cannot_be_read_is_one_annotation_and_fails_the_job_only_where_it_is_strict() {
    let world = World::sandbox("nothing is sent");
    let job = Job::github(&world);
    for (wish, end, level) in [("true", End::Code(0), "warning"), ("strict", End::Code(1), "error")] {
        let post = job.revoke().args(["--action", "post"]).env("STATE_lease", "{}").env("INPUT_REVOKE", wish).run();
        assert_eq!(post.end, end, "{}", post.transcript());
        let annotations: Vec<_> = post.stderr.lines().filter(|line| line.starts_with("::")).collect();
        assert_eq!(annotations.len(), 1, "{}", post.transcript());
        assert!(annotations[0].starts_with(&format!("::{level} title=jobpass::")), "{annotations:?}");
        assert!(annotations[0].contains("cannot use the state of this step"), "{annotations:?}");
    }
}

#[test]
fn without_a_pass_nothing_is_asked_and_nothing_is_left_to_revoke() {
    let world = World::new();
    let job = Job::github(&world);
    let main = job.jobpass().arg("request").args(["--action", "main"]).env("INPUT_EXPORT", "false").succeed();
    assert_snapshot!(main.said(), @"
    jobpass is on the PATH of the steps after this one, and nothing is requested here
      a step that needs a token:  shell: jobpass run -- bash -euo pipefail {0}
    ");
    assert_eq!(main.requests, [""; 0]);
    assert_eq!(job.state(), None);
    assert_eq!(job.post().succeed().said(), "nothing to revoke");
}

#[test]
fn inputs_that_cannot_take_effect_are_refused_in_the_main_step() {
    let world = World::sandbox("nothing is sent");
    for (inputs, words) in [
        (vec![("INPUT_EXPORT", "false"), ("INPUT_TTL", "15m")], "input `ttl` has no effect with `export: false`, which requests nothing"),
        (
            vec![("INPUT_EXPORT", "false"), ("INPUT_IDENTITY-TOKEN", "correct horse battery")],
            "input `identity-token` has no effect with `export: false`, which requests nothing",
        ),
        (vec![("INPUT_EXPORT", "maybe")], "input `export` is neither `true` nor `false`"),
        (vec![("INPUT_REVOKE", "maybe")], "input `revoke` is none of `true`, `false` and `strict`"),
    ] {
        let job = Job::github(&world);
        let inputs: BTreeMap<_, _> = inputs.into_iter().collect();
        let main = inputs.iter().fold(job.request().args(["--action", "main"]), |main, (name, value)| main.env(name, *value)).run();
        assert_eq!(main.end, End::Code(2), "{}", main.transcript());
        assert!(main.stderr.starts_with(&format!("::error title=jobpass::{words}")), "{}", main.transcript());
        assert_eq!(job.state(), None);
    }
    assert_eq!(world.relay().connections(), 0);
}

#[test]
fn debug_logging_says_more_and_no_secret() {
    let world = World::new();
    let job = Job::github(&world);
    job.set("RUNNER_DEBUG", "1");
    let main = job.request().args(["--action", "main"]).succeed();
    let debug: Vec<_> = main.transcript().lines().filter(|line| line.starts_with("::debug::")).collect();
    assert_eq!(debug.len(), 1, "{}", main.transcript());
    assert_snapshot!(debug[0]);
    job.post().succeed();
    job.assert_nothing_left();
}

/// A process that an earlier step has left behind writes to the file of the main step's state, while that step waits for its answer.
fn with_state_changed(job: &Job<'_>, text: &str) -> crate::harness::Ran {
    job.world.relay().hold_request(2);
    let running = job.request().args(["--action", "main"]).start();
    job.world.relay().wait_held();
    let path = job.get("GITHUB_STATE").expect("set");
    crate::harness::doors::write(path.as_ref(), &(job.file_command("GITHUB_STATE") + text));
    job.world.relay().release();
    running.wait()
}

#[test]
fn the_state_of_the_main_step_is_written_last() {
    let world = World::new();
    let job = Job::github(&world);
    let main = with_state_changed(&job, "lease={\"of\":\"another\"}\n");
    assert!(main.is_success(), "{}", main.transcript());
    let post = job.post().succeed();
    assert!(post.said().contains("revoked the pass"), "{}", post.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_state_that_the_post_step_would_not_get_is_no_pass() {
    let world = World::new();
    let job = Job::github(&world);
    // What follows is a part of that value for the runner, which then finds no end of it.
    let main = with_state_changed(&job, "x<<END\n");
    assert_eq!(main.end, End::Code(1));
    let said: Vec<_> = main.said().lines().filter(|line| !line.starts_with("::add-mask::")).map(str::to_owned).collect();
    assert_snapshot!("a_state_that_the_post_step_would_not_get", said.join("\n"));
    job.assert_nothing_left();
}
