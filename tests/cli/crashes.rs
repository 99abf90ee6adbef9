//! The crash table: killed at any moment, `revoke` leaves no Secret and no live token.

use rustix::process::Signal;

use crate::harness::{End, Job, Ran, World, doors, eventually};

/// Ends the pass of a job whose `request` was killed, as each platform does it.
fn revoke(job: &Job<'_>) -> Ran {
    match job.state() {
        Some(_) => job.post().succeed(),
        None => job.revoke().succeed(),
    }
}

/// Kills `request` at the n-th request, before it reaches the server or before its answer comes back.
fn killed(n: usize, answered: bool) {
    let world = World::new();
    for job in Job::all(&world) {
        if answered {
            world.relay().hold_answer(n);
        } else {
            world.relay().hold_request(n);
        }
        let running = job.request().start();
        world.relay().wait_held();
        if answered {
            // The server has done it; only jobpass does not know yet.
            world.wait_for_new_request("-> 201", n);
        }
        running.signal(Signal::KILL);
        let ran = running.wait();
        assert_eq!(ran.end, End::Signal(9), "{}", ran.transcript());
        // What was held goes on or gets lost, as on a network.
        world.relay().cut();
        assert_eq!(job.file_command("GITHUB_ENV"), "", "nothing was exported");
        revoke(&job);
        job.assert_nothing_left();
        for token in world.tokens_of_passes() {
            assert!(!world.accepts(&token), "a token that nobody has seen is dead at once");
        }
    }
}

#[test]
fn killed_before_the_lease_is_created() {
    killed(1, false);
}

#[test]
fn killed_after_the_lease_is_created() {
    killed(1, true);
}

#[test]
fn killed_before_the_token_is_requested() {
    killed(2, false);
}

#[test]
fn killed_after_the_token_is_granted() {
    killed(2, true);
}

#[test]
fn killed_before_anything_is_saved() {
    let world = World::new();
    for job in Job::all(&world) {
        // The moment is too short to be met: this is what it leaves.
        let place = job.base().join("jobpass").join(format!("jobpass-{:032x}", 1));
        doors::make_directory(&job.base().join("jobpass"));
        doors::make_directory(&place);
        doors::write(&place.join("lease.json.new"), "{\"api");
        assert!(job.revoke().succeed().said().starts_with("nothing to revoke: no pass "));
        job.assert_nothing_left();
    }
}

#[test]
fn killed_after_the_hand_over() {
    let world = World::new();
    for job in Job::all(&world) {
        // Its end comes after everything is written, which is the normal case.
        job.request().succeed();
        let token = job.token();
        revoke(&job);
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_creation_that_lands_after_the_revocation_began_is_revoked_too() {
    for (platform, deletions) in (0..4).flat_map(|platform| [(platform, 1), (platform, 2)]) {
        let world = World::new();
        let job = &Job::all(&world)[platform];
        world.relay().hold_request(1);
        let running = job.request().start();
        world.relay().wait_held();
        running.signal(Signal::KILL);
        running.wait();
        // What the killed client had sent lands after the first or the second deletion, and before that is heard of: otherwise the
        // machine's load would decide which comes first.
        world.relay().hold_answers_too(1 + deletions);
        let revoking = match job.state() {
            Some(_) => job.post().start(),
            None => job.revoke().start(),
        };
        world.wait_for_new_request("-> 404", deletions);
        world.relay().release();
        world.wait_for_request("/secrets -> 201");
        world.relay().release_answers();
        assert!(revoking.wait().is_success());
        job.assert_nothing_left();
    }
}

#[test]
fn revoke_killed_before_and_after_its_deletion() {
    let world = World::new();
    for (n, answered) in [(1, false), (1, true), (2, false), (2, true)] {
        let job = Job::gitlab(&world);
        job.request().succeed();
        let token = job.token();
        if answered {
            world.relay().hold_answer(n);
        } else {
            world.relay().hold_request(n);
        }
        let running = job.revoke().start();
        world.relay().wait_held();
        if answered {
            world.wait_for_new_request("->", n);
        }
        running.signal(Signal::KILL);
        running.wait();
        world.relay().cut();
        job.revoke().succeed();
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn a_signal_while_it_asks_undoes_what_there_is() {
    let world = World::new();
    for (n, answered, signal) in [(1, false, Signal::TERM), (1, true, Signal::INT), (2, false, Signal::HUP), (2, true, Signal::TERM)] {
        // It has 20 s after a signal, in which we look on; a runner of GitLab leaves 2.5 s.
        let job = Job::tekton(&world);
        if answered {
            world.relay().hold_answer(n);
        } else {
            world.relay().hold_request(n);
        }
        let running = job.request().start();
        world.relay().wait_held();
        if answered {
            world.wait_for_new_request("-> 201", n);
        }
        if !answered && n == 1 {
            // It is undone over another connection. That there is nothing to undo is heard of only when what was sent has landed:
            // otherwise the machine would decide which of the two comes first.
            world.relay().hold_answers_too(2);
        }
        running.signal(signal);
        if !answered && n == 1 {
            world.wait_for_new_request("-> 404", 1);
            world.relay().release();
            world.wait_for_request("/secrets -> 201");
            world.relay().release_answers();
        }
        let ran = running.wait();
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        assert!(ran.said().contains("interrupted by SIG"), "{}", ran.transcript());
        job.assert_nothing_left();
        world.relay().cut();
    }
}

#[test]
fn the_death_of_whoever_started_it_is_a_signal() {
    let world = World::new();
    let job = Job::gitlab(&world);
    world.relay().hold_request(2);
    let pid_file = job.directory().join("pid");
    let script = format!("jobpass request -s {} & echo $! >{}; wait", world.account(), pid_file.display());
    let shell = job.shell("sh", &script).start();
    world.relay().wait_held();
    // The shell may be slower than what it has started.
    let pid = doors::line(&pid_file);
    shell.signal(Signal::KILL);
    eventually("jobpass has ended too", || !doors::is_running(pid.trim()));
    let ran = shell.wait();
    assert!(ran.stderr.contains("caused by: interrupted by the death of the process that started jobpass"), "{}", ran.transcript());
    world.relay().release();
    job.revoke().args(["-s", &world.account()]).succeed();
    job.assert_nothing_left();
}
