//! The files of this repository that are made from its code. `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` writes them.

use std::{fs, path::Path};

use crate::harness::doors;

pub(crate) mod component;
mod errors;

/// Each file, and what it is to be.
fn generated() -> [(&'static str, String); 2] {
    [("templates/jobpass.yml", component::component()), ("docs/errors.md", errors::page())]
}

/// A file of the repository.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_made_from_the_code_is_what_the_code_says() {
    for (path, expected) in generated() {
        if doors::is_to_write() {
            doors::write(&root().join(path), &expected);
        }
        let is_so = file(path) == expected;
        assert!(is_so, "{path} is not what the code makes of it: `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` writes it");
    }
}
