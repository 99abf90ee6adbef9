//! The two forms of the GitLab template.

use jobpass::options::ALL;

use crate::generated::{component::NO_INPUTS, file};

#[test]
fn every_setting_is_an_input_or_has_a_reason() {
    for name in NO_INPUTS {
        assert!(ALL.iter().any(|setting| setting.name == name), "{name} is no setting");
    }
    assert!(file("gitlab/jobpass.yml").lines().filter(|line| line.starts_with(".jobpass")).count() == 4);
}

#[test]
fn no_job_gets_anything_that_it_did_not_ask_for() {
    for path in ["gitlab/jobpass.yml", "templates/jobpass.yml"] {
        let text = file(path);
        let jobs = text.rsplit_once("\n---\n").map_or(text.as_str(), |(_, jobs)| jobs);
        let keys: Vec<_> = jobs.lines().filter(|line| !line.is_empty() && !line.starts_with([' ', '#'])).collect();
        assert!(!keys.is_empty());
        for key in keys {
            assert!(key.trim_start_matches('\'').starts_with('.'), "{path} says something to all jobs: {key}");
        }
    }
}
