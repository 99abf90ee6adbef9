//! A thousand jobs, fifty at a time: each has a token of its own, and none leaves anything.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    ground::{GROUND, leases},
    harness::within,
    passes::{Team, is_taken},
    servers::DEAD,
};

const JOBS: usize = 1000;
const AT_A_TIME: usize = 50;

/// What it may take; on two cores with all that belongs to the cluster it takes less than a minute.
const LIMIT: Duration = Duration::from_mins(4);

#[test]
fn a_thousand_of_them_leave_nothing() {
    let ground = &*GROUND;
    let servers = ground.large.urls();
    let ca = &ground.large.ca_pem;
    let team = Team::new(&ground.large, "thousand", &servers);
    let (next, tokens) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= JOBS {
                        return;
                    }
                    let job = team.job(n % servers.len());
                    // Half of them by one call, half as people do it who have several commands.
                    let token = if n.is_multiple_of(2) {
                        let kept = tempfile::NamedTempFile::new().unwrap();
                        let path = kept.path().to_str().expect("text");
                        job.succeed(&["run", "--", "sh", "-c", &format!("cat \"$JOBPASS_TOKEN_FILE\" >{path}")]);
                        fs::read_to_string(path).unwrap()
                    } else {
                        let pass = job.request();
                        assert!(is_taken(&servers[n % servers.len()], ca, &pass.token), "a pass that is none");
                        job.succeed(&["revoke", "--strict"]);
                        pass.token
                    };
                    tokens.lock().unwrap().push(token);
                }
            });
        }
    });
    let took = begun.elapsed();
    let tokens = tokens.into_inner().unwrap();
    println!("{JOBS} jobs, {AT_A_TIME} at a time: {:.1} s, {:.0} ms each", took.as_secs_f32(), took.as_secs_f32() * 1e3 / 1000.0);
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), JOBS, "two jobs had the same token");
    assert_eq!(leases(&ground.large, Some("thousand")), 0, "leases are left");
    for token in &tokens {
        within(DEAD, "each is dead at both", || servers.iter().all(|server| !is_taken(server, ca, token)));
    }
    assert!(took < LIMIT, "{took:?}");
}
