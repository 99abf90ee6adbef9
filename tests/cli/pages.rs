//! README and `docs/`: links that lead somewhere, sizes, and that every block of code is run as it stands, or says why not.

use std::{collections::BTreeSet, fs, path::Path};

use crate::harness::pages::{Page, marks, pages};

/// Who runs the blocks of each mark. A block that is new fails here until a test runs it.
const RUN: [(&str, &str, &[&str]); 11] = [
    ("demo", "tests/cli/demo.rs", &["screen"]),
    ("runs", "tests/cli/readme.rs", &["buildkite", "circleci", "github", "gitlab", "hold", "local", "run", "tekton"]),
    ("workflow", "tests/platforms/github/act/readme.rs", &["hardened", "long-job", "minimal", "self-hosted", "several-clusters", "stored"]),
    (
        "gitlab",
        "tests/platforms/gitlab/local/readme.rs",
        &["component", "in-cluster", "long-job", "old-runner", "several-clusters", "template", "wrapper"],
    ),
    (
        "operator",
        "tests/cli/operators.rs",
        &[
            "delete",
            "delete-account",
            "delete-every-token",
            "disable",
            "enable",
            "eternal",
            "eternal-accounts",
            "identity",
            "identity-end",
            "jti",
            "left-over",
            "lock",
            "passes",
            "revoke",
            "run",
            "show",
            "stop",
            "trail",
            "trail-lease",
            "trust",
            "unlock",
        ],
    ),
    ("setup", "tests/cli/setup.rs", &["teams"]),
    ("doctor", "tests/cli/doctor.rs", &["admin", "check"]),
    ("clusters", "tests/cli/clusters.rs", &["aks", "aks-gitlab", "eks", "eks-gitlab", "exchange", "gke", "gke-gitlab"]),
    ("migrating", "tests/cli/migrating.rs", &["step-1"]),
    ("openshift", "tests/cli/openshift.rs", &["login", "registry"]),
    (
        "tekton",
        "tests/platforms/tekton/page.rs",
        &["another-cluster", "finally", "install", "own-steps", "pass", "request-revoke", "run", "two-passes"],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page without its blocks of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    assert!(!is_code, "a block has no end");
    prose
}

/// The anchors that GitHub gives to a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).lines().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        assert!(anchors.insert(anchor), "two headings with one anchor: {line}");
    }
    anchors
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<String> {
    prose(text).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for Page { path, text } in pages() {
        for link in links(&text).iter().filter(|link| !link.starts_with("https://")) {
            count += 1;
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let from = root().join(&path);
            let to = if file.is_empty() { from } else { from.parent().expect("a directory").join(file) };
            assert!(to.exists(), "{path} links to {link}, which is not there");
            if let Some(anchor) = anchor {
                assert!(
                    anchors(&fs::read_to_string(&to).expect("text")).contains(anchor),
                    "{path} links to {link}, which has no such heading"
                );
            }
        }
    }
    assert!(count > 80, "only {count} links were found");
}

#[test]
fn every_page_of_docs_is_reached_from_readme() {
    let readme = pages().remove(0);
    let linked: BTreeSet<_> = links(&readme.text).into_iter().map(|link| link.split('#').next().unwrap_or_default().to_owned()).collect();
    // The pages of what users take are reached from there.
    for Page { path, .. } in pages().iter().skip(1).filter(|page| !page.path.starts_with("tekton/")) {
        assert!(linked.contains(path), "README does not link to {path}");
    }
}

#[test]
fn readme_is_short_and_says_first_what_to_type() {
    let readme = pages().remove(0);
    assert_eq!(readme.path, "README.md");
    assert!(readme.text.lines().count() <= 200, "README has {} lines", readme.text.lines().count());
    assert!(readme.text.lines().take(10).any(|line| line == "jobpass run -s ci/deploy-bot -- kubectl apply -f manifests/"));
}

#[test]
fn every_block_of_code_is_run_or_says_why_not() {
    // What cannot be run: a drawing, and an output. What a shell or a CI system takes can.
    for Page { path, text } in
        pages().iter().filter(|page| ["README.md", "docs/", "tekton/"].iter().any(|place| page.path.starts_with(place)))
    {
        let mut before = "";
        let mut is_code = false;
        for line in text.lines() {
            if line.starts_with("```") {
                let is_runnable = !is_code && line != "```";
                let is_marked = before.starts_with("<!-- ") && before.ends_with(" -->");
                assert!(!is_runnable || is_marked, "{path}: a block after `{before}` has no mark");
                is_code = !is_code;
            }
            before = line;
        }
    }
    let marked: BTreeSet<_> = marks().into_iter().filter(|(kind, _)| kind != "not run").collect();
    let run: BTreeSet<_> =
        RUN.iter().flat_map(|(kind, _, names)| names.iter().map(|name| ((*kind).to_owned(), (*name).to_owned()))).collect();
    assert_eq!(marked, run);
    for (kind, file, names) in RUN {
        let test = fs::read_to_string(root().join(file)).expect("the test is there");
        for name in names {
            assert!(test.contains(&format!("\"{name}\"")), "{file} does not run `{kind}: {name}`");
        }
    }
}

#[test]
fn no_page_names_what_is_of_one_machine_or_one_registry() {
    for Page { path, text } in pages() {
        for word in ["/root/", "/work/", "/tmp/wt", "crates.io", "registry.npmjs", "pypi.org", "proxy.golang.org", "localhost:8080"] {
            assert!(!text.contains(word), "{path} names {word}");
        }
    }
}
