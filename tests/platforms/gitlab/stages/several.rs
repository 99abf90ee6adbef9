//! Several passes on one volume: jobs side by side, a job that is tried again, and commands one after the other.

use super::*;

/// The token that a job has kept under a name of its own.
fn named(world: &World, volume: &Volume, name: &str) -> String {
    let token = fs::read_to_string(volume.kept(name)).expect("the script had a token");
    world.secret(&token);
    token
}

/// A script that keeps its token under this name, and waits until it may go on.
fn waiting(name: &str) -> String {
    format!("cat \"$JOBPASS_TOKEN_FILE\" >\"$KEPT/{name}\"; echo ready; until [ -e \"$KEPT/go-{name}\" ]; do sleep 0.1; done")
}

#[test]
fn a_job_does_not_revoke_the_pass_of_another_beside_it() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let [mut a, mut b] = ["a", "b"].map(|name| job(&world, &volume, executor("shell"), "bash", form, &[&waiting(name)]));
        let lives = [&mut a, &mut b].map(|job| {
            let live = job.start();
            live.said("ready");
            live
        });
        let tokens = ["a", "b"].map(|name| named(&world, &volume, name));
        assert_eq!((places(&volume).len(), world.secrets().len()), (2, 2));
        let [live_a, live_b] = lives;
        doors::write(&volume.kept("go-a"), "");
        assert_eq!((a.end(live_a), a.after("success")), (End::Code(0), End::Code(0)), "{}", a.log);
        a.clean();
        world.assert_dies(&tokens[0]);
        assert!(world.is_live(&tokens[1]), "the other job's pass is none of ours:\n{}", a.log);
        doors::write(&volume.kept("go-b"), "");
        assert_eq!((b.end(live_b), b.after("success")), (End::Code(0), End::Code(0)), "{}", b.log);
        b.clean();
        world.assert_dies(&tokens[1]);
        assert_nothing_left(&world, &a);
        assert_nothing_left(&world, &b);
    }
}

#[test]
fn a_job_that_is_tried_again_has_a_lease_of_its_own() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let mut first = on_docker(&world, &volume, "bash", form, &[KEEP, WAIT]);
        let live = first.start();
        live.said("ready");
        let lost = token(&world, &volume);
        let event = first.executor.lost;
        assert_eq!(first.befall(live, event).after, None);
        let mut second = on_docker(&world, &volume, "bash", form, &[KEEP]);
        assert_ne!(first.get("CI_JOB_ID"), second.get("CI_JOB_ID"));
        let ended = second.run();
        assert_ended(&ended, End::Code(0), &second);
        let token = token(&world, &volume);
        world.assert_dies(&token);
        assert_eq!(requests(&world), [&UNUSED[..2], &UNUSED].concat());
        // The lost one's is as it was, until it ends by itself or somebody ends it in the name of that job.
        assert!(world.is_live(&lost), "{}", second.log);
        assert_eq!((world.secrets().len(), places(&volume).len()), (1, 1));
        assert_eq!(first.after("failed"), End::Code(0), "{}", first.log);
        first.clean();
        world.assert_dies(&lost);
        assert_eq!(requests(&world)[6], UNUSED[2].replace("LEASE-1", "LEASE-2"));
        assert_nothing_left(&world, &first);
    }
}

#[test]
fn commands_one_after_the_other_have_a_pass_each() {
    let world = World::new();
    let volume = Volume::new();
    let mut job = on_docker(&world, &volume, "dash", Form::Wrapper, &["cat \"$JOBPASS_TOKEN_FILE\" >\"$KEPT/first\""]);
    job.lines
        .script
        .extend([format!("jobpass run -- sh -c {}", quoted(KEEP)), "echo \"v ${OPENSHIFT_TOKEN+set}${KUBECONFIG+set}\"".to_owned()]);
    let ended = job.run();
    assert_ended(&ended, End::Code(0), &job);
    assert!(job.log.contains("\nv \n"), "only the commands have it: {}", job.log);
    let tokens = [named(&world, &volume, "first"), token(&world, &volume)];
    assert_ne!(tokens[0], tokens[1]);
    // One name, as it comes from the job's.
    assert_eq!(requests(&world), [UNUSED, UNUSED].concat());
    for token in &tokens {
        world.assert_dies(token);
    }
    assert_nothing_left(&world, &job);
}

#[test]
fn what_a_script_leaves_in_the_background_ends_with_its_pass() {
    for name in ["docker", "shell"] {
        let world = World::new();
        let volume = Volume::new();
        let left = "sleep 30 & echo $! >\"$KEPT/pid\"";
        let mut job = job(&world, &volume, executor(name), "bash", Form::Wrapper, &[KEEP, left]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        let pid = fs::read_to_string(volume.kept("pid")).expect("written");
        assert!(!doors::is_running(pid.trim()), "{name}");
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_pass_that_a_command_holds_is_not_taken_over_by_another_of_the_same_job() {
    let nested = format!("{KEEP}; jobpass run -- sh -c 'echo late' || echo \"c $?\"; test -r \"$JOBPASS_TOKEN_FILE\" && echo still");
    let holder = format!("{KEEP}; until [ -e \"$KEPT/go\" ]; do sleep 0.1; done; test -r \"$JOBPASS_TOKEN_FILE\" && echo still");
    let beside = format!(
        "jobpass run -- sh -c {} & until [ -s \"$KEPT/token\" ]; do sleep 0.1; done\n\
         jobpass run -- sh -c 'echo late' || echo \"c $?\"; touch \"$KEPT/go\"; wait",
        quoted(&holder)
    );
    for (name, script, refusal) in [
        ("nested", format!("jobpass run -- sh -c {}", quoted(&nested)), "error: this job uses a pass for service account"),
        ("beside", beside, "error: another jobpass of this job is using the same pass\n"),
    ] {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, "bash", Form::Wrapper, &[]);
        job.lines.script = vec![script];
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains(&format!("\n{refusal}")), "{name} {}", job.log);
        assert!(job.log.contains("\nc 125\n") && job.log.contains("\nstill\n") && !job.log.contains("\nlate\n"), "{name} {}", job.log);
        assert_eq!(requests(&world), UNUSED, "{name}");
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn the_wrapper_in_a_job_of_the_template_leaves_the_job_its_pass() {
    let world = World::new();
    let volume = Volume::new();
    // Both would have the lease of this job's name, which one job has once.
    let refused = "jobpass run -- touch \"$KEPT/ran\" || echo \"code $?\"; [ -e \"$JOBPASS_TOKEN_FILE\" ] && echo there";
    let second = format!("jobpass run --job-key other -- sh -c {}", quoted("cat \"$JOBPASS_TOKEN_FILE\" >\"$KEPT/second\""));
    let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP, refused, &second]);
    let ended = job.run();
    assert_ended(&ended, End::Code(0), &job);
    assert!(job.log.contains("\ncode 125\nthere\n") && !volume.kept("ran").exists(), "{}", job.log);
    for token in [token(&world, &volume), named(&world, &volume, "second")] {
        world.assert_dies(&token);
    }
    assert_nothing_left(&world, &job);
}

#[test]
fn a_trap_of_the_scripts_own_leaves_the_pass_to_after_script() {
    for shell in doors::shells() {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, &shell, Form::Template, &[KEEP, "trap 'echo mine' EXIT"]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains("\nmine\n") && !job.log.ends_with(NOTHING), "{shell} {}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), UNUSED, "{shell}");
        assert_nothing_left(&world, &job);
    }
}
