//! What is on the volume already when a job looks for its binary: left by other jobs, put there by others, or of no use.

use super::*;

/// A directory as the job would make it itself, with what is not yet executable.
fn planted(job: &Job<'_>, mode: u32) -> PathBuf {
    let directory = job.volume.temporary().join(format!("jobpass-bin-{}", job.get("CI_JOB_ID").expect("a job has one")));
    doors::make_directory(&directory);
    doors::write(&directory.join("jobpass"), &binary());
    doors::set_mode(&directory.join("jobpass"), 0o600);
    doors::set_mode(&directory, mode);
    directory
}

/// Runs a program of this machine.
fn done(program: &str, arguments: &[&str], path: &Path) {
    doors::tool(program).args(arguments).arg(path).assert().success();
}

fn assert_taken(world: &World, job: &mut Job<'_>, server: &Server, asked: &[&str]) {
    let ended = job.run();
    assert_ended(&ended, End::Code(0), job);
    assert!(job.log.contains("\nm 700\nm 700\n"), "{}", job.log);
    assert_eq!(server.asked(), asked, "{}", job.log);
    world.assert_dies(&token(world, job.volume));
    assert_nothing_left(world, job);
}

#[test]
fn one_that_nobody_else_could_change_is_made_executable() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, (shell, form), &[KEEP, MODES]);
        planted(&job, 0o700);
        assert_taken(&world, &mut job, &server, &[]);
    });
}

#[test]
fn one_that_others_can_change_is_fetched_again() {
    for mode in [0o777, 0o720, 0o702] {
        for (shell, form) in doors::shells().iter().zip(FORMS.into_iter().cycle()) {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let mut job = fetching(&world, &volume, &server, (shell, form), &[KEEP, MODES]);
            planted(&job, mode);
            assert_taken(&world, &mut job, &server, &["jobpass"]);
        }
    }
}

#[test]
fn one_of_another_user_or_elsewhere_is_fetched_again() {
    for is_link in [false, true] {
        if !is_link && !doors::is_root() {
            // Only root can give a file away. `.ci/run` is root.
            continue;
        }
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, ("bash", Form::Template), &[KEEP, MODES]);
        let directory = planted(&job, 0o700);
        if is_link {
            let elsewhere = volume.kept("elsewhere");
            fs::rename(&directory, &elsewhere).expect("it can be moved");
            std::os::unix::fs::symlink(&elsewhere, &directory).expect("a link");
        } else {
            done("/usr/bin/chown", &["-R", "65534"], &directory);
        }
        assert_taken(&world, &mut job, &server, &["jobpass"]);
        assert_eq!(volume.kept("elsewhere/jobpass").exists(), is_link, "what a link leads to is not ours");
    }
}

/// Says whether such a program is found, and what is in the directory that has come on the PATH.
const BESIDE: &str = "command -v planted || echo 'none is found'; ls -A \"${PATH##*:}\"; echo end";

#[test]
fn a_program_beside_it_does_not_come_on_the_path() {
    in_each(|shell, form| {
        for is_artifact in [false, true] {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let mut job = if is_artifact {
                artifact(&volume);
                without(&world, &volume, shell, form, &[KEEP, BESIDE])
            } else {
                fetching(&world, &volume, &server, (shell, form), &[KEEP, BESIDE])
            };
            let directory = if is_artifact { volume.project().join(".jobpass") } else { planted(&job, 0o700) };
            doors::write(&directory.join("planted"), "#!/bin/sh\ntouch \"$KEPT/ran\"\n");
            doors::set_mode(&directory.join("planted"), 0o755);
            job.lines.after_script.push(BESIDE.to_owned());
            // Before the directory is removed.
            let last = job.lines.after_script.len() - 1;
            job.lines.after_script.swap(last - 1, last);
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            // What jobpass itself says of its pass may come between the lines of the command, as nobody waits for it.
            let ours = |line: &&str| line.starts_with("pass for service account ");
            let said = job.log.lines().filter(|line| !ours(line)).collect::<Vec<_>>().join("\n");
            assert_eq!(said.matches("\nnone is found\njobpass\nend\n").count(), 2, "{shell} {form:?} {}", job.log);
            assert_eq!(server.asked(), [""; 0]);
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    });
}

#[test]
fn a_link_does_not_pass_for_it() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let path = volume.project().join(".jobpass/jobpass");
        fs::rename(&path, volume.kept("elsewhere")).expect("it can be moved");
        std::os::unix::fs::symlink(volume.kept("elsewhere"), &path).expect("a link");
        // With its sum, and without.
        for sum in [sum(&binary()), String::new()] {
            let mut job = without(&world, &volume, shell, form, &["echo late"]);
            job.set("JOBPASS_SHA256", &sum);
            assert_refused(&world, &mut job, "/.jobpass/jobpass` is a link, and not the artifact of a job\n");
        }
        // What is on the volume is fetched instead.
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, (shell, form), &[KEEP, MODES]);
        let directory = planted(&job, 0o700);
        fs::rename(directory.join("jobpass"), volume.kept("elsewhere")).expect("it can be moved");
        std::os::unix::fs::symlink(volume.kept("elsewhere"), directory.join("jobpass")).expect("a link");
        assert_taken(&world, &mut job, &server, &["jobpass"]);
    });
}

#[test]
fn an_artifact_that_is_exchanged_after_its_sum_is_not_what_runs() {
    for shell in doors::shells() {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let exchange = "printf '#!/bin/sh\\ntouch \"$KEPT/ran\"\\n' >\"$CI_PROJECT_DIR/.jobpass/jobpass\"; jobpass require";
        let mut job = without(&world, &volume, &shell, Form::Template, &[KEEP, exchange]);
        job.set("JOBPASS_SHA256", &sum(&binary()));
        let live = job.start();
        assert_eq!(job.end(live), End::Code(0), "{}", job.log);
        assert!(job.log.contains("\nthis job has a pass for service account `") && !volume.kept("ran").exists(), "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(world.secrets(), [""; 0], "by the trap: {}", job.log);
    }
}

#[test]
fn an_image_without_find_fetches_it_in_each_stage() {
    let world = World::new();
    let volume = Volume::new();
    let server = Server::of(&[("jobpass", binary())]);
    let mut job = fetching(&world, &volume, &server, ("dash", Form::Template), &[KEEP, MODES]);
    for lines in [&mut job.lines.before_script, &mut job.lines.after_script] {
        lines.insert(0, "find() { return 127; }".to_owned());
    }
    assert_taken(&world, &mut job, &server, &["jobpass", "jobpass"]);
}

#[test]
fn those_of_jobs_that_are_long_over_are_removed() {
    for is_busybox in [false, true] {
        for form in FORMS {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let mut job = fetching(&world, &volume, &server, ("sh", form), &[KEEP, MODES]);
            job.image.is_busybox = is_busybox;
            let [old, young, other] = ["jobpass-bin-1", "jobpass-bin-2", "other"].map(|name| volume.temporary().join(name));
            for (directory, age) in [(&old, "8 days ago"), (&young, "6 days ago"), (&other, "8 days ago")] {
                doors::make_directory(directory);
                doors::write(&directory.join("jobpass"), "");
                done("/usr/bin/touch", &["-d", age], directory);
            }
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            assert_eq!([&old, &young, &other].map(|path| path.exists()), [false, true, true], "{}", job.log);
            for path in [young, other] {
                fs::remove_dir_all(path).expect("it can be removed");
            }
            world.assert_dies(&token(&world, &volume));
            assert_nothing_left(&world, &job);
        }
    }
}

#[test]
fn a_job_that_is_out_of_time_leaves_its_binary_and_nothing_else() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, ("dash", form), &[KEEP, WAIT]);
        let live = job.start();
        live.said("ready");
        let token = token(&world, &volume);
        let event = job.executor.job_timeout;
        assert_eq!(job.befall(live, event).after, None, "{}", job.log);
        world.assert_dies(&token);
        let left = volume.temporary().join(format!("jobpass-bin-{}", job.get("CI_JOB_ID").expect("a job has one")));
        assert_eq!(files(&left), [left.join("jobpass")]);
        fs::remove_dir_all(left).expect("it can be removed");
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_sum_in_upper_case_is_the_same_sum() {
    for shell in doors::shells() {
        for is_busybox in [false, true] {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let mut job = fetching(&world, &volume, &server, (&shell, Form::Template), &[KEEP, MODES]);
            job.image.is_busybox = is_busybox;
            job.set("JOBPASS_SHA256", &sum(&binary()).to_uppercase());
            assert_taken(&world, &mut job, &server, &["jobpass"]);
        }
    }
}

// What is there and cannot run.

const CANNOT: &str = "/jobpass` cannot be executed\nhint: build it for this machine's architecture, ";

#[test]
fn an_artifact_that_cannot_be_executed_is_named() {
    // What another architecture's looks like to the kernel.
    let foreign = "\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\u{7f}\0\x01\0\0\0";
    for (text, mode) in [(foreign, 0o755), (&binary(), 0o644)] {
        in_each(|shell, form| {
            let world = World::new();
            let volume = Volume::new();
            let mut job = without(&world, &volume, shell, form, &["echo late"]);
            let directory = volume.project().join(".jobpass");
            doors::make_directory(&directory);
            doors::write(&directory.join("jobpass"), text);
            doors::set_mode(&directory.join("jobpass"), mode);
            assert_refused(&world, &mut job, CANNOT);
            assert!(!job.log.contains("there is no jobpass"), "{}", job.log);
        });
    }
}

#[test]
fn a_volume_that_lets_nothing_run_is_told_so() {
    if !doors::is_root() {
        // Only root can mount. `.ci/run` is root.
        return;
    }
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        // As a pod: each of its stages has its mounts for itself.
        let mut job = job(&world, &volume, executor("kubernetes"), shell, form, &["echo late"]);
        job.image.has_jobpass = false;
        job.set("JOBPASS_URL", &server.url("jobpass"));
        job.set("JOBPASS_SHA256", &sum(&binary()));
        for lines in [&mut job.lines.before_script, &mut job.lines.after_script] {
            lines.insert(0, "/bin/mount -t tmpfs -o noexec none \"$RUNNER_TEMP_PROJECT_DIR\"".to_owned());
        }
        assert_refused(&world, &mut job, CANNOT);
    });
}
