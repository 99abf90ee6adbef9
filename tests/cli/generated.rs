//! The files of this repository that are made from its code. `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` writes them.

use std::{fs, path::Path};

use crate::harness::doors;

pub(crate) mod component;
mod errors;
mod findings;
pub(crate) mod tekton;

/// Each file, and what it is to be.
fn generated() -> Vec<(String, String)> {
    let mut files = tekton::files();
    files.extend([
        ("templates/jobpass.yml".to_owned(), component::component()),
        ("docs/errors.md".to_owned(), errors::page()),
        ("docs/findings.md".to_owned(), findings::page()),
    ]);
    files
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
            doors::write(&root().join(&path), &expected);
        }
        let is_so = file(&path) == expected;
        assert!(is_so, "{path} is not what the code makes of it: `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` writes it");
    }
}

#[test]
fn every_setting_is_a_parameter_of_a_task_or_has_a_reason() {
    for name in tekton::NO_PARAMS {
        assert!(jobpass::options::ALL.iter().any(|setting| setting.name == name), "{name} is no setting");
    }
    let tasks: String = tekton::FILES.into_iter().map(file).collect();
    for setting in jobpass::options::ALL {
        let is_param = tasks.contains(&format!("- name: {}\n", setting.name));
        assert!(is_param != tekton::NO_PARAMS.contains(&setting.name), "{}: is it a parameter of a Task, or not?", setting.name);
    }
}
