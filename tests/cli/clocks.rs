//! Two clocks: this machine's may be hours wrong, and nothing that is said of the API server's time comes from it alone.

use std::{fs, time::Duration};

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use serde_json::{Value, json};

use crate::harness::{End, Job, Ran, World, doors};

const SKEW: Duration = Duration::from_mins(17);

fn code(ran: &Ran, code: i32) {
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
}

fn lease(job: &Job<'_>) -> Value {
    serde_json::from_str(&fs::read_to_string(job.place().join("lease.json")).expect("saved")).expect("JSON")
}

fn edit_lease(job: &Job<'_>, change: impl FnOnce(&mut Value)) {
    let mut lease = lease(job);
    change(&mut lease);
    doors::write(&job.place().join("lease.json"), &lease.to_string());
}

/// What an API server answers that does not let us delete.
fn forbidden() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": "secrets is forbidden: cannot delete"})
}

/// A `Date` so far from this machine's clock.
fn date(world: &World, by: Duration) -> String {
    let now = world.on_sandbox().now() + by;
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn with_a_fast_clock_a_living_pass_has_not_expired() {
    let world = World::behind(SKEW);
    for job in Job::all(&world) {
        let request = job.request().args(["--ttl", "10m"]).succeed();
        assert_eq!(request.said().matches("clock is N min ahead of the API server's").count(), 1, "{}", request.transcript());
        let token = job.token();
        // No right to delete: the server's own clock comes with the refusal, and says how long it still is.
        world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, forbidden()));
        let revoke =
            |job: &Job<'_>, time: &str| job.revoke().args(["--strict", "--wait-dead", "--output", "json", "--timeout", time]).run();
        let refused = revoke(&job, "25s");
        code(&refused, 1);
        assert!(refused.said().contains(r#""state":"failed""#), "{}", refused.transcript());
        assert!(refused.stderr.contains(" (11 min)") || refused.stderr.contains(" (10 min)"), "{}", refused.stderr);
        // A page of a proxy on the way has a clock of its own.
        let later = date(&world, Duration::from_hours(3));
        world.on_sandbox().fault(Fault::on("DELETE", "/secrets").always().answer_text(502, "Bad Gateway").header("Date", &later));
        // It is asked again until then.
        let page = revoke(&job, "4s");
        code(&page, 1);
        assert!(page.said().contains(r#""state":"failed""#) && !page.said().contains("min)"), "{}", page.transcript());
        assert!(job.place().join("lease.json").exists());
        assert!(world.is_live(&token));
        world.on_sandbox().clear_faults();
        job.revoke().succeed();
    }
}

#[test]
fn with_a_fast_clock_and_no_server() {
    let world = World::behind(SKEW);
    let job = Job::local(&world);
    job.request().args(["--ttl", "10m"]).succeed();
    // Not stopped: its port could become that of another scenario.
    world.relay().lose_server();
    let ran = job.revoke().args(["--strict", "--wait-dead", "--timeout", "1s"]).run();
    code(&ran, 1);
    assert!(!ran.said().contains("expired") && !ran.said().contains("min)"), "{}", ran.transcript());
    assert!(ran.said().contains("its token stays valid until TIME; the lease is"), "{}", ran.transcript());
    assert!(job.place().join("lease.json").exists());
}

#[test]
fn both_directions_are_warned_of_before_the_pass_is_handed_over() {
    for (world, words) in [(World::behind(SKEW), "ahead of"), (World::ahead(SKEW), "behind")] {
        for job in [Job::local(&world), Job::github(&world)] {
            let request = job.request().succeed();
            assert!(
                request.said().contains(&format!("this machine's clock is N min {words} the API server's")),
                "{}",
                request.transcript()
            );
            job.revoke().succeed();
            let run = job.run("echo command >&2").succeed();
            let (warned, begun) = (run.stderr.find(words), run.stderr.find("command\n"));
            assert!(warned.is_some() && warned < begun, "{}", run.transcript());
        }
    }
    let world = World::behind(SKEW);
    assert_snapshot!(Job::gitlab(&world).request().succeed().said());
}

#[test]
fn a_lease_has_the_servers_figures() {
    for world in [World::behind(SKEW), World::ahead(SKEW), World::new()] {
        let job = Job::gitlab(&world);
        job.request().args(["--ttl", "10m"]).succeed();
        let lease = lease(&job);
        let time = |name: &str| lease[name].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        assert_eq!(lease["times"], "granted");
        let length = time("expiresAt").duration_since(time("issuedAt")).as_secs();
        assert!((600..=602).contains(&length), "{length}");
        if world.is_sandbox() {
            let age = world.on_sandbox().now().duration_since(time("issuedAt")).as_secs();
            assert!((0..60).contains(&age), "{age}");
        }
        job.revoke().succeed();
        let run = job.run_with(["--ttl", "10m", "--max-lifetime", "2h"], "cat \"$CI_PROJECT_DIR\".tmp/jobpass/*/lease.json").succeed();
        let lease: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let time = |name: &str| lease[name].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        assert_eq!(time("expiresAt").duration_since(time("issuedAt")).as_secs(), 7200, "{}", run.stdout);
    }
}

#[test]
fn a_pass_has_expired_when_the_servers_clock_says_so() {
    let world = World::sandbox("nobody waits ten minutes");
    let job = Job::local(&world);
    job.request().args(["--ttl", "10m"]).succeed();
    // Within the minute of leeway and the cache it has not.
    world.on_sandbox().advance(Duration::from_secs(630));
    world.take_away("delete", "secrets");
    code(&job.revoke().run(), 1);
    world.on_sandbox().advance(Duration::from_mins(5));
    let ran = job.revoke().succeed();
    assert_snapshot!(ran.said());
    assert_eq!(job.places().len(), 0);
}

#[test]
fn a_run_knows_it_too() {
    let world = World::behind(SKEW);
    let job = Job::local(&world);
    let running = job.run_with(["--ttl", "10m", "--max-lifetime", "10m"], "echo begun; while [ ! -e go ]; do sleep 0.1; done").start();
    running.said("begun");
    world.take_away("delete", "secrets");
    world.on_sandbox().advance(Duration::from_mins(12));
    doors::write(&job.workspace().join("go"), "");
    let ran = running.wait();
    code(&ran, 0);
    assert!(ran.said().contains("expired: "), "{}", ran.transcript());
}

#[test]
fn a_date_that_cannot_be_ends_nothing() {
    let world = World::sandbox("a real server's clock is right");
    let job = Job::local(&world);
    job.request().args(["--ttl", "10m"]).succeed();
    for nonsense in
        ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "tomorrow", "", "-1"]
    {
        world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, forbidden()).header("Date", nonsense));
        let ran = job.revoke().run();
        code(&ran, 1);
        assert!(ran.said().contains("its token stays valid until TIME; the lease is"), "{nonsense}: {}", ran.transcript());
        // Nor does one that belongs to no answer of the Kubernetes API.
        let later = date(&world, Duration::from_hours(3));
        for body in [json!({"code": 403}), json!({"kind": "Status"}), json!("no")] {
            world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, body).header("Date", &later));
            code(&job.revoke().run(), 1);
        }
    }
    assert!(job.place().join("lease.json").exists());
    job.revoke().succeed();
}

#[test]
fn a_lease_whose_times_are_not_the_servers_never_expires() {
    let world = World::sandbox("a real server's clock is right");
    let job = Job::local(&world);
    job.request().succeed();
    let later = date(&world, Duration::from_hours(20));
    for times in [None, Some("ours"), Some("created")] {
        edit_lease(&job, |lease| match times {
            // As an older jobpass wrote it.
            None => drop(lease.as_object_mut().expect("an object").remove("times")),
            Some(times) => lease["times"] = json!(times),
        });
        world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, forbidden()).header("Date", &later));
        let ran = job.revoke().args(["--output", "json"]).run();
        code(&ran, 1);
        assert!(!ran.stdout.contains("until") && !ran.stdout.contains("expiresAt"), "{}", ran.stdout);
        if times.is_some_and(|times| times == "ours") {
            assert_snapshot!(job.revoke().args(["--kubeconfig", "/nowhere"]).run().said());
        }
    }
    edit_lease(&job, |lease| lease["times"] = json!("granted"));
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, forbidden()).header("Date", &later));
    assert!(job.revoke().succeed().said().contains("expired: "), "otherwise it would");
}

#[test]
fn an_end_that_another_job_could_have_written_is_none() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::gitlab(&world);
    job.request().succeed();
    edit_lease(&job, |lease| lease["expiresAt"] = json!("2020-01-01T00:00:00Z"));
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").answer(403, forbidden()));
    let ran = job.revoke().arg("--strict").run();
    code(&ran, 1);
    assert!(job.place().join("lease.json").exists());
    assert!(ran.said().contains("is not revoked"), "{}", ran.transcript());
}

#[test]
fn how_long_a_revoked_token_is_still_taken_is_said_by_the_servers_clock_or_without_one() {
    for nonsense in [false, true] {
        let world = World::ahead(SKEW);
        let job = Job::local(&world);
        job.request().succeed();
        assert!(world.accepts(&job.token()));
        if nonsense {
            world.on_sandbox().fault(Fault::on("DELETE", "/secrets").header("Date", "yesterday"));
        }
        let ran = job.revoke().args(["--wait-dead", "--timeout", "5s", "--output", "json"]).succeed();
        let receipt: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(receipt["proof"]["state"], "pending", "{receipt}");
        if nonsense {
            assert!(receipt["proof"]["until"].is_null() && ran.said().contains("dead in 10 s at the latest"), "{}", ran.transcript());
            continue;
        }
        let until: jiff::Timestamp = receipt["proof"]["until"].as_str().expect("a time").parse().expect("a time");
        let revoked: jiff::Timestamp = receipt["revokedAt"].as_str().expect("a time").parse().expect("a time");
        let left = until.duration_since(world.on_sandbox().now()).as_secs();
        assert!((-60..=12).contains(&left), "{left}");
        assert!(until.duration_since(revoked).as_secs() <= 12, "{receipt}");
    }
}

#[test]
fn a_renewal_goes_by_the_servers_clock() {
    // To our clock the lease is over before it has begun, to the server's it has an hour.
    let world = World::behind(Duration::from_hours(2));
    world.on_sandbox().max_token_expiration(2);
    let job = Job::gitlab(&world);
    let script =
        "old=$(cat \"$JOBPASS_TOKEN_FILE\"); while [ \"$(cat \"$JOBPASS_TOKEN_FILE\")\" = \"$old\" ]; do sleep 0.1; done; echo renewed";
    let ran = job.run_with(["--max-lifetime", "1h"], script).succeed();
    assert_eq!(ran.stdout, "renewed\n");
    assert!(!ran.said().contains("has no time for another token"), "{}", ran.transcript());
}

#[test]
fn require_says_by_which_clock_a_pass_is_over() {
    let world = World::behind(Duration::from_hours(2));
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let ran = job.jobpass().arg("require").run();
    code(&ran, 1);
    assert_snapshot!(ran.said());
    job.revoke().succeed();
}
