//! The component of GitLab's catalogue: the plain template with inputs, which are the settings.

use std::fmt::Write as _;

use jobpass::options::{ALL, Kind, Setting};

use super::file;

/// Settings that are no inputs of the component. Its jobs have them empty, so that only the job itself sets them.
pub(crate) const NO_INPUTS: [&str; 25] = [
    // A value in YAML is for everybody to read: variables of the project hold secrets.
    "identity-token",
    "identity-kubeconfig",
    "identity-id-token",
    "identity-password",
    // They belong to a password.
    "identity-username",
    "identity-password-file",
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
    // Of `hold`, which is for pods.
    "ready",
    "until",
    "check",
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
      description: 'Audience of the ID token that the jobs declare. With another one than the URL of the server, call `jobpass run --server URL`'
      default: $JOBPASS_SERVER
      regex: '^[^''\\n]+$'
";

const HEAD: &str = "# jobpass as a CI/CD component. Made from `gitlab/jobpass.yml`: change that, then run
# `JOBPASS_TEST_WRITE=1 cargo test --test cli generated`.
spec:
  inputs:
";

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

/// The whole file.
pub(super) fn component() -> String {
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
        let line = line.replace("aud: $JOBPASS_SERVER", "aud: '$[[ inputs.id-token-audience ]]'");
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
