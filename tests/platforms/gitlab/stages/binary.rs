//! How the binary comes into a job: in the image, fetched to the volume, as an artifact, or not at all.

use super::*;
use server::Server;

mod server;
mod volume;

/// Says the modes of what was fetched.
const MODES: &str = "stat -c 'm %a' \"$RUNNER_TEMP_PROJECT_DIR\"/jobpass-bin-* \"$RUNNER_TEMP_PROJECT_DIR\"/jobpass-bin-*/jobpass";

/// What the server has in the place of a hundred megabytes of a binary that is not optimised.
fn binary() -> String {
    format!("#!/bin/sh\nexec {} \"$@\"\n", quoted(env!("CARGO_BIN_EXE_jobpass")))
}

fn sum(text: &str) -> String {
    jobpass::name::hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// The same job on an image without jobpass.
fn without<'v>(world: &World, volume: &'v Volume, shell: &str, form: Form, script: &[&str]) -> Job<'v> {
    let mut job = on_docker(world, volume, shell, form, script);
    job.image.has_jobpass = false;
    job
}

/// The same job, which fetches jobpass.
fn fetching<'v>(world: &World, volume: &'v Volume, server: &Server, (shell, form): (&str, Form), script: &[&str]) -> Job<'v> {
    let mut job = without(world, volume, shell, form, script);
    job.set("JOBPASS_URL", &server.url("jobpass"));
    job.set("JOBPASS_SHA256", &sum(&binary()));
    job
}

/// The job ends before it has anything, and says why; nor does `after_script` have a jobpass. No file is left.
fn assert_refused(world: &World, job: &mut Job<'_>, words: &str) {
    let ended = job.run();
    assert_eq!((ended.script, ended.after), (End::Code(1), Some(End::Code(1))), "{}", job.log);
    assert_eq!(job.log.matches(words).count(), 2, "once in each stage: {}", job.log);
    assert!(!job.log.contains("\nlate\n"), "{}", job.log);
    assert_eq!(world.relay().connections(), 0);
    assert_nothing_left(world, job);
}

// Fetched.

#[test]
fn it_is_fetched_once_by_whatever_the_image_has() {
    let shells = doors::shells();
    let images = [(["curl"].as_slice(), false), (&["wget"], false), (&["wget"], true), (&["curl", "wget"], true)];
    at_once(images, |(fetchers, is_busybox)| {
        for (shell, form) in shells.iter().zip(FORMS.into_iter().cycle()) {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let mut job = fetching(&world, &volume, &server, (shell, form), &[KEEP, MODES]);
            (job.image.fetchers, job.image.is_busybox) = (fetchers, is_busybox);
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            assert!(job.log.contains("\nm 700\nm 700\n"), "{shell} {}", job.log);
            assert_eq!(server.asked(), ["jobpass"], "{shell} {form:?}: after_script has it on the volume");
            world.assert_dies(&token(&world, &volume));
            assert_eq!(requests(&world), UNUSED);
            assert_nothing_left(&world, &job);
        }
    });
}

#[test]
fn a_new_container_does_not_fetch_it_again() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, ("busybox", form), &[KEEP, WAIT]);
        let live = job.start();
        live.said("ready");
        let token = token(&world, &volume);
        let event = job.executor.cancel;
        assert_eq!(job.befall(live, event).after, Some(End::Code(0)), "{}", job.log);
        assert_eq!(server.asked(), ["jobpass"]);
        world.assert_dies(&token);
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn one_that_the_script_has_thrown_away_is_fetched_again_to_revoke() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, ("bash", form), &[KEEP, "rm -rf \"$RUNNER_TEMP_PROJECT_DIR\"/jobpass-bin-*"]);
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert_eq!(server.asked(), ["jobpass", "jobpass"]);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn one_that_the_script_has_changed_is_not_run_but_fetched_again() {
    let world = World::new();
    let volume = Volume::new();
    let server = Server::of(&[("jobpass", binary())]);
    let change = "echo 'echo changed' >>\"$(ls \"$RUNNER_TEMP_PROJECT_DIR\"/jobpass-bin-*/jobpass)\"";
    let mut job = fetching(&world, &volume, &server, ("dash", Form::Template), &[KEEP, change]);
    let ended = job.run();
    assert_ended(&ended, End::Code(0), &job);
    assert_eq!(server.asked(), ["jobpass", "jobpass"]);
    world.assert_dies(&token(&world, &volume));
    assert_nothing_left(&world, &job);
}

#[test]
fn a_wrong_sum_is_refused_and_nothing_of_it_runs() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let hostile = "#!/bin/sh\ntouch \"$KEPT/ran\"\n".to_owned();
        let server = Server::of(&[("jobpass", hostile)]);
        let mut job = fetching(&world, &volume, &server, (shell, form), &["echo late"]);
        assert_refused(&world, &mut job, "\nerror: jobpass does not have the SHA-256 of `JOBPASS_SHA256`\n");
        assert!(!volume.kept("ran").exists());
        assert_eq!(server.asked(), ["jobpass", "jobpass"]);
    });
}

#[test]
fn a_url_without_a_sum_is_refused_before_anything_is_asked() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, (shell, form), &["echo late"]);
        job.set("JOBPASS_SHA256", "");
        assert_refused(&world, &mut job, "\nerror: `JOBPASS_URL` is set, but `JOBPASS_SHA256` is not\n");
        assert_eq!(server.asked(), [""; 0]);
    });
}

/// Whether this shell finds a wget where there is none.
fn has_wget_of_its_own(shell: &str) -> bool {
    let mut command = doors::tool(shell);
    if shell == "busybox" {
        command.arg("sh");
    }
    command.args(["-c", "PATH=/nowhere; command -v wget"]).output().expect("there is such a shell").status.success()
}

#[test]
fn what_cannot_be_fetched_is_named() {
    for shell in doors::shells() {
        for (fetchers, asked) in [(["curl"].as_slice(), 2), (&["wget"], 2), (&[], 0)] {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[]);
            let mut job = fetching(&world, &volume, &server, (&shell, Form::Template), &["echo late"]);
            job.image.fetchers = fetchers;
            assert_refused(&world, &mut job, "\nerror: cannot fetch jobpass from `JOBPASS_URL`\n");
            // A busybox whose shell has its programs built in (Debian's `busybox-static`) always has its wget.
            let asked = if asked == 0 && has_wget_of_its_own(&shell) { 2 } else { asked };
            assert_eq!(server.asked().len(), asked, "{shell} {fetchers:?}");
        }
    }
}

#[test]
fn it_is_removed_also_where_revoke_fails_whose_code_is_kept() {
    for (strict, code) in [("true", 1), ("", 0)] {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let go_on = "echo ready; until [ -e \"$KEPT/go\" ]; do sleep 0.1; done";
        let mut job = fetching(&world, &volume, &server, ("sh", Form::Template), &[KEEP, go_on]);
        job.set("JOBPASS_STRICT", strict);
        let live = job.start();
        live.said("ready");
        world.take_away("delete", "secrets");
        doors::write(&volume.kept("go"), "");
        assert_eq!(job.end(live), End::Code(0), "{}", job.log);
        assert_eq!(job.after("success"), End::Code(code), "{}", job.log);
        job.clean();
        assert!(job.log.contains("stays valid until"), "{}", job.log);
        assert!(world.is_live(&token(&world, &volume)), "{}", job.log);
        let left = fs::read_dir(volume.temporary()).expect("it is there").flatten().map(|entry| entry.file_name());
        // The pass lives, and so its mark stays.
        let (marks, left): (Vec<_>, Vec<_>) = left.partition(|name| name.to_string_lossy().ends_with(".mark"));
        assert_eq!((marks.len(), left), (1, vec!["jobpass".into()]));
    }
}

#[test]
fn the_options_of_a_jobs_own_shell_do_not_matter() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let server = Server::of(&[("jobpass", binary())]);
        let mut job = fetching(&world, &volume, &server, (shell, form), &[KEEP]);
        for lines in [&mut job.lines.before_script, &mut job.lines.after_script] {
            lines.insert(0, "set -uCf; IFS=/; cd \"$HOME\"".to_owned());
        }
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        world.assert_dies(&token(&world, &volume));
        assert_eq!(requests(&world), UNUSED);
        assert_nothing_left(&world, &job);
    });
}

// As an artifact.

#[test]
fn it_is_found_as_the_artifact_of_an_earlier_job() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let mut job = without(&world, &volume, shell, form, &[KEEP, "cd /; echo ready", WAIT]);
        let live = job.start();
        live.said("ready");
        let token = token(&world, &volume);
        let event = job.executor.cancel;
        assert_eq!(job.befall(live, event).after, Some(End::Code(0)), "{}", job.log);
        world.assert_dies(&token);
        assert_nothing_left(&world, &job);
    });
}

#[test]
fn the_sum_holds_for_an_artifact_too() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let mut job = without(&world, &volume, shell, form, &[KEEP]);
        job.set("JOBPASS_SHA256", &sum(&binary()));
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
        // What an earlier job, or the repository, has put in its place.
        doors::write(&volume.project().join(".jobpass/jobpass"), "#!/bin/sh\ntouch \"$KEPT/ran\"\n");
        let mut job = without(&world, &volume, shell, form, &["echo late"]);
        job.set("JOBPASS_SHA256", &sum(&binary()));
        let ended = job.run();
        assert_eq!((ended.script, ended.after), (End::Code(1), Some(End::Code(1))), "{}", job.log);
        assert!(job.log.contains("\nerror: jobpass does not have the SHA-256 of `JOBPASS_SHA256`\n"), "{}", job.log);
        assert!(!volume.kept("ran").exists() && !job.log.contains("\nlate\n"), "{}", job.log);
    });
}

/// Downloads what `.jobpass-binary` has uploaded. By another process: one that we write ourselves another test's child may hold open.
fn artifact(volume: &Volume) {
    let source = volume.kept("source");
    doors::write(&source, &binary());
    let target = volume.project().join(".jobpass/jobpass");
    doors::tool("/usr/bin/install").args(["-D", "-m", "755"]).arg(&source).arg(&target).assert().success();
}

#[test]
fn the_jobs_own_is_taken_before_the_artifact() {
    let world = World::new();
    let volume = Volume::new();
    artifact(&volume);
    doors::write(&volume.project().join(".jobpass/jobpass"), "#!/bin/sh\ntouch \"$KEPT/ran\"\n");
    let mut job = on_docker(&world, &volume, "bash", Form::Template, &[KEEP]);
    let ended = job.run();
    assert_ended(&ended, End::Code(0), &job);
    assert!(!volume.kept("ran").exists(), "the project's own commands are no jobpass where there is one");
    world.assert_dies(&token(&world, &volume));
    assert_nothing_left(&world, &job);
}

// Not at all.

#[test]
fn a_job_without_a_binary_says_how_to_get_one() {
    in_each(|shell, form| {
        let world = World::new();
        let volume = Volume::new();
        let mut job = without(&world, &volume, shell, form, &["echo late"]);
        assert_refused(&world, &mut job, "\nerror: there is no jobpass in this job\nhint: have it in the image, or ");
    });
}

#[test]
fn a_before_script_of_the_jobs_own_has_displaced_it() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let mut job = without(&world, &volume, "bash", form, &["echo \"v ${OPENSHIFT_TOKEN+set}\""]);
        job.lines.before_script = vec!["echo mine".to_owned()];
        let ended = job.run();
        // The wrapper is missed. Of the template nothing is, but by `.jobpass-require`.
        assert_ended(&ended, End::Code(if form == Form::Wrapper { 127 } else { 0 }), &job);
        assert!(form == Form::Wrapper || job.log.contains("\nv \n"), "{}", job.log);
        assert_eq!(world.secrets(), [""; 0]);
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_before_script_of_the_jobs_own_may_reference_ours() {
    for form in FORMS {
        let world = World::new();
        let volume = Volume::new();
        artifact(&volume);
        let mut job = without(&world, &volume, "dash", form, &[KEEP]);
        job.lines.before_script.push("echo \"v ${OPENSHIFT_TOKEN+set}\"".to_owned());
        let ended = job.run();
        assert_ended(&ended, End::Code(0), &job);
        assert!(job.log.contains(if form == Form::Wrapper { "\nv \n" } else { "\nv set\n" }), "{}", job.log);
        world.assert_dies(&token(&world, &volume));
        assert_nothing_left(&world, &job);
    }
}

// Whether there is a pass.

#[test]
fn a_job_that_requires_a_pass_fails_where_a_before_script_has_displaced_it() {
    for shell in doors::shells() {
        let world = World::new();
        let volume = Volume::new();
        let mut job = on_docker(&world, &volume, &shell, Form::Template, &["echo late"]);
        job.lines.before_script = vec!["echo mine".to_owned()];
        job.lines.script = [hidden(".jobpass-require").script, job.lines.script.clone()].concat();
        let ended = job.run();
        assert_ended(&ended, End::Code(1), &job);
        assert!(job.log.contains("\nerror: this job has no pass\n") && !job.log.contains("\nlate\n"), "{shell} {}", job.log);
        assert_nothing_left(&world, &job);
    }
}

#[test]
fn a_job_that_requires_a_pass_and_has_one_goes_on() {
    for shell in doors::shells() {
        for trace in ["false", "true"] {
            let world = World::new();
            let volume = Volume::new();
            let server = Server::of(&[("jobpass", binary())]);
            let keep = "cp \"$(dirname \"$KUBECONFIG\")/token\" \"$KEPT/token\"";
            let mut job = fetching(&world, &volume, &server, (&shell, Form::Template), &[keep]);
            job.lines.script = [hidden(".jobpass-require").script, job.lines.script.clone()].concat();
            job.set("CI_DEBUG_TRACE", trace);
            let ended = job.run();
            assert_ended(&ended, End::Code(0), &job);
            assert!(job.log.contains("\nthis job has a pass for service account `"), "{shell} {}", job.log);
            assert_eq!(server.asked(), ["jobpass"], "it is found on the PATH, or on the volume");
            world.assert_dies(&token(&world, &volume));
            // The runner's own trace shows the CI identity, which is in a file variable here.
            job.log = job.log.replace(world.identity_token(), "");
            assert_nothing_left(&world, &job);
        }
    }
}
