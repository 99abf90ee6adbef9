//! The node: its API server as the admin, its view of the files, and what is prepared on it.
#![expect(clippy::disallowed_methods, reason = "a variable names the directory of the node")]

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use jobpass_sandbox::{
    Identity,
    client::{self, Response},
};
use serde_json::{Value, json};

use crate::{
    audit::{Audit, Record},
    forms,
    harness::{doors, leak, within},
    processes,
    shared::tools,
};

/// Where the runs are, as docs/tekton.md says.
pub(crate) const NAMESPACE: &str = "jobpass";

/// What a machine takes that compiles at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Node {
    directory: PathBuf,
    url: String,
    ca_pem: String,
    admin: Identity,
    audit: Mutex<Audit>,
    /// Logs that were there once: kubelet removes them with the pod, an open file stays.
    logs: Mutex<Vec<(PathBuf, File)>>,
    wanted: Vec<String>,
}

impl Node {
    /// The one that `JOBPASS_TEST_NODE` names.
    pub(crate) fn given() -> Self {
        let directory = env::var_os("JOBPASS_TEST_NODE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let directory = directory.expect("JOBPASS_TEST_NODE is the directory of a running `jobpass-cluster node up`");
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kubeconfig = read("admin.kubeconfig");
        let url = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: ")).expect("a server").to_owned();
        Self {
            url,
            ca_pem: read("ca.crt"),
            admin: Identity { certificate_pem: read("pki/admin.crt"), key_pem: read("pki/admin.key") },
            audit: Mutex::new(Audit::of(directory.join("audit.log"))),
            logs: Mutex::default(),
            wanted: env::var("JOBPASS_TEST_PLAYS").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            directory,
        }
    }

    /// Whether a play is among those that `JOBPASS_TEST_PLAYS` names by their beginnings, if it does.
    pub(crate) fn is_wanted(&self, play: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|beginning| play.starts_with(beginning.as_str()))
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Accounts, rights, Tasks and images: all that a run needs.
    pub(crate) fn furnish(&self) {
        let kubeconfig = format!("--kubeconfig={}", self.directory.join("admin.kubeconfig").display());
        let mut apply = doors::tool(repository("deploy/apply"));
        apply.arg(kubeconfig).env("PATH", "/usr/bin:/bin").env("KUBECTL", kubectl()).env("HOME", &self.directory);
        apply.assert().success();
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deploy", "namespace": "ci"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        }));
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deploy", "namespace": "ci"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deploy"},
            "subjects": [{"kind": "ServiceAccount", "name": "deploy-bot", "namespace": "ci"}],
        }));
        // Strict: a field that Tekton does not know is a mistake in what we ship.
        for file in forms::shipped_files() {
            self.kubectl(&["apply", "--validate=strict", "--namespace", NAMESPACE, "--filename", &file.display().to_string()]);
        }
        for variant in forms::variants() {
            self.apply(&variant);
        }
        let (binary, out) = (tools(&["jobpass-static"]).join("jobpass-static"), self.directory.join("images"));
        doors::make_directory(&out);
        doors::tool(repository("release/images")).arg(&out).arg(binary).env("PATH", "/usr/bin:/bin").assert().success();
        let mut load = doors::tool(repository("target/cluster/jobpass-cluster"));
        load.args(["node", "load"]).arg(&self.directory).arg(out.join("jobpass.tar")).arg(out.join("jobpass-busybox.tar"));
        load.env("PATH", "/usr/bin:/bin").assert().success();
    }

    /// Tekton's own settings: these, and the defaults for the others.
    pub(crate) fn set_flags(&self, flags: &[(&str, &str)]) {
        let mut data = json!({"keep-pod-on-cancel": "false", "enable-kubernetes-sidecar": "false"});
        for (name, value) in flags {
            data[name] = json!(value);
        }
        let patch = json!({"data": data}).to_string();
        self.kubectl(&["patch", "configmap", "feature-flags", "--namespace=tekton-pipelines", "--type=merge", "--patch", &patch]);
        // The controller hears of it by a watch, and does not say when.
        std::thread::sleep(Duration::from_secs(2));
    }

    /// kubectl as the admin, which must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> String {
        self.try_kubectl(arguments, stdin).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// kubectl as the admin: its output, or its errors.
    pub(crate) fn try_kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = doors::tool(kubectl());
        command.arg("--kubeconfig").arg(self.directory.join("admin.kubeconfig")).args(arguments).write_stdin(stdin);
        let output = command.env("HOME", &self.directory).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    pub(crate) fn apply(&self, object: &Value) {
        let mut object = object.clone();
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(NAMESPACE);
        }
        self.kubectl_with(&["apply", "--validate=strict", "--filename=-"], &object.to_string());
    }

    /// What the admin is answered.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let once = || client::request_as(&self.url, &self.ca_pem, &self.admin, method, path, None, body);
        once().or_else(|_| once()).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).json()
    }

    /// What the bearer of a token is answered, who asks whom it is taken for.
    pub(crate) fn status_of(&self, token: &str) -> u16 {
        client::whoami(&self.url, &self.ca_pem, token).map_or(0, |answer| answer.status)
    }

    /// Seconds since 1970, by the clock that the API server has too.
    #[expect(clippy::unused_self, reason = "it is the node's clock")]
    pub(crate) fn now(&self) -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
    }

    /// What the audit log says of passes, of those requests that please.
    pub(crate) fn records(&self, pleases: impl Fn(&Record) -> bool) -> Vec<Record> {
        self.audit.lock().unwrap().records().iter().filter(|record| pleases(record)).cloned().collect()
    }

    /// A path of the node, by the machine's.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        let first = fs::read_to_string(self.directory.join("init.pid")).unwrap();
        Path::new("/proc").join(first.trim()).join("root").join(inside.trim_start_matches('/'))
    }

    /// Opens the logs of a pod that are there now.
    pub(crate) fn keep_logs(&self, pod: &str, uid: &str) {
        let folder = self.path("/var/log/pods").join(format!("{NAMESPACE}_{pod}_{uid}"));
        for container in fs::read_dir(folder).into_iter().flatten().flatten() {
            for log in fs::read_dir(container.path()).into_iter().flatten().flatten() {
                let mut logs = self.logs.lock().unwrap();
                if logs.iter().all(|(path, _)| *path != log.path()) {
                    logs.extend(File::open(log.path()).ok().map(|file| (log.path(), file)));
                }
            }
        }
    }

    /// Takes the kubelet away, as a node that has lost it, for 8 seconds.
    pub(crate) fn without_kubelet(&self, meanwhile: impl FnOnce()) {
        let away = self.directory.join("away");
        doors::write(&away, "");
        let config = self.directory.join("kubelet.yaml").display().to_string();
        for pid in processes::called(|arguments| {
            arguments.get(1) == Some(&"kubelet") && arguments.iter().any(|argument| argument.ends_with(&config))
        }) {
            processes::kill(pid);
        }
        meanwhile();
        std::thread::sleep(Duration::from_secs(8));
        fs::remove_file(away).unwrap();
    }

    /// The places outside of memory volumes in which there is one of the tokens, in any form.
    pub(crate) fn leaks(&self, tokens: &[String]) -> impl Iterator<Item = String> {
        let mut places = Vec::new();
        for path in [
            "/apis/tekton.dev/v1/taskruns",
            "/apis/tekton.dev/v1/pipelineruns",
            "/api/v1/pods",
            "/api/v1/events",
            "/api/v1/secrets",
            "/api/v1/configmaps",
        ] {
            places.push((path.to_owned(), self.ask("GET", path, None).body));
        }
        let mut logs = self.logs.lock().unwrap();
        assert!(!logs.is_empty(), "no log of any container was seen");
        for (path, file) in logs.iter_mut() {
            places.push((path.display().to_string(), whole(file)));
        }
        let mut found: Vec<String> =
            places.iter().filter_map(|(place, text)| Some(format!("{place}: {}", leak::find(text, tokens)?))).collect();
        // The disk is large: there the signatures alone are looked for, without which a token is none.
        let patterns = self.directory.join("patterns");
        let signatures: Vec<&str> = tokens.iter().filter_map(|token| token.rsplit('.').next()).collect();
        doors::write(&patterns, &signatures.join("\n"));
        let mut grep = doors::tool("grep");
        grep.args([
            "--recursive",
            "--devices=skip",
            "--files-with-matches",
            "--fixed-strings",
            "--exclude=patterns",
            "--exclude-dir=jobpass-pass",
            "--file",
        ])
        .arg(&patterns);
        for place in ["/var/log", "/var/lib/kubelet", "/var/lib/containerd"] {
            grep.arg(self.path(place));
        }
        grep.arg(self.path(&self.directory.join("etcd").display().to_string())).arg(&self.directory);
        let output = grep.env("PATH", "/usr/bin:/bin").output().unwrap();
        found.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        found.into_iter()
    }

    /// Deletes all runs, and waits until their pods are gone.
    pub(crate) fn clear(&self) {
        self.kubectl(&["delete", "pipelineruns,taskruns", "--all", "--namespace", NAMESPACE, "--wait=false"]);
        within(PATIENCE, "the pods of all runs are gone", || {
            let pods = self.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods"));
            std::thread::sleep(Duration::from_secs(1));
            pods["items"].as_array().is_some_and(Vec::is_empty)
        });
    }

    /// What nobody has removed.
    pub(crate) fn left(&self) -> Vec<String> {
        let secrets = self.get("/api/v1/namespaces/ci/secrets");
        let names =
            secrets["items"].as_array().into_iter().flatten().map(|secret| format!("a lease is left: {}", secret["metadata"]["name"]));
        names.collect()
    }
}

fn whole(file: &mut File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn kubectl() -> PathBuf {
    repository("target/cluster/kubectl")
}
