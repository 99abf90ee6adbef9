//! Two of the directories that we are given are one, in other words, or lie in each other.

use std::{fs, os::unix::fs::symlink, path::Path};

use insta::assert_snapshot;

use crate::harness::{End, Job, World, doors};

/// All that a job of GitLab does with a pass, with its volume and its memory being these.
fn works(job: &Job<'_>, volume: &Path, memory: &Path) {
    let words = format!("{} {}", volume.display(), memory.display());
    job.set("RUNNER_TEMP_PROJECT_DIR", volume);
    job.set("XDG_RUNTIME_DIR", memory);
    let ran = job.run("test -s \"$JOBPASS_TOKEN_FILE\" && test -s \"$KUBECONFIG\"; exit 3").run();
    assert_eq!(ran.end, End::Code(3), "{words}\n{}", ran.transcript());
    job.request().succeed();
    let running = job.run_with(["--job-key", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51"], "echo begun; sleep 50").start();
    running.said("begun");
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    job.revoke().args(["--job-key", "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51"]).succeed();
    job.revoke().succeed();
    assert_eq!(job.world.secrets(), [""; 0], "{words}");
    for directory in [volume, memory] {
        let left: Vec<_> = walk(directory);
        assert!(left.is_empty(), "{words}: {left:?}");
    }
}

/// The files below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() && !path.is_symlink() { walk(&path) } else { vec![path] })
        .filter(|path| !path.is_symlink())
        .collect()
}

#[test]
fn volume_and_memory_may_be_one_directory_in_any_words() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let root = std::path::PathBuf::from(job.get("XDG_RUNTIME_DIR").expect("set"));
    let own = root.join("own");
    doors::make_directory(&own);
    doors::set_mode(&own, 0o700);
    symlink(&own, root.join("link")).expect("a link");
    let text = |tail: &str| format!("{}{tail}", root.display());
    for other in ["/own", "/own/", "//own", "/own/../own", "/link"] {
        works(&job, &own, Path::new(&text(other)));
    }
    works(&job, Path::new(&text("/link/")), &own);
}

#[test]
fn volume_and_memory_may_lie_in_each_other() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let root = std::path::PathBuf::from(job.get("XDG_RUNTIME_DIR").expect("set"));
    for below in ["jobpass", "other"] {
        let inner = root.join(below);
        for swapped in [false, true] {
            doors::make_directory(&inner);
            for directory in [root.join("jobpass"), inner.clone()].iter().filter(|directory| directory.exists()) {
                doors::set_mode(directory, 0o700);
            }
            if swapped { works(&job, &root, &inner) } else { works(&job, &inner, &root) }
        }
    }
}

#[test]
fn the_directory_of_a_flag_may_be_that_of_the_session_and_the_memory() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let memory = job.get("XDG_RUNTIME_DIR").expect("set");
    let ran = job.run_with(["--dir", &memory], "test -s \"$JOBPASS_TOKEN_FILE\"").succeed();
    assert!(ran.stderr.contains("dead: "), "{}", ran.transcript());
    job.assert_nothing_left();
    let local = Job::local(&world);
    for name in ["TMPDIR", "XDG_RUNTIME_DIR"] {
        local.set(name, &memory);
        local.run("true").succeed();
        local.request().succeed();
        local.revoke().succeed();
    }
    assert_eq!(world.secrets(), [""; 0]);
}

/// What is mounted twice has two names and no link between them.
#[test]
fn volume_and_memory_may_be_mounted_upon_each_other() {
    if !doors::is_root() {
        return;
    }
    let world = World::new();
    let job = Job::gitlab(&world);
    let root = std::path::PathBuf::from(job.get("XDG_RUNTIME_DIR").expect("set"));
    for name in ["one", "two"] {
        doors::make_directory(&root.join(name));
        doors::set_mode(&root.join(name), 0o700);
    }
    let (one, two) = (root.join("one"), root.join("two"));
    let call = format!("jobpass run -s {} -- true && jobpass request -s {0} && jobpass revoke", world.account());
    let script = format!("unshare --mount sh -ec 'mount --bind {} {}; {call}'", one.display(), two.display());
    let ran = job.shell("sh", &script).env("RUNNER_TEMP_PROJECT_DIR", &one).env("XDG_RUNTIME_DIR", &two).succeed();
    assert_eq!(ran.stderr.matches("dead: ").count(), 2, "{}", ran.transcript());
    assert_eq!((world.secrets(), walk(&root)), (vec![], vec![]));
}

#[test]
fn no_token_lies_in_the_workspace_though_the_session_does() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.run("echo \"$JOBPASS_TOKEN_FILE\"").env("XDG_RUNTIME_DIR", job.workspace()).succeed();
    assert!(ran.stdout.starts_with(&*job.base().to_string_lossy()), "{}", ran.transcript());
    let beside = job.run_with(["--dir", "../work.tmp/"], "true").run();
    assert!(beside.is_success(), "`..` leads out: {}", beside.transcript());
}

/// `su`, `sudo` and containers keep the variable of somebody else, or name what is not there.
#[test]
fn a_session_that_cannot_be_used_is_named_with_what_helps() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    doors::write(&job.directory().join("file"), "");
    let below = job.directory().join("file/below");
    let mut said = String::new();
    // A file, and below one; where nothing can be made: `/proc` is nobody's.
    for directory in [job.directory().join("file"), below, "/proc/self".into(), "/proc/none".into()] {
        for ran in [job.request().env("XDG_RUNTIME_DIR", &directory).run(), job.run("true").env("XDG_RUNTIME_DIR", &directory).run()] {
            assert!(matches!(ran.end, End::Code(1 | 125)), "{}", ran.transcript());
            assert!(ran.stderr.contains("hint: unset `XDG_RUNTIME_DIR`, which names this directory"), "{}", ran.transcript());
            assert!(!ran.stderr.contains("not shown"), "{}", ran.transcript());
            said += &ran.said();
        }
    }
    assert_snapshot!(said);
    assert_eq!(world.relay().connections(), 0);
    // The hint holds: the user's own place in `TMPDIR`, and one that is named.
    job.request().without("XDG_RUNTIME_DIR").succeed();
    job.revoke().without("XDG_RUNTIME_DIR").succeed();
    let named = job.directory().join("named").to_string_lossy().into_owned();
    job.request().env("XDG_RUNTIME_DIR", "/proc/self").args(["--dir", &named]).succeed();
    job.revoke().env("XDG_RUNTIME_DIR", "/proc/self").args(["--dir", &named]).succeed();
}

#[test]
fn a_kubeconfig_in_the_way_of_the_pass_is_refused() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    for path in [job.base().join("jobpass"), job.base().join("missing/kubeconfig")] {
        let ran = job.request().arg("--kubeconfig-out").arg(path.to_string_lossy()).run();
        assert!(matches!(ran.end, End::Code(1 | 2)), "{}", ran.transcript());
        assert_eq!(world.relay().connections(), 0, "{}", ran.transcript());
        job.assert_nothing_left();
    }
}
