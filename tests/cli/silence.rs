//! Connections on which nobody answers: forgotten by the network, never taken, slow; and answers that get lost on them.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Command, End, Job, Ran, World, doors};

/// The requests of a run, as far as the server has seen them.
fn requests(world: &World, ran: &Ran) -> String {
    world.plain(&ran.requests.join("\n"))
}

#[test]
fn a_connection_that_the_network_forgot_during_the_command() {
    let world = World::new();
    let job = Job::local(&world);
    let running = job.run_with(["--strict"], "echo begun; until [ -e go ]; do sleep 0.02; done").start();
    running.said("begun");
    world.relay().forget();
    doors::write(&job.workspace().join("go"), "");
    let ran = running.wait();
    assert!(ran.is_success(), "{}", ran.transcript());
    assert!(ran.stderr.contains("dead:") || ran.stderr.contains("dead at "), "{}", ran.transcript());
    assert_snapshot!(requests(&world, &ran), @"
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    DELETE /api/v1/namespaces/NS/secrets/LEASE-1 -> 200
    POST /apis/authentication.k8s.io/v1/selfsubjectreviews -> 401
    ");
    // The first one, the one beside it for the DELETE, and the token's own.
    assert_eq!(world.relay().connections(), 3);
    job.assert_nothing_left();
}

#[test]
fn a_connection_that_the_network_forgot_before_a_renewal() {
    let world = World::sandbox("a real server grants no token for seconds");
    world.on_sandbox().max_token_expiration(5);
    let job = Job::local(&world);
    let script = "first=$(cat \"$JOBPASS_TOKEN_FILE\"); i=0; echo begun
while [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" = \"$first\" ] && [ $i -lt 1000 ]; do sleep 0.02; i=$((i+1)); done
test $i -lt 1000 && echo renewed";
    let running = job.run(script).start();
    running.said("begun");
    world.relay().forget();
    let ran = running.wait();
    assert_eq!(ran.stdout, "begun\nrenewed\n", "{}", ran.transcript());
    assert!(!ran.stderr.contains("not renewed"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_first_connection_that_is_never_served() {
    // The kernel takes it, and no handshake ever comes.
    let world = World::new();
    let job = Job::local(&world);
    world.relay().hold_connection(1);
    let request = job.request().succeed();
    assert_eq!((request.requests.len(), world.relay().connections()), (2, 2), "{}", request.transcript());
    world.relay().hold_connection(3);
    let revoke = job.revoke().succeed();
    assert_eq!(revoke.requests.len(), 2, "{}", revoke.transcript());
    job.assert_nothing_left();
}

#[test]
fn an_address_that_is_dead_beside_one_that_lives() {
    if !doors::is_root() {
        // A hosts file of its own takes a mount namespace; `.ci/run` is root.
        return;
    }
    let world = World::sandbox("its certificate names localhost");
    let job = Job::local(&world);
    let port = world.relay().authority().rsplit(':').next().expect("a port").to_owned();
    // Whoever comes there hears nothing.
    let dead = TcpListener::bind(format!("127.0.0.9:{port}")).expect("the port is free at this address");
    for first in ["127.0.0.9 localhost\n127.0.0.1 localhost\n", "127.0.0.1 localhost\n127.0.0.9 localhost\n"] {
        doors::write(&job.workspace().join("hosts"), first);
        let text = world.kubeconfig().replace("https://127.0.0.1:", "https://localhost:");
        doors::write(&job.identity_file(), &text);
        let inner = format!("mount --bind hosts /etc/hosts && jobpass run -s {} -- true", world.account());
        job.shell("sh", &format!("unshare --mount sh -c '{inner}'")).succeed();
    }
    drop(dead);
    job.assert_nothing_left();
}

#[test]
fn a_server_that_needs_five_seconds_for_every_answer() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("*", "").always().delay(Duration::from_secs(5)));
    let job = Job::local(&world);
    let ran = job.run_with(["--strict"], "echo done").succeed();
    assert_eq!(ran.stdout, "done\n");
    assert!(ran.stderr.contains("removed:"), "{}", ran.transcript());
    // Of each request one copy at once, one after 2 s, one after 4 s.
    assert!(ran.requests.len() <= 12, "{:#?}", ran.requests);
    assert!(world.relay().connections() <= 10, "{}", world.relay().connections());
    job.assert_nothing_left();
}

#[test]
fn a_request_that_fails_at_a_slow_server_is_undone() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", "/token").answer(403, json!({"kind": "Status", "code": 403, "message": "no"})));
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").always().delay_after(Duration::from_secs(5)));
    // Its runner would kill after a signal, and there was none.
    let job = Job::gitlab(&world);
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(1));
    assert!(!ran.said().contains("left behind"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_slow_answer_of_the_creation_is_waited_for() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", "/secrets").delay_after(Duration::from_secs(3)));
    let job = Job::local(&world);
    let request = job.request().succeed();
    // The second copy meets what the first one has made.
    assert_snapshot!(requests(&world, &request), @"
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/secrets -> 409
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    ");
    assert_eq!(world.secrets(), [job.lease()]);
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn an_answer_of_the_creation_that_never_comes_is_not_a_second_lease() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", "/secrets").hang_after());
    let job = Job::local(&world);
    let request = job.request().args(["--timeout", "8s"]).succeed();
    assert_snapshot!(requests(&world, &request), @"
    POST /api/v1/namespaces/NS/secrets -> no answer
    POST /api/v1/namespaces/NS/secrets -> 409
    DELETE /api/v1/namespaces/NS/secrets/LEASE-1 -> 200
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    ");
    assert_eq!(world.secrets(), [job.lease()]);
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn a_lease_that_was_deleted_by_a_copy_of_the_request_is_removed() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::local(&world);
    for fault in [Fault::on("DELETE", "/secrets").hang_after(), Fault::on("DELETE", "/secrets").cut_after_processing()] {
        job.request().succeed();
        doors::write(&job.place().join("token"), "gone");
        world.on_sandbox().fault(fault);
        let revoke = job.revoke().succeed();
        assert!(revoke.said().contains("removed:"), "{}", revoke.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn one_bad_answer_does_not_end_what_is_under_way() {
    let world = World::sandbox("a real server has no script of faults");
    // The first copy is slow, the second one is refused at once.
    world.on_sandbox().fault(Fault::on("POST", "/token").delay(Duration::from_millis(2500)));
    world
        .on_sandbox()
        .fault(Fault::on("POST", "/token").nth(2).answer(503, json!({"kind": "Status", "code": 503, "message": "busy"})).always());
    let job = Job::local(&world);
    job.request().succeed();
    world.on_sandbox().clear_faults();
    job.revoke().succeed();
    job.assert_nothing_left();
}

// Who cannot be reached at all.

/// How long it took to give up.
fn given_up(command: Command<'_>) -> (Ran, Duration) {
    let start = Instant::now();
    let ran = command.run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    (ran, start.elapsed())
}

#[test]
fn nobody_is_given_up_soon_before_there_is_a_pass_and_said_at_once() {
    let world = World::sandbox("it is never reached");
    let job = Job::gitlab(&world);
    let refusing = doors::refusing();
    let server = refusing.local_addr().expect("bound").to_string();
    let (ran, took) = given_up(job.request().args(["--server", &server, "--timeout", "5m"]));
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_snapshot!(ran.said());
    assert_eq!(job.places().len(), 0);
}

#[test]
fn who_interrupts_a_long_wait_is_told_what_it_was_for() {
    let world = World::sandbox("it is never reached");
    let job = Job::gitlab(&world);
    let refusing = doors::refusing();
    // The kernel takes the connection, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (server, told) in [
        (refusing.local_addr().expect("bound"), "trying again for at most 5s"),
        (silent.local_addr().expect("bound"), "trying for at most 2m"),
    ] {
        let running = job.request().args(["--server", &server.to_string(), "--timeout", "2m"]).start();
        running.said(told);
        running.signal(Signal::TERM);
        let ran = running.wait();
        assert_snapshot!(ran.said());
        assert_eq!(job.places().len(), 0);
    }
}

#[test]
fn a_pass_that_is_to_end_has_all_the_time_there_is() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::local(&world);
    job.request().succeed();
    // A server that is stopped would leave its port to another scenario's.
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").cut_before_processing().always());
    let (ran, took) = given_up(job.revoke().args(["--timeout", "8s"]));
    assert!(took > Duration::from_secs(6), "{took:?}\n{}", ran.transcript());
    assert_eq!(ran.said().matches("trying again").count(), 1, "{}", ran.said());
}

// What a server asks for.

#[test]
fn a_retry_after_without_end_stops_nothing() {
    let world = World::sandbox("a real server has no script of faults");
    for path in ["/secrets", "/token"] {
        world.on_sandbox().fault(Fault::on("POST", path).status_429(u64::MAX));
    }
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").status_429(u64::MAX));
    let job = Job::local(&world);
    let ran = job.run_with(["--strict", "--timeout", "8s"], "exit 3").run();
    assert_eq!(ran.end, End::Code(3), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_quota_that_is_being_counted_is_no_lease_of_that_name() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", "/secrets").conflict().times(2));
    let job = Job::gitlab(&world);
    let request = job.request().succeed();
    assert_snapshot!(requests(&world, &request), @"
    POST /api/v1/namespaces/NS/secrets -> 409
    POST /api/v1/namespaces/NS/secrets -> 409
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    ");
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").conflict());
    job.revoke().succeed();
    job.assert_nothing_left();
    world.on_sandbox().fault(Fault::on("POST", "/secrets").conflict().always());
    let ran = job.request().args(["--timeout", "6s"]).run();
    assert_eq!(ran.end, End::Code(1));
    assert_snapshot!(ran.said());
    job.assert_nothing_left();
}
