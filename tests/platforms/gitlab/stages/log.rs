//! What the stored log holds when a script prints what it has, and what of a pass is in the files that outlive the job.

use super::*;

/// Every way in which a careless script shows what it has.
const CARELESS: [&str; 7] = [
    "set -x",
    "env",
    "echo \"t $OPENSHIFT_TOKEN\"; echo \"t $OPENSHIFT_TOKEN\" >&2",
    "printf %s \"$OPENSHIFT_TOKEN\" | base64 -w 0; echo; echo \"$OPENSHIFT_TOKEN\" | base64",
    "for before in a ab; do printf %s%s $before \"$OPENSHIFT_TOKEN\" | base64 -w 0; echo; done",
    "cat \"$KUBECONFIG\"; cat \"$JOBPASS_TOKEN_FILE\"",
    "echo \"s ${OPENSHIFT_TOKEN##*.}\"",
];

/// Sets a trace around everything that a job does itself.
fn traced(job: &mut Job<'_>) {
    for lines in [&mut job.lines.before_script, &mut job.lines.after_script] {
        lines.insert(0, "set -x".to_owned());
    }
}

#[test]
fn a_careless_script_under_the_wrapper_shows_nothing() {
    for shell in doors::shells() {
        for has_proxy in [false, true] {
            let world = World::new();
            let volume = Volume::new();
            let script = [&[KEEP], CARELESS.as_slice()].concat();
            let executor = executor(if has_proxy { "shell" } else { "docker" });
            let mut job = job(&world, &volume, executor, &shell, Form::Wrapper, &script);
            job.has_proxy = has_proxy;
            job.set("JOBPASS_VARIABLE", "OPENSHIFT_TOKEN");
            traced(&mut job);
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            assert!(job.log.contains("\nt ***\n") && job.log.matches("***").count() >= 9, "{}", job.log);
            assert!(!job.log.contains("::add-mask::"), "the wrapper needs no help: {}", job.log);
            let is_the_identitys = |line: &str| line.starts_with("JOBPASS_IDENTITY_") || line.starts_with("JOBPASS_KUBECONFIG");
            assert!(!job.log.lines().any(is_the_identitys), "the command has nothing of the CI identity: {}", job.log);
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    }
}

#[test]
fn a_trace_around_everything_does_not_show_the_token_of_the_template() {
    for shell in doors::shells() {
        let world = World::new();
        let volume = Volume::new();
        // Not what shows the token itself: the job's own commands are traced with their values.
        let keep = "cp \"$JOBPASS_TOKEN_FILE\" \"$KEPT/token\"; test -r \"$KUBECONFIG\"";
        let mut job = on_docker(&world, &volume, &shell, Form::Template, &[keep]);
        traced(&mut job);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains("+ jobpass request"), "{shell} {}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_script_of_the_template_that_prints_its_token_publishes_it_and_was_told_so() {
    let world = World::new();
    let volume = Volume::new();
    let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP, "echo \"t $OPENSHIFT_TOKEN\""]);
    let ended = job.run();
    assert_ended(&ended, End::Code(0), &job);
    let token = token(&world, &volume);
    // Nothing but the pass's end helps here: what GitLab stores is dead.
    assert!(job.log.contains(&format!("\nt {token}\n")), "{}", job.log);
    assert!(job.log.contains("nothing masks the token in the log of this gitlab job: do not print it"), "{}", job.log);
    assert!(!job.log.contains("::add-mask::"), "{}", job.log);
    world.assert_dies(&token);
    job.log = job.log.replace(&token, "");
    assert_nothing_left(&world, &job);
}

#[test]
fn where_the_runner_listens_the_template_masks_every_form_for_all_stages() {
    for shell in doors::shells() {
        let world = World::new();
        let volume = Volume::new();
        let script = [&[KEEP], &CARELESS[1..]].concat();
        let mut job = on_docker(&world, &volume, &shell, Form::Template, &script);
        job.has_proxy = true;
        // A line-wrapped encoding is what a filter of lines never finds.
        job.lines.script.iter_mut().for_each(|line| *line = line.replace("; echo \"$OPENSHIFT_TOKEN\" | base64", ""));
        job.lines.after_script.insert(0, "cat \"$KEPT/token\"".to_owned());
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains("\nt [MASKED]\n") && job.log.matches("[MASKED]").count() >= 9, "{shell} {}", job.log);
        let (_, after) = job.log.split_once("$ cat \"$KEPT/token\"").expect("the line of after_script");
        assert!(after.contains("\n[MASKED]"), "{shell} {after}");
        assert!(!job.log.contains("nothing masks the token"), "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn the_debug_trace_shows_nothing_of_the_pass() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let keep = "cp \"$(dirname \"$KUBECONFIG\")/token\" \"$KEPT/token\"";
        // Here the CI identity comes by a masked variable: the runner's own trace shows what is in a file variable.
        let mut job = job(&world, &volume, executor("shell"), shell, form, &[keep, "echo \"v ${OPENSHIFT_TOKEN+set}\""]);
        job.set("CI_DEBUG_TRACE", "true");
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains("+ jobpass "), "{shell} {}", job.log);
        if form == Form::Template {
            assert!(job.log.contains("\nv \n") && job.log.contains("warning: `CI_DEBUG_TRACE` is on"), "{shell} {}", job.log);
        }
        for name in ["JOBPASS_TOKEN_FILE", "JOBPASS_EXPIRES_AT", "JOBPASS_LEASE", "JOBPASS_PASS_"] {
            assert!(!job.log.contains(name), "{shell} {form:?} {name} {}", job.log);
        }
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), UNUSED);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn what_outlives_the_job_has_nothing_of_the_pass() {
    for executor in &TABLE {
        for form in FORMS {
            let world = World::new();
            let volume = Volume::new();
            let report = "echo IMAGE=1 >build.env; [ -z \"${GITLAB_ENV-}\" ] || cat \"$GITLAB_ENV\" >\"$KEPT/environment\"";
            let mut job = job(&world, &volume, executor, "dash", form, &[KEEP, report]);
            job.lines.before_script.insert(0, "[ -z \"${GITLAB_ENV-}\" ] || echo OF_BEFORE=1 >>\"$GITLAB_ENV\"".to_owned());
            job.lines.after_script.insert(0, "env >\"$KEPT/after\"".to_owned());
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            // `artifacts: untracked`, `cache: paths: [.]` and a dotenv report take these.
            assert_eq!(files(&volume.project()), [volume.project().join("build.env")]);
            assert_eq!(fs::read_to_string(volume.project().join("build.env")).expect("written"), "IMAGE=1\n");
            // GITLAB_ENV goes to every later stage, and has only what the job itself put there.
            let after = fs::read_to_string(volume.kept("after")).expect("written");
            assert_eq!(after.contains("\nOF_BEFORE=1\n") || after.starts_with("OF_BEFORE=1\n"), !executor.is_old, "{after}");
            if !executor.is_old {
                assert_eq!(fs::read_to_string(volume.kept("environment")).expect("written"), "OF_BEFORE=1\n");
            }
            for name in ["OPENSHIFT_TOKEN", "JOBPASS_TOKEN_FILE", "JOBPASS_LEASE", "\nKUBECONFIG="] {
                assert!(!after.contains(name), "{name} {after}");
            }
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    }
}
