//! Kubeconfigs and credentials as people paste, store and print them: taken where kubectl takes them, else said before any call.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;

use crate::{
    harness::{End, Job, Ran, World, doors},
    usage::{exec, plugin, replace_user},
};

/// A whole job.
fn works(job: &Job<'_>) {
    job.request().succeed();
    let token = job.token();
    job.revoke().succeed();
    job.world.assert_dies(&token);
    job.assert_nothing_left();
}

/// What is said of an identity before anything is sent.
fn refused(job: &Job<'_>) -> String {
    let ran = job.request().run();
    assert!(!ran.is_success() && ran.requests.is_empty(), "{}", ran.transcript());
    job.assert_nothing_left();
    ran.said()
}

/// The lines of a text in base64, as they stand in a literal block of YAML.
fn block(text: &str, between: &str) -> String {
    let text = STANDARD.encode(text);
    text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join(between)
}

#[test]
fn base64_stands_in_a_kubeconfig_with_whatever_breaks_it() {
    let world = World::new();
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    for broken in [
        format!("certificate-authority-data: |\n      {}\n", block(&world.ca_pem(), "\n      ")),
        format!("certificate-authority-data: >-\n      {}\n", block(&world.ca_pem(), "\n      ")),
        format!("certificate-authority-data: \"{}\"", block(&world.ca_pem(), "\\n")),
        format!("certificate-authority-data: \" {} \"", block(&world.ca_pem(), "\\r\\n\\t")),
    ] {
        let job = Job::gitlab(&world);
        let text = world.kubeconfig().replace(&data, &broken);
        assert!(text.contains(&broken));
        doors::write(&job.identity_file(), &text);
        works(&job);
    }
}

#[test]
fn a_client_certificate_stands_in_literal_blocks_too() {
    let world = World::sandbox("the harness has no CA of a real cluster");
    let identity = world.on_sandbox().client_identity(&world.user());
    let job = Job::gitlab(&world);
    let [certificate, key] = [&identity.certificate_pem, &identity.key_pem].map(|pem| block(pem, "\n      "));
    let user = format!("client-certificate-data: |\n      {certificate}\n    client-key-data: |\n      {key}\n");
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &user));
    works(&job);
}

#[test]
fn of_keys_that_stand_there_twice_the_last_counts_as_for_kubectl() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let text = world.kubeconfig().replace("kind: Config\n", "kind: Config\nkind: Config\npreferences: {}\npreferences: {}\n");
    let text = text.replace("    token: ", "    token: stale\n    token: ");
    doors::write(&job.identity_file(), &text);
    works(&job);
    // And so it is in a variable.
    job.unset("JOBPASS_KUBECONFIG");
    job.set("JOBPASS_IDENTITY_KUBECONFIG", text);
    works(&job);
}

#[test]
fn utf_16_of_windows_is_read_in_base64() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    for mark in ["\u{feff}", ""] {
        let wide: Vec<u8> = (mark.to_owned() + &world.kubeconfig()).encode_utf16().flat_map(u16::to_le_bytes).collect();
        job.set("JOBPASS_IDENTITY_KUBECONFIG", STANDARD.encode(wide));
        works(&job);
    }
}

#[test]
fn an_authority_is_read_whatever_stands_beside_it_and_breaks_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let file = job.directory().join("latin1.crt");
    doors::write_bytes(&file, &[b"# Autorit\xe9 Racine\n", world.ca_pem().as_bytes()].concat());
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    doors::write(&job.identity_file(), &world.kubeconfig().replace(&data, "certificate-authority: latin1.crt"));
    works(&job);
    doors::write(&job.identity_file(), &world.kubeconfig());
    let pem = world.ca_pem();
    for given in [
        file.to_string_lossy().into_owned(),
        pem.replace('\n', "\\n"),
        format!("\"{}\"", pem.trim().replace('\n', "\\n")),
        pem.replace('\n', "\r\n"),
        pem.lines().fold(String::new(), |text, line| text + "    " + line + "\n"),
        pem.trim().replace('\n', " "),
        format!("'{}'", STANDARD.encode(&pem)),
        STANDARD.encode(STANDARD.encode(&pem)),
    ] {
        job.set("JOBPASS_CERTIFICATE_AUTHORITY", &given);
        works(&job);
    }
}

#[test]
fn an_account_may_be_written_as_messages_and_bindings_have_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let (namespace, name) = world.account().split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two parts");
    for account in [format!("{namespace}:{name}"), format!("system:serviceaccount:{namespace}:{name}")] {
        job.jobpass().args(["run", "-s", &account, "--", "true"]).succeed();
        job.set("JOBPASS_SERVICE_ACCOUNT", &account);
        job.jobpass().arg("request").succeed();
        job.revoke().succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn a_token_in_a_form_that_no_server_takes_is_said_before_it_is_sent() {
    let world = World::new();
    let encoded = STANDARD.encode(world.identity_token());
    let quoted = format!("\"{}\"", world.identity_token());
    world.secret(&encoded);
    let mut said = Vec::new();
    for token in [&encoded, &quoted] {
        let job = Job::gitlab(&world);
        doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &format!("token: '{token}'")));
        said.push(refused(&job) + "\n");
        let job = Job::gitlab(&world);
        job.unset("JOBPASS_KUBECONFIG");
        job.set("JOBPASS_IDENTITY_TOKEN", token);
        job.set("JOBPASS_SERVER", world.url());
        job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
        said.push(refused(&job) + "\n");
    }
    assert_snapshot!(said.join("\n"));
}

#[test]
fn what_kubectl_config_view_has_left_out_is_said() {
    let world = World::sandbox("nothing is sent");
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    let whole = world.kubeconfig();
    let said = [
        whole.replace(&data, "certificate-authority-data: DATA+OMITTED"),
        replace_user(&whole, "token: REDACTED"),
        replace_user(&whole, "client-certificate-data: DATA+OMITTED\n    client-key-data: DATA+OMITTED"),
    ]
    .map(|text| {
        let job = Job::gitlab(&world);
        doors::write(&job.identity_file(), &text);
        refused(&job) + "\n"
    });
    assert_snapshot!(said.join("\n"));
}

#[test]
fn files_of_another_machine_are_named_with_what_to_do() {
    let world = World::sandbox("nothing is sent");
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    let whole = world.kubeconfig();
    let said = [
        whole.replace(&data, "certificate-authority: /home/dev/.minikube/ca.crt"),
        replace_user(&whole, "client-certificate: /home/dev/.minikube/client.crt\n    client-key: /home/dev/.minikube/client.key"),
        replace_user(&whole, "tokenFile: /home/dev/token"),
    ]
    .map(|text| {
        let job = Job::gitlab(&world);
        job.unset("JOBPASS_KUBECONFIG");
        job.set("JOBPASS_IDENTITY_KUBECONFIG", text);
        refused(&job) + "\n"
    });
    assert_snapshot!(said.join("\n"));
}

#[test]
fn the_faults_of_a_client_certificate_are_told_apart() {
    let world = World::sandbox("nothing is sent");
    let [one, other] = [0, 1].map(|_| world.on_sandbox().client_identity(&world.user()));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let p521 = include_str!("certificates/p521.crt");
    let said = [
        (one.certificate_pem.as_str(), other.key_pem.as_str()),
        (&one.certificate_pem, encrypted),
        (&one.certificate_pem, "\u{1}\u{2}\u{3}"),
        (p521, &one.key_pem),
        (&one.key_pem, &one.certificate_pem),
    ]
    .map(|(certificate, key)| {
        let job = Job::gitlab(&world);
        let user = format!("client-certificate-data: {}\n    client-key-data: {}", STANDARD.encode(certificate), STANDARD.encode(key));
        doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &user));
        refused(&job) + "\n"
    });
    assert_snapshot!(said.join("\n"));
}

/// A job whose plugin is this script.
fn plugged<'w>(world: &'w World, script: &str) -> Job<'w> {
    let job = Job::gitlab(world);
    doors::write(&job.directory().join("token"), world.identity_token());
    let script = script.replace("TOKEN", &format!("$(cat '{}/token')", job.directory().display()));
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), "")));
    job
}

#[test]
fn what_a_credential_plugin_leaves_running_is_not_waited_for() {
    const PRINT: &str =
        "printf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"%s\"}}' \"TOKEN\"";
    let world = World::new();
    for left in ["sleep 50 >/dev/null </dev/null &", "sleep 50 2>/dev/null </dev/null &", "sleep 50 &"] {
        let job = plugged(&world, &format!("{left}\necho $! >>\"${{0%/*}}/left\"\n{PRINT}"));
        let begun = Instant::now();
        works(&job);
        assert!(begun.elapsed() < Duration::from_secs(25), "{left}: {:?}", begun.elapsed());
        let pids = std::fs::read_to_string(job.directory().join("left")).expect("it ran");
        pids.lines().for_each(doors::terminate);
    }
}

#[test]
fn the_words_of_a_credential_plugin_reach_the_user_whole_and_without_secrets() {
    let world = World::sandbox("nothing is sent");
    let many = "i=1; while [ $i -le 30 ]; do echo \"line $i\" >&2; i=$((i+1)); done; exit 3";
    let json = "cat >&2 <<'X'\nServiceError:\n{\n    \"code\": \"NotAuthenticated\",\n    \"message\": \"The required information was not provided.\"\n}\nX\nexit 1";
    let hostile = "printf '\\033[31mred\\033[0m\\n::set-output name=x::y\\ntoken %s expired\\n' \"TOKEN\" >&2; exit 1";
    let said = [many, json, hostile].map(|script| {
        let job = plugged(&world, script);
        let ran: Ran = job.request().run();
        assert_eq!(ran.end, End::Code(1), "{}", ran.transcript());
        ran.said() + "\n"
    });
    assert!(!said[2].contains('\u{1b}'), "{}", said[2]);
    assert_snapshot!(said.join("\n"));
}
