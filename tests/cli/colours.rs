//! Colours: on a terminal only, and only where nothing says no.

use insta::assert_snapshot;

use crate::harness::{Job, Terminal, World};

const GREEN: &str = "\u{1b}[32mrevoked\u{1b}[0m";

/// What a person sees of these commands.
fn seen(job: &Job<'_>, script: &str) -> String {
    let terminal = Terminal::open();
    job.shell("sh", &format!("{{ {script}; }} 2>{}", terminal.path())).run();
    terminal.text()
}

#[test]
fn what_is_dead_is_green_and_what_went_wrong_is_red() {
    let world = World::new();
    let job = Job::local(&world);
    job.set("TERM", "xterm");
    let account = world.account();
    let text = seen(&job, &format!("jobpass request -s {account}; jobpass revoke; jobpass require; jobpass requets"));
    let shown = world.plain(&text).replace('\u{1b}', "ESC").replace(job.directory().to_str().expect("a path"), "JOB");
    assert_snapshot!(shown);
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_lives_on_is_red() {
    let world = World::sandbox("the API server fails");
    let job = Job::local(&world);
    job.set("TERM", "xterm");
    let account = world.account();
    job.request().succeed();
    world.on_sandbox().fault(jobpass_sandbox::Fault::on("DELETE", "secrets").unavailable().always());
    let text = seen(&job, "jobpass revoke --timeout 1s");
    assert!(
        text.contains("\u{1b}[31mwarning:\u{1b}[0m the pass of") || text.contains("\u{1b}[31merror:\u{1b}[0m the pass of"),
        "{account} {text}"
    );
}

#[test]
fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
    let world = World::new();
    let job = Job::local(&world);
    let script = format!("jobpass run -s {} -- true", world.account());
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        job.set(name, value);
        let text = seen(&job, &script);
        assert!(text.contains("\nrevoked the pass") && !text.contains('\u{1b}'), "{name}: {text}");
        job.unset(name);
    }
    // Empty, it says nothing: https://no-color.org.
    job.set("NO_COLOR", "");
    assert!(seen(&job, &script).contains(GREEN));
    // A pipe is no terminal.
    assert!(job.shell("sh", &script).succeed().stderr.contains("\nrevoked the pass"));
}
