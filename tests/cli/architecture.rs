//! The rules of the house that no lint can hold: sizes, doors, the order of the modules, where secrets are exposed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jobpass::failure::Code;

pub(super) fn sources(directory: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory of the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files = Vec::new();
    walk(&root, &mut files);
    // Snapshots of unit tests lie beside them.
    files.retain(|path| path.extension().is_some_and(|kind| kind == "rs"));
    files.sort();
    let name = |path: &Path| path.strip_prefix(&root).expect("below it").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).expect("text"))).collect()
}

/// A source without its tests and comments.
pub(super) fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The words of a source.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn every_file_says_its_one_idea_first_and_is_no_longer_than_that() {
    for (name, text) in sources("src").into_iter().chain(sources("scrub/src")) {
        assert!(text.starts_with("//! "), "{name} does not say its idea first");
        let limit = if name == "main.rs" { 60 } else { 400 };
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(lines <= limit, "{name} has {lines} lines, tests apart");
    }
}

#[test]
fn secrets_are_exposed_in_these_places_only() {
    let mut exposed = BTreeMap::new();
    for (name, text) in sources("src") {
        // However it is called: as a method, by its path, or by the trait of kube's own secrets, for which there is no need.
        let code = code(&text);
        let calls = words(&code).filter(|word| *word == "expose").count();
        let is_kubes = words(&code).any(|word| word == "expose_secret" || word == "ExposeSecret");
        assert!(!is_kubes || name == "secret.rs", "{name} exposes a secret of kube's");
        if calls > 0 && name != "secret.rs" {
            exposed.insert(name, calls);
        }
    }
    // Each is one more place where a secret could leak: look at it before you change the number.
    let expected = [
        // The chance of a wait is no secret; ring's word for reading it is the same.
        ("cluster/retry.rs", 1),
        // The docker configuration in which one token takes another's place.
        ("files/user.rs", 2),
        ("registry_auth.rs", 3),
        // Masks, files and variables: what the job is given.
        ("handover.rs", 5),
        ("handover/command.rs", 1),
        ("handover/runner.rs", 5),
        ("identity.rs", 1),
        ("identity/bearer.rs", 1),
        ("identity/credential.rs", 4),
        // What of others is hidden.
        // The token that is exchanged is sent, and the one that is given checked.
        ("identity/exchange.rs", 1),
        ("identity/exchange/answer.rs", 1),
        // Whether a token is in a form that a server takes, and not a word for what was left out.
        ("identity/form.rs", 3),
        ("identity/held.rs", 10),
        ("identity/kubeconfig.rs", 3),
        // What a plugin says is searched for secrets.
        ("identity/plugin.rs", 3),
        // A token is checked, and GitHub's URL read, which may hold a secret.
        ("identity/oidc.rs", 2),
        // A password as it is read, and as it is shown to the OAuth server.
        ("identity/openshift.rs", 2),
        ("identity/openshift/login.rs", 6),
        ("identity/openshift/token.rs", 2),
        ("jwt.rs", 1),
        // The header in it.
        ("pass_curl.rs", 1),
        ("pass_kubeconfig.rs", 1),
        ("lease.rs", 1),
        // A key of ours is made of the job's own token.
        ("lease/seal.rs", 1),
        ("name.rs", 1),
        // What is shown to a server.
        ("net.rs", 2),
        ("net/fetch.rs", 1),
        ("options/resolve.rs", 1),
        // To take it out of what is said.
        ("out/hidden.rs", 6),
        ("pass.rs", 2),
        // The kubeconfig in which one token takes another's place.
        ("store/exchange.rs", 2),
        // A probe that is no secret is masked, so that a person can see whether the runner does it.
        ("operate/doctor/surroundings.rs", 1),
        ("platform/github.rs", 2),
        ("platform/mask.rs", 1),
        // What a command's output is searched for.
        ("verbs/scrub.rs", 1),
        ("child.rs", 6),
        ("child/hidden.rs", 4),
        // Whether it is a token at all.
        ("job/held.rs", 1),
        // The kubeconfig of a CI identity, which is what was asked for.
        ("operate/setup/identity.rs", 2),
        // The client that asks for it gets it by stdout.
        ("verbs/credential.rs", 2),
        // A lease file that came by a pipe. It is no secret, but whatever comes by a pipe is kept as one.
        ("selection/one.rs", 1),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, calls)| (name.to_owned(), calls)).into();
    assert_eq!(exposed, expected);
}

#[test]
fn each_door_is_opened_by_one_file() {
    let open: Vec<_> =
        sources("src").into_iter().filter(|(_, text)| code(text).contains("clippy::disallowed_methods")).map(|(name, _)| name).collect();
    assert_eq!(open, ["child/process.rs", "env.rs", "files.rs", "identity/plugin.rs", "net/addresses.rs", "net/transport.rs", "out.rs",]);
    // The lint knows a list of functions. Whatever else std or tokio has for files is for `files` too; `out` borrows a stream as one.
    for (name, text) in sources("src").into_iter().filter(|(name, _)| !name.starts_with("files") && name != "out.rs") {
        // By rustix a file is reached that `files` has opened.
        let code = code(&text).replace("rustix::fs::", "").replace("use rustix::{\n    fs::{", "");
        let is_removed = ["unlinkat", "renameat"].into_iter().any(|call| code.contains(call));
        assert!(!is_removed || name.starts_with("store"), "{name} removes or renames files");
        let is_stds = ["std::fs", "tokio::fs", " fs,", "{fs", " fs::"].into_iter().find(|way| code.contains(way));
        assert_eq!(is_stds, None, "{name} uses files of its own");
    }
}

#[test]
fn a_module_uses_only_what_stands_above_it_on_the_architecture_page() {
    // Used by everybody, and `failure` and `out` by each other.
    const COMMON: [&str; 4] = ["secret", "shown", "out", "failure"];
    let page = sources("src").into_iter().find(|(name, _)| name == "lib.rs").expect("the architecture page").1;
    // Its items: `//! - `env`: …`.
    let items = page.lines().filter_map(|line| line.strip_prefix("//! - ")?.split_once(':'));
    let mut way: Vec<_> = items.map(|(name, _)| name.trim_matches('`').to_owned()).collect();
    let is_listed = |name: &str| way.iter().any(|known| known == name) || COMMON.contains(&name);
    let modules = page.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let unlisted: Vec<_> = modules.filter(|name| !is_listed(name)).collect();
    assert_eq!(unlisted, [""; 0], "not on the page");
    way.push("lib".to_owned());
    let room = |name: &str| name.split(['/', '.']).next().unwrap_or_default().to_owned();
    let at = |room: &str| way.iter().position(|known| known == room);
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let own = room(&name);
        let Some(place) = at(&own) else { continue };
        for used in used(&code(&text)) {
            if used != own && !COMMON.contains(&used.as_str()) && at(&used).is_none_or(|other| other > place) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// The modules that a source names after `crate::`, also in a group.
fn used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for part in code.split("crate::").skip(1) {
        let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        match part.strip_prefix('{') {
            None => used.push(word(part)),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => used.push(word(std::mem::take(&mut item).trim())),
                        c if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                used.push(word(item.trim()));
            }
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn no_crate_costs_every_start_or_needs_a_library_of_the_system() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).expect("there is one");
    // aws-lc-rs and openssl take 30 ms of each run; the others bring a second TLS or a second runtime.
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "async-std"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} has come in");
    }
}

#[test]
fn every_code_of_a_failure_is_some_failures() {
    let sources: String = sources("src").into_iter().filter(|(path, _)| path != "failure/code.rs").map(|(_, text)| code(&text)).collect();
    for code in Code::ALL {
        assert!(sources.contains(&format!("Code::{code:?}")), "nothing fails with {code:?}");
    }
}

#[test]
fn no_test_is_ignored() {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|kind| kind == "rs");
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                walk(&path, found);
            } else if is_ours && fs::read_to_string(&path).is_ok_and(|text| text.contains(concat!("#[", "ignore"))) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    assert!(found.is_empty(), "{found:?}");
}
