//! The sweeper that `setup` makes: it removes what lost jobs have left, by its own account's token, and can do nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_sandbox::client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    calls::{binary, operator},
    ground::{ALIVE, GROUND, LOST, OVER, leases},
    harness::within,
    passes::is_taken,
    servers::DEAD,
    shared,
};

/// What an Opaque Secret of the team's holds.
const CONTENT: &str = "a password of somebody else's";

#[test]
fn they_are_swept_by_the_cronjobs_command() {
    let ground = &*GROUND;
    let plane = &ground.second;
    let account = format!("{LOST}/deploy-bot");
    // kubectl has applied the policies before, as `deploy/apply` does.
    let applied = ["--context", "second", "--apply", "--force-conflicts", "--yes"];
    operator(&ground.kubeconfig, &[&["setup", &account, "--sweeper-image", "registry.example.com/jobpass:1"], &applied[..]].concat())
        .ended(0);
    let job = plane.must("GET", "/apis/batch/v1/namespaces/jobpass-sweeper/cronjobs", None)["items"][0].clone();
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let command: Vec<_> =
        pod["containers"][0]["args"].as_array().expect("a list").iter().map(|word| word.as_str().expect("text")).collect();
    println!("the command of the CronJob: {}", command.join(" "));
    let path = format!("/api/v1/namespaces/jobpass-sweeper/serviceaccounts/{}/token", pod["serviceAccountName"].as_str().expect("a name"));
    let made = plane.must("POST", &path, Some(&json!({"spec": {"expirationSeconds": 3600}})));
    let token = made["status"]["token"].as_str().expect("a token");

    let secrets = format!("/api/v1/namespaces/{LOST}/secrets");
    let opaque = json!({"metadata": {"name": "jobpass-opaque"}, "type": "Opaque", "stringData": {"password": CONTENT}});
    let opaque = plane.must("POST", &secrets, Some(&opaque));
    let can_do_nothing_else = || {
        let who = client::whoami(&plane.url, &plane.ca_pem, token).unwrap();
        assert!(!who.groups.iter().any(|group| group == "system:serviceaccounts:jobpass" || group.starts_with("jobpass:ci")), "{who:?}");
        let ask = |method: &str, path: &str, body: &Value| {
            let answer = plane.ask(token, method, path, body);
            let encoded = STANDARD.encode(CONTENT);
            assert!(!answer.body.contains(&encoded) && !answer.body.contains(CONTENT), "{method} {path} shows a content");
            (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned())
        };
        let one = format!("{secrets}/jobpass-opaque");
        for dry in ["", "?dryRun=All"] {
            for policy in ["Background", "Foreground", "Orphan"] {
                let options = json!({"propagationPolicy": policy, "preconditions": {"uid": opaque["metadata"]["uid"]}});
                let (status, message) = ask("DELETE", &format!("{one}{dry}"), &options);
                assert!((400..500).contains(&status) && message.contains("jobpass"), "{status} {message}");
            }
        }
        for (method, path) in [("GET", one.clone()), ("PATCH", one.clone()), ("POST", secrets.clone()), ("DELETE", secrets.clone())] {
            let (status, message) = ask(method, &path, &json!({"metadata": {"name": "jobpass-new"}}));
            assert!(matches!(status, 403 | 415), "{method} {path}: {status} {message}");
        }
        for other in ["default", "kube-system", "jobpass"] {
            assert_eq!(ask("GET", &format!("/api/v1/namespaces/{other}/secrets"), &Value::Null).0, 403, "{other}");
        }
        let mint = format!("/api/v1/namespaces/{LOST}/serviceaccounts/deploy-bot/token");
        assert_eq!(ask("POST", &mint, &json!({"spec": {"expirationSeconds": 600}})).0, 403);
    };
    // A right of it takes a moment from one server's cache to the next.
    within(DEAD, "the sweeper is known", || is_taken(&plane.url, &plane.ca_pem, token));
    can_do_nothing_else();

    ground.wait_until_over();
    let directory = TempDir::new().unwrap();
    let mounted = [("token", token), ("ca.crt", &plane.ca_pem), ("namespace", "jobpass-sweeper")];
    let Some((mut sweeper, variables)) = shared::pod_of(&directory.path().join("mounted"), mounted, &plane.url) else {
        // `.ci/run` is root.
        return;
    };
    sweeper.arg(binary()).args(&command).envs(variables).env("PATH", shared::machine());
    let output = sweeper.output().expect("unshare is there");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(leases(plane, Some(LOST)), ALIVE, "of {OVER} that are over: {said}");
    assert_eq!(plane.must("GET", &format!("{secrets}/jobpass-opaque"), None)["metadata"]["uid"], opaque["metadata"]["uid"]);
}
