//! README and the pages of `docs/`: what they say, and their examples, which are run as they stand.

use std::{fs, path::Path};

use super::root;

/// One page.
pub struct Page {
    /// Its path below the repository's root.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// Every page that a person reads, README first.
pub fn pages() -> Vec<Page> {
    let root = root();
    let mut paths = Vec::new();
    for directory in ["", "docs", "tests"] {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
        found.sort();
        paths.extend(found);
    }
    let page = |path: &Path| Page {
        path: path.strip_prefix(root).expect("below it").to_string_lossy().into_owned(),
        text: fs::read_to_string(path).expect("UTF-8"),
    };
    let mut pages: Vec<_> = paths.iter().map(|path| page(path)).collect();
    pages.sort_by_key(|page| page.path != "README.md");
    pages
}

/// The block of code below the mark `<!-- KIND: NAME -->`. Where it stands on several pages it is the same on each.
pub fn example(kind: &str, name: &str) -> String {
    let mark = format!("<!-- {kind}: {name} -->\n```");
    let mut found: Option<(String, String)> = None;
    for Page { path, text } in pages() {
        for rest in text.split(&mark).skip(1) {
            let (_, rest) = rest.split_once('\n').expect("a fence is a line");
            let block = rest.split("\n```").next().unwrap_or_default().to_owned();
            match &found {
                Some((first, known)) => assert_eq!(*known, block, "`{kind}: {name}` differs between {first} and {path}"),
                None => found = Some((path.clone(), block)),
            }
        }
    }
    found.unwrap_or_else(|| panic!("no page has an example that is marked `{kind}: {name}`")).1
}

/// All marks, each once: kind and name.
pub fn marks() -> Vec<(String, String)> {
    let mut marks = Vec::new();
    for line in pages().iter().flat_map(|page| page.text.lines()) {
        let mark = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).and_then(|mark| mark.split_once(": "));
        marks.extend(mark.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
    }
    marks.sort();
    marks.dedup();
    marks
}
