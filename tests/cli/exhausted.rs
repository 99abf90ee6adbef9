//! What may run out while a pass begins or lives: files, room, a directory. The end is the right code, a message, and no pass.

use std::path::PathBuf;

use crate::harness::{End, Job, Ran, World, doors};

/// A script of each verb that has either worked or begun nothing, and said why.
fn works_or_says(job: &Job<'_>, limit: &str, why: &[&str]) -> bool {
    let account = job.world.account();
    let told = |ran: &Ran| why.iter().any(|why| ran.stderr.contains(why));
    let run = job.shell("sh", &format!("{limit}; exec jobpass run -s {account} -- true")).run();
    match run.end {
        End::Code(0) => {}
        // Where the program's libraries cannot be opened, it is none of ours.
        End::Code(127) if run.stderr.contains("shared libraries") => {}
        End::Code(125) if told(&run) => {}
        _ => panic!("{limit}\n{}", run.transcript()),
    }
    job.assert_nothing_left();
    let request = job.shell("sh", &format!("{limit}; exec jobpass request -s {account}")).run();
    match request.end {
        End::Code(0) => {
            let revoked = job.shell("sh", &format!("{limit}; exec jobpass revoke")).run();
            assert!(revoked.is_success(), "whoever can request can revoke: {limit}\n{}", revoked.transcript());
        }
        End::Code(127) if request.stderr.contains("shared libraries") => {}
        End::Code(1) if told(&request) => {}
        _ => panic!("{limit}\n{}", request.transcript()),
    }
    job.assert_nothing_left();
    run.is_success() && request.is_success()
}

#[test]
fn too_few_files() {
    let world = World::new();
    let job = Job::local(&world);
    let why = ["cannot open enough files to begin"];
    let works: Vec<_> = (3..=20).chain([28, 40, 64]).map(|limit| works_or_says(&job, &format!("ulimit -n {limit}"), &why)).collect();
    assert!(!works[0] && works[works.len() - 1], "{works:?}");
    // A soft limit alone keeps nobody from ending a pass.
    job.request().succeed();
    let revoked = job.shell("sh", "ulimit -S -n 12; exec jobpass revoke").succeed();
    assert!(revoked.stderr.contains("dead: "), "{}", revoked.transcript());
}

#[test]
fn files_that_may_not_grow() {
    let world = World::new();
    let job = Job::local(&world);
    let works: Vec<_> = (0..=8).map(|blocks| works_or_says(&job, &format!("ulimit -f {blocks}"), &["file too large"])).collect();
    assert!(!works[0] && works[8], "{works:?}");
}

/// The limit is met at each of the runner's files too, and half a record is none.
#[test]
fn a_runners_file_that_may_not_grow() {
    let world = World::new();
    let job = Job::github(&world);
    for blocks in 1..=8 {
        let ran = job.shell("sh", &format!("ulimit -f {blocks}; exec jobpass request -s {}", world.account())).run();
        for name in ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE"] {
            drop(crate::harness::records(&job.file_command(name)));
        }
        match ran.end {
            End::Code(0) => drop(job.post().succeed()),
            End::Code(1) => assert!(ran.stderr.contains("file too large"), "{blocks}\n{}", ran.transcript()),
            _ => panic!("{blocks}\n{}", ran.transcript()),
        }
        job.assert_nothing_left();
        job.new_step();
    }
}

#[test]
fn a_place_that_a_command_takes_away() {
    let world = World::new();
    let job = Job::local(&world);
    let place = "p=\"${JOBPASS_TOKEN_FILE%/*}\"; b=\"${p%/*}\"";
    for script in [
        "rm -rf \"$p\"",
        "rm -rf \"$b\"",
        "mv \"$p\" \"$p.away\"",
        "mv \"$b\" \"$b.away\"",
        "rm -rf \"$p\"; ln -s /etc \"$p\"",
        "rm -rf \"$b\"; ln -s /etc \"$b\"",
        "rm -rf \"$p\"; echo x >\"$p\"",
        "chmod 0 \"$p\" \"$b\"",
        "rm \"$p/token\"; mkdir \"$p/token\"",
        "rm \"$p/lease.json\"; mkfifo \"$p/lease.json\"",
        "rm \"$p/token\"; mkfifo \"$p/token\"",
        "touch \"$p/mine\"",
    ] {
        let ran = job.run(&format!("{place}; {script}; exit 7")).run();
        assert_eq!(ran.end, End::Code(7), "{script}\n{}", ran.transcript());
        assert_eq!(world.secrets(), [""; 0], "{script}\n{}", ran.transcript());
        assert!(ran.stderr.contains("dead: "), "{script}\n{}", ran.transcript());
        doors::tool("rm").args(["-rf".into(), job.base(), PathBuf::from("/nowhere")]).assert().success();
        doors::make_directory(&job.base());
    }
    for token in world.tokens_of_passes() {
        world.assert_dies(&token);
    }
}

/// Root may write everywhere; what it may not is a file system that nobody may.
#[test]
fn directories_that_take_nothing() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    for directory in ["/proc/self", "/sys", "/dev/null", "/proc/self/fd"] {
        for (verb, code) in [("request", vec![1, 2]), ("run", vec![125])] {
            let call = job.jobpass().args([verb, "-s", &world.account(), "--dir", directory]);
            let ran = if verb == "run" { call.args(["--", "true"]).run() } else { call.run() };
            let End::Code(got) = ran.end else { panic!("{}", ran.transcript()) };
            assert!(code.contains(&got) && ran.stderr.contains("caused by: "), "{directory}\n{}", ran.transcript());
            assert_eq!(world.relay().connections(), 0, "{directory}\n{}", ran.transcript());
        }
    }
}

#[test]
fn streams_that_are_closed() {
    let world = World::new();
    let job = Job::local(&world);
    let account = world.account();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let script = format!("jobpass run -s {account} -- sh -c 'test -s \"$JOBPASS_TOKEN_FILE\"; exit 7' {closed}");
        let ran = job.shell("sh", &script).run();
        assert_eq!(ran.end, End::Code(7), "{closed}\n{}", ran.transcript());
        job.assert_nothing_left();
    }
}
