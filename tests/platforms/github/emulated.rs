//! Scenarios on a runner of our own, for what act does not do.

use std::{fs, time::Duration};

use jobpass_sandbox::Fault;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{End, World, doors, eventually, leak},
    runner::{Live, Runner, Step},
};

/// Moments of a request: the n-th question of `request`, and whether the server has answered it.
const MOMENTS: [(usize, bool); 4] = [(1, false), (1, true), (2, false), (2, true)];

/// Starts the action's main step for this world's service account.
fn start(world: &World, runner: &mut Runner, more: &[(&str, &str)]) -> Live {
    let (account, kubeconfig) = (world.account(), world.kubeconfig());
    let mut with = vec![("service-account", account.as_str()), ("identity-kubeconfig", kubeconfig.as_str())];
    with.extend(more);
    runner.start_use(&with)
}

fn main_step(world: &World, runner: &mut Runner, more: &[(&str, &str)]) -> Step {
    let live = start(world, runner, more);
    live.end(runner)
}

/// The only post step of the job.
fn post_step(runner: &mut Runner) -> Step {
    let mut posts = runner.posts();
    assert_eq!(posts.len(), 1);
    posts.remove(0)
}

/// The token that the steps after a main step have in this variable.
fn token(world: &World, runner: &Runner, variable: &str) -> String {
    let token = runner.get(variable).expect("exported").clone();
    world.secret(&token);
    token
}

/// Holds a request at this moment, and waits until it stands there.
fn started_and_held(world: &World, runner: &mut Runner, (n, answered): (usize, bool)) -> Live {
    if answered {
        world.relay().hold_answer(n);
    } else {
        world.relay().hold_request(n);
    }
    let live = start(world, runner, &[]);
    world.relay().wait_held();
    if answered {
        world.wait_for_new_request("-> 201", n);
    }
    live
}

/// What was already sent lands when it is undone, and before that is heard of: or the machine would decide which comes first.
fn land(world: &World) {
    world.wait_for_request("-> 404");
    world.relay().release();
    world.wait_for_request("/secrets -> 201");
    world.relay().release_answers();
}

/// No secret is in what the user sees, nor in the files that stay on disk and are made for no secret.
fn assert_nothing_leaks(world: &World, runner: &Runner) {
    let mut secrets = world.tokens_of_passes();
    secrets.push(world.identity_token().to_owned());
    assert_eq!(leak::find(&runner.log, &secrets), None, "in the log:\n{}", runner.log);
    let files = fs::read_dir(runner.temp().join("_runner_file_commands")).expect("the runner made it");
    for path in files.map(|entry| entry.expect("it can be read").path()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.starts_with("github_env") && !name.starts_with("github_output") {
            assert_eq!(leak::find(&fs::read_to_string(&path).expect("it stays"), &secrets), None, "in {name}");
        }
    }
}

/// Neither a lease nor a file of a pass is left.
fn assert_nothing_left(world: &World, runner: &Runner) {
    assert_eq!(world.secrets(), [""; 0], "Secrets are left");
    let places = fs::read_dir(runner.temp().join("jobpass")).map_or(0, Iterator::count);
    assert_eq!(places, 0, "files are left");
    assert_nothing_leaks(world, runner);
}

fn levels(step: &Step) -> Vec<&str> {
    step.annotations.iter().map(|(level, _)| level.as_str()).collect()
}

// A whole job.

#[test]
fn a_step_that_prints_the_token_in_every_way_shows_nothing_and_post_revokes() {
    let world = World::new();
    let mut runner = Runner::new();
    let main = main_step(&world, &mut runner, &[]).succeeded();
    let token = token(&world, &runner, "OPENSHIFT_TOKEN");
    assert_eq!(main.outputs["token"], token);
    assert_eq!(main.summary.matches("### ").count(), 1, "{}", main.summary);
    let script =
        "t=$OPENSHIFT_TOKEN; echo \"t $t\"; echo \"t $t\" >&2; printf %s \"$t\" | base64 -w 0; echo; echo \"$t\" | base64 -w 0; echo
for b in a ab; do printf %s%s $b \"$t\" | base64 -w 0; echo; done; echo \"s ${t##*.}\"; cat \"$JOBPASS_TOKEN_FILE\" \"$KUBECONFIG\"
echo \"::error::failed with $t\"; echo \"| $t |\" >>\"$GITHUB_STEP_SUMMARY\"";
    let step = runner.run(script).succeeded();
    assert!(step.log.matches("***").count() >= 9, "{}", step.log);
    assert_eq!(step.annotations, [("error".to_owned(), "failed with ***".to_owned())]);
    assert_eq!(step.summary, "| *** |\n");
    // Its own file is masked only on its way to the user.
    doors::write(step.files["GITHUB_STEP_SUMMARY"].as_ref(), "");
    let post = post_step(&mut runner).succeeded();
    assert_eq!(post.summary.matches("### ").count(), 1, "{}", post.summary);
    assert_eq!([levels(&main), levels(&post)], [[""; 0], [""; 0]]);
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn the_token_of_a_shut_down_runner_has_only_its_end() {
    let world = World::new();
    let mut runner = Runner::new();
    main_step(&world, &mut runner, &[("ttl", "10m")]).succeeded();
    let token = token(&world, &runner, "OPENSHIFT_TOKEN");
    runner.shut_down();
    assert_eq!(runner.posts().len(), 0);
    assert!(world.is_live(&token));
    assert_nothing_leaks(&world, &runner);
}

// A main step that is ended from outside.

#[test]
fn a_cancelled_main_step_ends_by_itself_and_leaves_nothing() {
    for moment in MOMENTS {
        let world = World::new();
        let mut runner = Runner::new();
        let live = started_and_held(&world, &mut runner, moment);
        let step = std::thread::scope(|scope| {
            if moment == (1, false) {
                world.relay().hold_answers_too(2);
                scope.spawn(|| land(&world));
            }
            live.cancel(&mut runner)
        });
        assert_eq!((step.end, step.sent.as_slice()), (End::Code(1), [Signal::INT].as_slice()), "{moment:?} {step:#?}");
        assert_eq!(levels(&step), ["error"], "{moment:?} {step:#?}");
        world.relay().cut();
        let post = post_step(&mut runner).succeeded();
        assert_eq!(levels(&post), [""; 0], "{moment:?} {post:#?}");
        assert_nothing_left(&world, &runner);
    }
}

#[test]
fn the_second_signal_of_a_cancellation_is_passed_on_too() {
    let world = World::new();
    let mut runner = Runner::new();
    let live = started_and_held(&world, &mut runner, (2, true));
    live.signal(Signal::TERM);
    assert_eq!(live.end(&mut runner).end, End::Code(1));
    world.relay().cut();
    assert_nothing_left(&world, &runner);
}

#[test]
fn after_a_kill_of_node_nothing_is_left_once_post_has_run() {
    for moment in MOMENTS {
        let world = World::new();
        let mut runner = Runner::new();
        let live = started_and_held(&world, &mut runner, moment);
        if moment == (1, false) {
            world.relay().hold_answers_too(2);
        }
        live.signal(Signal::KILL);
        if moment == (1, false) {
            land(&world);
        }
        let step = live.end(&mut runner);
        assert_eq!(step.end, End::Signal(9));
        // Its child has heard of its death, and undoes what there is.
        eventually("nothing is left", || world.secrets().is_empty());
        world.relay().cut();
        post_step(&mut runner).succeeded();
        assert_nothing_left(&world, &runner);
    }
}

#[test]
fn after_a_kill_of_everything_post_revokes() {
    for moment in MOMENTS {
        let world = World::new();
        let mut runner = Runner::new();
        let live = started_and_held(&world, &mut runner, moment);
        live.kill_all();
        assert_eq!(live.end(&mut runner).end, End::Signal(9));
        world.relay().cut();
        assert_eq!(world.secrets().len(), usize::from(moment != (1, false)), "{moment:?}");
        assert!(runner.get("OPENSHIFT_TOKEN").is_none(), "nothing was exported");
        let post = post_step(&mut runner).succeeded();
        assert!(post.log.contains("revoked the pass"), "{moment:?} {post:#?}");
        assert_nothing_left(&world, &runner);
    }
}

// A post step that cannot do it, or is not to.

#[test]
fn a_server_that_never_answers_costs_ten_seconds_and_a_warning() {
    let world = World::sandbox("a real server has no script of faults");
    let mut runner = Runner::new();
    // Longer than a post step may take, whose share of the job's end it is not.
    main_step(&world, &mut runner, &[("timeout", "60s")]).succeeded();
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").hang().always());
    let post = post_step(&mut runner).succeeded();
    // Beside what node takes to begin; the time that was asked for is a minute.
    assert!(post.took < Duration::from_secs(30), "{:?}", post.took);
    assert_eq!(levels(&post), ["warning"], "{post:#?}");
    assert!(post.annotations[0].1.contains("stays valid until"), "{post:#?}");
    assert_nothing_leaks(&world, &runner);
}

#[test]
fn a_strict_post_step_fails_the_job_with_one_annotation() {
    let world = World::sandbox("a real server has no script of faults");
    let mut runner = Runner::new();
    main_step(&world, &mut runner, &[("revoke", "strict")]).succeeded();
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, json!({"kind": "Status", "code": 403, "message": "no"})).always());
    let post = post_step(&mut runner);
    assert_eq!(post.end, End::Code(1), "{post:#?}");
    assert_eq!(levels(&post), ["error"], "{post:#?}");
    assert_nothing_leaks(&world, &runner);
}

#[test]
fn a_pass_that_is_not_to_be_revoked_stays_and_post_says_until_when() {
    let world = World::new();
    let mut runner = Runner::new();
    let main = main_step(&world, &mut runner, &[("revoke", "false"), ("ttl", "10m")]).succeeded();
    let token = token(&world, &runner, "OPENSHIFT_TOKEN");
    let post = post_step(&mut runner).succeeded();
    // The API server's minute of leeway and its cache are part of a token's life.
    let ends: jiff::Timestamp = main.outputs["expires-at"].parse().expect("a time");
    let last = ends.saturating_add(jiff::SignedDuration::from_secs(70)).expect("a time");
    assert!(post.log.contains(&format!("valid until {last}")), "{post:#?}");
    assert!(world.is_live(&token));
    assert_nothing_leaks(&world, &runner);
}

#[test]
fn an_action_that_only_installs_requests_nothing() {
    let world = World::new();
    let mut runner = Runner::new();
    runner.uses(&[("export", "false")]).succeeded();
    runner.run("command -v jobpass").succeeded();
    let post = post_step(&mut runner).succeeded();
    assert!(post.log.ends_with("nothing to revoke\n") && post.summary.is_empty(), "{post:#?}");
    assert_eq!(world.requests(), [""; 0]);
}

// Foreign words.

fn foreign() -> serde_json::Value {
    let message = "no\r\n::set-output name=token::spoof\n##[save-state name=lease]evil ##[add-mask]harmless ::add-mask::harmless\n\
                   ::add-mask::harmless\r::save-state name=lease::evil\n%0A::add-mask::harmless%0D\n::stop-commands::x\u{1b}[2K\u{202e}";
    json!({"kind": "Status", "code": 403, "message": message})
}

/// The words were said, and did nothing; what is masked stays so.
fn assert_only_words(world: &World, runner: &mut Runner, step: &Step) {
    assert!(step.log.contains("name=token"), "{step:#?}");
    assert!(!step.log.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{step:#?}");
    assert!(step.outputs.get("token").is_none_or(|token| token != "spoof"), "{step:#?}");
    assert!(runner.uses[0].1.values().all(|state| state != "evil"), "{:?}", runner.uses);
    assert_eq!(step.annotations.len(), 1, "{step:#?}");
    let next = runner.run(&format!("echo harmless; echo '{}'", world.identity_token())).succeeded();
    assert_eq!(next.log, "harmless\n***\n");
    assert_nothing_leaks(world, runner);
}

#[test]
fn a_servers_words_are_no_commands_in_main() {
    let world = World::sandbox("a real server has no script of faults");
    let mut runner = Runner::new();
    world.on_sandbox().fault(Fault::on("POST", "/secrets").answer(403, foreign()).always());
    let main = main_step(&world, &mut runner, &[]);
    assert_eq!(main.end, End::Code(1));
    assert_only_words(&world, &mut runner, &main);
    let post = post_step(&mut runner).succeeded();
    assert!(post.log.ends_with("nothing to revoke\n"), "{post:#?}");
}

#[test]
fn a_servers_words_are_no_commands_in_post() {
    let world = World::sandbox("a real server has no script of faults");
    let mut runner = Runner::new();
    main_step(&world, &mut runner, &[]).succeeded();
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, foreign()).always());
    let post = post_step(&mut runner).succeeded();
    assert_only_words(&world, &mut runner, &post);
}

// A step whose shell is jobpass.

const SHELL: &str = "jobpass run -- bash -euo pipefail {0}";
const WAIT: &str = "for ((i = 0; i < 200; i++)); do sleep 0.1; done";

/// A job with jobpass on the PATH, and its settings in `env:`.
fn installed(world: &World) -> Runner {
    let mut runner = Runner::new();
    runner.uses(&[("export", "false")]).succeeded();
    runner.set("JOBPASS_SERVICE_ACCOUNT", &world.account());
    runner.set("JOBPASS_IDENTITY_KUBECONFIG", &world.kubeconfig());
    runner
}

/// Starts a script that keeps its token in a file, and waits until it says so.
fn started_under_jobpass(world: &World, runner: &mut Runner, script: &str) -> (Live, String) {
    let copy = runner.temp().join("copy");
    let script = format!("cat \"$JOBPASS_TOKEN_FILE\" >{}\n{script}", copy.display());
    let live = runner.start_run(SHELL, &script);
    live.said("ready");
    let token = fs::read_to_string(copy).expect("written");
    world.secret(&token);
    (live, token)
}

#[test]
fn a_shell_under_jobpass_has_the_token_and_cannot_show_it() {
    let world = World::new();
    let mut runner = installed(&world);
    let script = "t=$(cat \"$JOBPASS_TOKEN_FILE\"); echo \"t $t\"; echo \"$t\" | base64; echo \"${t##*.}\" >&2; echo ready; exit 7";
    let (live, token) = started_under_jobpass(&world, &mut runner, script);
    let step = live.end(&mut runner);
    assert_eq!(step.end, End::Code(7), "{step:#?}");
    assert!(step.log.contains("t ***\n"), "{step:#?}");
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn a_cancellation_reaches_the_script_once_and_the_token_dies_before_term() {
    let world = World::new();
    let mut runner = installed(&world);
    let script = format!("trap 'echo INT >>ints; exit 3' INT; echo ready; {WAIT}");
    let (live, token) = started_under_jobpass(&world, &mut runner, &script);
    let step = live.cancel(&mut runner);
    assert_eq!((step.end, step.sent.as_slice()), (End::Code(3), [Signal::INT].as_slice()), "{step:#?}");
    assert_eq!(fs::read_to_string(runner.workspace().join("ints")).expect("written"), "INT\n");
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn a_script_that_does_not_listen_loses_its_token_before_term() {
    let world = World::new();
    let mut runner = installed(&world);
    let (live, token) = started_under_jobpass(&world, &mut runner, &format!("trap '' INT TERM; echo ready; {WAIT}"));
    let before = world.relay().requests();
    let step = std::thread::scope(|scope| {
        // When it is sent: how long the server then takes is its own matter.
        scope.spawn(|| crate::harness::within(Duration::from_millis(6500), "the DELETE", || world.relay().requests() > before));
        live.cancel(&mut runner)
    });
    assert_eq!(step.sent, [Signal::INT], "{step:#?}");
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn after_a_kill_of_the_shell_a_later_step_revokes() {
    let world = World::new();
    let mut runner = installed(&world);
    let (live, token) = started_under_jobpass(&world, &mut runner, &format!("echo ready; {WAIT}"));
    live.signal(Signal::KILL);
    assert_eq!(live.end(&mut runner).end, End::Signal(9));
    assert_eq!(world.secrets().len(), 1);
    runner.run("jobpass revoke").succeeded();
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

// Several uses, and others in the job.

#[test]
fn two_uses_have_a_pass_each_and_end_the_last_one_first() {
    let world = World::new();
    let mut runner = Runner::new();
    let uses = ["TOKEN_A", "TOKEN_B"].map(|variable| main_step(&world, &mut runner, &[("variable", variable)]).succeeded());
    let tokens = ["TOKEN_A", "TOKEN_B"].map(|variable| token(&world, &runner, variable));
    assert_ne!(tokens[0], tokens[1]);
    for (number, post) in [1, 0].into_iter().zip(runner.posts()) {
        assert!(post.succeeded().log.contains(&format!("lease `{}`", jobpass::name::short(&uses[number].outputs["lease"]))));
    }
    for token in tokens {
        world.assert_dies(&token);
    }
    assert_nothing_left(&world, &runner);
}

#[test]
fn a_hostile_step_does_not_change_which_pass_post_ends() {
    let world = World::new();
    let (mut other, mut runner) = (Runner::new(), Runner::new());
    main_step(&world, &mut other, &[]).succeeded();
    let others = token(&world, &other, "OPENSHIFT_TOKEN");
    main_step(&world, &mut runner, &[]).succeeded();
    let ours = token(&world, &runner, "OPENSHIFT_TOKEN");
    let (lease, state) = (other.get("JOBPASS_LEASE").expect("exported"), &other.uses[0].1["lease"]);
    let directory = other.temp();
    let hostile = format!(
        "echo 'lease={state}' >>\"$GITHUB_STATE\"; echo '::save-state name=lease::{state}'
{{ echo 'STATE_lease={state}'; echo 'JOBPASS_LEASE={lease}'; echo 'JOBPASS_LEASE_FILE={0}/jobpass/{1}/lease.json'
   echo 'JOBPASS_ALL=true'; echo 'JOBPASS_JOB_KEY=x'; echo 'JOBPASS_ACTION=main'; echo 'INPUT_REVOKE=false'
   echo 'RUNNER_TEMP={0}'; echo 'JOBPASS_PLATFORM=local'; echo 'JOBPASS_NAMESPACE=other'; echo 'JOBPASS_SERVICE_ACCOUNT=a/b'; }} >>\"$GITHUB_ENV\"",
        directory.display(),
        lease.rsplit('/').next().expect("a name"),
    );
    runner.run(&hostile).succeeded();
    assert_eq!(runner.get("STATE_lease"), Some(state), "the runner takes it");

    post_step(&mut runner).succeeded();
    world.assert_dies(&ours);
    assert!(world.is_live(&others), "the other job's pass is none of ours");
    post_step(&mut other).succeeded();
    assert_nothing_left(&world, &other);
    assert_nothing_left(&world, &runner);
}

/// A later step that sets these variables of the job.
fn set_by_a_step(runner: &mut Runner, variables: &[(&str, &str)]) {
    let lines: Vec<_> = variables.iter().map(|(name, value)| format!("echo '{name}={value}' >>\"$GITHUB_ENV\"")).collect();
    runner.run(&lines.join("\n")).succeeded();
}

#[test]
fn settings_that_a_hostile_step_leaves_behind_do_not_keep_post_from_its_work() {
    let settings = [
        ("JOBPASS_TIMEOUT", "never"),
        ("JOBPASS_RECEIPT", "/nowhere/receipt"),
        ("JOBPASS_WAIT_DEAD", "true"),
        ("JOBPASS_OUTPUT", "json"),
        ("JOBPASS_IDENTITY_KUBECONFIG", "none"),
        ("JOBPASS_PLATFORM", "local"),
        ("KUBECONFIG", "/nowhere"),
        ("GITHUB_ACTIONS", "false"),
        ("GITHUB_RUN_ID", "1"),
    ];
    let world = World::new();
    let mut runner = Runner::new();
    main_step(&world, &mut runner, &[]).succeeded();
    let token = token(&world, &runner, "OPENSHIFT_TOKEN");
    set_by_a_step(&mut runner, &settings);
    post_step(&mut runner).succeeded();
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn inputs_that_have_changed_since_main_do_not_keep_post_from_its_work() {
    let world = World::new();
    let mut runner = Runner::new();
    main_step(&world, &mut runner, &[]).succeeded();
    let token = token(&world, &runner, "OPENSHIFT_TOKEN");
    // The runner evaluates them anew, in what the steps between have made of the job's variables.
    for (name, value) in [
        ("service-account", "other/other"),
        ("ttl", "long"),
        ("variable", "PATH"),
        ("timeout", "never"),
        ("revoke", "perhaps"),
        ("export", "false"),
    ] {
        runner.uses[0].0.insert(name.to_owned(), value.to_owned());
    }
    post_step(&mut runner).succeeded();
    world.assert_dies(&token);
    assert_nothing_left(&world, &runner);
}

#[test]
fn a_connection_that_a_hostile_step_leaves_behind_does_not_keep_post_from_its_work() {
    for (name, value) in [
        ("JOBPASS_SERVER", "https://127.0.0.1:1"),
        ("JOBPASS_CERTIFICATE_AUTHORITY", "/nowhere"),
        ("JOBPASS_KUBECONFIG", "/nowhere"),
        ("JOBPASS_CONTEXT", "none"),
        ("JOBPASS_IDENTITY_TOKEN", "none"),
        ("JOBPASS_IDENTITY_TOKEN_FILE", "/nowhere"),
        ("JOBPASS_DIR", "/nowhere"),
    ] {
        let world = World::new();
        let mut runner = Runner::new();
        main_step(&world, &mut runner, &[]).succeeded();
        set_by_a_step(&mut runner, &[(name, value)]);
        let post = post_step(&mut runner).succeeded();
        assert_eq!(levels(&post), [""; 0], "{name} {post:#?}");
        assert_nothing_left(&world, &runner);
    }
}

#[test]
fn a_main_step_that_came_to_nothing_has_no_state_but_the_runners() {
    let world = World::new();
    let (mut other, mut runner) = (Runner::new(), Runner::new());
    main_step(&world, &mut other, &[]).succeeded();
    let others = token(&world, &other, "OPENSHIFT_TOKEN");
    assert_eq!(main_step(&world, &mut runner, &[("ttl", "1s")]).end, End::Code(2));
    set_by_a_step(&mut runner, &[("STATE_lease", &other.uses[0].1["lease"])]);
    post_step(&mut runner);
    assert!(world.is_live(&others), "the other job's pass is none of ours");
}

// The shim.

/// The name of this system's directory under `bin/`.
fn system() -> String {
    format!("linux-{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" })
}

/// Puts an executable where a release has it. By another process: one that we write ourselves another test's child may hold open.
fn release(runner: &Runner, text: &str) {
    let (source, target) = (runner.temp().join("source"), runner.tree().join("bin").join(system()).join("jobpass"));
    doors::write(&source, text);
    doors::tool("/usr/bin/install").args(["-D", "-m", "755"]).arg(&source).arg(&target).assert().success();
}

/// Writes the SHA-256 of a text into the shim's table.
fn list(runner: &Runner, text: &str) {
    let path = runner.tree().join("github/shim.js");
    let digest = jobpass::name::hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    let shim = fs::read_to_string(&path).expect("the action is there");
    let (before, rest) = shim.split_once("const RELEASED = {").expect("the table");
    let (_, after) = rest.split_once("};").expect("the table's end");
    doors::write(&path, &format!("{before}const RELEASED = {{'{}': '{digest}'}};{after}", system()));
}

/// A main step that does not begin says so once, and its post step says nothing.
fn assert_refused(runner: &mut Runner, words: &str) {
    let main = runner.uses(&[]);
    assert_eq!((main.end, levels(&main)), (End::Code(1), vec!["error"]), "{main:#?}");
    assert!(main.annotations[0].1.contains(words), "{main:#?}");
    let post = runner.post(runner.uses.len() - 1).succeeded();
    assert_eq!((post.log.as_str(), post.summary.as_str()), ("", ""));
}

const SCRIPT: &str = "#!/bin/sh\necho \"$1 $3\"\nexit 7\n";

#[test]
fn a_tree_without_a_binary_says_what_to_do() {
    let mut runner = Runner::new();
    fs::remove_file(runner.tree().join("target/release/jobpass")).expect("it was there");
    assert_refused(&mut runner, "use a release, or run `cargo build --release --no-default-features`");
}

#[test]
fn a_binary_that_no_table_lists_is_refused() {
    let mut runner = Runner::new();
    release(&runner, SCRIPT);
    assert_refused(&mut runner, "is not in the table");
}

#[test]
fn a_released_binary_runs_and_its_exit_code_is_the_steps() {
    let mut runner = Runner::new();
    release(&runner, SCRIPT);
    list(&runner, SCRIPT);
    let main = runner.uses(&[]);
    assert_eq!((main.end, main.log.as_str()), (End::Code(7), "request main\n"), "{main:#?}");
    let post = post_step(&mut runner);
    assert_eq!((post.end, post.log.as_str()), (End::Code(7), "revoke post\n"), "{post:#?}");
    let found = runner.run("command -v jobpass").succeeded();
    assert!(found.log.contains(&format!("bin/{}/jobpass", system())), "{found:#?}");
}

#[test]
fn a_changed_byte_is_refused() {
    let mut runner = Runner::new();
    release(&runner, &SCRIPT.replace('7', "8"));
    list(&runner, SCRIPT);
    assert_refused(&mut runner, "is not the file that was released");
}

#[test]
fn a_system_that_a_release_does_not_have_is_named() {
    let mut runner = Runner::new();
    list(&runner, SCRIPT);
    let path = runner.tree().join("github/shim.js");
    let shim = fs::read_to_string(&path).expect("the action is there");
    doors::write(&path, &shim.replace(&format!("'{}'", system()), "'plan9-mips'"));
    assert_refused(&mut runner, "only for plan9-mips");
}

#[test]
fn a_binary_that_a_signal_ends_has_the_shells_exit_code() {
    let mut runner = Runner::new();
    let script = "#!/bin/sh\nkill -TERM $$\n";
    release(&runner, script);
    list(&runner, script);
    assert_eq!(runner.uses(&[]).end, End::Code(143));
}

#[test]
fn a_runner_without_a_path_file_is_no_reason_to_fail() {
    let mut runner = Runner::new();
    runner.lacks = "GITHUB_PATH";
    runner.uses(&[("export", "false")]).succeeded();
}
