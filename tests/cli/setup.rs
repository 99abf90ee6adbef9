//! `jobpass setup`: what it prints, what it refuses, and what a cluster is when it was applied.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use insta::assert_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Desk, End, Job, Plane, Ran, World, doors, eventually, pages::example};

/// A world of which nothing is asked.
fn silent() -> World {
    World::sandbox("it is not asked for anything")
}

/// The objects of YAML with several documents.
fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML")
}

#[test]
fn what_is_printed_is_what_the_files_of_deploy_say() {
    let world = silent();
    let ran = Desk::new(&world).jobpass().args(["setup", "ci/deploy-bot"]).succeed();
    let file = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).expect("there");
    let mut expected = objects(&file("policy.yaml"));
    let home = json!({"app.kubernetes.io/managed-by": "jobpass", "app.kubernetes.io/part-of": "jobpass", "jobpass.dev/identities": "true"});
    expected.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jobpass", "labels": home}}));
    expected.extend(objects(&file("accounts.yaml")));
    expected.extend(objects(&file("rights.manifest")));
    assert_eq!(objects(&ran.stdout), expected);
    assert!(ran.requests.is_empty(), "{:?}", ran.requests);
    assert_snapshot!(ran.stderr);
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_sent() {
    let world = silent();
    let desk = Desk::new(&world);
    let mut said = String::new();
    for call in [
        "setup",
        "setup deploy-bot",
        "setup jobpass/ci",
        "setup ci/deploy-bot --identity ci/x",
        "setup ci/deploy-bot --github acme/app",
        "setup ci/deploy-bot --may deploy",
        "setup ci/deploy-bot --max-ttl 2d",
        "setup ci/deploy-bot --allowed-key a'b",
        "setup ci/deploy-bot --sweeper-image x",
        "setup ci/deploy-bot --show-role edit",
        "setup ci/deploy-bot --output json",
        "setup ci/deploy-bot --diff",
        "setup ci/deploy-bot --dry-run",
        "setup ci/deploy-bot --yes",
        "setup ci/deploy-bot --context a,b",
        "setup ci/deploy-bot --all-contexts",
        "setup ci/deploy-bot --kubeconfig f",
        "setup ci/deploy-bot --apply",
        "setup ci/deploy-bot --apply --prune --yes",
        "setup -f missing.yaml",
        "setup -f teams.yaml ci/deploy-bot",
        "setup identity ci/x --out f",
        "setup identity jobpass/ci --ttl 5m --out f",
        "setup identity jobpass/ci --for A --out f",
        "setup snippet jenkins",
        "setup snippet github kube-system/x",
        "setup authentication github --repository-id acme/app --owner-id 1 --workflow a.yml --audience https://a",
        "setup authentication gitlab --project-id 1 --namespace-id 1 --audience x",
    ] {
        let ran = desk.jobpass().words(call).run();
        assert_eq!(ran.end, End::Code(2), "{}", ran.transcript());
        assert!(ran.requests.is_empty() && (ran.stdout.is_empty() || call.contains("json")), "{}", ran.transcript());
        writeln!(said, "$ jobpass {call}\n{}", ran.said()).expect("a text can be written to");
    }
    assert_snapshot!(said.trim_end());
}

#[test]
fn a_role_that_gives_too_much_is_told() {
    let world = silent();
    let desk = Desk::new(&world);
    let call = ["setup", "ci/deploy-bot", "--may", "edit@shop", "--may", "own@shop", "--sweeper-image", "registry.example.com/jobpass:1"];
    let ran = desk.jobpass().args(call).succeed();
    assert_snapshot!(ran.stderr);
    assert_eq!(desk.jobpass().args(call).arg("--strict").run().end, End::Code(13));
    let good = desk.jobpass().args(["setup", "ci/deploy-bot", "--may", "deploy@shop", "--strict"]).succeed();
    assert!(objects(&good.stdout).iter().any(|object| object["kind"] == "ClusterRole"));
    let role = desk.jobpass().args(["setup", "--show-role", "deploy"]).succeed();
    assert_eq!(objects(&role.stdout)[0]["metadata"]["name"], "jobpass-deploy");
}

const TEAMS: &str = "\
teams:
- team: shop
  account: shop-ci/deploy-bot
  clusters: [prod-eu, stage]
  rights: [{role: deploy, namespaces: [shop-prod]}]
  from: {serviceAccount: jobpass/shop}
- team: billing
  account: bill-ci/deploy-bot
  clusters: [prod-eu]
  from: {github: 123456789}
";

#[test]
fn a_gitops_tool_gets_a_directory_for_each_cluster() {
    let world = silent();
    let desk = Desk::new(&world);
    doors::write(&desk.workspace().join("teams.yaml"), TEAMS);
    let out = desk.workspace().join("clusters");
    let call =
        || desk.jobpass().args(["setup", "-f", &desk.workspace().join("teams.yaml").to_string_lossy(), "--out", &out.to_string_lossy()]);
    assert_snapshot!(call().succeed().said());
    let rights = fs::read_to_string(out.join("stage/rights/rights.yaml")).expect("written");
    assert!(rights.contains("shop-ci") && !rights.contains("bill-ci"), "{rights}");
    assert!(fs::read_to_string(out.join("prod-eu/rights/rights.yaml")).expect("written").contains("jobpass:ci:github:123456789"));
    assert_snapshot!("kustomization", fs::read_to_string(out.join("stage/kustomization.yaml")).expect("written"));
    // Ours are written anew; somebody else's stays, and with it all others.
    call().succeed();
    let foreign = out.join("stage/rights/rights.yaml");
    doors::write(&foreign, "kind: Role\n");
    doors::write(&out.join("prod-eu/kustomization.yaml"), "# Made by `jobpass setup`; change its input, and make it again.\nold\n");
    let refused = call().run();
    assert_eq!(refused.end, End::Code(1), "{}", refused.transcript());
    assert_eq!(fs::read_to_string(&foreign).expect("there"), "kind: Role\n");
    assert!(fs::read_to_string(out.join("prod-eu/kustomization.yaml")).expect("there").ends_with("old\n"));
    assert_snapshot!("a_foreign_file", refused.said());
    // Without a directory there is one stdout, and so one cluster.
    let file = desk.workspace().join("teams.yaml");
    let two = desk.jobpass().args(["setup", "-f", &file.to_string_lossy()]).run();
    assert_snapshot!("two_clusters", two.said());
    let one = desk.jobpass().args(["setup", "-f", &file.to_string_lossy(), "--context", "stage"]).succeed();
    assert!(!one.stdout.contains("bill-ci"));
}

#[test]
fn what_is_pasted_has_these_names() {
    let world = silent();
    let desk = Desk::new(&world);
    let mut said = String::new();
    for call in [
        "setup snippet github shop-ci/deploy-bot --server https://api.example.com:6443",
        "setup snippet gitlab shop-ci/deploy-bot",
        "setup snippet tekton shop-ci/deploy-bot --identity jobpass/shop",
    ] {
        let ran = desk.jobpass().words(call).succeed();
        writeln!(said, "$ jobpass {call}\n{}", ran.said()).expect("a text can be written to");
    }
    assert_snapshot!(said.trim_end());
    let call = "setup authentication github --repository-id 123456789 --repository-id 7 --owner-id 65 --workflow deploy.yml \
                --audience https://api.example.com:6443";
    let trust = desk.jobpass().words(call).succeed();
    let value = &objects(&trust.stdout)[0];
    assert_eq!(value["jwt"][0]["claimValidationRules"][0]["expression"], "claims.repository_id in ['123456789', '7']");
}

#[test]
fn a_cluster_without_admission_policies_is_refused() {
    // The sandbox enforces the policies, and has no API in which they could be seen.
    let world = World::sandbox("a real server has admission policies");
    let desk = Desk::new(&world);
    let ran = desk.jobpass().args(["setup", "ci/deploy-bot", "--apply", "--yes"]).run();
    assert_snapshot!(ran.transcript());
}

#[test]
fn the_file_of_the_page_is_one() {
    let world = silent();
    let desk = Desk::new(&world);
    let file = desk.workspace().join("teams.yaml");
    doors::write(&file, &example("setup", "teams"));
    let ran = desk.jobpass().args(["setup", "-f", &file.to_string_lossy(), "--context", "prod-eu"]).succeed();
    assert!(ran.stdout.contains("jobpass:ci:gitlab:43") && ran.stderr.contains("rights-mint"), "{}", ran.transcript());
}

/// The control plane of this file's scenarios, as what they change is the whole cluster's: one after the other.
struct Own {
    plane: MutexGuard<'static, Plane>,
    world: World,
}

impl Own {
    /// None where there is no real cluster.
    fn new() -> Option<Self> {
        static PLANE: OnceLock<(TempDir, Mutex<Plane>)> = OnceLock::new();
        doors::control_plane()?;
        let (_, plane) = PLANE.get_or_init(|| {
            let directory = TempDir::new().expect("a directory");
            let plane = Plane::bare(&directory.path().join("plane"), &[]);
            (directory, Mutex::new(plane))
        });
        let plane = plane.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let own = Self { plane, world: silent() };
        own.forget_policies();
        Some(own)
    }

    fn forget_policies(&self) {
        for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
            self.plane.kubectl(&["delete", kind, "-l", "app.kubernetes.io/managed-by=jobpass", "--ignore-not-found"]);
        }
    }

    /// An operator's machine.
    fn desk(&self) -> Job<'_> {
        let job = Job::local(&self.world);
        job.set("KUBECONFIG", self.plane.kubeconfig());
        job
    }

    fn setup(&self, call: &str) -> Ran {
        self.desk().jobpass().words(&format!("setup {call}")).run()
    }

    /// The version of each object of ours.
    fn versions(&self) -> String {
        const KINDS: &str = "ns,sa,role,rolebinding,clusterrole,cronjob,validatingadmissionpolicy,validatingadmissionpolicybinding";
        let form = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        self.plane.kubectl(&["get", KINDS, "-A", "-l", "app.kubernetes.io/managed-by=jobpass", "-o", form])
    }

    /// The rights in a namespace.
    fn rights(&self, namespace: &str) -> String {
        self.plane.kubectl(&["get", "roles,rolebindings", "-n", namespace, "-o", "name"])
    }

    /// A token of a service account, as its pod would have it.
    fn token(&self, namespace: &str, name: &str) -> String {
        self.plane.kubectl(&["create", "token", name, "-n", namespace]).trim().to_owned()
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
        let answer = self.plane.ask(token, method, path, body);
        (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    }
}

#[track_caller]
fn done(ran: &Ran) {
    assert!(ran.is_success(), "{}", ran.transcript());
}

#[test]
fn on_a_real_cluster_a_second_run_changes_nothing() {
    let Some(own) = Own::new() else { return };
    own.plane.kubectl(&["create", "namespace", "twice-prod"]);
    let call = "twice-ci/deploy-bot --may deploy@twice-prod --sweeper-image registry.example.com/jobpass:1 --apply --yes";
    let first = own.setup(call);
    done(&first);
    assert!(first.stdout.lines().any(|line| line.contains("twice-ci/deploy-bot") && line.contains("new")), "{}", first.transcript());
    let before = own.versions();
    let second = own.setup(call);
    done(&second);
    assert!(second.stderr.contains("admin: same") && second.stderr.contains("in force after"), "{}", second.transcript());
    assert_eq!(own.versions(), before);
    let document = own.setup(&format!("{call} -o json"));
    done(&document);
    let document: Value = serde_json::from_str(&document.stdout).expect("one document");
    assert_eq!((&document["kind"], &document["clusters"][0]["inForce"]), (&json!("Setup"), &json!(true)));
    assert_eq!(own.versions(), before);
    // The same by another way.
    let desk = own.desk();
    let applied = |_: usize| {
        let printed = desk.jobpass().args(["setup", "twice-ci/other", "--may", "deploy@twice-prod"]).succeed().stdout;
        let file = desk.workspace().join("printed.yaml");
        doors::write(&file, &printed);
        own.plane.kubectl(&["apply", "-f", &file.to_string_lossy()])
    };
    applied(1);
    let before = own.versions();
    let again = applied(2);
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    assert_eq!(own.versions(), before);
}

#[test]
fn on_a_real_cluster_no_right_is_given_while_the_policies_do_not_refuse() {
    let Some(own) = Own::new() else { return };
    done(&own.setup("force-ci/first --apply --yes"));
    // Somebody has taken this namespace out, by a field that is not ours.
    let patch = r#"{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"is":"watched"}}}}}"#;
    own.plane.kubectl(&["patch", "validatingadmissionpolicybinding", "jobpass-tokens", "--type", "merge", "-p", patch]);
    let mut refused = own.setup("force-ci/second --apply --yes --wait 2s");
    // Until the server has taken the change up, it still refuses.
    eventually("the policy is out of force", || {
        if refused.is_success() {
            own.plane.kubectl(&["delete", "role,rolebinding", "jobpass-second", "-n", "force-ci"]);
            refused = own.setup("force-ci/second --apply --yes --wait 2s");
        }
        !refused.is_success()
    });
    assert!(
        refused.stderr.contains("no right was given") && refused.stderr.contains("secrets \"no-lease\" not found"),
        "{}",
        refused.transcript()
    );
    assert!(!own.rights("force-ci").contains("second"), "{}", own.rights("force-ci"));
    // What others have set is not taken over unasked.
    own.forget_policies();
    done(&own.setup("force-ci/first --apply --yes"));
    let patch = r#"{"spec":{"failurePolicy":"Ignore"}}"#;
    own.plane.kubectl(&["patch", "validatingadmissionpolicy", "jobpass-tokens", "--type", "merge", "-p", patch]);
    let refused = own.setup("force-ci/second --apply --yes");
    assert_eq!(refused.end, End::Code(1));
    assert!(refused.stderr.contains("conflict") && refused.stderr.contains("--force-conflicts"), "{}", refused.transcript());
    assert!(!own.rights("force-ci").contains("second"));
    done(&own.setup("force-ci/second --apply --yes --force-conflicts"));
    assert!(own.rights("force-ci").contains("second"));
    // A binding that only warns.
    let patch = r#"{"spec":{"validationActions":["Warn"]}}"#;
    own.plane.kubectl(&["patch", "validatingadmissionpolicybinding", "jobpass-tokens", "--type", "merge", "-p", patch]);
    assert_eq!(own.setup("force-ci/third --apply --yes").end, End::Code(1));
    assert!(!own.rights("force-ci").contains("third"));
}

#[test]
fn on_a_real_cluster_the_namespace_of_somebody_else_is_left_alone() {
    let Some(own) = Own::new() else { return };
    done(&own.setup("home-ci/first --apply --yes"));
    own.plane.kubectl(&["label", "namespace", "jobpass", "jobpass.dev/identities-"]);
    let refused = own.setup("home-ci/second --apply --yes");
    own.plane.kubectl(&["label", "namespace", "jobpass", "jobpass.dev/identities=true"]);
    assert!(!refused.is_success() && refused.stderr.contains("is somebody else's; nothing was changed"), "{}", refused.transcript());
    assert!(!own.rights("home-ci").contains("second"));
    // Whoever may do something there is named.
    own.plane.kubectl(&["create", "rolebinding", "stranger", "-n", "jobpass", "--clusterrole=edit", "--user=stranger"]);
    let warned = own.setup("home-ci/first --apply --yes");
    own.plane.kubectl(&["delete", "rolebinding", "stranger", "-n", "jobpass"]);
    assert!(warned.stderr.contains("by the role bindings stranger"), "{}", warned.transcript());
    // A namespace that is not there.
    let missing = own.setup("home-ci/first --may deploy@nowhere --apply --yes");
    assert!(!missing.is_success() && missing.stderr.contains("create the namespace `nowhere`"), "{}", missing.transcript());
    // A dry run makes nothing.
    let dry = own.setup("dry-ci/first --apply --dry-run");
    done(&dry);
    assert!(!own.plane.kubectl(&["get", "namespaces", "-o", "name"]).contains("dry-ci"));
}

#[test]
fn on_a_real_cluster_only_what_the_file_has_no_more_is_pruned() {
    let Some(own) = Own::new() else { return };
    let desk = own.desk();
    let file = desk.workspace().join("teams.yaml");
    let write = |teams: &[&str]| {
        let entry =
            |team: &&str| format!("- team: {team}\n  account: prune-{team}/deploy-bot\n  from: {{serviceAccount: jobpass/prune-{team}}}\n");
        doors::write(&file, &format!("teams:\n{}", teams.iter().map(entry).collect::<String>()));
    };
    let call = format!("-f {} --apply --prune", file.display());
    write(&["one", "two", "three"]);
    done(&own.setup(&format!("{call} --yes")));
    // Labels and no name of ours: somebody's.
    own.plane.kubectl(&["create", "rolebinding", "their-own", "-n", "prune-two", "--clusterrole=view", "--user=x"]);
    own.plane.kubectl(&[
        "label",
        "rolebinding",
        "their-own",
        "-n",
        "prune-two",
        "app.kubernetes.io/managed-by=jobpass",
        "app.kubernetes.io/part-of=jobpass",
    ]);
    // A pass of the third lives.
    let token = own.token("jobpass", "prune-three");
    let notes = json!({"jobpass.dev/identity": "system:serviceaccount:jobpass:prune-three", "jobpass.dev/lifetime": "3600", "jobpass.dev/service-account": "prune-three/deploy-bot"});
    let lease = json!({"metadata": {"name": "jobpass-x", "annotations": notes}, "type": "jobpass.dev/lease"});
    eventually("its rights hold", || own.ask(&token, "POST", "/api/v1/namespaces/prune-three/secrets", &lease).0 == 201);
    write(&["one"]);
    let dry = own.setup(&format!("{call} --dry-run"));
    done(&dry);
    assert!(dry.stderr.contains("ServiceAccount prune-two/deploy-bot is not in the file any more"), "{}", dry.transcript());
    assert!(!dry.stderr.contains("ServiceAccount prune-three/deploy-bot"), "{}", dry.transcript());
    assert!(own.rights("prune-two").contains("jobpass-deploy-bot"), "nothing was deleted yet");
    done(&own.setup(&format!("{call} --yes")));
    assert!(own.rights("prune-one").contains("jobpass-deploy-bot"));
    assert_eq!(own.rights("prune-two").trim(), "rolebinding.rbac.authorization.k8s.io/their-own");
    let names = own.plane.kubectl(&["get", "serviceaccounts", "-A", "-o", "name"]);
    assert!(names.contains("prune-three") && !names.contains("prune-two"), "{names}");
    let kept = own.plane.kubectl(&["get", "namespaces,validatingadmissionpolicies", "-o", "name"]);
    assert!(kept.contains("prune-two") && kept.contains("jobpass-tokens"), "{kept}");
}

#[test]
fn on_a_real_cluster_an_identity_begins_passes_until_its_secret_is_deleted() {
    let Some(own) = Own::new() else { return };
    done(&own.setup("identity-ci/deploy-bot --identity jobpass/acme --apply --yes"));
    // Not among the job's files, where no secret may be.
    let kept = TempDir::new().expect("a directory");
    let file = kept.path().join("ci.kubeconfig");
    let call = format!("identity jobpass/acme --for app --ttl 12h --out {}", file.display());
    let made = own.setup(&call);
    done(&made);
    assert!(made.stderr.contains("to end it before: kubectl delete secret -n jobpass acme-app"), "{}", made.transcript());
    let text = fs::read_to_string(&file).expect("written");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let token = config["users"][0]["user"]["token"].as_str().expect("a token").to_owned();
    own.world.secret(&token);
    assert_eq!(config["users"].as_array().map(Vec::len), Some(1));
    assert!(!text.contains("client-certificate-data") && !made.stderr.contains(&token), "nothing of the admin's");
    // A second one of that name would end with the first.
    let second = own.setup(&call);
    assert!(!second.is_success() && second.stderr.contains("`--for`"), "{}", second.transcript());
    let job = Job::local(&own.world);
    job.unset("KUBECONFIG");
    let run = || job.jobpass().args(["run", "--kubeconfig", &file.to_string_lossy(), "-s", "identity-ci/deploy-bot", "--", "true"]).run();
    eventually("its rights hold", || run().is_success());
    own.plane.kubectl(&["delete", "secret", "-n", "jobpass", "acme-app"]);
    eventually("its token is refused", || run().stderr.contains("401 Unauthorized"));
    // Nothing is left where no token is given.
    let missing = own.setup(&format!("identity jobpass/nobody --for app --out {}", kept.path().join("other").display()));
    assert!(!missing.is_success(), "{}", missing.transcript());
    assert!(!own.plane.kubectl(&["get", "secrets", "-n", "jobpass", "-o", "name"]).contains("nobody"));
}

#[test]
fn on_a_real_cluster_the_identity_that_setup_made_can_only_ask_for_passes() {
    let Some(own) = Own::new() else { return };
    done(&own.setup("attack-ci/deploy-bot --identity jobpass/attacker --apply --yes"));
    let token = own.token("jobpass", "attacker");
    let secrets = "/api/v1/namespaces/attack-ci/secrets";
    own.plane.kubectl(&["create", "secret", "generic", "db-password", "-n", "attack-ci", "--from-literal=password=hunter2"]);
    let eternal = |name: &str| {
        let notes = json!({"kubernetes.io/service-account.name": "deploy-bot"});
        json!({"metadata": {"name": name, "annotations": notes}, "type": "kubernetes.io/service-account-token"})
    };
    let unbound = json!({"spec": {"expirationSeconds": 3600}});
    let accounts = "/api/v1/namespaces/attack-ci/serviceaccounts/deploy-bot/token";
    let read = format!("{secrets}/db-password?dryRun=All&propagationPolicy=Foreground");
    let attacks = || {
        [
            own.ask(&token, "POST", secrets, &eternal("jobpass-eternal")),
            own.ask(&token, "POST", accounts, &unbound),
            own.ask(&token, "DELETE", &read, &Value::Null),
        ]
    };
    eventually("its rights hold", || attacks().iter().all(|(_, message)| !message.contains(" cannot ")));
    for (status, message) in attacks() {
        assert!(status == 403 && message.contains("jobpass policy: "), "{status} {message}");
    }
    for path in [secrets.to_owned(), format!("{secrets}/db-password")] {
        assert_eq!(own.ask(&token, "GET", &path, &Value::Null).0, 403, "{path}");
    }
    // Without the policies each of them succeeds: that is what they are for.
    own.forget_policies();
    eventually("the policies are gone", || own.ask(&token, "DELETE", &read, &Value::Null).0 == 200);
    eventually("an unbound token is granted", || own.ask(&token, "POST", accounts, &unbound).0 == 201);
    let mut count = 0;
    eventually("a token that never ends is made", || {
        count += 1;
        own.ask(&token, "POST", secrets, &eternal(&format!("jobpass-eternal-{count}"))).0 == 201
    });
}

#[test]
fn on_a_real_cluster_the_sweeper_deletes_leases_and_nothing_else() {
    let Some(own) = Own::new() else { return };
    done(&own.setup("sweep-ci/deploy-bot --sweeper-image registry.example.com/jobpass:1 --apply --yes"));
    let token = own.token("jobpass-sweeper", "sweeper");
    let secrets = "/api/v1/namespaces/sweep-ci/secrets";
    own.plane.kubectl(&["create", "secret", "generic", "db-password", "-n", "sweep-ci", "--from-literal=password=hunter2"]);
    let lease = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "jobpass-x", "namespace": "sweep-ci"}, "type": "jobpass.dev/lease"});
    let file = own.desk();
    let path = file.workspace().join("lease.json");
    doors::write(&path, &lease.to_string());
    own.plane.kubectl(&["create", "-f", &path.to_string_lossy()]);
    let by_uid = |name: &str| {
        let uid = own.plane.kubectl(&["get", "secret", name, "-n", "sweep-ci", "-o", "jsonpath={.metadata.uid}"]);
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid.trim()}})
    };
    let (of_lease, of_other) = (by_uid("jobpass-x"), by_uid("db-password"));
    let mut reading = of_lease.clone();
    (reading["dryRun"], reading["propagationPolicy"]) = (json!(["All"]), json!("Foreground"));
    eventually("its rights hold", || own.ask(&token, "GET", secrets, &Value::Null).0 == 200);
    for (method, path, body) in [
        ("DELETE", format!("{secrets}/db-password"), &of_other),
        ("DELETE", format!("{secrets}/jobpass-x"), &reading),
        ("DELETE", format!("{secrets}/jobpass-x"), &Value::Null),
        ("POST", secrets.to_owned(), &lease),
        ("GET", "/api/v1/namespaces/jobpass/secrets".to_owned(), &Value::Null),
        ("GET", "/api/v1/secrets".to_owned(), &Value::Null),
        ("DELETE", secrets.to_owned(), &Value::Null),
    ] {
        let (status, message) = own.ask(&token, method, &path, body);
        assert_eq!(status, 403, "{method} {path}: {message}");
    }
    assert_eq!(own.ask(&token, "DELETE", &format!("{secrets}/jobpass-x"), &of_lease).0, 200);
}

#[test]
fn on_a_real_cluster_forty_teams_are_set_up_in_one_run() {
    let Some(own) = Own::new() else { return };
    let desk = own.desk();
    let file = desk.workspace().join("teams.yaml");
    let entry = |n: usize| {
        format!(
            "- team: t{n}\n  account: many-{n}/deploy-bot\n  rights:\n  - {{role: deploy, namespaces: [default]}}\n  \
             from: {{serviceAccount: jobpass/many-{n}, gitlab: {}}}\n",
            n + 1
        )
    };
    doors::write(&file, &format!("teams:\n{}", (0..40).map(entry).collect::<String>()));
    let begun = Instant::now();
    let ran = own.setup(&format!("-f {} --apply --yes", file.display()));
    done(&ran);
    // A second for each object would be four minutes; how many requests there are says more.
    assert!(begun.elapsed() < Duration::from_mins(3), "{:?}", begun.elapsed());
    let line = ran.stderr.lines().find(|line| line.contains(" requests")).expect("it says how many");
    let requests: usize = line.split(' ').rev().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    // Each object is looked at, tried, and applied.
    assert!(requests < 40 * 6 * 3 + 60, "{line}");
    assert_eq!(ran.stdout.lines().filter(|line| line.contains("new, 6 objects")).count(), 40, "{}", ran.transcript());
    let again = own.setup(&format!("-f {} --apply --yes", file.display()));
    assert!(again.stderr.contains("admin: same"), "{}", again.transcript());
}

#[test]
fn on_a_real_cluster_one_of_several_that_is_down_is_a_row() {
    let Some(own) = Own::new() else { return };
    let desk = own.desk();
    let text = fs::read_to_string(own.plane.kubeconfig()).expect("there");
    let mut config: Value = serde_saphyr::from_str(&text).expect("YAML");
    let down = json!({"name": "down", "cluster": {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": true}});
    let user = config["contexts"][0]["context"]["user"].clone();
    config["clusters"].as_array_mut().expect("a list").push(down);
    config["contexts"].as_array_mut().expect("a list").push(json!({"name": "down", "context": {"cluster": "down", "user": user}}));
    let kept = TempDir::new().expect("a directory");
    let file = kept.path().join("config");
    doors::write(&file, &config.to_string());
    doors::set_mode(&file, 0o600);
    let name = config["contexts"][0]["name"].as_str().expect("a name").to_owned();
    let call = format!("setup rows-ci/deploy-bot --kubeconfig {} --context {name},down --apply --yes", file.display());
    let ran = desk.jobpass().words(&call).run();
    assert_eq!(ran.end, End::Code(3), "{}", ran.transcript());
    assert!(ran.stdout.lines().any(|line| line.starts_with("down") && line.contains("cannot be set up")), "{}", ran.transcript());
    assert!(own.rights("rows-ci").contains("jobpass-deploy-bot"));
}
