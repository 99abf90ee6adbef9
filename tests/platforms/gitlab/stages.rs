//! The template in the stages of each executor: success, failure, cancellation, timeouts, and what the log holds then.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    harness::{End, World, doors, leak, pages},
    runner::{Ended, Executor, Job, Lines, TABLE, Volume, executor, files, hidden, quoted},
    shared::requests,
};

mod binary;
mod ended;
mod issued;
mod log;
mod several;

/// How a job uses the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `.jobpass-run`: the script's commands run under `jobpass run --`.
    Wrapper,
    /// `.jobpass`: the whole script has the token.
    Template,
}

const FORMS: [Form; 2] = [Form::Wrapper, Form::Template];

/// The requests of a pass that nobody has used: the proof's question finds its token dead.
const UNUSED: [&str; 4] = [CREATE, TOKEN, "DELETE secrets/LEASE-1 -> 200", "POST selfsubjectreviews -> 401"];
const CREATE: &str = "POST secrets -> 201";
const TOKEN: &str = "POST serviceaccounts/deploy-bot/token -> 201";

/// What an `after_script` that finds nothing to do adds to the log: the first lines of its two items, which the runner prints.
const NOTHING: &str = "\n$ if ! command -v jobpass >/dev/null 2>&1; then # collapsed multi-line command
$ # jobpass: a pass that is left is ended here # collapsed multi-line command
";

/// What GitLab's own identity of a job looks like.
const ID_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2dpdGxhYi5leGFtcGxlLmNvbSJ9.c2lnbmF0dXJlLW9mLWdpdGxhYg";

/// Keeps the token where the job's end does not reach.
const KEEP: &str = "cat \"$JOBPASS_TOKEN_FILE\" >\"$KEPT/token\"";

/// Says so, and goes on for half a minute.
const WAIT: &str = "echo ready; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; echo late";

/// A job of this form with this script. How it identifies itself is another on every executor.
fn job<'v>(world: &World, volume: &'v Volume, executor: &'static Executor, shell: &str, form: Form, script: &[&str]) -> Job<'v> {
    let (name, script) = match form {
        Form::Wrapper => (".jobpass-run", vec![format!("jobpass run -- sh -ec {}", quoted(&script.join("\n")))]),
        Form::Template => (".jobpass", script.iter().map(|line| (*line).to_owned()).collect()),
    };
    let mut job = Job::new(executor, shell, volume, Lines { script, ..hidden(name) });
    job.set("JOBPASS_SERVICE_ACCOUNT", &world.account());
    // By `id_tokens`, which the template declares: the server makes it, and the runner masks it.
    job.set_masked("JOBPASS_IDENTITY_ID_TOKEN", ID_TOKEN);
    match executor.name {
        "shell" => job.set_masked("JOBPASS_IDENTITY_KUBECONFIG", &STANDARD.encode(world.kubeconfig())),
        // The mount of a pod stands at a fixed path: only root can put one there for a single process. `.ci/run` is root.
        "kubernetes" if doors::is_root() => {
            let url = world.url();
            let (host, port) = url.trim_start_matches("https://").split_once(':').expect("a port");
            job.set("KUBERNETES_SERVICE_HOST", host);
            job.set("KUBERNETES_SERVICE_PORT", port);
            job.pod =
                vec![("token", world.identity_token().to_owned()), ("ca.crt", world.ca_pem()), ("namespace", world.home().to_owned())];
        }
        _ => job.set_file("JOBPASS_KUBECONFIG", &world.kubeconfig()),
    }
    job
}

/// The same on docker.
fn on_docker<'v>(world: &World, volume: &'v Volume, shell: &str, form: Form, script: &[&str]) -> Job<'v> {
    job(world, volume, executor("docker"), shell, form, script)
}

/// The token that the script has kept.
fn token(world: &World, volume: &Volume) -> String {
    let token = fs::read_to_string(volume.kept("token")).expect("the script had a token");
    assert!(token.starts_with("eyJ"), "it is no token");
    world.secret(&token);
    token
}

/// The places of passes on the volume.
fn places(volume: &Volume) -> Vec<PathBuf> {
    fs::read_dir(volume.temporary().join("jobpass")).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// No secret is in the log, nor in what artifacts, caches and later jobs have of this one.
fn assert_nothing_leaks(world: &World, job: &Job<'_>) {
    let mut secrets = world.tokens_of_passes();
    secrets.push(world.identity_token().to_owned());
    assert_eq!(leak::find(&job.log, &secrets), None, "in the log:\n{}", job.log);
    for path in files(&job.volume.project()).into_iter().chain(files(&job.volume.temporary())) {
        let content = fs::read(&path).unwrap_or_default();
        assert_eq!(leak::find(&String::from_utf8_lossy(&content), &secrets), None, "in {}", path.display());
        assert_eq!(leak::find(&path.to_string_lossy(), &secrets), None, "in a file's name");
    }
}

/// Neither a lease nor a file of ours is left.
fn assert_nothing_left(world: &World, job: &Job<'_>) {
    assert_eq!(world.secrets(), [""; 0], "Secrets are left:\n{}", job.log);
    let left: Vec<_> = fs::read_dir(job.volume.temporary()).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| *name == "jobpass"), "{left:?}");
    assert_eq!(places(job.volume), [""; 0].map(PathBuf::from));
    assert_nothing_leaks(world, job);
}

fn assert_ended(ended: &Ended, script: End, job: &Job<'_>) {
    assert_eq!((ended.script, ended.after), (script, Some(End::Code(0))), "{} {}", job.executor.name, job.log);
}

/// All these cases side by side, as each has a world of its own and waits most of its time.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}

/// Every shell that a job may have, in both forms.
fn in_each(check: impl Fn(&str, Form) + Sync) {
    at_once(FORMS, |form| {
        for shell in doors::shells() {
            check(&shell, form);
        }
    });
}

// A job that nobody ends from outside.

#[test]
fn a_script_has_the_pass_and_its_end_is_the_end_of_the_pass() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let script = [KEEP, "test -r \"$KUBECONFIG\"", "read -r line || echo 'stdin is empty'"];
        let mut job = on_docker(&world, &volume, shell, form, &script);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        world.assert_dies(&token(&world, &volume));
        assert!(
            job.log.contains("\nstdin is empty\n") && job.log.contains("dead: the API server answers 401"),
            "{shell} {form:?} {}",
            job.log
        );
        // By the wrapper, or by the trap of the template's shell, before after_script looks.
        assert!(job.log.ends_with(NOTHING), "{}", job.log);
        assert_eq!(requests(&world), UNUSED);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn every_executor_has_its_identity_and_its_umask() {
    for executor in &TABLE {
        for form in FORMS {
            let world = World::new();
            let volume = Volume::new();
            // The umask is the executor's; the old one says no directory of the runner's own, no timeout and no GITLAB_ENV.
            let given = "echo \"u $(umask) ${RUNNER_TEMP_PROJECT_DIR+t}${CI_JOB_TIMEOUT+t}${GITLAB_ENV+t}\"";
            let mut job = job(&world, &volume, executor, "bash", form, &[KEEP, given]);
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            let says = format!("\nu {} {}\n", executor.umask, if executor.is_old { "" } else { "ttt" });
            assert!(job.log.contains(&says), "{}", job.log);
            if !job.pod.is_empty() {
                assert!(job.log.contains("asked as the service account of this pod"), "{}", job.log);
            }
            world.assert_dies(&token(&world, &volume));
            assert_eq!(requests(&world), UNUSED, "{}", executor.name);
            assert_nothing_left(&world, &job);
        }
    }
}

/// What GitLab gives to the jobs of a project with an agent.
const AGENT: &str = "apiVersion: v1
kind: Config
clusters: [{name: gitlab, cluster: {server: https://kas.gitlab.com/k8s-proxy}}]
users: [{name: agent:1, user: {token: ci:1:glcbt-64_jobtokenjobtoken}}]
contexts: [{name: 'acme/app:agent', context: {cluster: gitlab, user: agent:1}}]
";

#[test]
fn a_pod_of_a_project_with_an_agent_sets_its_kubeconfig_to_nothing() {
    if !doors::is_root() {
        // Only root can play a pod. `.ci/run` is root.
        return;
    }
    let example = pages::example("gitlab", "in-cluster");
    let (_, after) = example.split_once("    KUBECONFIG: ").expect("the page sets it");
    assert!(after.starts_with("\"\" "), "{after}");
    for form in FORMS {
        for is_set in [false, true] {
            let world = World::new();
            let volume = Volume::new();
            let mut job = job(&world, &volume, executor("kubernetes"), "bash", form, &[KEEP]);
            job.set_file("KUBECONFIG", AGENT);
            if is_set {
                // A variable of the job comes before one of a deployment.
                job.set("KUBECONFIG", "");
                let ended = job.run();
                assert_ended(&ended, End::Code(0), &job);
                assert!(job.log.contains("asked as the service account of this pod"), "{}", job.log);
                world.assert_dies(&token(&world, &volume));
            } else {
                let ended = job.run();
                assert_ended(&ended, End::Code(if form == Form::Template { 2 } else { 125 }), &job);
                assert!(job.log.contains("KUBECONFIG"), "{}", job.log);
            }
            assert_nothing_left(&world, &job);
        }
    }
}

#[test]
fn a_job_of_many_hours_asks_for_no_more_than_the_policies_allow() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, "bash", form, &[KEEP]);
        job.set("CI_JOB_TIMEOUT", "36000");
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert_eq!(job.log.contains(", renewed until "), form == Form::Wrapper, "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_script_that_fails_ends_with_its_own_code_and_the_pass_with_it() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, shell, form, &[KEEP, "sh -c 'exit 7'", "echo late"]);
        let ended = job.run();
        assert_ended(&ended, End::Code(7), &job);
        assert!(!job.log.contains("\nlate\n"), "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), UNUSED);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn a_request_that_fails_ends_the_job_with_its_own_code() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, shell, form, &["echo late"]);
        job.unset("JOBPASS_KUBECONFIG");
        let ended = job.run();
        let code = if form == Form::Template { 2 } else { 125 };
        assert_ended(&ended, End::Code(code), &job);
        assert!(job.log.contains("\nerror: ") && job.log.contains("a protected variable is given to protected branches"), "{}", job.log);
        assert!(!job.log.contains("\nlate\n"), "{}", job.log);
        assert!(job.log.ends_with(NOTHING), "{}", job.log);
        assert_eq!(world.relay().connections(), 0);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn a_job_that_names_no_service_account_is_told_so_and_has_nothing_to_revoke() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, "bash", form, &["echo late"]);
        job.set("JOBPASS_SERVICE_ACCOUNT", "");
        let ended = job.run();
        assert_ended(&ended, End::Code(if form == Form::Template { 2 } else { 125 }), &job);
        assert!(job.log.contains("JOBPASS_SERVICE_ACCOUNT`") && job.log.ends_with(NOTHING), "{}", job.log);
        assert_eq!(world.relay().connections(), 0);
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_job_that_wants_json_gets_its_pass_nevertheless() {
    for shell in doors::shells() {
        for lines in [hidden(".jobpass"), bare()] {
            let world = World::new();
            let volume = Volume::new();
            let mut job = on_docker(&world, &volume, &shell, Form::Template, &[]);
            job.lines = Lines { script: vec![KEEP.to_owned()], ..lines };
            job.set("JOBPASS_OUTPUT", "json");
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    }
}

/// The lines of docs/gitlab.md without our file.
fn bare() -> Lines {
    let mut jobs: BTreeMap<String, Lines> = serde_saphyr::from_str(&pages::example("runs", "gitlab")).expect("YAML");
    jobs.remove("deploy").expect("the job")
}

#[test]
fn a_request_that_the_server_refuses_ends_the_job_with_its_own_code() {
    in_each(|shell, form| {
        let world = World::new();
        world.take_away("create", "serviceaccounts/token");
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, shell, form, &["echo late"]);
        let ended = job.run();
        // A shell that sources nothing ends with another one, if it ends at all.
        assert_ended(&ended, End::Code(if form == Form::Template { 1 } else { 125 }), &job);
        assert!(job.log.contains("\nerror: cannot request a token") && !job.log.contains("\nlate\n"), "{}", job.log);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn a_script_that_throws_its_pass_away_is_revoked_by_the_jobs_name() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, shell, form, &[KEEP, "rm -rf \"$RUNNER_TEMP_PROJECT_DIR/jobpass\""]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn what_a_script_leaves_in_gitlab_env_does_not_keep_after_script_from_its_work() {
    let left = [
        "KUBECONFIG=/nowhere",
        "JOBPASS_TTL=long",
        "JOBPASS_VARIABLE=PATH",
        "JOBPASS_OUTPUT=json",
        "JOBPASS_RECEIPT=/nowhere/receipt",
        "JOBPASS_LEASE=other/other",
        "JOBPASS_SERVICE_ACCOUNT=other/other",
    ];
    at_once(left, |variable| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP, &format!("echo '{variable}' >>\"$GITLAB_ENV\"")]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn files_are_the_jobs_own_while_it_runs() {
    for executor in &TABLE {
        for form in FORMS {
            let world = World::new();
            let volume = Volume::new();
            let mut job =
                job(&world, &volume, executor, "sh", form, &[KEEP, "echo ready", "until [ -e \"$KEPT/go\" ]; do sleep 0.1; done"]);
            let live = job.start();
            live.said("ready");
            let base = volume.temporary().join("jobpass");
            let lasting: Vec<_> = places(&volume).into_iter().chain([base.clone()]).chain(files(&base)).collect();
            let passing = files(&job.memory());
            // The wrapper's command needs nothing on the volume, so its token is not there.
            let expected = match form {
                Form::Wrapper => (3, 4),
                Form::Template => (8, 0),
            };
            assert_eq!((lasting.len(), passing.len()), expected, "{lasting:?} {passing:?}");
            let all = lasting.into_iter().chain(passing);
            for path in all {
                let metadata = fs::symlink_metadata(&path).expect("it is there");
                let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{} {}", executor.name, path.display());
            }
            doors::write(&volume.kept("go"), "");
            assert_eq!(job.end(live), End::Code(0), "{}", job.log);
            job.after("success");
            job.clean();
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    }
}
