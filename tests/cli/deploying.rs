//! `deploy/apply`: policies first and seen to be in force, rights last, and no right where anything before them goes wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

use insta::assert_snapshot;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{ControlPlane, Job, World, doors, eventually, random};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

/// A copy of `deploy/`, with a client that it calls.
struct Folder(TempDir);

/// How a call of the script ended.
struct Applied {
    is_success: bool,
    stderr: String,
    /// What the client was called with, a line a call, where it keeps a book.
    calls: Vec<String>,
}

impl Applied {
    /// How often the rights were given.
    fn rights(&self) -> usize {
        // They come in a temporary file, everything else in one of the folder's.
        self.calls.iter().filter(|call| call.starts_with("apply") && !call.contains(".yaml")).count()
    }
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new().expect("a directory");
        for name in ["apply", "policy.yaml", "accounts.yaml", "rights.manifest"] {
            let text = fs::read_to_string(Path::new(DEPLOY).join(name)).expect("a file of deploy/");
            doors::write(&folder.path().join(name), &text);
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a text in the files.
    fn change(&self, files: &[&str], from: &str, to: &str) {
        for file in files {
            let text = fs::read_to_string(self.path(file)).expect("there");
            assert!(text.contains(from), "{file} has no {from}");
            doors::write(&self.path(file), &text.replace(from, to));
        }
    }

    /// Calls the script with a client that is this shell script.
    fn apply(&self, client: &str, flags: &[&str], seconds: u32) -> Applied {
        let program = self.path("client");
        doors::write_program(&program, client);
        let mut script = doors::tool("sh");
        script.arg(self.path("apply")).args(flags).env("PATH", "/usr/bin:/bin").env("KUBECTL", program).env("HOME", self.0.path());
        script.env("BOOK", self.path("book")).env("JOBPASS_APPLY_SECONDS", seconds.to_string());
        let output = script.output().expect("sh runs");
        let calls = fs::read_to_string(self.path("book")).unwrap_or_default().lines().map(str::to_owned).collect();
        Applied { is_success: output.status.success(), stderr: String::from_utf8(output.stderr).expect("UTF-8"), calls }
    }
}

/// A client that answers as a cluster without jobpass does, and enforces the policies from the start. `before` may answer otherwise.
fn client(before: &str) -> String {
    format!(
        r#"#!/bin/sh
printf '%s\n' "$*" >>"$BOOK"
count=$(wc -l <"$BOOK")
{before}
case $* in
*'get --raw'*) echo '{{"resources":[{{"name":"validatingadmissionpolicies"}},{{"name":"validatingadmissionpolicybindings"}}]}}' ;;
*jobpass*identities*jsonpath* | *jsonpath*identities*) echo true ;;
*'get namespace'*) exit 1 ;;
*'get rolebindings'*) ;;
*rights.manifest*) printf 'Role ci deploy-bot\nRoleBinding ci \n' ;;
*'create secret'*) echo "error: ValidatingAdmissionPolicy 'jobpass-lease-secrets' with binding 'x' denied request: no"; exit 1 ;;
*'create token'*) echo "error: ValidatingAdmissionPolicy 'jobpass-tokens' with binding 'x' denied request: no"; exit 1 ;;
esac
"#
    )
}

#[test]
fn the_rights_come_last_and_once() {
    let applied = Folder::new().apply(&client(""), &["--context", "prod"], 5);
    assert!(applied.is_success, "{}", applied.stderr);
    assert_eq!((applied.rights(), applied.calls.last().is_some_and(|call| call.starts_with("apply"))), (1, true), "{:?}", applied.calls);
    assert!(applied.calls.iter().all(|call| call.ends_with("--context prod")), "{:?}", applied.calls);
    let policies = applied.calls.iter().position(|call| call.contains("policy.yaml")).expect("applied");
    let probes: Vec<_> = applied.calls.iter().enumerate().filter(|(_, call)| call.contains("--as=")).map(|(at, _)| at).collect();
    assert!(probes.len() >= 60 && probes.iter().all(|at| *at > policies), "{:?}", applied.calls);
}

#[test]
fn no_call_that_fails_leads_to_a_right() {
    let whole = Folder::new().apply(&client(""), &[], 5).calls.len();
    // All calls before the probes, some of these, and the last ones.
    for from in (1..12).chain([whole / 2, whole - 1]) {
        // What looks for the namespace may fail: then it is made.
        let applied = Folder::new().apply(&client(&format!("[ $count -lt {from} ] || {{ echo 'error: broken' >&2; exit 1; }}")), &[], 0);
        assert!(!applied.is_success, "from call {from} on: {}", applied.stderr);
        assert_eq!(applied.rights(), 0, "from call {from} on: {:?}", applied.calls);
    }
}

#[test]
fn a_cluster_without_admission_policies_gets_nothing() {
    let applied = Folder::new().apply(&client("case $* in *--raw*) echo '{\"resources\":[]}'; exit ;; esac"), &[], 5);
    assert!(!applied.is_success);
    assert_eq!(applied.calls.len(), 1, "{:?}", applied.calls);
    assert_snapshot!("a_cluster_without_admission_policies", applied.stderr);
}

#[test]
fn a_namespace_of_somebody_else_gets_no_right() {
    let applied = Folder::new().apply(&client("case $* in *'get namespace'*) exit 0 ;; esac"), &[], 5);
    assert!(!applied.is_success);
    assert!(!applied.calls.iter().any(|call| call.starts_with("apply")), "{:?}", applied.calls);
    assert_snapshot!("a_namespace_of_somebody_else", applied.stderr);
}

#[test]
fn one_api_server_of_several_that_has_no_policy_yet_is_waited_for() {
    // One of every seven connections ends at it.
    let late = client("case $* in *'create secret'*) [ $((count % 7)) -ne 0 ] || { echo created; exit 0; } ;; esac");
    let applied = Folder::new().apply(&late, &[], 1);
    assert!(!applied.is_success && applied.rights() == 0, "{:?}", applied.calls);
    assert_snapshot!("policies_that_are_not_in_force", applied.stderr);
}

#[test]
fn the_group_is_bound_only_where_it_is_asked_for() {
    let keeping =
        client("case $* in apply*.yaml*) ;; apply*) for file; do [ ! -f \"$file\" ] || cp \"$file\" \"$BOOK.rights\"; done ;; esac");
    for (flags, is_bound) in [(&[][..], false), (&["--oidc-group"], true)] {
        let folder = Folder::new();
        assert!(folder.apply(&keeping, flags, 5).is_success);
        let rights = fs::read_to_string(folder.path("book.rights")).expect("applied");
        assert_eq!(rights.contains("kind: Group"), is_bound, "{rights}");
    }
}

#[test]
fn jobs_of_a_platform_get_rights_by_their_number() {
    let keeping =
        client("case $* in apply*.yaml*) ;; apply*) for file; do [ ! -f \"$file\" ] || cp \"$file\" \"$BOOK.rights\"; done ;; esac");
    let folder = Folder::new();
    let applied = folder.apply(&keeping, &["--github", "123456789", "--context", "prod", "--gitlab", "42", "--github", "7"], 5);
    assert!(applied.is_success, "{}", applied.stderr);
    assert!(applied.calls.iter().all(|call| call.ends_with("--context prod")), "{:?}", applied.calls);
    let rights = fs::read_to_string(folder.path("book.rights")).expect("applied");
    let bindings: Vec<_> = rights.split("\n---\n").filter(|object| object.contains("kind: RoleBinding")).skip(1).collect();
    assert_eq!(bindings.len(), 3);
    for (binding, (name, group)) in
        bindings.iter().zip([("github-123456789", "github:123456789"), ("gitlab-42", "gitlab:42"), ("github-7", "github:7")])
    {
        assert!(binding.contains(&format!("  name: jobpass-{name}\n  namespace: ci\n")), "{binding}");
        assert!(binding.contains(&format!("  kind: Group\n  name: jobpass:ci:{group}")), "{binding}");
    }
    assert_snapshot!("rights_of_jobs", applied.stderr);
}

#[test]
fn a_name_in_the_place_of_a_number_gives_no_right() {
    for flags in [&["--github", "acme/app"][..], &["--gitlab", ""], &["--gitlab"]] {
        let applied = Folder::new().apply(&client(""), flags, 5);
        assert!(!applied.is_success && applied.calls.is_empty(), "{flags:?}: {:?}", applied.calls);
        assert!(applied.stderr.contains("takes a number"), "{}", applied.stderr);
    }
}

#[test]
fn a_folders_apply_gives_no_right() {
    let oidc = Path::new(DEPLOY).join("oidc");
    let entries = [Path::new(DEPLOY), &oidc].into_iter().flat_map(|folder| fs::read_dir(folder).expect("there"));
    for path in entries.map(|entry| entry.expect("an entry").path()).filter(|path| *path != oidc) {
        // What `kubectl apply -f deploy/` takes, with `-R` too.
        if path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|taken| extension == *taken)) {
            let text = fs::read_to_string(&path).expect("a file");
            assert!(!text.contains("\nkind: Role"), "{}", path.display());
            // These are for the API server's command line: it takes no such object.
            assert_eq!(text.contains("\nkind: AuthenticationConfiguration\n"), path.starts_with(&oidc), "{}", path.display());
        }
        assert!(!path.is_dir(), "{}", path.display());
    }
}

/// A folder whose objects are this scenario's own, on a control plane that all scenarios share: its name, and a client that calls as
/// whoever a kubeconfig names.
fn own(who: &Path) -> (Folder, String, String) {
    let name = format!("d{}", random());
    let folder = Folder::new();
    folder.change(&["policy.yaml", "apply"], "jobpass-lease-secrets", &format!("{name}-lease-secrets"));
    folder.change(&["policy.yaml", "apply"], "jobpass-tokens", &format!("{name}-tokens"));
    folder.change(&["policy.yaml", "apply"], "jobpass:ci", &format!("{name}:ci"));
    folder.change(&["policy.yaml"], "system:serviceaccounts:jobpass", &format!("system:serviceaccounts:{name}"));
    folder.change(&["apply"], "identities=jobpass\n", &format!("identities={name}\n"));
    folder.change(&["accounts.yaml", "rights.manifest"], "namespace: jobpass", &format!("namespace: {name}"));
    folder.change(&["accounts.yaml", "rights.manifest"], "namespace: ci", &format!("namespace: {name}-target"));
    folder.change(&["accounts.yaml"], "  name: ci\n---", &format!("  name: {name}-target\n---"));
    let client = format!("#!/bin/sh\nexec '{}' kubectl --kubeconfig '{}' \"$@\"\n", ControlPlane::binary().display(), who.display());
    (folder, name, client)
}

/// Removes what a scenario has made.
fn removed(plane: &ControlPlane, name: &str) {
    for kind in ["validatingadmissionpolicy", "validatingadmissionpolicybinding"] {
        for policy in ["lease-secrets", "tokens"] {
            plane.kubectl(&["delete", kind, &format!("{name}-{policy}"), "--ignore-not-found"]);
        }
    }
    plane.kubectl(&["delete", "namespace", name, &format!("{name}-target"), "--ignore-not-found", "--wait=false"]);
}

#[test]
fn on_a_real_cluster_there_is_no_moment_with_rights_and_without_policies() {
    let Some(directory) = doors::control_plane() else { return };
    let plane = ControlPlane::at(&directory);
    let (folder, name, client) = own(&directory.join("admin.kubeconfig"));
    let namespace = format!("{name}-target");

    // The policies are there, but nothing binds them.
    let policy = fs::read_to_string(folder.path("policy.yaml")).expect("there");
    folder.change(&["policy.yaml"], "validationActions: [\"Deny\"]", "validationActions: [\"Warn\"]");
    let unbound = folder.apply(&client, &[], 2);
    assert!(!unbound.is_success && unbound.stderr.contains("not in force"), "{}", unbound.stderr);
    assert_eq!(plane.kubectl(&["get", "rolebindings,roles", "-n", &namespace, "-o", "name"]), "", "half applied: no right");

    doors::write(&folder.path("policy.yaml"), &policy);
    let applied = folder.apply(&client, &[], 60);
    assert!(applied.is_success, "{}", applied.stderr);
    let token = plane.kubectl(&["create", "token", "ci", "-n", &name]);
    // From the first moment on: each on a connection of its own.
    for _ in 0..20 {
        let eternal = json!({
            "metadata": {"name": "jobpass-eternal", "annotations": {"kubernetes.io/service-account.name": "deploy-bot"}},
            "type": "kubernetes.io/service-account-token",
        });
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let answer = plane.ask(token.trim(), "POST", &path, &eternal);
        assert_eq!(answer.status, 403, "{}", answer.json()["message"]);
    }
    removed(plane, &name);
}

#[test]
fn on_a_real_cluster_somebody_who_may_make_no_policies_gives_no_rights() {
    let Some(directory) = doors::control_plane() else { return };
    let plane = ControlPlane::at(&directory);
    let (folder, name, _) = own(&directory.join("admin.kubeconfig"));
    let home = format!("{name}-owner");
    plane.kubectl(&["create", "namespace", &home]);
    plane.kubectl(&["create", "serviceaccount", "owner", "-n", &home]);
    // All that a namespace's owner may have, and more: roles, bindings, namespaces, acting as others; but no policies.
    let groups = ["", "rbac.authorization.k8s.io"];
    let resources = ["namespaces", "serviceaccounts", "secrets", "roles", "rolebindings", "users", "groups"];
    let rules = json!([{"apiGroups": groups, "resources": resources, "verbs": ["*"]}]);
    let role = json!({"metadata": {"name": home}, "rules": rules});
    plane.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", Some(&role));
    plane.kubectl(&["create", "clusterrolebinding", &home, &format!("--clusterrole={home}"), &format!("--serviceaccount={home}:owner")]);
    let token = plane.kubectl(&["create", "token", "owner", "-n", &home]);
    let client = format!(
        "#!/bin/sh\nexec '{}' kubectl --server '{}' --certificate-authority '{}' --token '{}' \"$@\"\n",
        ControlPlane::binary().display(),
        plane.url,
        directory.join("ca.crt").display(),
        token.trim()
    );
    let applied = folder.apply(&client, &[], 5);
    assert!(!applied.is_success && applied.stderr.contains("the policies cannot be applied"), "{}", applied.stderr);
    let rights =
        plane.kubectl(&["get", "rolebindings,roles", "-A", "-o", "name", "--field-selector", &format!("metadata.namespace={name}-target")]);
    assert_eq!(rights, "");
    plane.kubectl(&["delete", "clusterrole,clusterrolebinding", &home]);
    plane.kubectl(&["delete", "namespace", &home, &name, "--ignore-not-found", "--wait=false"]);
}

#[test]
fn on_a_real_cluster_an_api_server_does_not_start_with_a_gap_in_its_trust() {
    let Some(directory) = doors::control_plane() else { return };
    let values = [
        ("AUDIENCE", "https://api.example:6443"),
        ("REPOSITORY_IDS", "'123456789'"),
        ("OWNER_ID", "'65'"),
        ("WORKFLOW", "'deploy.yml'"),
        ("PROJECT_IDS", "'42'"),
        ("NAMESPACE_ID", "'72'"),
    ];
    for file in ["github.yaml", "gitlab.yaml"] {
        let text = fs::read_to_string(Path::new(DEPLOY).join("oidc").join(file)).expect("there");
        let is_gap = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let gaps: Vec<_> = text.split('@').filter(is_gap).collect();
        assert!(gaps.len() >= 3 && gaps.iter().all(|gap| values.iter().any(|(name, _)| name == gap)), "{file}: {gaps:?}");
        for gap in &gaps {
            let filled = values.iter().filter(|(name, _)| gap != name);
            let filled = filled.fold(text.clone(), |text, (name, value)| text.replace(&format!("@{name}@"), value));
            // The older form is read as the newer one is, up to the gap.
            for form in ["v1", "v1beta1"] {
                let said = refused(&directory, &filled.replace("config.k8s.io/v1\n", &format!("config.k8s.io/{form}\n")));
                let is_of_gap = match *gap {
                    "AUDIENCE" => said.contains("yaml: line ") && said.contains("found character that cannot start any token"),
                    _ => said.contains(&format!("@{gap}@")),
                };
                assert!(is_of_gap, "{file} with {gap} as {form}: {said}");
            }
        }
    }
}

/// What an API server says that does not start with this authentication configuration.
fn refused(directory: &Path, configuration: &str) -> String {
    let scratch = TempDir::new().expect("a directory");
    let file = scratch.path().join("authentication.yaml");
    doors::write(&file, configuration);
    let key = directory.join("pki/service-account.key").display().to_string();
    let mut server = doors::tool(ControlPlane::binary());
    server.args(["kube-apiserver", "--etcd-servers=http://127.0.0.1:1", "--secure-port=65000", "--advertise-address=127.0.0.1"]);
    server.args(["--service-account-issuer=https://issuer.example", &format!("--service-account-key-file={key}")]);
    server.arg(format!("--service-account-signing-key-file={key}"));
    server.arg(format!("--cert-dir={}", scratch.path().display())).arg(format!("--authentication-config={}", file.display()));
    let output = server.timeout(std::time::Duration::from_mins(1)).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn on_a_real_cluster_jobs_get_passes_by_the_rights_of_the_script() {
    let Some(directory) = doors::control_plane() else { return };
    let plane = ControlPlane::at(&directory);
    let (world, other) = (World::trusting(), World::trusting());
    let folder = Folder::new();
    // Nothing else is another one: the groups are those of the issuers, and the policies that all scenarios have refuse first.
    let name = format!("d{}", random());
    folder.change(&["accounts.yaml", "rights.manifest"], "namespace: ci", &format!("namespace: {name}"));
    folder.change(&["accounts.yaml"], "  name: ci\n---", &format!("  name: {name}\n---"));
    let admin = directory.join("admin.kubeconfig");
    let client = format!("#!/bin/sh\nexec '{}' kubectl --kubeconfig '{}' \"$@\"\n", ControlPlane::binary().display(), admin.display());
    for _ in 0..2 {
        let applied = folder.apply(&client, &["--github", world.project(), "--gitlab", world.project()], 60);
        assert!(applied.is_success, "{}", applied.stderr);
    }
    let account = format!("{name}/deploy-bot");
    for job in [Job::github_with_nothing_stored(&world, &json!({})).0, Job::gitlab_with_nothing_stored(&world, &json!({}))] {
        eventually("the rights hold", || job.jobpass().args(["request", "--service-account", &account]).run().is_success());
        job.revoke().succeed();
    }
    // A repository that gets in has the rights that it was given, and no others.
    let job = Job::gitlab_with_nothing_stored(&other, &json!({}));
    let refused = job.jobpass().args(["request", "--service-account", &account]).run();
    assert!(refused.stderr.contains("403 Forbidden"), "{}", refused.transcript());
    plane.kubectl(&["delete", "namespace", &name, "--wait=false"]);
}
