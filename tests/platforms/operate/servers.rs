//! Two API servers of one cluster, each with a cache of its own: what ends at one ends at both.

use std::time::{Duration, Instant};

use crate::{
    calls::operator,
    ground::GROUND,
    harness::within,
    passes::{Team, is_taken},
};

/// So long an API server may remember a token, and what the news of a deletion takes from one to the other.
pub(crate) const DEAD: Duration = Duration::from_secs(15);

#[test]
fn a_pass_that_both_know_is_dead_at_both() {
    let ground = &*GROUND;
    let (servers, ca) = (ground.large.urls(), &ground.large.ca_pem);
    assert_eq!(servers.len(), 2);
    let team = Team::new(&ground.large, "two-servers", &servers);
    let is_taken_at = |token: &str| servers.iter().map(|server| is_taken(server, ca, token)).collect::<Vec<_>>();

    // Used at both, so that each remembers it; ended by an operator through the other one.
    let pass = team.job(0).request();
    assert_eq!(is_taken_at(&pass.token), [true, true]);
    operator(&ground.kubeconfig, &["leases", "revoke", &pass.lease, "--context", "large-2", "--reason", "two servers", "--yes"]).ended(0);
    let begun = Instant::now();
    within(DEAD, "it is dead at both", || is_taken_at(&pass.token) == [false, false]);
    println!("a pass that two API servers remembered is dead at both after {:.1} s", begun.elapsed().as_secs_f32());

    // Ended by its job, with a proof.
    let job = team.job(0);
    let pass = job.request();
    assert_eq!(is_taken_at(&pass.token), [true, true]);
    let receipt = job.succeed(&["revoke", "--wait-dead", "--strict", "--output", "json"]);
    let begun = Instant::now();
    assert!(receipt.contains("\"dead\""), "{receipt}");
    assert!(!is_taken(&servers[0], ca, &pass.token), "what was proved is not so");
    within(DEAD, "it is dead at both", || is_taken_at(&pass.token) == [false, false]);
    println!("a pass that is proved to be dead at one is so at both after {:.1} s", begun.elapsed().as_secs_f32());
}

#[test]
fn a_lock_holds_at_both() {
    let ground = &*GROUND;
    let servers = ground.large.urls();
    let team = Team::new(&ground.large, "two-locks", &servers);
    let locked = ["lock", &team.account(), "--for", "1h", "--reason", "two servers", "--yes", "--context", "large"].map(ToOwned::to_owned);
    operator(&ground.kubeconfig, &locked.each_ref().map(String::as_str)).ended(0);
    for n in 0..servers.len() {
        // It learns of the lock by a watch.
        within(DEAD, "the lock holds", || team.job(n).call(&["request"]).output().is_ok_and(|output| !output.status.success()));
        let said = team.job(n).fail(&["request"]);
        assert!(said.contains("locked") && said.contains("two servers"), "{said}");
    }
    operator(&ground.kubeconfig, &["unlock", &team.account(), "--yes", "--context", "large-2"]).ended(0);
    for n in 0..servers.len() {
        let job = team.job(n);
        within(DEAD, "a pass is granted again", || job.call(&["request"]).output().is_ok_and(|output| output.status.success()));
        job.succeed(&["revoke"]);
    }
}
