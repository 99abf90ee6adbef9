//! A secret in the place of a path, a name or an address: its kind is told, and nothing of it is shown.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use insta::assert_snapshot;
use jobpass::options::{ALL, Kind};

use crate::harness::{Job, Ran, World};

/// What a job may have in a variable beside the right one, by a name for the test.
fn secrets() -> Vec<(&'static str, String)> {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"system:serviceaccount:jobpass:ci","exp":1900000000}"#);
    let token = format!(
        "{}.{claims}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#),
        URL_SAFE_NO_PAD.encode(std::array::from_fn::<u8, 64, _>(|at| (at * 37 + 11).to_le_bytes()[0]))
    );
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: main\n  cluster: {{server: 'https://api.example.net:6443'}}\nusers:\n- name: ci\n  user: {{token: {token}}}\n"
    );
    let json = serde_json::json!({"apiVersion": "v1", "users": [{"name": "u", "user": {"token": token.as_str()}}]}).to_string();
    vec![
        ("a kubeconfig", kubeconfig.clone()),
        ("a kubeconfig in base64", STANDARD.encode(&kubeconfig)),
        ("a kubeconfig in base64 for URLs", URL_SAFE_NO_PAD.encode(&kubeconfig)),
        ("a kubeconfig in JSON", json),
        ("a key", format!("-----BEGIN PRIVATE KEY-----\n{}\n", STANDARD.encode([7; 60]))),
        ("a key in base64", STANDARD.encode(format!("-----BEGIN PRIVATE KEY-----\n{}\n", STANDARD.encode([7; 60])))),
        ("a token", token),
        ("Rancher's", format!("kubeconfig-u-x7k2m:{}", "bcdf7ghjk2lmn9pqrs4tvwx8z".repeat(2))),
        ("OpenShift's", "sha256~Zb3dE5fG7hJ9kL1mN3pQrStUvWxYzAbCdEfGhIjKlMn".to_owned()),
        ("AWS's", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzQ3vT8hWk2".to_owned()),
        ("a login", "https://robot:tr0ub4dor-and-more@api.example.com:6443".to_owned()),
        ("in hex", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
    ]
}

/// No piece of 12 characters of the secret is to be seen, in whatever case.
fn assert_unseen(secret: &str, what: &str, ran: &Ran) {
    // Words of the format alone say nothing.
    const KNOWN: [&str; 3] = ["-----BEGIN PRIVATE KEY-----", "https://", "kubeconfig-u"];
    // Of a kubeconfig's text the token.
    let secret = secret.split_once("token: ").map_or(secret, |(_, token)| token.trim_end().trim_end_matches('}'));
    let known = KNOWN.join(" ").to_lowercase();
    let said = format!("{}\n{}", ran.stdout, ran.stderr).to_lowercase();
    let secret: Vec<char> = secret.to_lowercase().chars().collect();
    for piece in secret.windows(12).map(|piece| piece.iter().collect::<String>()) {
        let is_word = known.contains(&piece);
        assert!(is_word || !said.contains(&piece), "{what}: {piece}\n{}", ran.transcript());
    }
}

#[test]
fn a_secret_in_the_place_of_any_setting_is_never_repeated() {
    let world = World::sandbox("what is said does not depend on the server");
    for (nth, (kind, secret)) in secrets().into_iter().enumerate() {
        let job = Job::gitlab(&world);
        let settings = ALL.iter().filter(|setting| !matches!(setting.kind, Kind::Secret | Kind::Switch));
        // Each setting has every fourth kind; all of them together have every kind.
        for (_, setting) in settings.enumerate().filter(|(at, _)| at % 4 == nth % 4) {
            let what = format!("{kind} in {}", setting.variable());
            assert_unseen(&secret, &what, &job.request().env(&setting.variable(), secret.as_str()).env("JOBPASS_TIMEOUT", "1s").run());
        }
        for name in ["KUBECONFIG", "XDG_RUNTIME_DIR", "RUNNER_TEMP_PROJECT_DIR", "CI_PROJECT_DIR", "JOBPASS_TOKEN_FILE"] {
            assert_unseen(&secret, &format!("{kind} in {name}"), &job.jobpass().arg("require").env(name, secret.as_str()).run());
        }
    }
}

#[test]
fn a_secret_in_the_place_of_a_flag_or_an_input_is_never_repeated() {
    let world = World::sandbox("what is said does not depend on the server");
    // The harness lets no real token into an argument.
    for (kind, secret) in secrets().into_iter().filter(|(_, secret)| !secret.contains("eyJ")) {
        let secret = secret.as_str();
        let (gitlab, github) = (Job::gitlab(&world), Job::github(&world));
        for flag in [
            "--kubeconfig",
            "--identity-token-file",
            "--context",
            "--server",
            "--kubeconfig-out",
            "--dir",
            "--certificate-authority",
            "--platform",
        ] {
            let gitlab = gitlab.request().without("JOBPASS_KUBECONFIG");
            assert_unseen(secret, &format!("{kind} in {flag}"), &gitlab.args([flag, secret, "--timeout", "1s"]).run());
        }
        for flag in ["--lease", "--lease-file", "--receipt", "--kubeconfig"] {
            assert_unseen(secret, &format!("{kind} in {flag}"), &gitlab.revoke().args([flag, secret]).run());
        }
        for input in ["INPUT_KUBECONFIG", "INPUT_SERVER", "INPUT_CONTEXT"] {
            let main = github.request().without("JOBPASS_IDENTITY_KUBECONFIG").args(["--action", "main"]).env(input, secret);
            assert_unseen(secret, &format!("{kind} in {input}"), &main.run());
        }
        assert_unseen(secret, kind, &gitlab.jobpass().args(["run", "-s", &world.account(), "--", secret]).run());
        assert_unseen(secret, kind, &gitlab.jobpass().args(["scrub", "--scrub-env", secret]).run());
    }
}

#[test]
fn the_base64_of_a_kubeconfig_in_the_place_of_its_path_is_said_to_belong_elsewhere() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    let encoded = secrets().swap_remove(1).1;
    assert_snapshot!(job.request().env("JOBPASS_KUBECONFIG", encoded.as_str()).run().said());
    let job = Job::tekton(&world);
    assert_snapshot!(job.request().env("JOBPASS_IDENTITY_TOKEN_FILE", secrets().swap_remove(6).1).run().said());
}
