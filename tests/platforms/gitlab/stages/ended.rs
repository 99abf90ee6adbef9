//! Jobs that are ended from outside: who revokes then, and what is left where nobody does.

use std::time::Duration;

use jobpass_sandbox::Fault;

use super::*;
use crate::{
    harness::within,
    runner::{Event, How, Live, Place},
};

/// Moments of a request: the n-th question of `request`, and whether the server has answered it.
const MOMENTS: [(usize, bool); 4] = [(1, false), (1, true), (2, false), (2, true)];

/// Ends a job that has a pass by an event of its executor.
fn ended(executor: &'static Executor, shell: &str, form: Form, event: Event, script: &str) {
    let world = World::new();
    let volume = Volume::new();
    let mut job = job(&world, &volume, executor, shell, form, &[KEEP, script]);
    let live = job.start();
    live.said("ready");
    let token = token(&world, &volume);
    let ended = job.befall(live, event);
    assert_ne!(ended.script, End::Code(0), "{}", job.log);
    assert!(!job.log.contains("\nlate\n"), "{}", job.log);
    assert_eq!(ended.after, event.after.map(|_| End::Code(0)), "{}", job.log);
    // The wrapper hears of it, and so does the template's shell; after_script is there for what was killed.
    let hears = match event.how {
        How::Each | How::Group => true,
        // The template's shell is not told, and goes on to its end.
        How::Leader => form == Form::Wrapper,
        How::Kill => false,
    };
    let is_revoked = event.after.is_some() || hears;
    if is_revoked {
        world.assert_dies(&token);
        assert_eq!(requests(&world), UNUSED, "{} {shell} {form:?} {}", executor.name, job.log);
        assert_nothing_left(&world, &job);
    } else {
        assert!(world.is_live(&token), "who has revoked it?\n{}", job.log);
        assert_eq!((world.secrets().len(), places(&volume).len()), (1, 1), "{}", job.log);
        if form == Form::Wrapper {
            // It lives, but whoever gets the volume next does not find it there.
            assert_nothing_leaks(&world, &job);
        }
        assert_swept_later(&world, &mut job, &token);
    }
}

/// Where the volume is kept, a later call with the same job's name ends what is left.
fn assert_swept_later(world: &World, job: &mut Job<'_>, token: &str) {
    assert_eq!(job.after("failed"), End::Code(0), "{}", job.log);
    job.clean();
    world.assert_dies(token);
    assert_nothing_left(world, job);
}

#[test]
fn a_cancelled_job_is_revoked_wherever_anything_of_it_still_runs() {
    at_once(&TABLE, |executor| {
        for shell in doors::shells() {
            for form in FORMS {
                ended(executor, &shell, form, executor.cancel, WAIT);
            }
        }
    });
}

#[test]
fn a_script_that_takes_too_long_is_revoked_by_after_script() {
    at_once(&TABLE, |executor| {
        for form in FORMS {
            ended(executor, "sh", form, executor.script_timeout, WAIT);
        }
    });
}

#[test]
fn a_job_that_takes_too_long_is_revoked_though_it_has_no_after_script() {
    at_once(&TABLE, |executor| {
        for shell in doors::shells() {
            for form in FORMS {
                ended(executor, &shell, form, executor.job_timeout, WAIT);
            }
        }
    });
}

#[test]
fn a_job_that_is_lost_leaves_its_pass() {
    at_once(&TABLE, |executor| {
        for form in FORMS {
            ended(executor, "sh", form, executor.lost, WAIT);
        }
    });
}

#[test]
fn a_script_that_does_not_listen_loses_its_pass_in_time() {
    let deaf = format!("trap '' TERM; {WAIT}");
    at_once(["docker", "kubernetes", "shell", "shell --user"], |name| cancelled_and_deaf(executor(name), &deaf));
}

fn cancelled_and_deaf(executor: &'static Executor, deaf: &str) {
    let world = World::new();
    let volume = Volume::new();
    let mut job = job(&world, &volume, executor, "bash", Form::Wrapper, &[KEEP, deaf]);
    let live = job.start();
    live.said("ready");
    let token = token(&world, &volume);
    std::thread::scope(|scope| {
        // On docker the command is asked for six seconds before jobpass hears of it, and on the shell executor not at all; there
        // with `su` its session has its leader for two seconds more.
        let limit = Duration::from_millis(match executor.cancel.how {
            How::Each => 15_000,
            How::Leader => 5000,
            How::Group | How::Kill => 3000,
        });
        // When it is sent: how long the server then takes is its own matter.
        let (relay, before) = (world.relay(), world.relay().requests());
        scope.spawn(move || within(limit, "the DELETE", || relay.requests() > before));
        job.befall(live, executor.cancel)
    });
    world.assert_dies(&token);
    assert_nothing_left(&world, &job);
}

/// What docs/gitlab.md names: such a script outlasts the seconds of its container, or its shell is not there when it ends. Whether the next
/// command of `set +e` has begun when the shell is signalled is a race, which the real runner's seconds decide and ours do not.
#[test]
fn a_template_whose_shell_does_not_end_is_left_when_the_jobs_time_is_up() {
    let scripts = [
        format!("(trap '' TERM; {WAIT})"),
        format!("trap '' TERM; {WAIT}"),
        "trap : TERM; echo ready; while :; do sleep 0.1 || :; done".to_owned(),
        format!("exec sh -c {}", quoted(WAIT)),
    ];
    at_once(scripts, |script| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP, &script]);
        let live = job.start();
        live.said("ready");
        let token = token(&world, &volume);
        let event = job.executor.job_timeout;
        job.befall(live, event);
        assert!(world.is_live(&token), "{script} {}", job.log);
        assert_swept_later(&world, &mut job, &token);
    });
}

#[test]
fn a_wrapper_that_is_killed_alone_is_revoked_by_after_script() {
    for name in ["docker", "shell"] {
        let world = World::new();
        let volume = Volume::new();
        // As the kernel does where memory runs short.
        let mut job = job(&world, &volume, executor(name), "sh", Form::Wrapper, &[KEEP, "kill -KILL $PPID"]);
        let ended = job.run();
        assert_ended(&ended, End::Code(137), &job);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), UNUSED, "{}", job.log);
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_wrapper_whose_delete_is_not_answered_in_time_is_revoked_by_after_script() {
    let world = World::sandbox("a real server has no script of faults");
    let volume = Volume::new();
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").hang());
    let mut job = on_docker(&world, &volume, "sh", Form::Wrapper, &[KEEP, WAIT]);
    let live = job.start();
    live.said("ready");
    let event = job.executor.cancel;
    let ended = job.befall(live, event);
    assert_eq!(ended.after, Some(End::Code(0)), "{}", job.log);
    world.assert_dies(&token(&world, &volume));
    assert_nothing_left(&world, &job);
}

// While the token is under way.

/// Holds a request at this moment, and waits until it stands there.
fn started_and_held(world: &World, job: &mut Job<'_>, (n, answered): (usize, bool)) -> Live {
    if answered {
        world.relay().hold_answer(n);
    } else {
        world.relay().hold_request(n);
    }
    let live = job.start();
    world.relay().wait_held();
    if answered {
        world.wait_for_new_request("-> 201", n);
    }
    live
}

fn ended_under_way(executor: &'static Executor, form: Form, moment: (usize, bool), event: Event) {
    let world = World::new();
    let volume = Volume::new();
    let mut job = job(&world, &volume, executor, "sh", form, &["echo late"]);
    let live = started_and_held(&world, &mut job, moment);
    let ended = std::thread::scope(|scope| {
        if moment == (1, false) && event.how != How::Kill {
            // What was already sent lands only when it is undone.
            scope.spawn(|| {
                world.wait_for_request("-> 404");
                world.relay().release();
            });
        }
        job.befall(live, event)
    });
    assert_ne!(ended.script, End::Code(0), "{}", job.log);
    assert!(!job.log.contains("\nlate\n"), "{}", job.log);
    world.relay().cut();
    if event.how == How::Kill {
        assert_eq!(world.secrets().len(), usize::from(moment != (1, false)), "{moment:?} {}", job.log);
        assert_eq!(job.after("failed"), End::Code(0), "{}", job.log);
        job.clean();
    }
    assert_nothing_left(&world, &job);
}

#[test]
fn a_job_that_is_cancelled_while_the_token_is_under_way_leaves_nothing() {
    at_once(FORMS, |form| {
        for moment in MOMENTS {
            ended_under_way(executor("docker"), form, moment, executor("docker").cancel);
        }
        ended_under_way(executor("kubernetes"), form, (2, true), executor("kubernetes").cancel);
        ended_under_way(executor("shell"), form, (2, false), executor("shell").cancel);
        ended_under_way(executor("docker"), form, (2, true), executor("docker").job_timeout);
        ended_under_way(executor("shell 16.10"), form, (2, true), executor("shell 16.10").job_timeout);
    });
}

/// A job of the template that stands still before or after the line with these words, and is then ended by its timeout.
fn ended_beside(executor: &'static Executor, shell: &str, wanted: &str, is_after: bool) {
    let world = World::new();
    let volume = Volume::new();
    let mut job = job(&world, &volume, executor, shell, Form::Template, &["echo late"]);
    let at = job.lines.before_script.iter().position(|known| known.contains(wanted)).expect("the template has such a line");
    job.lines.before_script.insert(at + usize::from(is_after), "echo ready; sleep 30".to_owned());
    let live = job.start();
    live.said("ready");
    let event = job.executor.job_timeout;
    let ended = job.befall(live, event);
    assert_eq!(ended.after, None);
    assert_ne!(ended.script, End::Code(0), "{}", job.log);
    assert!(!job.log.contains("\nlate\n"), "{}", job.log);
    assert_eq!(world.relay().connections() == 0, !is_after, "nobody is asked where there is no pass yet: {}", job.log);
    assert_nothing_left(&world, &job);
}

#[test]
fn no_moment_of_the_template_has_a_pass_and_no_trap() {
    at_once(["docker", "shell", "docker 16.10", "shell 16.10"], |name| {
        for shell in doors::shells() {
            for is_after in [false, true] {
                ended_beside(executor(name), &shell, "$(jobpass request", is_after);
            }
        }
    });
}

#[test]
fn any_signal_that_ends_the_templates_shell_ends_the_pass() {
    at_once([("HUP", 129), ("INT", 130), ("TERM", 143)], |(signal, code)| {
        for shell in doors::shells() {
            let world = World::new();
            let volume = Volume::new();
            let script = format!("sh -c 'kill -{signal} $PPID'; echo late");
            let mut job = job(&world, &volume, executor("docker 16.10"), &shell, Form::Template, &[KEEP, &script]);
            let ended = job.run();
            assert_ended(&ended, End::Code(code), &job);
            assert!(job.log.ends_with(NOTHING) && !job.log.contains("\nlate\n"), "{shell} {signal} {}", job.log);
            world.assert_dies(&token(&world, &volume));
            assert_eq!(requests(&world), UNUSED);
            assert_nothing_left(&world, &job);
        }
    });
}

#[test]
fn a_job_that_is_lost_while_the_token_is_under_way_is_ended_later() {
    for form in FORMS {
        for moment in MOMENTS {
            ended_under_way(executor("docker"), form, moment, executor("docker").lost);
        }
    }
}

#[test]
fn a_new_container_has_nothing_of_the_old_one_and_revokes_nevertheless() {
    let world = World::new();
    let volume = Volume::new();
    let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP, "touch \"$HOME/old\" \"$TMPDIR/old\"", WAIT]);
    let old = "ls \"$HOME\" \"$TMPDIR\" | grep old || echo \"new, $CI_JOB_STATUS\"";
    job.lines.after_script.insert(0, old.to_owned());
    let live = job.start();
    live.said("ready");
    let token = token(&world, &volume);
    assert_eq!(job.executor.cancel.after, Some(("canceled", Place::Fresh)));
    let ended = job.befall(live, job.executor.cancel);
    assert_eq!(ended.after, Some(End::Code(0)));
    assert!(job.log.contains("\nnew, canceled\n"), "{}", job.log);
    world.assert_dies(&token);
    assert_nothing_left(&world, &job);
}
