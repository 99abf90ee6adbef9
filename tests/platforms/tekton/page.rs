//! The examples of README and docs/tekton.md, and the samples and tests of `tekton/`, run as they stand but for the images: those of a
//! registry are those of the node.

use std::{fs, path::Path, thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    forms::shipped_files,
    harness::{pages::example, within},
    node::{NAMESPACE, Node, PATIENCE},
};

/// The marks of the pages, `<!-- tekton: NAME -->`.
const EXAMPLES: [&str; 8] = ["pass", "own-steps", "another-cluster", "run", "finally", "install", "request-revoke", "two-passes"];

/// Which images of the node stand for those that the pages name, and what for another cluster: the node's own, which is told to take
/// tokens for its URL in pods.
const INSTEAD: [(&str, &str); 4] = [
    ("registry.example.com/jobpass:", "localhost/jobpass:"),
    ("registry.example.com/deploy", "ci.local/kubectl:1"),
    ("https://api.example.com:6443", "https://10.96.0.1:443"),
    ("production-ca", "kube-root-ca.crt"),
];

/// One run.
struct Run {
    name: String,
    /// `taskruns` or `pipelineruns`.
    kind: &'static str,
    /// What its log has to say, if it is an example that asks who it is.
    says: Option<&'static str>,
}

impl Run {
    fn begin(node: &Node, name: String, text: &str) -> Self {
        let text = INSTEAD.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
        let mut object: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = if object["kind"] == "PipelineRun" { "pipelineruns" } else { "taskruns" };
        object["metadata"] = json!({"name": name, "namespace": object["metadata"]["namespace"]});
        node.apply(&object);
        Self { name, kind, says: text.contains("whoami").then_some("system:serviceaccount:ci:deploy-bot") }
    }

    /// What has become of it, if something else than success.
    fn end(&self, node: &Node) -> Option<String> {
        let Self { name, kind, says } = self;
        let mut condition = Value::Null;
        within(PATIENCE, &format!("{name} ends"), || {
            condition = node.get(&format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/{kind}/{name}"))["status"]["conditions"][0].clone();
            sleep(Duration::from_millis(500));
            condition["status"] == "True" || condition["status"] == "False"
        });
        if condition["status"] != "True" {
            return Some(format!("{name}: {condition}"));
        }
        let says = says.filter(|_| *kind == "taskruns")?;
        let log = node.kubectl(&["logs", &format!("{name}-pod"), "--namespace", NAMESPACE, "--all-containers"]);
        (!log.contains(says)).then(|| format!("{name} does not say `{says}`:\n{log}"))
    }
}

/// Runs them all, side by side; what has failed.
pub(crate) fn failures(node: &Node) -> Vec<String> {
    let mut runs: Vec<Run> = EXAMPLES.iter().map(|name| Run::begin(node, format!("page-{name}"), &example("tekton", name))).collect();
    for file in shipped_files() {
        let folder = file.parent().expect("a version").to_path_buf();
        let name = folder.parent().and_then(|folder| folder.strip_prefix(crate::node::repository("tekton")).ok()).expect("KIND/NAME");
        let name = name.display().to_string().replace('/', "-");
        for what in ["samples", "tests"] {
            let text = read(&folder.join(what).join("run.yaml"));
            runs.push(Run::begin(node, format!("{what}-{name}"), &text));
        }
    }
    let failures = runs.iter().filter_map(|run| run.end(node)).collect();
    within(PATIENCE, "their leases are gone", || {
        sleep(Duration::from_millis(500));
        node.left().is_empty()
    });
    failures
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
