//! What a job of GitLab finds on its volume: the next job of a project gets it as the one before has left it, whatever its branch.

use std::{fs, os::unix::fs::symlink, path::Path};

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Job, World, doors},
    usage::{exec, plugin, replace_user},
};

#[test]
fn what_an_earlier_job_of_gitlab_left_decides_nothing() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let (place, token, name) = (job.place(), job.token(), job.lease());
    let honest = fs::read_to_string(place.join("lease.json")).expect("there is one");
    let mut lease: Value = serde_json::from_str(&honest).expect("JSON");
    job.unset("JOBPASS_KUBECONFIG");

    // A lease that sends us to a credential plugin, in the places that such a job can write.
    let ran = job.directory().join("ran");
    let script = format!("touch '{}'; exit 1", ran.display());
    let evil = replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), ""));
    symlink(job.base(), job.directory().join("link")).expect("a link");
    for path in ["work/evil", "work.tmp/evil", "work.tmp/../work/evil", "link/evil"] {
        let path = job.directory().join(path);
        doors::write(&path, &evil);
        lease["identity"] = json!({"kind": "kubeconfig", "paths": [path]});
        doors::write(&place.join("lease.json"), &lease.to_string());
        let revoked = job.revoke().succeed();
        assert!(revoked.stderr.contains("there is no CI identity"), "{}", revoked.transcript());
        lease["identity"] = json!({"kind": "bearer", "tokenFile": path});
        doors::write(&place.join("lease.json"), &lease.to_string());
        job.revoke().env("JOBPASS_SERVER", world.url()).succeed();
        assert!(!ran.exists(), "{} was used", path.display());
        fs::remove_file(&path).expect("it is there");
    }

    // A lease of another name that says it is this job's: its end would be the end of somebody else's pass.
    let other = place.with_file_name(format!("jobpass-{:032x}", 1));
    doors::make_directory(&other);
    let foreign = honest.replace(&name, &format!("jobpass-{:032x}", 1));
    doors::write(&other.join("lease.json"), &foreign);
    doors::write(&place.join("lease.json"), &honest);
    job.set("JOBPASS_KUBECONFIG", job.identity_file());
    let revoked = job.revoke().succeed();
    assert_eq!(revoked.stderr.matches("revoked the pass").count(), 1, "{}", revoked.transcript());
    assert!(other.exists());
    world.assert_dies(&token);
}

/// The runner's SSH executor names its directories from where a login begins, and calls us in the project.
#[test]
fn relative_directories_of_the_runner_are_those_beside_the_project() {
    let world = World::new();
    let job = Job::gitlab(&world);
    for (name, value) in [("CI_PROJECT_DIR", "work"), ("CI_PROJECT_DIR", "./work/"), ("RUNNER_TEMP_PROJECT_DIR", "work.tmp")] {
        job.set(name, value);
        // A relative directory of the session is none: it would be another one in each directory.
        let ran = job.run("echo ${JOBPASS_TOKEN_FILE%/jobpass*/jobpass/*}").env("XDG_RUNTIME_DIR", "run").succeed();
        assert_eq!(ran.stdout, "/dev/shm\n");
        let request = job.request().succeed();
        assert_eq!(request.stdout, format!("{}\n", job.place().join("env").display()));
        assert!(job.request().args(["--kubeconfig-out", "kubeconfig"]).run().said().contains("lies in the workspace"));
        job.shell("sh", "mkdir -p deep && cd deep && jobpass revoke").succeed();
        job.assert_nothing_left();
    }
}

/// In a directory that anybody may write to, a link under our name leads nowhere, and keeps nobody from having a pass.
#[test]
fn a_link_under_the_name_of_our_directory_is_left_alone() {
    let world = World::new();
    let job = Job::gitlab(&world);
    symlink("/etc", job.base().join("jobpass")).expect("a link");
    let own = job.base().join(doors::own("jobpass"));
    let request = job.request().succeed();
    let env_file = Path::new(request.stdout.trim_end()).to_owned();
    assert!(env_file.starts_with(&own), "{}", request.transcript());
    job.enter(&request);
    job.jobpass().arg("require").succeed();
    let hidden = job.shell("sh", "cat \"$JOBPASS_TOKEN_FILE\" | jobpass scrub").succeed();
    assert_eq!(hidden.stdout, "***");
    job.unset_if_set(["JOBPASS_LEASE", "JOBPASS_TOKEN_FILE", "OPENSHIFT_TOKEN", "KUBECONFIG"]);
    let revoked = job.revoke().succeed();
    assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
    // By its file too.
    let lease = Path::new(job.request().succeed().stdout.trim_end()).with_file_name("lease.json");
    job.revoke().arg("--lease-file").arg(lease.to_string_lossy()).succeed();
    // And what a killed command has left.
    let running = job.run("echo begun; sleep 50").start();
    running.said("begun");
    running.signal(Signal::KILL);
    running.wait();
    let revoked = job.revoke().succeed();
    assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
    assert_eq!((own.exists(), job.apart(), world.secrets()), (false, None, vec![]));
    assert_eq!(fs::read_link(job.base().join("jobpass")).expect("it stays"), Path::new("/etc"));
}

/// As the next job of a project finds it whose image has another user.
#[test]
fn what_a_killed_job_of_another_user_left_keeps_nobody_from_having_a_pass() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let left = job.place();
    let (root, own) = (job.base().join("jobpass"), job.base().join(doors::own("jobpass")));
    doors::give_away(&left);
    doors::give_away(&root);
    job.set("CI_JOB_ID", "4712");
    // Without an administrator's capabilities, to whom all directories are open.
    let call = |call: &str| {
        let script = format!("exec setpriv --bounding-set=-all --inh-caps=-all jobpass {call} -s {}", world.account());
        job.shell("sh", &script).succeed()
    };
    for mode in [0o700, 0o755] {
        doors::set_mode(&root, mode);
        let request = call("request");
        assert!(request.stdout.starts_with(&*own.to_string_lossy()), "{}", request.transcript());
        let revoked = call("revoke");
        assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
        assert_eq!((own.exists(), left.exists()), (false, true));
    }
    assert_eq!(world.secrets().len(), 1, "the other user's");
    // The end of a job that had none: what it cannot look into may hold a pass of its own, and the API server knows that there is none.
    doors::set_mode(&root, 0o700);
    let revoked = call("revoke --if-here --strict");
    assert_snapshot!(revoked.said(), @"
    revoked the pass, lease `SHORT-2`; absent: the lease was already gone
    ");
    // Where it cannot be asked that is said; and where nobody knows of whom, that there is something.
    job.unset("JOBPASS_KUBECONFIG");
    let unasked = call("revoke --if-here");
    assert!(unasked.said().contains("may be left alive: there is no CI identity"), "{}", unasked.transcript());
    let script = "exec setpriv --bounding-set=-all --inh-caps=-all jobpass revoke --if-here";
    let unnamed = job.shell("sh", script).succeed();
    assert!(unnamed.said().contains("may be left alive: cannot look for passes in"), "{}", unnamed.transcript());
}

/// As our template ends each of its jobs, also one that never called us.
#[test]
fn the_end_of_a_job_asks_of_no_pass_that_is_not_here() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("JOBPASS_SERVICE_ACCOUNT", world.account());
    for number in 1..3 {
        let other = job.base().join(format!("jobpass/jobpass-{number:032x}"));
        doors::make_directory(&other);
        doors::set_mode(other.parent().expect("above"), 0o700);
        match number {
            1 => doors::write(&other.join("lease.json"), "garbage"),
            _ => symlink("/etc/passwd", other.join("lease.json")).expect("a link"),
        }
    }
    let others = job.places();
    let end = |job: &Job<'_>| job.revoke().args(["--if-here", "--strict"]).run();
    let nothing = end(&job);
    assert_eq!((nothing.said().as_str(), &*nothing.requests), ("", &[] as &[String]), "{}", nothing.transcript());
    // A pass that a killed command has left is one that is here.
    let running = job.jobpass().args(["run", "--", "sh", "-c", "echo begun; sleep 50"]).start();
    running.said("begun");
    running.signal(Signal::KILL);
    running.wait();
    let revoked = end(&job);
    assert!(revoked.is_success() && revoked.said().contains("dead: "), "{}", revoked.transcript());
    assert_eq!((job.places(), world.secrets()), (others.clone(), vec![]));
    // And so may be one that cannot be read.
    job.request().succeed();
    let own = job.places().into_iter().find(|place| !others.contains(place)).expect("it is there");
    doors::write(&own.join("lease.json"), "garbage");
    let unreadable = end(&job);
    assert!(!unreadable.is_success() && unreadable.said().contains("may be left alive"), "{}", unreadable.transcript());
    assert_eq!(world.secrets(), [""; 0], "its name is known all the same");
}

#[test]
fn an_unreadable_lease_of_another_job_is_not_ours_to_speak_of() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let other = job.place().with_file_name(format!("jobpass-{:032x}", 1));
    doors::make_directory(&other);
    doors::write(&other.join("lease.json"), "{}");
    let revoked = job.revoke().args(["--strict", "--service-account", &world.account()]).succeed();
    assert!(!revoked.stderr.contains("warning"), "{}", revoked.transcript());
    // Its own is another matter.
    job.request().succeed();
    let own = job.places().into_iter().find(|place| *place != other).expect("it is there");
    doors::write(&own.join("lease.json"), "{}");
    let strict = job.revoke().args(["--strict", "--service-account", &world.account()]).run();
    assert!(!strict.is_success() && strict.stderr.contains("may be left alive"), "{}", strict.transcript());
    assert_eq!(world.secrets(), [""; 0], "its name is known all the same");
}

#[test]
fn a_killed_pass_with_a_job_key_of_its_own_is_the_jobs_all_the_same() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let running = job.run_with(["--job-key", "second"], "echo begun; sleep 50").start();
    running.said("begun");
    running.signal(Signal::KILL);
    running.wait();
    let token = job.token();
    job.revoke().succeed();
    world.assert_dies(&token);
    job.assert_nothing_left();
    // A job of another number does not touch it.
    job.request().args(["--job-key", "second"]).succeed();
    let id = job.get("CI_JOB_ID").expect("set");
    job.set("CI_JOB_ID", "4712");
    assert!(job.revoke().succeed().said().starts_with("nothing to revoke: no pass "));
    job.set("CI_JOB_ID", id);
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_kubeconfig_that_the_runner_put_there_is_the_identity_all_the_same() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    // As of GitLab's agent: a file variable, which the pass's own kubeconfig then takes the place of.
    doors::make_directory(&job.base().join(".kube"));
    let agents = job.base().join(".kube/KUBECONFIG");
    fs::rename(job.identity_file(), &agents).expect("moved");
    job.set("KUBECONFIG", &agents);
    let request = job.request().succeed();
    job.enter(&request);
    assert_ne!(job.get("KUBECONFIG"), agents.to_str().map(str::to_owned));
    let again = job.request().succeed();
    job.enter(&again);
    let token = job.token();
    job.revoke().succeed();
    world.assert_dies(&token);
    // And in after_script, where the variable is as it was.
    job.set("KUBECONFIG", &agents);
    job.unset_if_set(["JOBPASS_LEASE", "JOBPASS_TOKEN_FILE", "OPENSHIFT_TOKEN"]);
    job.request().succeed();
    job.revoke().succeed();
    // One of several, which a flag has named.
    job.unset("KUBECONFIG");
    job.set("STAGING_KUBECONFIG", &agents);
    job.request().args(["--kubeconfig", &agents.to_string_lossy()]).succeed();
    job.revoke().succeed();
    assert_eq!(world.secrets(), [""; 0]);
}

/// Whatever kills a job together with all that could tidy up: the next job of the project finds no token of `run` on the volume.
#[test]
fn the_volume_never_has_the_token_of_a_run() {
    let world = World::new();
    let mut job = Job::gitlab(&world);
    let running = job
        .run("grep -c tokenFile \"$KUBECONFIG\"; cmp \"$JOBPASS_TOKEN_FILE\" \"${KUBECONFIG%/*}/token\" && echo ready; sleep 50")
        .start();
    running.said("ready");
    let token = job.token();
    running.signal(Signal::KILL);
    running.wait();
    assert_eq!(names(&job.place()), ["lease.json"]);
    // As `after_script` is on the Docker executor.
    job.new_container();
    let revoked = job.revoke().succeed();
    assert!(revoked.said().contains("removed: the lease is deleted"), "{}", revoked.transcript());
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn revoke_in_the_same_container_has_the_token_to_ask_with() {
    let world = World::new();
    let job = Job::gitlab(&world);
    for by_file in [false, true] {
        let running = job.run("echo ready; sleep 50").start();
        running.said("ready");
        running.signal(Signal::KILL);
        running.wait();
        let (token, lease) = (job.token(), job.place().join("lease.json"));
        assert!(job.apart().is_some());
        let revoked = if by_file { job.revoke().arg("--lease-file").arg(lease.to_string_lossy()) } else { job.revoke() }.succeed();
        assert!(revoked.said().contains("dead: "), "{}", revoked.transcript());
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_run_without_a_session_of_its_own_uses_the_memory_that_all_share() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // On a disk; open to all; not there; no directory, or none that takes anything.
    doors::make_directory(&job.directory().join("shared"));
    doors::set_mode(&job.directory().join("shared"), 0o777);
    let nowhere = ["/nowhere/jobpass".into(), "/proc/self".into(), "/etc/passwd".into()];
    for directory in [job.directory().join("home"), job.directory().join("shared")].into_iter().chain(nowhere) {
        job.set("XDG_RUNTIME_DIR", &directory);
        let ran = job.run("echo ${JOBPASS_TOKEN_FILE%/jobpass*/jobpass/*}").succeed();
        assert_eq!(ran.stdout, "/dev/shm\n");
        let warning = format!(
            "warning: `{}` is no directory in memory that is this user's alone: the token's files are in `/dev/shm/",
            directory.display()
        );
        assert!(ran.stderr.contains(&world.plain(&warning)) || ran.stderr.contains(&warning), "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn files_for_a_group_are_on_the_volume() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let place = "case $JOBPASS_TOKEN_FILE in \"$CI_PROJECT_DIR.tmp\"/jobpass/*) cat \"$JOBPASS_TOKEN_FILE\" | wc -l;; *) exit 9;; esac";
    let ran = job.run(place).env("JOBPASS_FILE_MODE", "0640").succeed();
    assert!(!ran.stderr.contains("warning"), "{}", ran.transcript());
    job.assert_nothing_left();
}

/// Anybody may take the name first in a directory that all users share. As an own one of a job that has `/dev/shm` for itself.
#[test]
fn a_name_in_memory_that_somebody_has_taken_is_passed_over() {
    if !doors::is_root() {
        // Only root can mount, and become another user. `.ci/run` is root.
        return;
    }
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("XDG_RUNTIME_DIR");
    let own = doors::own("jobpass");
    let run = format!(
        "jobpass run -s {} -- sh -c 'echo ${{JOBPASS_TOKEN_FILE%/jobpass/*}} >place; kill -KILL $PPID'; cat place",
        world.account()
    );
    for squat in [
        format!("mkdir -m 0700 {own}; chown 65534 {own}"),
        format!("ln -s /etc {own}"),
        format!("echo >{own}"),
        format!("mkdir {own}; chmod 0770 {own}"),
    ] {
        let script = format!(
            "cd /dev/shm; {squat}; cd \"$CI_PROJECT_DIR\"; {run}; find /dev/shm -name token | wc -l; \
             jobpass revoke; find /dev/shm -name token | wc -l"
        );
        let line = format!(
            "exec unshare --mount sh -c {}",
            jobpass::platform::shell::quoted(&format!("mount -t tmpfs -o mode=1777 shm /dev/shm; {script}"))
        );
        let ran = job.shell("sh", &line).succeed();
        let lines: Vec<_> = ran.stdout.lines().collect();
        assert!(lines[0].starts_with(&format!("/dev/shm/{own}-")), "{}", ran.transcript());
        assert_eq!(lines[1..], ["1", "0"], "{}", ran.transcript());
        let warning = format!(
            "warning: `/dev/shm/{own}` is no directory in memory that is this user's alone: the token's files are in `/dev/shm/{own}-"
        );
        assert_eq!(ran.stderr.matches(&warning).count(), 1, "{}", ran.transcript());
        assert!(ran.stderr.contains("dead: "), "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn a_run_without_any_memory_uses_the_volume_and_says_so() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("XDG_RUNTIME_DIR");
    let run = format!(
        "mount --bind \"$CI_PROJECT_DIR\" /dev/shm; jobpass run -s {} -- sh -c 'echo ${{JOBPASS_TOKEN_FILE%/jobpass/*}}'",
        world.account()
    );
    let ran = job.shell("sh", &format!("exec unshare --mount sh -c {}", jobpass::platform::shell::quoted(&run))).succeed();
    assert_eq!(ran.stdout, format!("{}\n", job.base().display()), "{}", ran.transcript());
    assert!(
        ran.stderr.contains("warning: there is no directory in memory that is this user's alone, as `/dev/shm/"),
        "{}",
        ran.transcript()
    );
    job.assert_nothing_left();
}

#[test]
fn a_container_says_nothing_of_its_memory_and_has_some() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("XDG_RUNTIME_DIR");
    let ran = job
        .run("stat -c '%n %a' \"$JOBPASS_TOKEN_FILE\" | cut -d/ -f1-3,4 | cut -d- -f1; stat -c %a \"${JOBPASS_TOKEN_FILE%/*}\"")
        .succeed();
    assert_eq!(ran.stdout, "/dev/shm/jobpass\n700\n", "{}", ran.transcript());
    job.assert_nothing_left();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
