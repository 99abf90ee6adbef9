//! README, the pages of `docs/` and those beside what users take: what they say, and their examples, which are run as they stand.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
    below(&root.join("tekton"), &mut paths);
    let page = |path: &Path| Page {
        path: path.strip_prefix(root).expect("below it").to_string_lossy().into_owned(),
        text: fs::read_to_string(path).expect("UTF-8"),
    };
    let mut pages: Vec<_> = paths.iter().map(|path| page(path)).collect();
    pages.sort_by_key(|page| page.path != "README.md");
    pages
}

/// Every page in a folder and the folders in it.
fn below(folder: &Path, pages: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            below(&path, pages);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path);
        }
    }
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

/// All marks above a block of code, each once: kind and name. Others say what is between them.
pub fn marks() -> Vec<(String, String)> {
    let mut marks = Vec::new();
    for Page { text, .. } in pages() {
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].starts_with("```")) {
            let mark = pair[0].strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).and_then(|mark| mark.split_once(": "));
            marks.extend(mark.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
        }
    }
    marks.sort();
    marks.dedup();
    marks
}
