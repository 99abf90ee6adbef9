//! The hidden jobs of `gitlab/jobpass.yml`, as a job that extends one gets them: read as YAML, so that nothing is copied here.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

/// The lines of a job. What it declares besides is the server's business and not a shell's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lines {
    pub(crate) before_script: Vec<String>,
    pub(crate) script: Vec<String>,
    pub(crate) after_script: Vec<String>,
}

/// The hidden job of this name.
pub(crate) fn hidden(name: &str) -> Lines {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gitlab/jobpass.yml");
    let text = fs::read_to_string(path).expect("the template is there");
    let mut jobs: BTreeMap<String, Lines> = serde_saphyr::from_str(&text).expect("the template is YAML");
    jobs.remove(name).unwrap_or_else(|| panic!("the template has no job {name}"))
}

#[test]
fn an_anchor_is_as_good_as_its_text() {
    let [wrapper, template] = [".jobpass-run", ".jobpass"].map(hidden);
    assert!(wrapper.before_script[0].starts_with("if ! command -v jobpass") && wrapper.before_script[0].contains('\n'));
    assert_eq!([&wrapper.before_script[0], &wrapper.after_script[0]], [&template.before_script[0], &template.after_script[0]]);
}
