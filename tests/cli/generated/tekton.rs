//! Tekton's Tasks, its step actions and Pipeline: their parameters that are settings, how these reach jobpass, and the tables of their pages.
//!
//! In the files of `tekton/` all lines between `begin: WHAT VERB …` and `end` are made here, and the rest is written by hand. After the
//! verb stand the settings that differ there: `NAME` has to be given, `NAME=VALUE` has a default of its own, `-NAME` is left out.

use std::fmt::Write as _;

use jobpass::options::{ALL, Setting};

use super::file;
use crate::harness::{Job, World};

/// Every file of `tekton/` that has such lines, with its page.
pub(crate) const FILES: [&str; 7] = [
    "tekton/task/jobpass-run/0.1.0/jobpass-run.yaml",
    "tekton/task/jobpass-pass/0.1.0/jobpass-pass.yaml",
    "tekton/task/jobpass-revoke/0.1.0/jobpass-revoke.yaml",
    "tekton/stepaction/jobpass-install/0.1.0/jobpass-install.yaml",
    "tekton/stepaction/jobpass-request/0.1.0/jobpass-request.yaml",
    "tekton/stepaction/jobpass-revoke/0.1.0/jobpass-revoke.yaml",
    "tekton/pipeline/jobpass-deploy/0.1.0/jobpass-deploy.yaml",
];

/// Settings that are no parameters.
pub(crate) const NO_PARAMS: [&str; 40] = [
    // A service account is given with its namespace.
    "namespace",
    // Where the pass is and how it is shown, and when it ends, the Task itself has decided.
    "dir",
    "variable",
    "no-variable",
    "kubeconfig-out",
    "no-kubeconfig",
    "ready",
    "until",
    "check",
    "receipt",
    "platform",
    "output",
    // Only passes of this job, or of this PipelineRun, are to be ended.
    "lease",
    "lease-file",
    "all",
    "if-here",
    "wait-dead",
    // The pod knows its cluster, and who it is there; and a parameter is for everybody to read. Where another cluster is meant, the Task
    // says so itself (docs/tekton.md): whoever starts a run is not to choose where an identity goes.
    "server",
    "certificate-authority",
    "kubeconfig",
    "context",
    "identity-token-file",
    "insecure-skip-tls-verify",
    "identity-token",
    "identity-kubeconfig",
    "identity",
    "oidc-audience",
    "exchange-url",
    "exchange-audience",
    "exchange-scope",
    "exchange-resource",
    "exchange-client-id",
    "exchange-subject-type",
    "identity-username",
    "identity-password-file",
    "revoke-identity",
    "identity-id-token",
    "identity-password",
    "registry-auth",
    "registry",
];

/// Settings of which more is to be said in a Task than in `--help`: the verb, or none for all, and the text.
const OTHERWISE: [(&str, &str, &str); 3] = [
    (
        "",
        "kubeconfig-mode",
        "How the kubeconfig gives the token: token (in it, and the path of its file) or exec (`jobpass credential` is asked: the image of the \
         command must have jobpass) [default: token]",
    ),
    (
        "revoke",
        "job-key",
        "The `job-key` of the task whose pass is to be ended, such as $(context.pipelineRun.uid)/deploy; empty means a pass of this pod",
    ),
    (
        "",
        "job-key",
        "What names this job, if not the uid of its pod: with the uid of the PipelineRun in it, such as $(context.pipelineRun.uid)/deploy, \
         the pass can be ended by a task in `finally`",
    ),
];

/// A parameter that is a setting.
struct Param {
    setting: &'static Setting,
    help: String,
    default: Option<String>,
}

/// The settings of a verb, each with what `--help` says of it there.
fn settings(verb: &str) -> Vec<(&'static Setting, String)> {
    let world = World::sandbox("it is only asked for help");
    let help = Job::local(&world).jobpass().args([verb, "--help"]).succeed().stdout;
    let lines: Vec<_> = help.lines().map(str::trim_start).collect();
    let flag = |pair: &[&str]| {
        let (_, name) = pair[0].strip_prefix("-").and(pair[0].split_once("--"))?;
        let name = name.split(' ').next()?;
        let setting = ALL.iter().find(|setting| setting.name == name)?;
        Some((*setting, pair[1].to_owned()))
    };
    lines.windows(2).filter_map(flag).collect()
}

/// The parameters of a verb, in the order of its help.
fn params(verb: &str, differing: &[&str]) -> Vec<Param> {
    let param = |(setting, help): (&'static Setting, String)| {
        let differs = |mark: &str| differing.iter().find_map(|word| word.strip_prefix(mark)?.strip_prefix(setting.name));
        if NO_PARAMS.contains(&setting.name) || differs("-") == Some("") {
            return None;
        }
        let default = match differs("") {
            Some("") => None,
            Some(own) => own.strip_prefix('=').map(str::to_owned),
            None if setting.name == "service-account" => None,
            None => Some(String::new()),
        };
        let otherwise = OTHERWISE.iter().find(|(of, name, _)| (of.is_empty() || *of == verb) && *name == setting.name);
        let help = otherwise.map_or(help, |(_, _, text)| (*text).to_owned());
        let help = help.replace("may be repeated", "several are separated by blanks");
        let help =
            help.replace(", or the job's timeout on GitLab if that is less", "").replace("the job's timeout on GitLab, else 24h", "24h");
        let help = match default.as_deref() {
            Some("") | None => help,
            Some(own) => help.split_once(" [default: ").map_or(help.clone(), |(help, _)| format!("{help} [default: {own}]")),
        };
        Some(Param { setting, help, default })
    };
    settings(verb).into_iter().filter_map(param).collect()
}

/// The lines of one place that is made here.
fn lines(what: &str, verb: &str, differing: &[&str]) -> String {
    let mut text = String::new();
    for Param { setting, help, default } in params(verb, differing) {
        let name = setting.name;
        let written = match what {
            "params" => {
                let default = default.map(|text| format!("\n  default: '{text}'")).unwrap_or_default();
                writeln!(text, "- name: {name}\n  description: '{}'{default}", help.replace('\'', "''"))
            }
            "env" => writeln!(text, "- {{name: {}, value: $(params.{name})}}", setting.variable()),
            "values" => writeln!(text, "- {{name: {name}, value: $(params.{name})}}"),
            _ => panic!("nothing is known of `begin: {what}`"),
        };
        written.expect("a text");
    }
    text
}

/// A manifest, with all its lines that are made here.
fn manifest(path: &str) -> String {
    let mut text = String::new();
    let plain = file(path);
    let mut rest = plain.lines();
    while let Some(line) = rest.next() {
        text += line;
        text += "\n";
        let Some((indent, mark)) = line.split_once("# begin: ") else { continue };
        let words: Vec<_> = mark.split(' ').collect();
        let [what, verb, differing @ ..] = words.as_slice() else { panic!("{path}: `{mark}`") };
        for made in lines(what, verb, differing).lines() {
            writeln!(text, "{indent}{made}").expect("a text");
        }
        let end = rest.find(|line| line.trim() == "# end").unwrap_or_else(|| panic!("{path}: `{mark}` has no end"));
        writeln!(text, "{end}").expect("a text");
    }
    text
}

/// The rows of a page's table: the parameters of its manifest.
fn table(manifest: &str) -> String {
    let mut text = "| parameter | default | what it is |\n|---|---|---|\n".to_owned();
    let params = manifest.split("\n  params:\n").nth(1).unwrap_or_else(|| panic!("it has no parameters: {manifest}"));
    let value = |line: &str| {
        let text = line.split_once(": ").expect("a value").1;
        text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).map_or(text.to_owned(), |quoted| quoted.replace("''", "'"))
    };
    // A key that is a brother of `params:` ends them.
    let of_params = params.lines().take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n");
    for param in of_params.split("- name: ").skip(1) {
        let mut lines = param.lines();
        let name = lines.next().expect("a name");
        let of = |key: &str| param.lines().find(|line| line.trim_start().starts_with(key)).map(value);
        let default = match of("default: ") {
            None => "must be given".to_owned(),
            Some(text) if text.is_empty() => String::new(),
            Some(text) => format!("`{text}`"),
        };
        let row = writeln!(text, "| `{name}` | {default} | {} |", of("description: ").expect("a description"));
        row.expect("a text");
    }
    text
}

/// Every file, and what it is to be.
pub(super) fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for path in FILES {
        let manifest = manifest(path);
        let page = format!("{}/README.md", path.rsplit_once('/').expect("a folder").0);
        let (begin, end) = ("<!-- begin: params -->\n", "<!-- end: params -->\n");
        let text = file(&page);
        let (head, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{page} has no place for its table"));
        let (_, foot) = rest.split_once(end).unwrap_or_else(|| panic!("{page}: its table has no end"));
        files.push((page, format!("{head}{begin}\n{}\n{end}{foot}", table(&manifest))));
        files.push((path.to_owned(), manifest));
    }
    files
}
