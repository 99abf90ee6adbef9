//! The table in `docs/commands.md`: its rows, and what each client was seen to do.

use std::{fs, path::Path};

use crate::{MODES, WATCHES, harness::doors};

/// What becomes of a client whose first token is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    GoesOn,
    Fails,
    /// It asks nothing, as it does not know what its kubeconfig says.
    Never,
}

/// A client that is made once, unless its name says otherwise.
pub(crate) struct Row {
    /// What it calls itself in its output.
    pub(crate) client: &'static str,
    name: &'static str,
    /// The file that says its version, and what stands before that; or words, and nothing.
    version: (&'static str, &'static str),
}

const TOOLS: &str = "tests/platforms/tools";
const GO: &str = "tests/platforms/clients/go/go.mod";
const POM: &str = "tests/platforms/clients/java/pom.xml";
const PYTHON: (&str, &str) = (TOOLS, "client_python=");
const ANSIBLE: (&str, &str) = (TOOLS, " ansible=");
const NODE: (&str, &str) = (TOOLS, "client_node=");
const CLIENT_GO: (&str, &str) = (GO, "k8s.io/client-go v");
const KUBECTL: (&str, &str) = ("tests/cluster/go.mod", "k8s.io/kubernetes v");
const JAVA: (&str, &str) = (POM, "<artifactId>client-java</artifactId>\n      <version>");

#[rustfmt::skip]
pub(crate) const ROWS: [Row; 17] = [
    Row { client: "kubectl", name: "kubectl, each call a process", version: KUBECTL },
    Row { client: "kubectl-watch", name: "`kubectl get --watch`, whose one request outlives the token", version: KUBECTL },
    Row { client: "helm", name: "helm, each call a process", version: (GO, "helm.sh/helm/v3 v") },
    Row { client: "curl", name: "`curl -K \"$JOBPASS_CURL\"`, each call a process", version: ("the machine's", "") },
    Row { client: "ansible", name: "Ansible, `kubernetes.core`, each task a process", version: ANSIBLE },
    Row { client: "client-go", name: "Go, client-go", version: CLIENT_GO },
    Row { client: "informer", name: "Go, client-go: an informer", version: CLIENT_GO },
    Row { client: "python", name: "Python, `kubernetes`", version: PYTHON },
    Row { client: "python-anew", name: "Python, `kubernetes`: `new_client_from_config()` every 30 s", version: PYTHON },
    Row { client: "lightkube", name: "Python, `lightkube`", version: (TOOLS, "lightkube=") },
    Row { client: "kr8s", name: "Python, `kr8s`", version: (TOOLS, "kr8s=") },
    Row { client: "node", name: "Node, `@kubernetes/client-node`", version: NODE },
    Row { client: "node-anew", name: "Node, `@kubernetes/client-node`: `loadFromDefault()` every 30 s", version: NODE },
    Row { client: "java", name: "Java, `client-java`: `ClientBuilder.standard()`", version: JAVA },
    Row { client: "java-period", name: "Java, `client-java`: `ClientBuilder.kubeconfig(config, Duration.ofMinutes(1))`", version: JAVA },
    Row { client: "java-file", name: "Java, `client-java`: `TokenFileAuthentication` of the token's file", version: JAVA },
    Row { client: "fabric8", name: "Java, fabric8 `kubernetes-client`", version: (POM, "<artifactId>kubernetes-client</artifactId>\n      <version>") },
];

const PAGE: &str = "docs/commands.md";
const BEGIN: &str = "<!-- Made by `JOBPASS_TEST_WRITE=1 cargo test --test clients` -->\n";
const END: &str = "<!-- The end of what is made -->\n";

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Row {
    fn version(&self) -> String {
        let (path, before) = self.version;
        if before.is_empty() {
            return path.to_owned();
        }
        let text = file(path);
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{path} has no `{before}`"));
        rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
    }
}

/// Compares the table with what was seen, or writes it.
pub(crate) fn compare(seen: impl Fn(&'static str, &'static str) -> Seen) {
    // The suite has failed where one is not let in at first, or is when the pass is over.
    let head = format!(
        "| client | version | `request` | `run`: `{}` | `run`: `{}` | after the end |\n|---|---|---|---|---|---|\n",
        MODES[0], MODES[1]
    );
    let lines = ROWS.iter().map(|row| {
        let [token, exec] = MODES.map(|mode| match seen(mode, row.client) {
            Seen::GoesOn => "goes on",
            Seen::Fails => "**401**",
            Seen::Never => "**never let in**",
        });
        let after = if WATCHES.contains(&row.client) { "its request stays open" } else { "refused" };
        format!("| {} | {} | works | {token} | {exec} | {after} |\n", row.name, row.version())
    });
    let table = [head].into_iter().chain(lines).collect::<String>();
    let page = file(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("the page has the mark where the table ends");
    let made = format!("{before}{BEGIN}{table}{END}{after}");
    if doors::is_to_write() {
        doors::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), &made);
    }
    let is_so = file(PAGE) == made;
    assert!(is_so, "{PAGE} says otherwise; `JOBPASS_TEST_WRITE=1 cargo test --test clients` writes this:\n{table}");
}
