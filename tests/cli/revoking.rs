//! `revoke`: what it finds, what it trusts, how sure it is, and what it says when it cannot.

use std::{fs, path::PathBuf, time::Duration};

use insta::assert_snapshot;
use jobpass_sandbox::Fault;
use serde_json::{Value, json};

use crate::harness::{End, Job, Ran, World, doors};

/// Changes the lease file of the only pass that is here.
fn edit_lease(job: &Job<'_>, change: impl FnOnce(&mut Value)) {
    let path = job.place().join("lease.json");
    let mut lease: Value = serde_json::from_str(&fs::read_to_string(&path).expect("saved")).expect("JSON");
    change(&mut lease);
    doors::write(&path, &lease.to_string());
}

fn code(ran: &Ran, code: i32) {
    assert_eq!(ran.end, End::Code(code), "{}", ran.transcript());
}

/// There was none, and it says where it has looked.
fn assert_nothing(ran: &Ran) {
    assert!(ran.said().starts_with("nothing to revoke: no pass "), "{}", ran.transcript());
}

// Nothing to revoke.

#[test]
fn nothing_there_is_success_before_anything_else_is_looked_at() {
    let world = World::sandbox("nothing is sent");
    let mut said = Vec::new();
    for job in Job::all(&world) {
        // Neither the identity nor the server nor a flag's value matters.
        let ran = job.revoke().args(["--kubeconfig", "/nowhere", "--timeout", "1 parsec"]).run();
        code(&ran, 0);
        said.push(ran.said());
    }
    assert_snapshot!(said.join("\n"));
    assert_eq!(world.relay().connections(), 0);
}

#[test]
fn a_post_step_whose_main_step_never_began() {
    let world = World::sandbox("nothing is sent");
    let job = Job::github(&world);
    // What made the main step fail is still wrong in its post step.
    job.set("INPUT_OUTPUT", "nonsense");
    job.unset("RUNNER_TEMP");
    let ran = job.revoke().args(["--action", "post"]).run();
    code(&ran, 0);
    assert_eq!(ran.said(), "nothing to revoke");
}

#[test]
fn twice() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    job.revoke().succeed();
    assert_nothing(&job.revoke().succeed());
    // Also where the lease is named, and the server must say that it is gone.
    let named = job.revoke().args(["-s", &world.account()]).succeed();
    assert_snapshot!(named.said());
    assert_eq!(named.requests.len(), 3, "a killed client's creation may still land: {:?}", named.requests);
}

#[test]
fn after_somebody_deleted_the_secret() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    world.delete_secret(&job.lease());
    let ran = job.revoke().succeed();
    assert_snapshot!(ran.said(), @"
    revoked the pass of service account `NS/deploy-bot`, lease `SHORT-1`; absent: the lease was already gone
    ");
    job.assert_nothing_left();
}

#[test]
fn after_its_end() {
    let world = World::sandbox("nobody waits an hour");
    let job = Job::local(&world);
    job.request().succeed();
    world.on_sandbox().advance(std::time::Duration::from_hours(2));
    // The CI identity's own token, an hour long, is over as well: it is asked for anew as a job's would be.
    let name = world.user().rsplit(':').next().map(str::to_owned).expect("a name");
    let token = world.on_sandbox().service_account_token(world.home(), &name);
    world.secret(&token);
    doors::write(&job.identity_file(), &world.kubeconfig_of(&token));
    assert_snapshot!(job.revoke().succeed().said());
    job.assert_nothing_left();
}

// Which pass.

#[test]
fn several_passes_on_a_plain_shell_are_listed() {
    let world = World::new();
    let job = Job::local(&world);
    for _ in 0..2 {
        job.request().succeed();
    }
    let ran = job.revoke().run();
    code(&ran, 2);
    // Within one second of the server's neither is the older one.
    let mut said: Vec<_> = ran.said().lines().map(str::to_owned).collect();
    said[1..3].sort();
    assert_snapshot!(said.join("\n"));
    assert_eq!(world.secrets().len(), 2, "none was touched");
    let all = job.revoke().arg("--all").succeed();
    assert_eq!(all.said().matches("dead:").count(), 2, "{}", all.transcript());
    job.assert_nothing_left();
}

#[test]
fn one_of_several_by_its_name() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let first = job.lease();
    job.request().succeed();
    job.revoke().arg("--lease").arg(format!("{}/{first}", world.namespace())).succeed();
    assert_eq!((job.places().len(), world.secrets().contains(&first)), (1, false));
    job.revoke().succeed();
}

#[test]
fn one_of_several_by_its_first_digits() {
    let world = World::new();
    for job in [Job::local(&world), Job::gitlab(&world)] {
        let mut leases = Vec::new();
        for key in ["one", "two"] {
            let said = job.request().args(["--job-key", key]).succeed().stderr;
            let (_, rest) = said.split_once("lease `").expect("it says the lease");
            leases.push(rest.split_once('`').expect("whole").0.to_owned());
        }
        assert!(leases.iter().all(|lease| lease.len() == 6), "{leases:?}");
        let named = |text: &str| job.revoke().arg("--lease").arg(text).run();
        for text in ["0000".to_owned(), format!("elsewhere/{}", leases[0])] {
            let ran = named(&text);
            code(&ran, 1);
            assert!(!ran.stderr.contains(&text), "{}", ran.transcript());
            insta::allow_duplicates!(assert_snapshot!(ran.said(), @"
            error: `--lease` is the beginning of no lease that is kept here

            hint: write the whole of it, NAMESPACE/jobpass-…, as files and receipts have it; who may list Secrets finds a pass from anywhere by `jobpass leases revoke`
            "));
        }
        for text in [leases[0].clone(), format!("{}/jobpass-{}", world.namespace(), &leases[1][..5])] {
            let ran = named(&text);
            assert!(ran.is_success() && ran.said().contains("; dead: the API server answers 401"), "{}", ran.transcript());
        }
        job.assert_nothing_left();
    }
}

#[test]
fn a_planted_file_takes_no_pass_its_short_name() {
    for is_marked in [true, false] {
        let world = World::new();
        let job = Job::gitlab(&world);
        job.request().succeed();
        let (place, name) = (job.place(), job.lease());
        let digits = &name["jobpass-".len()..][..6];
        // Whoever can write to the volume has seen the log.
        let planted = place.with_file_name(format!("jobpass-{digits}{:0>26}", 1));
        fs::rename(&place, &planted).expect("renamed");
        let file = planted.join("lease.json");
        let mut lease: Value = serde_json::from_str(&fs::read_to_string(&file).expect("saved")).expect("JSON");
        (lease["name"], lease["place"]) = (json!(planted.file_name().expect("named").to_string_lossy()), json!(planted));
        (lease["uid"], lease["jobKey"]) = (json!("00000000-0000-0000-0000-000000000000"), json!("https://gitlab.example.com/1/1"));
        lease.as_object_mut().expect("an object").remove("seal");
        doors::write(&file, &lease.to_string());
        if !is_marked {
            // And a mark that says the same takes the place of the job's own.
            let mark = job.base().join(format!("{name}.mark"));
            let own = fs::read_to_string(&mark).expect("there is one");
            let other = planted.file_name().expect("named").to_string_lossy().into_owned();
            doors::write(&job.base().join(format!("{other}.mark")), &own.replace(&name, &other));
            fs::remove_file(mark).expect("it is there");
        }
        let ran = job.revoke().args(["--lease", digits]).run();
        // A mark has the whole name.
        assert_eq!((ran.is_success(), world.secrets().is_empty()), (is_marked, is_marked), "{}", ran.transcript());
        if !is_marked {
            assert!(ran.stderr.contains("error: `--lease` is the beginning of no lease that is kept here"), "{}", ran.transcript());
            job.revoke().arg("--lease").arg(format!("{}/{name}", world.namespace())).succeed();
            assert_eq!(world.secrets(), [""; 0]);
        }
    }
}

#[test]
fn the_shells_variable_may_have_the_first_digits_alone() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let first = job.lease();
    job.request().succeed();
    let digits = &first["jobpass-".len()..][..6];
    job.revoke().env("JOBPASS_LEASE", digits).succeed();
    assert_eq!((job.places().len(), world.secrets().contains(&first)), (1, false));
    // That pass is over, and the other one is not meant.
    assert_nothing(&job.revoke().env("JOBPASS_LEASE", digits).succeed());
    assert_eq!(job.places().len(), 1);
    job.revoke().succeed();
}

#[test]
fn a_pass_whose_directory_is_gone_is_told_by_all_and_ended_by_its_name() {
    let world = World::new();
    let job = Job::local(&world);
    let elsewhere = job.directory().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let lost = job.request().arg("--dir").arg(elsewhere.to_string_lossy()).succeed().stderr;
    let digits = lost.split_once("lease `").and_then(|(_, rest)| rest.split_once('`')).expect("it says the lease").0.to_owned();
    fs::remove_dir_all(&elsewhere).expect("removed");
    job.request().succeed();
    let ran = job.revoke().args(["--all", "--strict"]).run();
    code(&ran, 1);
    assert!(ran.stderr.contains("\nrevoked the pass") || ran.stderr.starts_with("revoked the pass"), "{}", ran.transcript());
    assert!(ran.stderr.contains("this job had a pass for service account"), "{}", ran.transcript());
    // An operator has ended it meanwhile: then the mark is over, too.
    let name = world.secrets().pop().expect("it lives");
    world.delete_secret(&name);
    let ran = job.revoke().args(["--lease", &digits]).succeed();
    assert!(ran.stderr.contains("absent:"), "{}", ran.transcript());
    assert_nothing(&job.revoke().succeed());
}

#[test]
fn a_401_that_is_no_api_servers_proves_nothing() {
    let world = World::sandbox("a proxy before the API server says no");
    for body in ["Unauthorized", "", r#"{"error": "x"}"#] {
        let job = Job::local(&world);
        job.request().succeed();
        world.on_sandbox().fault(Fault::on("POST", "selfsubjectreviews").answer_text(401, body));
        let ran = job.revoke().succeed();
        assert!(ran.said().contains("; removed: the lease is deleted") && !ran.said().contains("dead"), "{}", ran.transcript());
        world.on_sandbox().clear_faults();
    }
}

#[test]
fn no_text_of_others_begins_a_line_of_ours() {
    let world = World::new();
    let job = Job::local(&world);
    let forged = "x\nrevoked the pass of service account `ci/deploy-bot`; dead: the API server answers 401 to the token\u{202e}";
    let mut config: Value = serde_saphyr::from_str(&world.kubeconfig()).expect("a kubeconfig");
    config["contexts"][0]["name"] = json!(forged);
    config["current-context"] = json!(forged);
    doors::write(&job.identity_file(), &config.to_string());
    // The kubeconfig of another pass, as it says.
    let other = job.directory().join("other.kubeconfig");
    let mark = json!({"extensions": [{"name": "jobpass.dev/pass", "extension": {"lease": forged}}]});
    doors::write(&other, &mark.to_string());
    let request = job.request().env("KUBECONFIG", other.as_os_str()).env("JOBPASS_KUBECONFIG", job.identity_file().as_os_str()).run();
    for line in request.stderr.lines() {
        assert!(!line.starts_with("revoked") && !line.contains('\u{202e}'), "{}", request.transcript());
    }
    assert!(request.is_success() && request.stderr.contains("asked as context `x revoked the pass"), "{}", request.transcript());
    job.revoke().succeed();
}

#[test]
fn digits_with_which_several_names_begin_are_refused_with_their_names() {
    let world = World::sandbox("no server gives a lease its name");
    let job = Job::local(&world);
    for digit in ["1", "2"] {
        job.request().succeed();
        // Nobody can choose the names that jobpass makes: the files are given other ones.
        let is_made = |place: &PathBuf| !place.to_string_lossy().contains("jobpass-7a24");
        let place = job.places().into_iter().find(is_made).expect("the new one");
        let name = format!("jobpass-7a24{digit:0<28}");
        let named = place.with_file_name(&name);
        fs::rename(&place, &named).expect("renamed");
        let file = named.join("lease.json");
        let mut lease: Value = serde_json::from_str(&fs::read_to_string(&file).expect("saved")).expect("JSON");
        (lease["name"], lease["place"]) = (json!(name), json!(named));
        doors::write(&file, &lease.to_string());
    }
    let ran = job.revoke().args(["--lease", "7a24"]).run();
    code(&ran, 2);
    // Within one second of the server's neither is the older one.
    let said = ran.stderr.lines().filter(|line| !line.contains("jobpass-7a241")).collect::<Vec<_>>().join("\n");
    assert!(ran.stderr.contains("/jobpass-7a241") && said.contains("/jobpass-7a242"), "{}", ran.transcript());
    assert_snapshot!(world.plain(&said.replace(&format!("jobpass-7a24{:0<28}", 2), "SECOND")), @"
    error: `--lease` is the beginning of several leases
      caused by: `NS/SECOND` for service account `NS/deploy-bot`, until TIME

    hint: write more digits
    ");
    assert_eq!(job.places().len(), 2, "none was touched");
}

#[test]
fn the_shells_own_by_its_variable() {
    let world = World::new();
    let job = Job::local(&world);
    let mine = job.request().succeed();
    let lease = job.lease();
    job.enter(&mine);
    job.request().succeed();
    job.revoke().succeed();
    assert_eq!((job.places().len(), world.secrets().contains(&lease)), (1, false));
    // The variable names a pass that is over, and the other one is not this shell's.
    assert_snapshot!(job.revoke().succeed().said());
    job.revoke().arg("--all").succeed();
}

#[test]
fn one_by_its_file() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let file = job.place().join("lease.json");
    // Kept elsewhere, as by a supervisor; then its own directory is found by what it says, not by where it lies.
    let copy = job.directory().join("lease-copy.json");
    fs::copy(&file, &copy).expect("copied");
    let ran = job.revoke().arg("--lease-file").arg(file.to_string_lossy()).succeed();
    assert!(ran.said().contains("dead:"), "{}", ran.transcript());
    job.assert_nothing_left();
    let again = job.revoke().arg("--lease-file").arg(copy.to_string_lossy()).succeed();
    assert!(again.said().contains("absent:"), "{}", again.transcript());
}

#[test]
fn a_name_that_is_no_lease() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    for name in [
        "db-password",
        "ci/db-password",
        "ci/jobpass-../../x",
        "ci/jobpass-012",
        "jobpass-0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF",
    ] {
        let ran = job.revoke().args(["--lease", name]).run();
        code(&ran, 2);
        assert!(ran.said().starts_with("error: `--lease` names no lease of jobpass"), "{}", ran.said());
    }
    assert_eq!(world.relay().connections(), 0);
}

#[test]
fn ways_to_name_a_pass_exclude_each_other() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let lease = format!("ci/jobpass-{}", "0".repeat(32));
    for (one, other) in [("--lease-file=/x", "--all"), ("--lease", "--all"), ("--lease", "--lease-file=/x")] {
        let one = if one == "--lease" { format!("--lease={lease}") } else { one.to_owned() };
        let ran = job.revoke().arg(one).arg(other).run();
        code(&ran, 2);
        assert!(ran.said().contains("exclude each other"), "{}", ran.said());
    }
}

#[test]
fn another_jobs_pass_in_the_same_directory_stays() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let other = job.lease();
    job.set("CI_JOB_ID", "4712");
    job.request().succeed();
    job.revoke().succeed();
    assert_eq!(world.secrets(), [other]);
    job.revoke().arg("--all").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_plain_step_of_github_ends_all_passes_of_its_job_and_no_others() {
    let world = World::new();
    let job = Job::github(&world);
    for _ in 0..2 {
        job.request().succeed();
    }
    job.set("GITHUB_JOB", "other");
    job.request().succeed();
    job.set("GITHUB_JOB", "deploy");
    job.revoke().succeed();
    assert_eq!((world.secrets().len(), job.places().len()), (1, 1));
    job.revoke().arg("--all").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_job_key_of_ones_own_finds_its_lease_without_a_file() {
    let world = World::new();
    let job = Job::tekton(&world);
    job.unset("JOBPASS_POD_UID");
    job.request().args(["--job-key", "6f1c2d3e-4f50-4e0a-9b39-0b5a1c6e7d0f/deploy"]).succeed();
    fs::remove_dir_all(job.place()).expect("the pod is gone");
    job.revoke().args(["--job-key", "6f1c2d3e-4f50-4e0a-9b39-0b5a1c6e7d0f/deploy", "-s", &world.account()]).succeed();
    job.assert_nothing_left();
}

// What is trusted.

#[test]
fn the_post_step_trusts_the_runners_state_and_no_file() {
    let world = World::new();
    let job = Job::github(&world);
    job.request().succeed();
    let state = job.state().expect("saved");
    // A step of the job writes a lease of its own making into the place.
    edit_lease(&job, |lease| lease["name"] = json!("jobpass-ffffffffffffffffffffffffffffffff"));
    let ran = job.revoke().args(["--action", "post"]).env("STATE_lease", state).succeed();
    assert!(ran.said().contains("dead:"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_lease_decides_neither_the_server_nor_the_credential() {
    let world = World::new();
    let elsewhere = World::sandbox("it is the attacker's server");
    let job = Job::gitlab(&world);
    job.request().succeed();
    edit_lease(&job, |lease| lease["server"] = json!(elsewhere.url()));
    let token = job.token();
    let ran = job.revoke().arg("--strict").run();
    code(&ran, 0);
    world.names_exact(elsewhere.url().trim_start_matches("https://"), "ELSEWHERE");
    assert_snapshot!(world.plain(&ran.said()));
    assert_eq!(elsewhere.relay().connections(), 0, "nothing was sent there");
    world.assert_dies(&token);
    job.assert_nothing_left();
}

#[test]
fn a_lease_file_cannot_make_it_delete_anything_else() {
    let world = World::new();
    let job = Job::gitlab(&world);
    world.put_secret("db-password", "Opaque", &[("password", "hunter2")]);
    job.request().succeed();
    let lease = job.lease();
    let precious = job.directory().join("precious");
    doors::write(&precious, "precious");
    edit_lease(&job, |lease| lease["kubeconfigOut"] = json!(precious));
    job.revoke().succeed();
    assert!(precious.exists(), "a file that is no kubeconfig of ours");
    assert_eq!(world.secrets(), ["db-password"]);

    job.request().succeed();
    edit_lease(&job, |lease| lease["name"] = json!("db-password"));
    let ran = job.revoke().arg("--lease-file").arg(job.place().join("lease.json").to_string_lossy()).run();
    code(&ran, 1);
    assert_snapshot!(ran.said());
    assert!(world.secrets().contains(&"db-password".to_owned()));
    job.revoke().args(["-s", &world.account()]).succeed();
    assert!(!world.secrets().contains(&lease));
}

#[test]
fn in_a_pod_a_lease_file_does_not_say_which_credential_is_sent_where() {
    let world = World::new();
    let elsewhere = World::sandbox("it is the attacker's server");
    let job = Job::tekton(&world);
    job.request().succeed();
    let lease = job.lease();
    // Another container of the pod writes the volume: our token to its server.
    let evil = job.base().join("identity.evil");
    let text = elsewhere
        .kubeconfig()
        .replace(&format!("token: {}", elsewhere.identity_token()), &format!("tokenFile: {}", job.directory().join("token").display()));
    doors::write(&evil, &text);
    edit_lease(&job, |lease| {
        lease["server"] = json!(elsewhere.url());
        lease["identity"] = json!({"kind": "kubeconfig", "paths": [evil]});
    });
    for name in ["JOBPASS_IDENTITY_TOKEN_FILE", "JOBPASS_SERVER", "JOBPASS_CERTIFICATE_AUTHORITY"] {
        job.unset(name);
    }
    let ran = job.revoke().run();
    code(&ran, 0);
    assert!(ran.said().contains("is not revoked: there is no CI identity"), "{}", ran.said());
    assert_eq!(elsewhere.relay().connections(), 0);
    assert_eq!(world.secrets(), [lease]);
}

#[test]
fn a_pass_that_cannot_be_looked_at_is_not_taken_for_none() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let lease = job.lease();
    doors::write(&job.place().join("lease.json"), r#"{"apiVersion": "jobpass.dev/v9"}"#);
    // By the mark it would be known whose it is.
    fs::remove_file(job.base().join(format!("{lease}.mark"))).expect("left");
    let ran = job.revoke().run();
    code(&ran, 0);
    assert_snapshot!(ran.said());
    code(&job.revoke().arg("--strict").run(), 1);
    assert_eq!(world.secrets(), [lease], "it is still there");
    // Where the job can be named again, its file is not needed.
    job.revoke().args(["-s", &world.account()]).succeed();
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn a_pass_in_a_directory_of_its_own_is_found_by_the_shell_that_has_it() {
    let world = World::new();
    let job = Job::local(&world);
    let directory = job.directory().join("mine");
    let request = job.request().arg("--dir").arg(directory.to_string_lossy()).succeed();
    job.enter(&request);
    let ran = job.revoke().succeed();
    assert!(ran.said().contains("dead:"), "{}", ran.transcript());
    assert_eq!((world.secrets(), directory.join("jobpass").exists()), (vec![], false));
}

#[test]
fn requesting_again_in_a_shell_whose_pass_is_over() {
    let world = World::new();
    let job = Job::local(&world);
    let home = job.directory().join("home/.kube");
    doors::make_directory(&home);
    fs::rename(job.identity_file(), home.join("config")).expect("moved");
    job.unset("KUBECONFIG");
    for _ in 0..2 {
        // The second time KUBECONFIG names what `revoke` has removed, and the token's variable holds a dead one.
        let request = job.request().succeed();
        assert!(!request.said().contains("lives on"), "{}", request.said());
        job.enter(&request);
        job.revoke().succeed();
    }
    job.assert_nothing_left();
}

#[test]
fn nothing_to_revoke_in_a_pod_that_says_nothing_of_itself() {
    let world = World::sandbox("nothing is sent");
    let job = Job::tekton(&world);
    job.unset("JOBPASS_POD_UID");
    assert_nothing(&job.revoke().succeed());
}

#[test]
fn a_receipt_that_cannot_be_written_ends_the_other_passes_all_the_same() {
    let world = World::new();
    let job = Job::local(&world);
    for _ in 0..2 {
        job.request().succeed();
    }
    let ran = job.revoke().args(["--all", "--receipt", "/nowhere/receipts"]).run();
    code(&ran, 1);
    assert_eq!(ran.said().matches("dead:").count(), 2, "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn what_somebody_else_put_into_the_place_stays_and_is_told() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    let place = job.place();
    doors::write(&place.join("notes"), "mine");
    let ran = job.revoke().succeed();
    assert_snapshot!(ran.said());
    assert!(place.join("notes").exists() && !place.join("token").exists());
}

#[test]
fn a_token_for_others_is_no_proof() {
    let world = World::new();
    let job = Job::local(&world);
    // The API server answers 401 to it while it lives.
    job.request().args(["--audience", "https://vault.example.com"]).succeed();
    let ran = job.revoke().succeed();
    assert!(ran.said().contains("removed: the lease is deleted"), "{}", ran.transcript());
}

#[test]
fn a_wait_that_ends_too_early_is_pending() {
    let world = World::sandbox("its clock stands still");
    let job = Job::local(&world);
    job.request().succeed();
    assert!(world.accepts(&job.token()));
    let ran = job.revoke().args(["--wait-dead", "--timeout", "5s"]).succeed();
    assert!(ran.said().contains("dead at "), "{}", ran.transcript());
}

// When it cannot.

#[test]
fn on_ci_a_failed_revocation_is_a_warning_with_what_is_left() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let place = job.place();
    world.take_away("delete", "secrets");
    let ran = job.revoke().run();
    code(&ran, 0);
    assert_snapshot!(ran.said());
    // The lease stays, to be tried again; the secrets do not wait for it.
    assert!(place.join("lease.json").exists());
    for name in ["token", "kubeconfig", "env"] {
        assert!(!place.join(name).exists(), "{name}");
    }
    code(&job.revoke().arg("--strict").run(), 1);
}

#[test]
fn on_a_plain_shell_a_failed_revocation_fails() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    world.take_away("delete", "secrets");
    let ran = job.revoke().run();
    code(&ran, 1);
    assert_snapshot!(ran.said());
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_again_later() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::gitlab(&world);
    job.request().succeed();
    world.on_sandbox().fault(Fault::on("DELETE", "/secrets").unavailable().always());
    let ran = job.revoke().args(["--timeout", "5s"]).run();
    code(&ran, 0);
    assert_snapshot!(ran.said());
    world.on_sandbox().clear_faults();
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn an_identity_that_is_gone() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    job.unset("JOBPASS_KUBECONFIG");
    fs::rename(job.identity_file(), job.directory().join("identity.moved")).expect("moved");
    let ran = job.revoke().run();
    code(&ran, 0);
    assert_snapshot!(ran.said());
    job.revoke().arg("--kubeconfig").arg(job.directory().join("identity.moved").to_string_lossy()).succeed();
    job.assert_nothing_left();
}

#[test]
fn an_identity_that_is_over_leaves_the_end_to_the_pass_itself_if_that_may() {
    for may in [true, false] {
        let world = World::sandbox("the CI identity dies before its pass");
        let job = Job::gitlab(&world);
        job.request().succeed();
        let token = job.token();
        let (sandbox, account) = (world.on_sandbox(), format!("system:serviceaccount:{}:deploy-bot", world.namespace()));
        if may {
            sandbox.allow(&account, world.namespace(), "delete", "secrets", &[]);
        }
        let user = world.user();
        sandbox.delete_service_account(world.home(), user.rsplit_once(':').expect("the name of a service account").1);
        // The API server remembers for 10 s whom it has let in.
        sandbox.advance(Duration::from_secs(11));
        let ran = job.revoke().run();
        code(&ran, 0);
        assert_eq!(world.is_live(&token), !may);
        let outcome = if may { "and_its_pass_may_end_itself" } else { "and_its_pass_may_not_end_itself" };
        assert_snapshot!(format!("an_identity_that_is_over_{outcome}"), ran.said());
    }
}

#[test]
fn a_pass_is_shown_to_no_other_server_in_order_to_end_itself() {
    let world = World::new();
    let elsewhere = World::sandbox("whom it takes is asked there");
    let job = Job::gitlab(&world);
    // Without it the lease file proves nothing, and the name counts on every server.
    job.unset("CI_JOB_TOKEN");
    job.request().succeed();
    let token = job.token();
    let stranger = job.directory().join("identity.stranger");
    doors::write(&stranger, &elsewhere.kubeconfig_of("nobody"));
    let ran = job.revoke().env("JOBPASS_KUBECONFIG", &stranger).run();
    assert!(ran.said().contains("401 Unauthorized"), "{}", ran.transcript());
    assert_eq!(elsewhere.on_sandbox().requests().len(), 1, "{}", ran.transcript());
    assert!(world.is_live(&token));
}

#[test]
fn it_finds_the_identity_again_that_requested_the_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let kubeconfig = job.get("JOBPASS_KUBECONFIG").expect("set");
    job.unset("JOBPASS_KUBECONFIG");
    job.request().args(["--kubeconfig", &kubeconfig]).succeed();
    // As an after_script that gives no flag.
    let ran = job.revoke().succeed();
    assert!(ran.said().contains("dead:"), "{}", ran.transcript());
}

#[test]
fn a_finalizer_that_somebody_added_is_told() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    world.hold_secret(&job.lease());
    let ran = job.revoke().succeed();
    assert_snapshot!(ran.said());
}

#[test]
fn a_token_file_that_was_exchanged_is_not_asked_about() {
    let world = World::new();
    let job = Job::local(&world);
    job.request().succeed();
    fs::remove_file(job.place().join("token")).expect("removed");
    doors::write(&job.place().join("token"), "another");
    let ran = job.revoke().succeed();
    assert!(ran.said().contains("removed: the lease is deleted"), "{}", ran.transcript());
    assert_eq!(ran.requests.len(), 1);
}

#[test]
fn a_probe_that_gets_no_answer_is_no_proof() {
    let world = World::sandbox("a real server has no script of faults");
    let job = Job::local(&world);
    job.request().succeed();
    world.on_sandbox().fault(Fault::on("POST", "selfsubjectreviews").unavailable());
    let ran = job.revoke().succeed();
    assert!(ran.said().contains("removed: the lease is deleted"), "{}", ran.transcript());
    job.assert_nothing_left();
}

#[test]
fn the_main_step_refuses_what_only_its_post_step_would_stumble_over() {
    let world = World::sandbox("nothing is sent");
    let job = Job::github(&world);
    for (input, value, words) in [
        ("INPUT_WAIT-DEAD", "true", "`wait-dead` takes longer than a post step of GitHub has"),
        ("INPUT_STRICT", "yes", "input `strict` is neither `true` nor `false`"),
        ("INPUT_TIMEOUT", "soon", "input `timeout` is no length of time"),
    ] {
        let ran = job.request().args(["--action", "main"]).env(input, value).run();
        code(&ran, 2);
        assert!(ran.said().starts_with(&format!("::error title=jobpass::{words}")), "{}", ran.said());
        assert_eq!(job.state(), None);
    }
    assert_eq!(world.relay().connections(), 0);
}

#[test]
fn a_post_step_whose_inputs_have_changed_still_revokes() {
    let world = World::new();
    let job = Job::github(&world);
    for (input, value) in [
        ("INPUT_WAIT-DEAD", "true"),
        ("INPUT_STRICT", "yes"),
        ("INPUT_TIMEOUT", "soon"),
        ("INPUT_OUTPUT", "nonsense"),
        ("INPUT_SERVICE-ACCOUNT", "bare"),
        // What an earlier step of the job can set for those after it.
        ("JOBPASS_PLATFORM", "local"),
        ("JOBPASS_LEASE_FILE", "/nowhere/lease.json"),
        ("JOBPASS_LEASE", "ci/jobpass-00000000000000000000000000000000"),
        ("JOBPASS_ALL", "true"),
    ] {
        job.request().succeed();
        let ran = job.post().env(input, value).run();
        code(&ran, 0);
        assert!(ran.said().contains("revoked the pass"), "{input}: {}", ran.transcript());
        job.assert_nothing_left();
        job.new_step();
    }
}

#[test]
fn a_run_refuses_what_only_revoke_would_stumble_over() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    for (name, value) in
        [("JOBPASS_STRICT", "1"), ("JOBPASS_WAIT_DEAD", "yes"), ("JOBPASS_ALL", "1"), ("JOBPASS_IF_HERE", "1"), ("JOBPASS_TIMEOUT", "soon")]
    {
        let ran = job.run("echo begun").env(name, value).run();
        code(&ran, 125);
        assert!(ran.said().starts_with(&format!("error: `{name}` is ")), "{}", ran.said());
    }
    assert_eq!(world.relay().connections(), 0);
}

#[test]
fn a_variable_that_is_no_good_keeps_no_pass_alive() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let mut said = Vec::new();
    for (name, value) in [
        ("JOBPASS_STRICT", "1"),
        ("JOBPASS_WAIT_DEAD", "yes"),
        ("JOBPASS_ALL", "True"),
        ("JOBPASS_IF_HERE", "1"),
        ("JOBPASS_TIMEOUT", "soon"),
        ("JOBPASS_SERVICE_ACCOUNT", "bare"),
        ("JOBPASS_LEASE_FILE", "lease.json"),
    ] {
        job.request().succeed();
        let token = job.token();
        let ran = job.revoke().env(name, value).succeed();
        said.push(ran.said().lines().next().unwrap_or_default().to_owned());
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
    assert_snapshot!(said.join("\n"));
    // On the command line it is a mistake of the call, and the flag wins over what a variable says.
    job.request().succeed();
    code(&job.revoke().args(["--timeout", "soon"]).run(), 2);
    code(&job.revoke().args(["--service-account", "bare"]).run(), 2);
    let named = job.revoke().env("JOBPASS_ALL", "true").arg("--lease").arg(format!("{}/{}", world.namespace(), job.lease())).succeed();
    assert!(named.said().starts_with("revoked the pass"), "{}", named.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_lease_file_that_a_variable_names_is_not_revoked_in_the_place_of_the_shells_own() {
    let world = World::new();
    let job = Job::local(&world);
    let mine = job.request().succeed();
    job.enter(&mine);
    let lease = job.lease();
    job.request().succeed();
    let other = job.places().into_iter().find(|place| !place.ends_with(&lease)).expect("the second one");
    job.revoke().env("JOBPASS_LEASE_FILE", other.join("lease.json")).succeed();
    assert_eq!(job.places(), [other]);
    job.revoke().arg("--all").succeed();
}

#[test]
fn a_main_step_that_failed_leaves_nothing_for_its_post_step() {
    let world = World::new();
    world.take_away("create", "serviceaccounts/token");
    let job = Job::github(&world);
    code(&job.request().run(), 1);
    job.assert_nothing_left();
    let post = job.post().arg("--strict").succeed();
    assert!(post.said().ends_with("nothing to revoke"), "{}", post.said());
}

#[test]
fn a_second_signal_ends_it_and_the_first_one_does_not() {
    use rustix::process::Signal;
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    world.relay().hold_request(1);
    let running = job.revoke().start();
    world.relay().wait_held();
    running.signal(Signal::TERM);
    running.said("SIGTERM: revoking first");
    world.relay().release();
    let ran = running.wait();
    code(&ran, 0);
    assert!(ran.said().contains("revoked the pass"), "{}", ran.transcript());
    job.assert_nothing_left();

    job.request().succeed();
    world.relay().hold_request(1);
    let running = job.revoke().start();
    world.relay().wait_held();
    running.signal(Signal::TERM);
    running.said("SIGTERM: revoking first");
    running.signal(Signal::INT);
    let ran = running.wait();
    code(&ran, 1);
    assert_snapshot!(ran.said());
    world.relay().release();
    job.revoke().succeed();
}

#[test]
fn a_pass_that_may_never_have_been_begun_is_not_said_to_live() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    let ran = job.revoke().args(["--service-account", &world.account()]).succeed();
    assert_snapshot!(ran.said());
}
