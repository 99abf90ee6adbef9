//! The template run by gitlab-ci-local, the judge of its YAML: include, component, extends, `!reference`, artifacts.
