//! A platform that nobody knows yet: rustc asks for what it needs, in the files that `CONTRIBUTING.md` lists, and nowhere else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    architecture::{code, sources},
    harness::doors,
};

/// In so many files at most has somebody to decide something for a new platform. The aim is its own file and one row: a smaller
/// number is better, a greater one needs a reason.
const MOST: usize = 12;

/// The files that one of the two lists of "Adding a platform" names.
fn documented(list: usize) -> BTreeSet<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CONTRIBUTING.md")).expect("the page is there");
    let section = page.split("\n## ").find(|section| section.starts_with("Adding a platform\n")).expect("the section is there");
    let list = section.split("\nrustc does not ask").nth(list).expect("the section has two lists");
    let items = list.lines().filter(|line| line.starts_with("- "));
    let links = items.flat_map(|line| line.split("](").skip(1));
    links.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The sources of jobpass with one more platform. Its tests' crates are there by name only: their dependencies decide, with ours,
/// which features the crates have that are compiled already.
fn with_jenkins(tree: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = ["harness", "issuers", "sandbox"].map(|name| format!("tests/{name}"));
    let manifests = tests.each_ref().map(|path| format!("{path}/Cargo.toml"));
    for path in ["src", "scrub", "deploy", "build.rs", "README.md", "Cargo.toml", "Cargo.lock"]
        .into_iter()
        .chain(manifests.iter().map(String::as_str))
    {
        let to = tree.join(path);
        doors::make_directory(to.parent().expect("it is in the tree"));
        doors::tool("cp").arg("-a").arg(root.join(path)).arg(to).assert().success();
    }
    let manifest = fs::read_to_string(tree.join("Cargo.toml")).expect("it has just been copied");
    let named = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    for file in named.map(str::to_owned).chain(tests.map(|path| format!("{path}/src/lib.rs"))) {
        doors::make_directory(tree.join(&file).parent().expect("it is in the tree"));
        doors::write(&tree.join(&file), "");
    }
    let file = tree.join("src/platform.rs");
    let known = fs::read_to_string(&file).expect("it has just been copied");
    let (before, after) = known.split_once("    Local,\n}").expect("the last platform is the plain shell");
    doors::write(&file, &format!("{before}    Local,\n    /// A step of a Jenkins job.\n    Jenkins,\n}}{after}"));
}

#[test]
fn rustc_asks_for_all_that_a_new_platform_needs() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (tree, target) = (directory.path().join("tree"), directory.path().join("target"));
    with_jenkins(&tree);
    // What cargo has just compiled for these tests is good for the copy, too. Where it is not, as with `--release`, the dependencies
    // are compiled again, in half a minute. Cargo makes libraries anew where they change, so the copy can have the same files; what
    // it notes beside them it may change in place.
    let (built, reused) = (PathBuf::from(env!("CARGO_BIN_EXE_jobpass")), target.join("debug"));
    doors::make_directory(&reused);
    for (how, part) in [("-al", "deps"), ("-a", "build"), ("-a", ".fingerprint")] {
        // What another cargo takes away meanwhile is not missed.
        drop(doors::tool("cp").arg(how).arg(built.with_file_name(part)).arg(&reused).output().expect("every system has it"));
    }
    let mut cargo = doors::cargo();
    cargo.current_dir(&tree).args(["test", "--no-run", "--lib", "--offline", "--message-format", "short", "--color", "never"]);
    let checked = cargo.arg("--target-dir").arg(&target).assert().failure();
    let said = String::from_utf8_lossy(&checked.get_output().stderr).into_owned();
    let errors = said.lines().filter(|line| line.contains(": error") || line.starts_with("error"));
    let (asked, other): (Vec<_>, Vec<_>) =
        errors.filter(|line| !line.starts_with("error: could not compile")).partition(|line| line.contains("error[E0004]"));
    assert_eq!(other, [""; 0], "rustc has other questions than what Jenkins needs");
    assert!(asked.iter().all(|line| line.contains("Jenkins")), "{said}");
    let files: BTreeSet<_> = asked.iter().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    assert_eq!(files, documented(0), "CONTRIBUTING.md, \"Adding a platform\"");
    assert!(files.len() <= MOST, "a new platform needs decisions in {} files", files.len());
}

#[test]
fn rustc_does_not_ask_where_one_platform_is_told_from_all_others() {
    let names = ["Github", "Gitlab", "Tekton", "Local"];
    let is_one = |code: &str| {
        let compared = ["Platform", "Self"].iter().flat_map(|of| names.map(|name| format!("= {of}::{name}")));
        compared.into_iter().any(|text| code.contains(&format!("={text}")) || code.contains(&format!("!{text}")))
    };
    let files = sources("src").into_iter().filter(|(_, text)| is_one(&code(text)));
    let files: BTreeSet<_> = files.map(|(name, _)| format!("src/{name}")).collect();
    assert_eq!(files, documented(1), "CONTRIBUTING.md, \"Adding a platform\"; better is a `match` that rustc looks at");
}
