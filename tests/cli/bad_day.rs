//! What a server, a network or a cluster's owner can do to a request: a clear error, and no token left behind.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    time::Duration,
};

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use serde_json::json;

use crate::harness::{End, Job, Ran, World, doors, within};

/// The request failed, and nothing is left of it anywhere.
fn failed(job: &Job<'_>, ran: &Ran) -> String {
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    job.assert_nothing_left();
    assert_eq!(job.get("GITHUB_ENV").map(|path| fs::read_to_string(path).expect("there")).unwrap_or_default(), "", "nothing is exported");
    ran.said()
}

/// The request failed before there was a connection: nothing was created, so nothing is kept.
fn unreached(job: &Job<'_>, server: &str) -> String {
    let ran = job.request().args(["--server", server, "--timeout", "1s"]).run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert_eq!(job.places().len(), 0, "{}", ran.transcript());
    ran.said()
}

/// A fault, in the words that jobpass has for it.
fn with(fault: Fault) -> String {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(fault);
    let job = Job::gitlab(&world);
    let said = failed(&job, &job.request().args(["--timeout", "6s"]).run());
    assert_eq!(world.on_sandbox().faults_left(), 0, "the fault has not happened");
    said
}

const SECRETS: &str = "/secrets";
const TOKEN: &str = "/token";

// Rights.

#[test]
fn no_right_to_create_secrets() {
    let world = World::new();
    world.take_away("create", "secrets");
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn no_right_to_request_tokens() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn another_service_account_than_the_granted_one() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let ran = job.jobpass().args(["request", "-n", world.namespace(), "-s", "default"]).run();
    assert_snapshot!(failed(&job, &ran));
}

#[test]
fn another_namespace_than_the_granted_one() {
    let world = World::new();
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.jobpass().args(["request", "-s", "kube-system/deploy-bot"]).run()));
}

#[test]
fn a_mistyped_service_account() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let mistyped = |name: &str| job.jobpass().args(["request", "-n", world.namespace(), "-s", name]).run();
    assert_snapshot!(failed(&job, &mistyped("deploy-bto")));
}

#[test]
fn a_mistyped_service_account_where_every_one_is_granted() {
    let world = World::new();
    world.allow_every_account();
    let job = Job::gitlab(&world);
    for name in ["deploy-bto", "release"] {
        let ran = job.jobpass().args(["request", "-n", world.namespace(), "-s", name]).run();
        assert_snapshot!(failed(&job, &ran));
        let kind = |part: &str| ran.requests.iter().position(|request| request.contains(part)).expect(part);
        assert!(
            kind("DELETE") < kind("selfsubjectrulesreviews"),
            "what is to end does not wait for what is to be said: {:?}",
            ran.requests
        );
    }
}

#[test]
fn where_others_may_grant_more_nothing_is_claimed() {
    let world = World::sandbox("the real server has no authorizer that cannot list its rules");
    world.on_sandbox().list_rules_in_part();
    let job = Job::gitlab(&world);
    let said = failed(&job, &job.jobpass().args(["request", "-n", world.namespace(), "-s", "deploy-bto"]).run());
    assert!(!said.contains("did you mean") && !said.contains("may have tokens of") && said.contains("jobpass setup"), "{said}");
}

#[test]
fn a_service_account_may_be_meant_to_have_tokens_of_its_own_namespace() {
    let world = World::sandbox("its identity is a service account with rights");
    world.on_sandbox().add_service_account(world.namespace(), "asker");
    let token = world.on_sandbox().service_account_token(world.namespace(), "asker");
    world.secret(&token);
    world.on_sandbox().grant_jobpass(&format!("system:serviceaccount:{}:asker", world.namespace()), world.namespace(), "deploy-bot");
    let job = Job::gitlab(&world);
    doors::write(&job.identity_file(), &world.kubeconfig_of(&token));
    assert_snapshot!(failed(&job, &job.jobpass().args(["request", "-s", "kube-system/deploy-bot"]).run()));
}

#[test]
fn no_right_to_undo_leaves_the_lease_for_revoke() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    world.take_away("delete", "secrets");
    let job = Job::gitlab(&world);
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(1));
    // It says until when something may live, and keeps what `revoke` needs.
    assert_snapshot!(ran.said());
    assert_eq!(job.places().len(), 1);
    assert!(!job.place().join("token").exists());
}

#[test]
fn a_user_that_nobody_recognised() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let text = world.kubeconfig().replace(&format!("token: {}", world.identity_token()), "username: somebody");
    doors::write(&job.identity_file(), &text);
    // kube sends nothing for a user name without a password; the server then speaks of `system:anonymous`.
    assert_snapshot!(failed(&job, &job.request().run()));
}

// What is not there.

#[test]
fn a_service_account_that_is_deleted() {
    let world = World::new();
    world.delete_service_account();
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn a_namespace_that_is_missing() {
    let world = World::sandbox("the rights in a namespace go with it, so that a real server answers 403 first");
    world.on_sandbox().grant_jobpass(&world.user(), "ghost", "deploy-bot");
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.jobpass().args(["request", "-s", "ghost/deploy-bot"]).run()));
}

#[test]
fn a_namespace_that_is_being_deleted() {
    let world = World::sandbox("on a real server it is a race for seconds until the rights are gone too");
    world.on_sandbox().terminate_namespace(world.namespace());
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

// A job that requests a second time: on GitLab and Tekton both passes have one name.

#[test]
fn a_second_request_ends_the_first_pass() {
    let world = World::new();
    for job in [Job::gitlab(&world), Job::tekton(&world)] {
        job.request().succeed();
        let first = job.token();
        let second = job.request().succeed();
        assert_ne!(job.token(), first);
        world.assert_dies(&first);
        assert_eq!(second.requests.len(), 3, "one DELETE more: {:?}", second.requests);
        job.revoke().succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn a_second_request_that_fails_has_ended_the_first_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let first = job.token();
    world.take_away("create", "secrets");
    failed(&job, &job.request().run());
    world.assert_dies(&first);
}

#[test]
fn a_first_pass_that_cannot_be_ended_stays_as_it_is() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let first = job.token();
    world.take_away("delete", "secrets");
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(1));
    assert_snapshot!(ran.said());
    assert_eq!((job.token(), job.places().len(), world.secrets().len()), (first, 1, 1));
}

#[test]
fn another_secret_with_the_name_of_the_first_pass_is_left_alone() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    world.put_secret(&job.lease(), "jobpass.dev/lease", &[]);
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(1));
    assert_snapshot!(ran.said());
    assert_eq!(world.secrets(), [job.lease()]);
}

#[test]
fn a_first_pass_on_another_server_is_not_forgotten() {
    let world = World::new();
    let other = World::sandbox("the other server");
    let job = Job::gitlab(&world);
    job.request().succeed();
    doors::write(&job.identity_file(), &other.kubeconfig());
    let ran = job.jobpass().args(["request", "-s", &world.account()]).run();
    assert_eq!((ran.end, other.relay().connections()), (End::Code(2), 0));
    assert_snapshot!(ran.said());
    doors::write(&job.identity_file(), &world.kubeconfig());
    job.revoke().succeed();
}

#[test]
fn a_name_that_is_taken_and_cannot_be_freed_may_be_a_living_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    // The place got lost with the container; the lease is still there.
    fs::remove_dir_all(job.base().join("jobpass")).expect("removed");
    world.take_away("delete", "secrets");
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(1));
    assert_snapshot!(ran.said());
    assert_eq!(job.places().len(), 1, "the lease is kept for `revoke`");
}

// Policies.

#[test]
fn a_lifetime_that_the_policy_refuses() {
    let world = World::new();
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().args(["--ttl", "2h"]).run()));
}

#[test]
fn a_policy_that_answers_invalid() {
    let world = World::sandbox("the shipped policies have a reason");
    world.on_sandbox().deny_with_invalid();
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().args(["--ttl", "2h"]).run()));
}

#[test]
fn a_webhook_that_says_no() {
    assert_snapshot!(with(
        Fault::on("POST", SECRETS).webhook_denied("no Secrets on Fridays\n::stop-commands::x ##[set-output name=token]y")
    ));
}

#[test]
fn a_quota_that_is_used_up() {
    assert_snapshot!(with(Fault::on("POST", SECRETS).quota_exceeded()));
}

// The server's bad moments.

#[test]
fn a_server_that_fails_once_is_asked_again() {
    let world = World::sandbox("a real server has no script of faults");
    for fault in [
        Fault::on("POST", SECRETS).unavailable(),
        Fault::on("POST", TOKEN).internal_error(),
        Fault::on("DELETE", SECRETS).cut_before_processing(),
    ] {
        world.on_sandbox().fault(fault);
    }
    let job = Job::local(&world);
    let request = job.request().succeed();
    assert_snapshot!(world.plain(&request.requests.join("\n")), @"
    POST /api/v1/namespaces/NS/secrets -> 503
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 500
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    ");
    let revoke = job.revoke().succeed();
    assert_snapshot!(world.plain(&revoke.requests.join("\n")), @"
    DELETE /api/v1/namespaces/NS/secrets/LEASE-1 -> no answer
    DELETE /api/v1/namespaces/NS/secrets/LEASE-1 -> 200
    POST /apis/authentication.k8s.io/v1/selfsubjectreviews -> 401
    ");
    job.assert_nothing_left();
}

#[test]
fn a_server_that_is_never_available() {
    assert_snapshot!(with(Fault::on("POST", SECRETS).unavailable().always()));
}

#[test]
fn a_token_request_that_never_succeeds_is_undone() {
    assert_snapshot!(with(Fault::on("POST", TOKEN).internal_error().always()));
}

#[test]
fn too_many_requests() {
    assert_snapshot!(with(Fault::on("POST", SECRETS).status_429(30).always()));
}

#[test]
fn too_many_requests_for_a_moment() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", TOKEN).status_429(1));
    let job = Job::local(&world);
    let start = std::time::Instant::now();
    job.request().succeed();
    assert!(start.elapsed() >= Duration::from_secs(1), "the server asked for a second");
    job.revoke().succeed();
}

#[test]
fn a_server_that_asks_for_no_pause_gets_one() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", SECRETS).status_429(0).always());
    let job = Job::gitlab(&world);
    let ran = job.request().args(["--timeout", "6s"]).run();
    failed(&job, &ran);
    // Without a pause there would be hundreds.
    assert!((2..12).contains(&ran.requests.len()), "{:?}", ran.requests);
}

#[test]
fn an_answer_that_breaks_off() {
    assert_snapshot!(with(Fault::on("POST", TOKEN).cut_body().always()));
}

#[test]
fn a_lost_answer_of_the_creation_is_not_a_second_lease() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", SECRETS).cut_after_processing());
    let job = Job::local(&world);
    let request = job.request().succeed();
    // The name is taken: by us, so it is deleted and made anew.
    assert_snapshot!(world.plain(&request.requests.join("\n")), @"
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
fn a_yes_that_cannot_be_read_is_not_shown() {
    let world = World::sandbox("a real server has no script of faults");
    world.secret("hunter2-hunter2-hunter2");
    world.on_sandbox().fault(Fault::on("POST", TOKEN).garbage_2xx(r#"{"status":{"tokn":"hunter2-hunter2-hunter2"}}"#));
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn a_proxys_page_is_not_repeated() {
    let world = World::sandbox("a real server has no script of faults");
    world.secret("hunter2-hunter2-hunter2");
    world.on_sandbox().fault(Fault::on("POST", SECRETS).answer_text(404, "<html>hunter2-hunter2-hunter2</html>"));
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn a_redirect_is_not_followed_and_told() {
    let world = World::sandbox("a real server sends nobody elsewhere");
    let elsewhere = Fault::on("POST", SECRETS).answer_text(302, "Found.\n").header("Location", "https://login.example.com/?state=hunter2");
    world.on_sandbox().fault(elsewhere);
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

/// Whatever stands in the place of the API server: consoles, login pages, proxies, firewalls, routers.
#[test]
fn what_is_no_api_server_is_told_as_that() {
    const PAGE: &str = "\n<!DOCTYPE html><html>hunter2-hunter2-hunter2</html>";
    let mut said = String::new();
    for (status, body) in [(200, PAGE), (302, ""), (401, PAGE), (403, PAGE), (405, ""), (407, PAGE), (502, PAGE), (503, PAGE)] {
        let world = World::sandbox("a real server has no script of faults");
        world.secret("hunter2-hunter2-hunter2");
        // It answers everything, so nothing can be asked for or undone there.
        world.on_sandbox().fault(Fault::on("*", "").answer_text(status, body).always());
        let job = Job::gitlab(&world);
        let ran = job.request().args(["--timeout", "6s"]).run();
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        let text = ran.said();
        assert!(!text.contains("renew the CI identity"), "{text}");
        assert!(status >= 500 || !text.contains("may be left"), "{text}");
        assert!(!text.contains("valid"), "no token was asked for: {text}");
        said += &text;
        said += "\n";
    }
    assert_snapshot!(said);
}

/// The same for whoever has a pass, or looks at those of others.
#[test]
fn what_is_no_api_server_is_told_as_that_by_every_verb() {
    const PAGE: &str = "\n<!DOCTYPE html><html>hunter2-hunter2-hunter2</html>";
    for (verb, arguments) in [
        ("revoke", &["revoke", "--timeout", "2s"][..]),
        ("leases", &["leases", "list", "-n", "ci"]),
        ("doctor", &["doctor", "-s", "ci/deploy-bot", "--timeout", "2s"]),
    ] {
        let mut said = String::new();
        for (status, body) in [(200, PAGE), (302, ""), (401, PAGE), (403, PAGE), (404, PAGE), (405, ""), (407, PAGE), (503, PAGE)] {
            // The verbs of operators, which all ask this first, have no shorter deadline.
            if status == 503 && verb == "leases" {
                continue;
            }
            let world = World::sandbox("a real server has no script of faults");
            world.secret("hunter2-hunter2-hunter2");
            let job = Job::local(&world);
            if verb == "revoke" {
                job.request().succeed();
            }
            world.on_sandbox().fault(Fault::on("*", "").answer_text(status, body).always());
            let ran = arguments.iter().fold(job.jobpass(), |command, argument| command.arg(*argument)).run();
            assert_ne!(ran.end, End::Code(0), "{}", ran.transcript());
            let text = ran.said();
            assert!(!text.contains("renew the CI identity") && !text.contains("grant it") && !text.contains("was tried, too"), "{text}");
            // Of the rest `doctor` says that it is not checked, and how long it took.
            let is_said = |line: &&str| verb != "doctor" || line.contains(" reach ") || line.contains(" fix: ");
            let lines = text.lines().filter(is_said).collect::<Vec<_>>().join("\n");
            said = [said, format!("# {status}"), lines, String::new()].join("\n");
        }
        assert_snapshot!(format!("no_api_server_{verb}"), said);
    }
}

#[test]
fn a_token_that_is_not_bound_is_not_taken_over() {
    let world = World::sandbox("a real server binds what it is told to");
    let unbound = world.on_sandbox().service_account_token(world.namespace(), "deploy-bot");
    world.secret(&unbound);
    let answer = json!({"kind": "TokenRequest", "status": {"token": unbound, "expirationTimestamp": "2100-01-01T00:00:00Z"}});
    world.on_sandbox().fault(Fault::on("POST", TOKEN).answer(201, answer));
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().run()));
}

#[test]
fn a_server_that_never_answers() {
    let world = World::sandbox("a real server has no script of faults");
    world.on_sandbox().fault(Fault::on("POST", TOKEN).hang().always());
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().args(["--timeout", "3s"]).run()));
}

#[test]
fn nothing_listens() {
    let world = World::sandbox("it is never reached");
    let job = Job::gitlab(&world);
    let refusing = doors::refusing();
    assert_snapshot!(unreached(&job, &refusing.local_addr().expect("bound").to_string()));
}

/// As where a firewall passes the packets on and nobody takes them.
#[test]
fn nobody_takes_the_connection() {
    let world = World::sandbox("it is never reached");
    let job = Job::gitlab(&world);
    // The kernel answers for it, and no handshake is ever begun.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    assert_snapshot!(unreached(&job, &silent.local_addr().expect("bound").to_string()));
}

#[test]
fn a_name_that_does_not_resolve() {
    let world = World::sandbox("it is never reached");
    let job = Job::gitlab(&world);
    assert_snapshot!(unreached(&job, "api.invalid"));
}

// TLS.

#[test]
fn an_authority_of_another_cluster() {
    let world = World::new();
    let other = World::sandbox("only its authority is used");
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("other.crt"), &other.ca_pem());
    let ran =
        job.request().args(["--timeout", "3s", "--certificate-authority"]).arg(job.directory().join("other.crt").to_string_lossy()).run();
    let said = failed(&job, &ran);
    // openssl's form of the issuer differs from server to server; that both are there does not.
    assert!(said.contains("it presented a certificate with issuer `CN="), "{said}");
    if world.is_sandbox() {
        assert_snapshot!(said);
    }
    assert!(ran.requests.is_empty(), "nothing is sent to a server that is not trusted");
}

#[test]
fn a_check_that_is_skipped_is_said_loudly() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let request = job.request().arg("--insecure-skip-tls-verify").succeed();
    assert_snapshot!(request.said());
    let revoke = job.revoke().arg("--insecure-skip-tls-verify").succeed();
    assert!(revoke.said().contains("is not checked"), "{}", revoke.said());
    job.assert_nothing_left();
}

// 401.

#[test]
fn an_identity_token_that_has_expired() {
    let world = World::sandbox("a real server does not sign for an issuer of ours");
    let now = world.on_sandbox().now().as_second();
    assert_snapshot!(unauthorized(&world, &json!({"exp": now - 3600, "nbf": now - 7200, "iat": now - 7200})));
}

#[test]
fn an_identity_token_that_is_not_valid_yet() {
    let world = World::sandbox("a real server does not sign for an issuer of ours");
    let now = world.on_sandbox().now().as_second();
    assert_snapshot!(unauthorized(&world, &json!({"nbf": now + 600, "iat": now + 600, "exp": now + 1200})));
}

#[test]
fn an_identity_token_for_another_audience() {
    let world = World::sandbox("a real server does not sign for an issuer of ours");
    assert_snapshot!(unauthorized(&world, &json!({"aud": "https://github.com/acme"})));
}

#[test]
fn a_clock_that_is_wrong() {
    let world = World::sandbox("a real server's clock is this machine's");
    let token = world.on_sandbox().add_jwt_user(&world.user(), &json!({}));
    world.on_sandbox().advance(Duration::from_mins(30));
    assert_snapshot!(refused_token(&world, &token));
}

#[test]
fn a_token_that_is_none_of_this_cluster() {
    let world = World::new();
    world.secret("sha256~0123456789abcdefghijklmnopqrstuvwxyz");
    assert_snapshot!(refused_token(&world, "sha256~0123456789abcdefghijklmnopqrstuvwxyz"));
}

fn unauthorized(world: &World, claims: &serde_json::Value) -> String {
    let token = world.on_sandbox().add_jwt_user(&world.user(), claims);
    refused_token(world, &token)
}

fn refused_token(world: &World, token: &str) -> String {
    world.secret(token);
    let job = Job::gitlab(world);
    doors::write(&job.identity_file(), &world.kubeconfig_of(token));
    failed(&job, &job.request().run())
}

#[test]
fn a_token_file_that_was_renewed_meanwhile_is_read_again() {
    let world = World::sandbox("the moment of the renewal must not depend on a real server's clock");
    let job = Job::tekton(&world);
    let old = world.on_sandbox().add_user("rotated", &[]);
    world.secret(&old);
    doors::write(&job.directory().join("token"), &old);
    world.on_sandbox().forget_token(&old);
    // Kubelet writes the new one while the first request is under way.
    world.relay().hold_request(1);
    let running = job.request().start();
    world.relay().wait_held();
    doors::write(&job.directory().join("token"), world.identity_token());
    world.relay().release();
    let ran = running.wait();
    assert!(ran.is_success(), "{}", ran.transcript());
    assert_snapshot!(world.plain(&ran.requests.join("\n")), @"
    POST /apis/authentication.k8s.io/v1/selfsubjectreviews -> 401
    POST /api/v1/namespaces/NS/secrets -> 201
    POST /api/v1/namespaces/NS/serviceaccounts/deploy-bot/token -> 201
    ");
    job.revoke().succeed();
}

#[test]
fn a_server_that_stalls_when_its_certificate_is_looked_at() {
    let world = World::sandbox("the relay holds its second connection");
    let other = World::sandbox("only its authority is used");
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("other.crt"), &other.ca_pem());
    world.relay().hold_connection(2);
    let start = std::time::Instant::now();
    let ran =
        job.request().args(["--timeout", "2s", "--certificate-authority"]).arg(job.directory().join("other.crt").to_string_lossy()).run();
    assert!(ran.said().contains("is not trusted: it is signed by an unknown authority"), "{}", ran.said());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

// Files.

#[test]
fn a_link_where_a_directory_of_ours_belongs() {
    let world = World::sandbox("it is over before anything is sent");
    let job = Job::gitlab(&world);
    let elsewhere = job.directory().join("elsewhere");
    doors::make_directory(&elsewhere);
    symlink(&elsewhere, job.base().join("jobpass")).expect("a link");
    // Beside one there would be a directory of this user's.
    symlink(&elsewhere, job.base().join(doors::own("jobpass"))).expect("a link");
    let ran = job.request().run();
    assert_eq!((ran.end, world.relay().connections()), (End::Code(1), 0));
    assert_snapshot!(ran.said());
    assert_eq!(fs::read_dir(elsewhere).expect("there").count(), 0, "nothing was written through the link");
}

#[test]
fn a_link_where_the_kubeconfig_belongs_is_undone() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let target = job.directory().join("target");
    doors::write(&target, "precious");
    let link = job.directory().join("out.kubeconfig");
    symlink(&target, &link).expect("a link");
    assert_snapshot!(failed(&job, &job.request().arg("--kubeconfig-out").arg(link.to_string_lossy()).run()));
    assert_eq!(fs::read_to_string(target).expect("there"), "precious");
}

#[test]
fn a_file_of_somebody_else_where_the_kubeconfig_belongs() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let path = job.directory().join("out.kubeconfig");
    doors::write(&path, "apiVersion: v1\nkind: Config\n");
    assert_snapshot!(failed(&job, &job.request().arg("--kubeconfig-out").arg(path.to_string_lossy()).run()));
    assert_eq!(fs::read_to_string(path).expect("there"), "apiVersion: v1\nkind: Config\n");
}

#[test]
fn a_directory_that_does_not_exist() {
    let world = World::new();
    let job = Job::gitlab(&world);
    assert_snapshot!(failed(&job, &job.request().args(["--kubeconfig-out", "/nowhere/out.kubeconfig"]).run()));
}

#[test]
fn a_stdout_that_cannot_be_written() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // The shell that would have sourced the env file will never know its pass.
    let ran = job.request().full_stdout().run();
    assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
    assert_snapshot!(ran.said());
    within(Duration::from_secs(5), "nothing is left", || world.secrets().is_empty());
}

#[test]
fn a_password_that_a_server_repeats_is_in_no_json() {
    let world = World::sandbox("a real server has no script of faults");
    // No form gives it away, and JSON spells it another way.
    let password = "tea\"for\\two";
    let text =
        world.kubeconfig().replace(&format!("token: {}", world.identity_token()), r#"{username: somebody, password: 'tea"for\two'}"#);
    assert!(text.contains("tea\"for"), "{text}");
    let message = format!("no {password}");
    let said = json!({"kind": "Status", "code": 403, "message": message});
    let job = Job::local(&world);
    doors::write(&job.identity_file(), &text);
    for (verb, flags) in
        [("request", ["-s", &*world.account()]), ("revoke", ["--lease", &*format!("{}/jobpass-{}", world.namespace(), "0".repeat(32))])]
    {
        world.on_sandbox().fault(Fault::on("POST", SECRETS).answer(403, said.clone()).always());
        world.on_sandbox().fault(Fault::on("DELETE", SECRETS).answer(403, said.clone()).always());
        let ran = job.jobpass().args([verb]).args(flags).args(["-o", "json"]).run();
        assert!(ran.stdout.contains("[redacted]"), "{}", ran.transcript());
        assert!(!ran.transcript().contains("tea"), "{}", ran.transcript());
    }
}

#[test]
fn foreign_words_are_no_commands() {
    let world = World::sandbox("a real server has no script of faults");
    let message =
        "no\r\n::set-output name=token::spoof\n##[save-state name=lease]evil ##[add-mask]x\n::stop-commands::pause\u{1b}[2K\u{202e}";
    world.on_sandbox().fault(Fault::on("POST", SECRETS).answer(403, json!({"kind": "Status", "code": 403, "message": message})));
    let job = Job::github(&world);
    let said = failed(&job, &job.request().run());
    for line in said.lines().filter(|line| !line.starts_with("::add-mask::")) {
        assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
        assert!(!line.chars().any(char::is_control), "{line}");
    }
    assert_snapshot!(said);
}
