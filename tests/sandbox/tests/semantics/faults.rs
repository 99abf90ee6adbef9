//! Scripted faults: each breaks one request in its own way.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use jobpass_sandbox::{Fault, Gate, Recorded};
use serde_json::json;

use crate::lab::{LEASE, Lab, SECRETS, TOKEN, assert_refused};

fn create(lab: &Lab) -> io::Result<u16> {
    let secret = json!({"metadata": {"name": "jobpass-1"}, "type": LEASE});
    lab.try_send(Some(&lab.alice), "POST", SECRETS, Some(&secret)).map(|answer| answer.status)
}

/// What the client got, how many Secrets there are, and the line in the record.
fn with(fault: Fault) -> (Lab, Result<u16, ErrorKind>, usize, String) {
    let lab = Lab::new();
    lab.sandbox.fault(fault);
    let got = create(&lab).map_err(|error| error.kind());
    let (secrets, line) = (lab.sandbox.secrets("ci").len(), lab.sandbox.transcript().concat());
    assert_eq!(lab.sandbox.faults_left(), 0);
    (lab, got, secrets, line)
}

fn on() -> Fault {
    Fault::on("POST", "/secrets")
}

#[test]
fn an_answer_before_processing_leaves_nothing_behind() {
    let (_lab, got, secrets, line) = with(on().answer(500, json!({"code": 500})));
    assert_eq!((got, secrets), (Ok(500), 0));
    assert_eq!(line, "POST /api/v1/namespaces/ci/secrets -> 500");
}

#[test]
fn an_answer_after_processing_hides_what_was_done() {
    let (_lab, got, secrets, _) = with(on().answer_after(504, json!({"code": 504})));
    assert_eq!((got, secrets), (Ok(504), 1));
}

#[test]
fn a_cut_before_processing_does_nothing_and_says_nothing() {
    let (_lab, got, secrets, line) = with(on().cut_before_processing());
    assert_eq!((got, secrets), (Err(ErrorKind::ConnectionAborted), 0));
    assert_eq!(line, "POST /api/v1/namespaces/ci/secrets -> no answer");
}

#[test]
fn a_cut_after_processing_leaves_the_secret() {
    let (_lab, got, secrets, line) = with(on().cut_after_processing());
    assert_eq!((got, secrets), (Err(ErrorKind::ConnectionAborted), 1));
    assert_eq!(line, "POST /api/v1/namespaces/ci/secrets -> no answer");
}

#[test]
fn a_cut_body_breaks_off_after_the_head() {
    let (_lab, got, secrets, line) = with(on().cut_body());
    assert_eq!((got, secrets), (Err(ErrorKind::UnexpectedEof), 1));
    assert_eq!(line, "POST /api/v1/namespaces/ci/secrets -> 201");
}

#[test]
fn garbage_is_a_success_that_is_no_json() {
    let lab = Lab::new();
    lab.sandbox.fault(Fault::on("POST", "/token").garbage_2xx("<html>"));
    let answer = lab.post(TOKEN, &json!({}));
    assert_eq!((answer.status, answer.body.as_str()), (201, "<html>"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn too_many_requests_come_with_retry_after_and_plain_text() {
    let lab = Lab::new();
    lab.sandbox.fault(on().status_429(7));
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "x"}}));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.body, "Too many requests, please try again later.\n");
}

#[test]
fn an_exceeded_quota_is_a_403_that_names_the_object() {
    let lab = Lab::new();
    lab.sandbox.fault(on().quota_exceeded());
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "x"}}));
    let message = "secrets \"x\" is forbidden: exceeded quota: objects, requested: count/secrets=1, used: count/secrets=10, \
                   limited: count/secrets=10";
    assert_refused(&answer, 403, "Forbidden", message);
}

#[test]
fn a_webhooks_denial_is_in_its_own_words() {
    let lab = Lab::new();
    lab.sandbox.fault(on().webhook_denied("no leases on Fridays"));
    let answer = lab.post(SECRETS, &json!({"metadata": {"name": "x"}}));
    assert_eq!(answer.status, 400);
    let message = "admission webhook \"validate.webhook.example\" denied the request: no leases on Fridays";
    assert_eq!(answer.json()["message"], message);
}

#[test]
fn unavailable_and_internal_error_are_a_503_and_a_500() {
    let (_lab, got, ..) = with(on().unavailable());
    assert_eq!(got, Ok(503));
    let (_lab, got, ..) = with(on().internal_error());
    assert_eq!(got, Ok(500));
}

#[test]
fn a_fault_meets_the_nth_request_so_many_times() {
    let lab = Lab::new();
    lab.sandbox.fault(on().nth(2).times(2).unavailable());
    let statuses: Vec<u16> = (0..4).map(|number| lab.post(SECRETS, &json!({"metadata": {"name": format!("s-{number}")}})).status).collect();
    assert_eq!(statuses, [201, 503, 503, 201]);
    assert_eq!(lab.sandbox.faults_left(), 0);
}

#[test]
fn a_fault_for_always_ends_when_it_is_cleared() {
    let lab = Lab::new();
    lab.sandbox.fault(Fault::on("*", "/").always().unavailable());
    assert_eq!((create(&lab).ok(), lab.get("/version").status), (Some(503), 503));
    lab.sandbox.clear_faults();
    assert_eq!(create(&lab).ok(), Some(201));
}

#[test]
fn a_fault_that_never_happened_is_counted() {
    let lab = Lab::new();
    lab.sandbox.fault(Fault::on("DELETE", "/secrets/").times(2).unavailable());
    assert_eq!(create(&lab).ok(), Some(201));
    assert_eq!(lab.sandbox.faults_left(), 2);
}

#[test]
fn a_header_is_added_to_the_real_answer() {
    let lab = Lab::new();
    lab.sandbox.fault(Fault::on("GET", "/version").header("Warning", "299 - \"old\""));
    let answer = lab.get("/version");
    assert_eq!((answer.status, answer.header("warning")), (200, Some("299 - \"old\"")));
}

#[test]
fn a_delay_is_waited_and_then_forgotten() {
    let lab = Lab::new();
    lab.sandbox.fault(Fault::on("GET", "/version").delay(Duration::from_millis(30)));
    let start = Instant::now();
    assert_eq!(lab.get("/version").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_request_that_hangs_ends_with_the_sandbox() {
    for (fault, done) in [(on().hang(), 0), (on().hang_after(), 1)] {
        let lab = Lab::new();
        lab.sandbox.fault(fault);
        thread::scope(|scope| {
            let client = scope.spawn(|| create(&lab));
            lab.sandbox.wait_until(|requests| requests.len() == 1 && lab.sandbox.faults_left() == 0);
            lab.sandbox.stop();
            assert!(client.join().expect("the client ends").is_err());
        });
        assert_eq!(lab.sandbox.secrets("ci").len(), done);
    }
}

#[test]
fn a_request_stands_at_a_gate_with_everything_done() {
    let lab = Lab::new();
    let gate = Gate::new();
    lab.sandbox.fault(on().pause_after(&gate));
    thread::scope(|scope| {
        let client = scope.spawn(|| create(&lab));
        lab.sandbox.wait_for(&gate);
        assert_eq!(lab.sandbox.secrets("ci").len(), 1);
        assert_eq!(lab.sandbox.requests()[0].status, None);
        gate.release();
        assert_eq!(client.join().expect("the client ends").ok(), Some(201));
    });
}

#[test]
fn a_request_of_a_killed_client_still_lands() {
    use std::net::{Shutdown, TcpListener, TcpStream};
    let lab = Lab::new();
    let gate = Gate::new();
    lab.sandbox.fault(on().pause_before(&gate));
    // A relay stands for the client's process: ending it is what a SIGKILL does to the connection.
    let relay = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("https://{}", relay.local_addr().expect("an address"));
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let secret = json!({"metadata": {"name": "jobpass-1"}});
            let (ca, token) = (lab.sandbox.ca_pem(), Some(lab.alice.as_str()));
            jobpass_sandbox::client::request(&url, &ca, "POST", SECRETS, token, Some(&secret))
        });
        let (near, _) = relay.accept().expect("the client connects");
        let far = TcpStream::connect(lab.sandbox.url().trim_start_matches("https://")).expect("the sandbox listens");
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
            scope.spawn(move || io::copy(&mut from, &mut to));
        }
        lab.sandbox.wait_for(&gate);
        far.shutdown(Shutdown::Both).expect("the connection was open");
        near.shutdown(Shutdown::Both).expect("the connection was open");
        assert!(client.join().expect("the client ends").is_err());
        assert_eq!(lab.sandbox.secrets("ci").len(), 0);
        gate.release();
        lab.sandbox.wait_until(|requests: &[Recorded]| requests[0].status == Some(201));
    });
    assert_eq!(lab.sandbox.secrets("ci").len(), 1);
}
