//! What the command of `run` does not get: credentials of clusters in the job's other variables, and the files that they name.

use std::path::PathBuf;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{End, Job, World, doors};

/// A JWT with these claims.
fn jwt(claims: &Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2lnbmF0dXJlLW9mLXRoZS10b2tlbi1vZi1zb21lYm9keQ", part(r#"{"alg":"ES256"}"#), part(&claims.to_string()))
}

fn service_account(audience: &str) -> String {
    jwt(&json!({"iss": "https://kubernetes.default.svc", "aud": [audience], "sub": "system:serviceaccount:ci:prod"}))
}

const OPENSHIFT: &str = "sha256~aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2r";

/// What `openssl ecparam` writes.
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIJx0x1P2nQx0l8C0mJt0fS5m3kq2dY8eR7uN4wV1bZ6hoAoGCCqGSM49
AwEHoUQDQgAE5tY8kQ1vZ3xC7nM2bL6jH9gF4dS0aP5oI3uYT7rE8wQ1zX6cV2bN
-----END EC PRIVATE KEY-----
";

/// A kubeconfig of three users.
fn kubeconfig(token: &str) -> String {
    let key = STANDARD.encode(KEY);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: main\nclusters:\n- name: main\n  cluster: {{server: https://127.0.0.1:1}}\n\
         contexts:\n- name: main\n  context: {{cluster: main, user: one}}\nusers:\n- name: one\n  user:\n    token: {token}\n\
         - name: two\n  user: {{username: admin, password: correct-horse-battery}}\n- name: three\n  user:\n    client-key-data: {key}\n"
    )
}

/// A file of the CI identities, as GitLab makes one of a variable of type *File*.
fn file(job: &Job<'_>, name: &str, text: &str) -> PathBuf {
    let path = job.directory().join(format!("identity.{name}"));
    doors::write(&path, text);
    path
}

#[test]
fn a_variable_that_holds_or_names_a_credential_of_a_cluster_does_not_reach_the_command() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let token = service_account("https://kubernetes.default.svc");
    let text = kubeconfig("an-opaque-token-of-rancher");
    let path = file(&job, "production", &text).to_string_lossy().into_owned();
    let name = |name: &str, text: &str| file(&job, name, text).to_string_lossy().into_owned();
    let with_double = text.replace("kind: Config\n", "kind: Config\nkind: Config\n");
    let utf16: Vec<_> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let json = json!({"users": [{"name": "x", "user": {"token": OPENSHIFT}}]}).to_string();
    let hidden = [
        ("K01_PATH", path.clone()),
        ("K02_LIST", format!("/nowhere:{path}")),
        ("K03_RELATIVE", "../identity.production".to_owned()),
        ("K04_WORDS", format!("/nowhere {path}")),
        ("K05_FLAG", format!("--context main --kubeconfig={path}")),
        ("K06_TEXT", text.clone()),
        ("K07_BASE64", STANDARD.encode(&text)),
        ("K08_BASE64_IN_LINES", STANDARD.encode(&text).as_bytes().chunks(76).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")),
        ("K09_BASE64_OF_UTF16", STANDARD.encode(utf16)),
        ("K10_USERS_ONLY", json.clone()),
        ("K11_PATH_OF_JSON", name("json", &json)),
        ("K12_PATH_OF_BASE64", name("base64", &STANDARD.encode(&text))),
        ("K13_TWICE_THE_SAME_KEY", with_double),
        ("K14_IN_JSON", json!({"production": text}).to_string()),
        ("K15_PATH_WITH_A_BLANK", name("with blank", &text)),
        (
            "K16_PATH_OF_A_PASS",
            name("pass", &text.replace("users:", "extensions: [{name: jobpass.dev/pass, extension: {lease: ci/x}}]\nusers:")),
        ),
        ("T01_SERVICE_ACCOUNT", token.clone()),
        ("T02_OPENSHIFT", format!("{OPENSHIFT}\n")),
        ("T03_BASE64", STANDARD.encode(&token)),
        ("T04_HEADER", format!("Authorization: Bearer {token}")),
        ("T05_QUOTED", format!("\"{OPENSHIFT}\"")),
        ("T06_FOR_SOMEBODY_ELSE", service_account("vault")),
        ("T07_PATH", name("t07", &format!("{token}\n"))),
        ("T08_PATH_OF_OLD", name("t08", &jwt(&json!({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ci:x"})))),
    ];
    let stay = [
        ("S01_GITHUB_TOKEN", "ghs_16C7e42F292c6912E7710c838347Ae178B4a".to_owned()),
        ("S02_VAULT_TOKEN", "hvs.CAESIJ8ppqWfNMpO".to_owned()),
        ("S03_CI_JOB_TOKEN", "glcbt-64_hfU2gCk3xYyzQnVzQm".to_owned()),
        ("S04_OIDC", jwt(&json!({"iss": "https://gitlab.example.com", "sub": "project_path:acme/app:ref_type:branch:ref:main"}))),
        ("S05_WEB_IDENTITY_TOKEN_FILE", name("s05", &service_account("sts.amazonaws.com"))),
        ("S06_USERS", "users:\n- name: bob\n  role: admin\n".to_owned()),
        ("S07_PROSE", "Merge users, clusters and contexts: they were three".to_owned()),
        ("S08_FILE", name("s08", "users: all of them\n")),
        ("S09_DIRECTORY", job.directory().to_string_lossy().into_owned()),
        ("S10_ENDLESS", "/dev/zero:/dev/random:/proc/kmsg".to_owned()),
        ("S11_NUMBER", "1".to_owned()),
        ("S12_LARGE", name("s12", &(text + &"#".repeat(1 << 20)))),
        ("S13_SHA256", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
    ];
    for (name, value) in hidden.iter().chain(&stay) {
        job.set(name, value);
    }
    let ran = job.run("env | grep -oE '^[KST][0-9]{2}_[A-Z0-9_]*' | sort").succeed();
    let expected: Vec<_> = stay.iter().map(|(name, _)| *name).collect();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected, "{}", ran.transcript());
    let said: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("hidden from the command")).collect();
    assert_snapshot!(said.join("\n"));
    for (name, _) in hidden {
        assert!(said[0].contains(&format!("`{name}`")), "{name}");
    }
    job.assert_nothing_left();
}

#[test]
fn a_pipe_or_a_socket_that_a_variable_names_holds_nothing_up() {
    let world = World::new();
    let job = Job::local(&world);
    let script = format!("mkfifo pipe; AGENT=$PWD/pipe jobpass run -s {} -- sh -c 'echo \"${{AGENT##*/}}\"; rm pipe'", world.account());
    let ran = job.shell("sh", &script).succeed();
    assert_eq!(ran.stdout, "pipe\n");
}

#[test]
fn of_two_clusters_the_command_for_one_does_not_get_the_other() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    let token = service_account("https://kubernetes.default.svc");
    let production = file(&job, "production", &kubeconfig(&token));
    job.set("STAGING_KUBECONFIG", job.identity_file());
    job.set("PRODUCTION_KUBECONFIG", &production);
    for secret in [&token, "correct-horse-battery", OPENSHIFT] {
        world.secret(secret);
    }
    for line in KEY.lines().filter(|line| !line.contains("-----")) {
        world.secret(line);
    }
    // Whoever knows the path reads it all the same. What is in it is not seen, of whichever user, whole or in pieces.
    let script = format!(
        "echo \"${{STAGING_KUBECONFIG-none}} ${{PRODUCTION_KUBECONFIG-none}}\"; cat {0}; base64 {0}; grep key {0} | sed 's/.*: //' | base64 -d",
        production.display()
    );
    let identity = job.identity_file().to_string_lossy().into_owned();
    let ran = job.run_with(["--kubeconfig", &identity], &script).succeed();
    assert!(ran.stdout.starts_with("none none\n"), "{}", ran.transcript());
    assert!(ran.stdout.matches("***").count() >= 5, "{}", ran.transcript());
    // What is kept is scrubbed all the same.
    let ran = job.run_with(["--kubeconfig", &identity, "--keep", "PRODUCTION_KUBECONFIG"], "cat \"$PRODUCTION_KUBECONFIG\"").succeed();
    assert!(ran.stdout.matches("***").count() >= 3, "{}", ran.transcript());
    assert!(ran.stderr.contains("hidden from the command: `STAGING_KUBECONFIG` ("), "{}", ran.transcript());
    // A list by the variable; nothing is hidden then, and nothing said.
    let keep = "STAGING_KUBECONFIG PRODUCTION_KUBECONFIG";
    let ran = job.run_with(["--kubeconfig", &identity], "echo \"${PRODUCTION_KUBECONFIG##*.}\"").env("JOBPASS_KEEP", keep).succeed();
    assert_eq!(ran.stdout, "production\n");
    assert!(!ran.stderr.contains("hidden"), "{}", ran.transcript());
}

#[test]
fn the_other_users_of_the_identitys_own_file_are_scrubbed_too() {
    let world = World::new();
    let job = Job::local(&world);
    let identity = world.kubeconfig() + "- name: other\n  context: {cluster: main, user: other}\n";
    let identity = identity.replace("contexts:", "- name: other\n  user: {token: an-opaque-token-of-rancher}\ncontexts:");
    doors::write(&job.identity_file(), &identity);
    world.secret("an-opaque-token-of-rancher");
    // By the flag only: no variable names it.
    job.unset("KUBECONFIG");
    let path = job.identity_file().to_string_lossy().into_owned();
    let ran = job.run_with(["--kubeconfig", &path], &format!("cat {path}")).succeed();
    assert_eq!(ran.stdout.matches("***").count(), 2, "{}", ran.transcript());
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    let mut said = Vec::new();
    for flags in [
        ["--keep", "KUBECONFIG", "--hide", "X"],
        ["--keep", "OPENSHIFT_TOKEN", "--variable", "OPENSHIFT_TOKEN"],
        ["--keep", "X", "--hide", "X"],
    ] {
        let ran = job.run_with(flags, "env").run();
        assert_eq!(ran.end, End::Code(125), "{}", ran.transcript());
        said.push(ran.said());
    }
    assert_snapshot!(said.join("\n\n"));
    assert_eq!(world.relay().connections(), 0);
}
