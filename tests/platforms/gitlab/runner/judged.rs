//! The runner itself, judged by jobs that know nothing of jobpass.

use std::fs;

use super::{Job, Lines, Place, TABLE, Volume, executor};
use crate::harness::{End, doors};

fn job<'v>(name: &str, shell: &str, volume: &'v Volume, script: &[&str]) -> Job<'v> {
    let script = script.iter().map(|line| (*line).to_owned()).collect();
    let lines = Lines { script, after_script: vec!["echo \"after: $CI_JOB_STATUS\"".to_owned()], ..Lines::default() };
    Job::new(executor(name), shell, volume, lines)
}

/// A script that says what it hears of, within a shell that does so too.
const HEARS: [&str; 2] = [
    "trap 'echo outer; exit 3' TERM",
    "sh -c 'trap \"echo inner; exit 4\" TERM; echo ready; i=0; while [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done' || while :; do sleep 0.05; done",
];

#[test]
fn a_cancellation_ends_the_youngest_first_where_there_are_containers() {
    for shell in doors::shells() {
        let volume = Volume::new();
        let mut job = job("docker", &shell, &volume, &HEARS);
        let live = job.start();
        live.said("ready");
        let event = job.executor.cancel;
        let ended = job.befall(live, event);
        // A shell may say that its `sleep` was terminated.
        let heard: Vec<_> = job.log.lines().filter(|line| ["inner", "outer", "after: canceled"].contains(line)).collect();
        assert_eq!(heard, ["inner", "outer", "after: canceled"], "{shell} {}", job.log);
        assert_eq!((ended.script, ended.after), (End::Code(3), Some(End::Code(0))));
    }
}

#[test]
fn a_lost_job_hears_of_nothing_and_has_no_after_script() {
    for executor in &TABLE {
        let volume = Volume::new();
        let mut job = job(executor.name, "bash", &volume, &HEARS);
        let live = job.start();
        live.said("ready");
        let ended = job.befall(live, executor.lost);
        assert!(job.log.ends_with("ready\n"), "{}", job.log);
        assert_eq!((ended.script, ended.after), (End::Signal(9), None));
    }
}

#[test]
fn what_runs_in_the_background_ends_with_its_container() {
    for executor in &TABLE {
        let volume = Volume::new();
        let mut job = job(executor.name, "dash", &volume, &["sleep 30 >/dev/null 2>&1 & echo $! >\"$KEPT/pid\""]);
        let live = job.start();
        assert_eq!(job.end(live), End::Code(0), "{}", job.log);
        let pid = fs::read_to_string(volume.kept("pid")).expect("written");
        assert_eq!(doors::is_running(pid.trim()), !executor.has_containers, "{}", executor.name);
        job.clean();
        assert!(!doors::is_running(pid.trim()), "{}", executor.name);
    }
}

#[test]
fn after_script_has_the_volume_and_else_only_what_its_container_has() {
    for shell in doors::shells() {
        let volume = Volume::new();
        let marks = "touch old \"$HOME/old\" \"$TMPDIR/old\"; X=1; export Y=1; echo Z=1 >>\"$GITLAB_ENV\"; exit 9";
        let mut job = job("docker", &shell, &volume, &[marks]);
        let seen =
            "for d in . \"$HOME\" \"$TMPDIR\"; do if [ -e $d/old ]; then echo old; else echo new; fi; done; echo \"v ${X-}${Y-}${Z-}\"";
        job.lines.after_script.push(seen.to_owned());
        let live = job.start();
        assert_eq!(job.end(live), End::Code(9), "{}", job.log);
        job.after("failed");
        assert!(job.log.ends_with("\nold\nold\nold\nv 1\n"), "{shell} {}", job.log);
        job.move_to(Place::Fresh);
        job.after("canceled");
        assert!(job.log.ends_with("\nold\nnew\nnew\nv 1\n"), "{shell} {}", job.log);
        job.clean();
        job.after("failed");
        assert!(job.log.ends_with("\nv \n"), "GITLAB_ENV ends with its job: {shell} {}", job.log);
    }
}

#[test]
fn files_of_a_container_are_for_all_and_those_of_a_host_are_not() {
    for executor in &TABLE {
        let volume = Volume::new();
        let mut job =
            job(executor.name, "busybox", &volume, &["touch made; stat -c 'm %a' made", "cat \"$CONFIG\"; stat -c 'm %a' \"$CONFIG\""]);
        job.set_file("CONFIG", "text\n");
        let ended = job.run();
        let mode = if executor.has_containers { "m 666\n" } else { "m 644\n" };
        assert_eq!((ended.script, job.log.matches(mode).count()), (End::Code(0), 2), "{}", job.log);
        assert!(job.log.contains("\ntext\n") && !volume.temporary().join("CONFIG").exists(), "{}", job.log);
    }
}
