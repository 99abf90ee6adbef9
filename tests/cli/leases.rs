//! `jobpass leases`: who holds passes, and their end by somebody else than their job.

use std::{fmt::Write as _, time::Duration};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{Desk, End, Job, Ran, World, doors, eventually};
use jobpass_sandbox::Fault;

/// A job with a pass: the first digits of its lease's name, as a list shows them, and its token.
fn pass(world: &World, job: &Job<'_>) -> (String, String) {
    job.request().succeed();
    let short = job.lease()["jobpass-".len()..][..6].to_owned();
    let platform = format!("{:?}", job.on()).to_uppercase();
    world.names_exact(&job.lease(), &format!("LEASE-{platform}"));
    world.names_exact(&short, &platform);
    (short, job.token())
}

/// `jobpass leases …` in this world's namespace: others share the real server.
fn leases(desk: &Desk<'_>, arguments: &[&str]) -> Ran {
    let command = desk.jobpass().args(["leases"]);
    arguments.iter().fold(command, |command, argument| command.arg(*argument)).run()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.transcript()))
}

/// The line that says what to type next, as it is typed.
fn next(ran: &Ran, verb: &str) -> Vec<String> {
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("next:  jobpass ").filter(|line| line.starts_with(verb)));
    let line = line.unwrap_or_else(|| panic!("no next line `{verb}`: {}", ran.transcript()));
    line.replace("\"...\"", "INC-4711").split(' ').map(str::to_owned).collect()
}

fn typed(desk: &Desk<'_>, line: &[String], more: &[&str]) -> Ran {
    let command = line.iter().fold(desk.jobpass(), crate::harness::Command::arg);
    more.iter().fold(command, |command, word| command.arg(*word)).run()
}

#[test]
fn a_list_says_who_holds_passes_and_what_to_type_next() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (github, gitlab) = (Job::github(&world), Job::gitlab(&world));
    let (short, token) = pass(&world, &github);
    pass(&world, &gitlab);
    let listed = leases(&desk, &["list", "-n", world.namespace()]);
    listed.assert().success();
    let rows = |ran: &Ran| ran.stdout.lines().count() - 1;
    assert_eq!(rows(&listed), 2);
    let row = listed.stdout.lines().find(|line| line.starts_with(&short)).expect("a row");
    for part in [&world.account(), "github", "acme/app #9876543210", "octocat"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert!(row.contains(&format!("{}/", world.home())), "{row}");
    for (flags, number) in [
        (["-s", &world.account()], 2),
        (["--identity", &world.user()], 2),
        (["--repository", "acme/app"], 2),
        (["--run", "9876543210"], 1),
        (["--by", "octocat"], 1),
        (["--by", "nobody"], 0),
        (["--older", "2h"], 0),
    ] {
        let found = json(&leases(&desk, &["list", "-n", world.namespace(), "-o", "json", flags[0], flags[1]]));
        assert_eq!(found["items"].as_array().map(Vec::len), Some(number), "{flags:?}: {found}");
        assert_eq!((&found["kind"], &found["errors"]), (&json!("LeaseList"), &json!([])));
    }
    let shown = typed(&desk, &next(&listed, "leases show"), &[]);
    shown.assert().success();
    let shown = leases(&desk, &["show", &format!("{}/jobpass-{short}", world.namespace())]);
    assert_snapshot!(shown.said());
    let named = leases(&desk, &["list", "-n", world.namespace(), "-o", "name"]);
    assert!(named.stdout.lines().all(|line| line.starts_with(&format!("{}/jobpass-", world.namespace()))), "{}", named.stdout);
    typed(&desk, &next(&shown, "leases revoke"), &["--yes"]).assert().success();
    world.assert_dies(&token);
    assert_eq!(world.secrets().len(), 1);
}

#[test]
fn a_namespace_that_is_not_there_is_no_empty_one() {
    let world = World::new();
    let desk = Desk::new(&world);
    leases(&desk, &["list", "-n", world.namespace()]).assert().success();
    let (wrong, mut said) = (format!("{}x", world.namespace()), String::new());
    for verb in ["list", "sweep"] {
        let ran = leases(&desk, &[verb, "-n", &wrong]);
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        writeln!(said, "{}", ran.said()).expect("a text can be written to");
    }
    assert_snapshot!(said);
}

#[test]
fn passes_of_an_account_are_revoked_and_the_job_is_content() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (github, gitlab) = (Job::github(&world), Job::gitlab(&world));
    let (_, one) = pass(&world, &github);
    let (_, other) = pass(&world, &gitlab);
    let account = world.account();
    let dry = leases(&desk, &["revoke", "-s", &account, "--dry-run"]);
    dry.assert().success();
    assert_eq!(world.secrets().len(), 2, "{}", dry.transcript());
    let revoked = leases(&desk, &["revoke", "-s", &account, "--reason", "token in a public log, INC-4711", "--yes", "-o", "json"]);
    revoked.assert().success();
    let receipts = json(&revoked);
    assert_eq!(receipts["kind"], "ReceiptList");
    for receipt in receipts["items"].as_array().expect("a list") {
        assert_eq!(receipt["proof"]["state"], "pending", "{receipt}");
        assert_eq!((&receipt["reason"], &receipt["by"]), (&json!("token in a public log, INC-4711"), &json!("admin")));
        assert_eq!((&receipt["kind"], &receipt["serviceAccount"]), (&json!("Receipt"), &json!(account)));
    }
    assert_eq!(receipts["items"].as_array().map(Vec::len), Some(2));
    world.assert_dies(&one);
    world.assert_dies(&other);
    let said = github.revoke().succeed();
    assert!(said.stderr.contains("warning: the pass was revoked at "), "{}", said.transcript());
    assert!(said.stderr.contains(" by admin: \"token in a public log, INC-4711\""), "{}", said.transcript());
    gitlab.revoke().succeed();
    github.assert_nothing_left();
    gitlab.assert_nothing_left();
}

#[test]
fn what_does_not_say_which_passes_is_refused() {
    let world = World::sandbox("nothing is asked of it");
    let desk = Desk::new(&world);
    let all = ["--all", "--yes"];
    let refused: Vec<_> = [
        vec!["revoke", "--reason", "x", "--yes"],
        vec!["revoke", "7a2", "--reason", "x", "--yes"],
        vec!["revoke", all[0], all[1]],
        vec!["revoke", all[0], all[1], "--reason", "leaked glpat-xxxxxxxxxxxxxxxxxxxx"],
        vec!["revoke", all[0], all[1], "--reason", "x", "--lock", "31d"],
        vec!["revoke", all[0], "--reason", "x"],
        vec!["revoke", "7a24c1", all[0], all[1], "--reason", "x"],
        vec!["list", "--older", "soon"],
        vec!["list", "-s", "deploy-bot"],
        vec!["show", "not a lease"],
    ]
    .iter()
    .map(|arguments| {
        let ran = leases(&desk, arguments);
        ran.assert().code(2);
        assert_eq!(ran.requests, [""; 0]);
        ran.transcript().to_owned()
    })
    .collect();
    assert_snapshot!(refused.join("\n\n"));
}

#[test]
fn a_beginning_that_two_leases_have_is_no_name() {
    let world = World::new();
    let desk = Desk::new(&world);
    for end in ["1", "2"] {
        world.put_secret(&format!("jobpass-7a24c1{end:0>26}"), "jobpass.dev/lease", &[]);
    }
    let place = |name: &str| format!("{}/{name}", world.namespace());
    let shown = leases(&desk, &["show", &place("7a24")]);
    shown.assert().code(2);
    assert_snapshot!(shown.said());
    let revoked = leases(&desk, &["revoke", &place("7a24"), "--reason", "x", "--yes"]);
    revoked.assert().code(2);
    assert_eq!(world.secrets().len(), 2);
    leases(&desk, &["show", &place("beef")]).assert().code(1);
    leases(&desk, &["revoke", &place("beef"), "--reason", "x", "--yes"]).assert().code(1);
}

#[test]
fn a_lease_that_a_finalizer_holds_is_told_with_its_end() {
    let world = World::new();
    let desk = Desk::new(&world);
    let job = Job::github(&world);
    let (short, _) = pass(&world, &job);
    world.hold_secret(&job.lease());
    let revoked = leases(&desk, &["revoke", &format!("{}/{short}", world.namespace()), "--reason", "INC-4711", "--yes"]);
    revoked.assert().success();
    assert!(revoked.stdout.contains("a finalizer holds it; its tokens die by "), "{}", revoked.transcript());
}

#[test]
fn a_sweep_removes_what_is_over_and_nothing_else() {
    let world = World::sandbox("its clock is moved, and Secrets have forged metadata");
    let desk = Desk::new(&world);
    let (sandbox, namespace) = (world.on_sandbox(), world.namespace());
    let job = Job::github(&world);
    let (_, token) = pass(&world, &job);
    let old = "2001-01-01T00:00:00Z";
    let named = |at: usize| format!("jobpass-{at:032x}");
    let put = |at: usize, type_: &str, created: &str, lifetime: &str| {
        let notes = json!({"jobpass.dev/lifetime": lifetime, "jobpass.dev/actor": "\u{1b}[2J\u{202e}"});
        sandbox.put_secret_with(namespace, &named(at), type_, &json!({"creationTimestamp": created, "annotations": notes}));
    };
    let (now, lease) = (sandbox.now().to_string(), "jobpass.dev/lease");
    put(1, lease, old, "3600");
    put(2, lease, old, "1e30");
    put(3, lease, old, "-1");
    put(4, lease, &now, "-3600");
    put(5, lease, "2999-01-01T00:00:00Z", "1");
    put(6, "Opaque", old, "1");
    sandbox.put_secret_with(namespace, "of-somebody", lease, &json!({"creationTimestamp": old}));
    sandbox.put_secret_with(
        namespace,
        "jobpass-huge",
        lease,
        &json!({"annotations": (0..100_000).map(|n| (format!("a/{n}"), json!("x"))).collect::<serde_json::Map<_, _>>()}),
    );
    let listed = leases(&desk, &["list", "--left-over"]);
    listed.assert().success();
    assert!(!listed.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", listed.stdout);
    let dry = leases(&desk, &["sweep", "--dry-run"]);
    dry.assert().success();
    assert_eq!(world.secrets().len(), 9, "{}", dry.transcript());
    let swept = typed(&desk, &next(&listed, "leases sweep"), &[]);
    // What is not named as a lease is left alone, and no sweep fails for it.
    swept.assert().success();
    assert_snapshot!(format!("{}\n\n{}", dry.said(), swept.said()));
    let left = world.secrets();
    for at in [4, 5, 6] {
        assert!(left.contains(&named(at)), "{at} of {left:?}");
    }
    assert!(left.contains(&"of-somebody".to_owned()) && left.contains(&job.lease()) && left.len() == 6, "{left:?}");
    assert!(world.accepts(&token));
    let again = leases(&desk, &["sweep", "-n", namespace, "-o", "json"]);
    assert_eq!(json(&again)["clusters"][0]["failed"], 0);
}

#[test]
fn several_clusters_are_one_list_and_one_that_is_gone_is_a_row() {
    let (world, other, gone) = (World::sandbox("three of them"), World::sandbox("the second"), World::sandbox("it is stopped"));
    let desk = Desk::new(&world);
    desk.knows("stage", &other);
    desk.knows("gone", &gone);
    gone.relay().lose_server();
    // On GitLab a job's lease has the same name on each cluster where its account has the same name.
    let twice = format!("jobpass-7a24{:028x}", 1);
    for (world, name) in [(&world, &twice), (&other, &twice), (&other, &format!("jobpass-c22d{:028x}", 1))] {
        world.on_sandbox().put_secret_with("ci", name, "jobpass.dev/lease", &json!({}));
    }
    let listed = leases(&desk, &["list", "--all-contexts"]);
    listed.assert().code(3);
    let error = listed.stdout.lines().find(|line| line.starts_with("gone ")).expect("a row");
    assert!(error.contains("cannot be asked: "), "{error}");
    let rows: Vec<_> = listed.stdout.lines().filter(|line| line.contains("7a24")).map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows, [Some("main"), Some("stage")]);
    let found = json(&leases(&desk, &["list", "--context", "main,gone", "-o", "json"]));
    assert_eq!((found["items"].as_array().map(Vec::len), &found["errors"][0]["cluster"]), (Some(1), &json!("gone")));
    leases(&desk, &["show", "7a24", "--context", "main,stage"]).assert().code(2);
    typed(&desk, &next(&listed, "leases show"), &[]).assert().success();
    let revoked = leases(&desk, &["revoke", "-n", "ci", "--context", "main,stage,gone", "--reason", "INC-4711", "--yes"]);
    revoked.assert().code(3);
    assert!(world.on_sandbox().secrets("ci").is_empty() && other.on_sandbox().secrets("ci").is_empty(), "{}", revoked.transcript());
    leases(&desk, &["sweep", "--context", "main,gone"]).assert().code(3);
    leases(&desk, &["sweep", "--context", "gone"]).assert().code(1);
}

#[test]
fn a_list_that_goes_wrong_in_the_middle_is_begun_again_or_ends() {
    let world = World::sandbox("its answers are forged");
    let desk = Desk::new(&world);
    let sandbox = world.on_sandbox();
    for at in 0..1200 {
        sandbox.put_secret_with(world.namespace(), &format!("jobpass-{at:032x}"), "jobpass.dev/lease", &json!({}));
    }
    let count = |ran: &Ran| json(ran)["items"].as_array().map(Vec::len);
    assert_eq!(count(&leases(&desk, &["list", "-o", "json"])), Some(1200));
    let path = "/api/v1/secrets";
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410});
    sandbox.fault(Fault::on("GET", path).nth(2).answer(410, gone));
    assert_eq!(count(&leases(&desk, &["list", "-o", "json"])), Some(1200), "no lease is lost or twice");
    assert_eq!(sandbox.faults_left(), 0);
    let metadata = json!({"continue": "again", "resourceVersion": "1"});
    let page = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": []});
    for _ in 0..2 {
        sandbox.fault(Fault::on("GET", path).answer(200, page.clone()));
    }
    let ran = leases(&desk, &["list"]);
    ran.assert().code(1);
    assert!(ran.stderr.contains("its list does not come to an end"), "{}", ran.transcript());
}

#[test]
fn a_lease_that_has_gone_meanwhile_is_no_failure() {
    let world = World::sandbox("its answers are forged");
    let desk = Desk::new(&world);
    let job = Job::github(&world);
    let (short, _) = pass(&world, &job);
    let path = format!("/api/v1/namespaces/{}/secrets/{}", world.namespace(), job.lease());
    let name = job.lease();
    let gone = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": format!("secrets \"{name}\" not found"),
        "reason": "NotFound", "details": {"name": name, "kind": "secrets"}, "code": 404,
    });
    world.on_sandbox().fault(Fault::on("DELETE", &path).answer(404, gone));
    let revoked = leases(&desk, &["revoke", &short, "--reason", "INC-4711", "--yes"]);
    revoked.assert().success();
    assert!(revoked.stdout.contains("was gone already"), "{}", revoked.transcript());
    // Another Secret has taken its name.
    let conflict = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "UID", "reason": "Conflict", "code": 409});
    world.on_sandbox().fault(Fault::on("DELETE", &path).answer(409, conflict));
    let metadata = json!({"name": name, "namespace": world.namespace(), "uid": "another"});
    let other = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    world.on_sandbox().fault(Fault::on("GET", &path).answer(200, other));
    let revoked = leases(&desk, &["revoke", &short, "--reason", "INC-4711", "--yes"]);
    assert!(revoked.stdout.contains("was gone already"), "{}", revoked.transcript());
    assert_eq!(world.secrets(), [name]);
}

#[test]
fn a_watch_tells_of_each_pass_and_outlives_its_connections() {
    let world = World::sandbox("its watches are broken");
    let desk = Desk::new(&world);
    let sandbox = world.on_sandbox();
    let watching = desk.jobpass().args(["leases", "watch", "-n", world.namespace()]).start();
    watching.said("0 leases now");
    let job = Job::github(&world);
    job.request().succeed();
    watching.said(&format!("began  {}/{}", world.namespace(), job.lease()));
    sandbox.end_watches();
    let other = Job::gitlab(&world);
    other.request().succeed();
    watching.said(&other.lease());
    let name = job.lease();
    sandbox.forget_changes();
    sandbox.end_watches();
    job.revoke().succeed();
    watching.said(&format!("ended  {}/{name}", world.namespace()));
    watching.signal(rustix::process::Signal::TERM);
    let ran = watching.wait();
    ran.assert().success();
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.transcript());
}

#[test]
fn a_watch_of_a_real_server_tells_the_same() {
    let world = World::new();
    let desk = Desk::new(&world);
    let watching = desk.jobpass().args(["leases", "list", "--watch", "-o", "json", "-n", world.namespace()]).start();
    watching.said("0 leases now");
    let job = Job::github(&world);
    job.run("true").succeed();
    watching.said(r#""type":"ended""#);
    watching.signal(rustix::process::Signal::INT);
    let ran = watching.wait();
    ran.assert().success();
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let types: Vec<_> = lines.iter().map(|line| (&line["kind"], &line["type"])).collect();
    assert_eq!(types, [(&json!("LeaseEvent"), &json!("began")), (&json!("LeaseEvent"), &json!("ended"))]);
    assert_eq!(lines[0]["lease"]["serviceAccount"], world.account());
}

#[test]
fn an_operator_without_a_right_on_events_revokes_all_the_same() {
    let world = World::sandbox("its rules are set");
    let (sandbox, namespace) = (world.on_sandbox(), world.namespace());
    let job = Job::github(&world);
    let (short, token) = pass(&world, &job);
    let night = sandbox.add_user("night", &[]);
    world.secret(&night);
    for verb in ["list", "delete"] {
        sandbox.allow("night", namespace, verb, "secrets", &[]);
    }
    let desk = Desk::new(&world);
    let place = desk.directory().join("home/.kube/config");
    doors::write(&place, &world.kubeconfig_of(&night));
    let revoked = leases(&desk, &["revoke", &format!("{namespace}/{short}"), "--reason", "INC-4711", "--yes"]);
    revoked.assert().success();
    assert!(revoked.stderr.contains("warning: cannot write the reason into an Event"), "{}", revoked.transcript());
    world.assert_dies(&token);
    // All namespaces are more than it may list: it is told what would do.
    let listed = leases(&desk, &["list"]);
    listed.assert().code(1);
    assert_snapshot!(listed.said());
}

#[test]
fn a_lock_holds_against_ci_identities_until_it_is_taken_away() {
    let world = World::new();
    let desk = Desk::new(&world);
    let account = world.account();
    let lock = desk.jobpass().args(["lock", &account, "--for", "4h", "--reason", "token in a public log, INC-4711", "--yes"]).succeed();
    let refused = Job::github(&world).request().run();
    refused.assert().code(1);
    assert_snapshot!(format!("{}\n\n{}", lock.said(), refused.said()));
    assert_eq!(world.secrets(), [""; 0]);
    let shown = leases(&desk, &["list", "-n", world.namespace()]);
    assert!(shown.stderr.contains(&format!("{account} is locked until ")), "{}", shown.transcript());
    assert!(!lock.stderr.contains("has no service account"), "{}", lock.transcript());
    let mistyped = desk.jobpass().args(["lock", &format!("{account}x"), "--for", "1m", "--reason", "INC-4711", "--yes"]).succeed();
    assert!(mistyped.stderr.contains(&format!("has no service account `{account}x`")), "{}", mistyped.transcript());
    typed(&desk, &next(&lock, "unlock"), &["--yes"]).assert().success();
    eventually("the lock is gone", || Job::github(&world).run("true").run().is_success());
    desk.jobpass().args(["unlock", &account, "--yes"]).succeed();
}

/// As kubectl writes it in a binding, and as messages and audit logs have it.
#[test]
fn an_account_may_be_written_as_elsewhere() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (namespace, name) = (world.namespace().to_owned(), "deploy-bot");
    for account in [format!("{namespace}:{name}"), format!("system:serviceaccount:{namespace}:{name}")] {
        let (short, token) = pass(&world, &Job::gitlab(&world));
        let listed = leases(&desk, &["list", "-s", &account]);
        listed.assert().success();
        assert!(listed.stdout.contains(&short), "{}", listed.transcript());
        let revoked = leases(&desk, &["revoke", "-s", &account, "--yes", "--reason", "test"]);
        revoked.assert().success();
        world.assert_dies(&token);
        desk.jobpass().args(["lock", &account, "--for", "15m", "--reason", "test", "--yes"]).succeed();
        let job = Job::github(&world);
        let refused = job.request().run();
        assert!(!refused.is_success() && refused.stderr.contains("locked"), "{}", refused.transcript());
        desk.jobpass().args(["unlock", &account, "--yes"]).succeed();
        // The policy is taken up by a watch of the API server.
        eventually("it is unlocked", || job.request().run().is_success());
        job.revoke().succeed();
        let doctor = job.jobpass().args(["doctor", "-s", &account]).run();
        assert!(doctor.stdout.contains(&world.account()) || doctor.stderr.contains(&world.account()), "{}", doctor.transcript());
    }
    let set_up = |account: &str| Job::local(&world).jobpass().args(["setup", account]).succeed().stdout;
    for account in ["ci:deploy-bot", "system:serviceaccount:ci:deploy-bot"] {
        assert_eq!(set_up(account), set_up("ci/deploy-bot"));
    }
}

#[test]
fn a_lock_ends_by_itself() {
    let world = World::new();
    let desk = Desk::new(&world);
    // Long enough for the question that comes first.
    desk.jobpass().args(["lock", world.namespace(), "--for", "20s", "--reason", "a short one", "--yes"]).succeed();
    let refused = Job::gitlab(&world).request().run();
    refused.assert().code(1);
    assert!(refused.stderr.contains("a short one"), "{}", refused.transcript());
    if world.is_sandbox() {
        world.on_sandbox().advance(Duration::from_secs(20));
    }
    eventually("the lock has ended", || Job::github(&world).run("true").run().is_success());
}

#[test]
fn a_revocation_locks_what_it_revokes() {
    let world = World::new();
    let desk = Desk::new(&world);
    let job = Job::github(&world);
    let (_, token) = pass(&world, &job);
    let account = world.account();
    let revoked = leases(&desk, &["revoke", "-s", &account, "--reason", "INC-4711", "--lock", "4h", "--yes"]);
    revoked.assert().success();
    assert_snapshot!(revoked.said());
    world.assert_dies(&token);
    Job::gitlab(&world).request().run().assert().code(1);
    typed(&desk, &next(&revoked, "unlock"), &["--yes"]).assert().success();
}

#[test]
fn a_lock_that_nothing_reads_is_said() {
    let world = World::sandbox("its policies are taken away");
    let desk = Desk::new(&world);
    world.on_sandbox().disable_policies();
    let lock = desk.jobpass().args(["lock", world.namespace(), "--for", "1h", "--reason", "INC-4711", "--yes"]).succeed();
    assert!(lock.stderr.contains("there is no policy `jobpass-tokens`"), "{}", lock.transcript());
    for arguments in [["lock", "a/b/c"], ["lock", "ci"], ["unlock", "CI"]] {
        desk.jobpass().args(arguments).run().assert().code(2);
    }
    desk.jobpass().args(["lock", "not-there", "--for", "1h", "--reason", "INC-4711", "--yes"]).run().assert().code(1);
}
