//! The two forms of the GitLab template: the component is the plain file with inputs, which are the settings.

use std::{fmt::Write as _, fs};

use jobpass::options::{ALL, Kind, Setting};

/// Settings that are no inputs of the component. Its jobs have them empty, so that only the job itself sets them.
const NO_INPUTS: [&str; 18] = [
    // A value in YAML is for everybody to read: variables of the project hold secrets.
    "identity-token",
    "identity-kubeconfig",
    // Who wants these is to say so in the job itself.
    "insecure-skip-tls-verify",
    "wait-dead",
    "receipt",
    "timeout",
    "no-kubeconfig",
    "kubeconfig-out",
    // A service account is given with its namespace.
    "namespace",
    // The platform, the job and its passes are known there.
    "platform",
    "job-key",
    "dir",
    "output",
    "lease",
    "lease-file",
    "all",
    // The template itself says it.
    "if-here",
    // Of the pod; a job of GitLab's has it by `auto`.
    "identity-token-file",
];

/// What the template itself takes, beside the settings.
const OWN: &str = "    as:
      description: 'What the hidden jobs are called: .jobpass-run, .jobpass, .jobpass-require and .jobpass-binary for `jobpass`. Another name for a second include'
      default: jobpass
      regex: '^[a-z][a-z0-9-]*$'
    url:
      description: 'Where jobpass is fetched from, if it is neither in the image nor an artifact; needs `sha256`'
      default: ''
      regex: '^(https?://[^''\\n]+)?$'
    sha256:
      description: 'SHA-256 of what `url` names'
      default: ''
      regex: '^([0-9A-Fa-f]{64})?$'
    build-image:
      description: 'Image in which .jobpass-binary builds jobpass'
      default: rust:1.95-alpine
      regex: '^[^''\\n]+$'
    id-token-audience:
      description: 'Audience of the ID token that the jobs declare; nothing reads it yet'
      default: jobpass
      regex: '^[^''\\n]+$'
";

const HEAD: &str = "# jobpass as a CI/CD component. Made from `gitlab/jobpass.yml`: change that, and `cargo test` says what this is to be.
spec:
  inputs:
";

fn file(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("it is in the repository")
}

/// What an input may be; empty where the setting's default is to hold.
fn values(setting: &Setting) -> &'static str {
    match (setting.name, setting.kind) {
        ("service-account", _) => "      regex: '^[a-z0-9-]+/[a-z0-9.-]+$'\n",
        ("ttl" | "max-lifetime" | "grace", _) => "      default: ''\n      regex: '^([0-9]*|([0-9]+[smh])+)$'\n",
        ("variable", _) => "      default: ''\n      regex: '^([A-Za-z_][A-Za-z0-9_]*)?$'\n",
        ("target-namespace", _) => "      default: ''\n      regex: '^[a-z0-9-]*$'\n",
        ("file-mode", _) => "      default: '0600'\n      options: ['0600', '0400', '0640', '0440']\n",
        (_, Kind::Switch) => "      type: boolean\n      default: false\n",
        // Inputs are put into the text of the file before it is read as YAML: a quote would end the value.
        (_, Kind::Text | Kind::List) => "      default: ''\n      regex: '^[^''\\n]*$'\n",
        (_, Kind::Secret) => unreachable!("no secret is an input"),
    }
}

fn component() -> String {
    let inputs = || ALL.iter().filter(|setting| !NO_INPUTS.contains(&setting.name));
    let mut text = HEAD.to_owned();
    let mut variables = "  variables:\n".to_owned();
    for setting in inputs() {
        let help = setting.help.replace("may be repeated", "several are separated by blanks");
        let help = help.replace("a file, PEM text or base64 of it", "a file, or PEM text in base64").replace('\'', "''");
        write!(text, "    {}:\n      description: '{help}'\n{}", setting.name, values(setting)).expect("a text");
        writeln!(variables, "    {}: '$[[ inputs.{} ]]'", setting.variable(), setting.name).expect("a text");
    }
    for setting in ALL.iter().filter(|setting| NO_INPUTS.contains(&setting.name) && !setting.name.starts_with("identity-")) {
        // A variable of the whole pipeline does not reach them. The CI identity comes from elsewhere, and is left as it is.
        writeln!(variables, "    {}: ''", setting.variable()).expect("a text");
    }
    variables += "    JOBPASS_URL: '$[[ inputs.url ]]'\n    JOBPASS_SHA256: '$[[ inputs.sha256 ]]'\n";
    text += OWN;
    text += "---\n";
    let plain = file("gitlab/jobpass.yml");
    let (_, jobs) = plain.split_once("\n\n").expect("a head and jobs");
    for line in jobs.lines() {
        let line = line.replace("aud: jobpass", "aud: '$[[ inputs.id-token-audience ]]'");
        let line = line.replace("image: rust:1.95-alpine", "image: '$[[ inputs.build-image ]]'");
        if let Some(rest) = line.strip_prefix(".jobpass").and_then(|rest| rest.strip_suffix(':')) {
            writeln!(text, "'.$[[ inputs.as ]]{rest}':").expect("a text");
            text += if matches!(rest, "-run" | "") { &variables } else { "" };
            continue;
        }
        let renamed = |line: String, rest| line.replace(&format!(".jobpass{rest}"), &format!(".$[[ inputs.as ]]{rest}"));
        text += &["-run", "-require", "-binary"].into_iter().fold(line, renamed);
        text += "\n";
    }
    text
}

#[test]
fn the_component_is_the_template_with_the_settings_as_inputs() {
    let expected = component();
    if file("templates/jobpass.yml") != expected {
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/component.yml");
        crate::harness::doors::write(path.as_ref(), &expected);
        panic!("templates/jobpass.yml is not what gitlab/jobpass.yml and the settings make of it: the new one is {path}");
    }
}

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
