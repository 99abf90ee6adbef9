//! GitHub Actions: workflow commands, file commands, saved state.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Base, Provenance};
use crate::{
    env::Env,
    failure::{Code, Failure},
    secret::Secret,
};

/// A file that the runner reads after the step. The path of each is in a variable.
///
/// See <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#environment-files>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileCommand {
    /// State for our own post step only.
    State,
    /// Outputs of this step.
    Output,
    /// Variables of the steps after this one.
    Env,
    /// The job summary.
    Summary,
}

impl FileCommand {
    /// The variable that holds the file's path.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::State => "GITHUB_STATE",
            Self::Output => "GITHUB_OUTPUT",
            Self::Env => "GITHUB_ENV",
            Self::Summary => "GITHUB_STEP_SUMMARY",
        }
    }
}

/// Stores are below `RUNNER_TEMP`: the runner empties it before and after each job, and it is outside the workspace.
pub(super) fn base(env: &Env) -> Result<Base, Failure> {
    let path = env.path("RUNNER_TEMP").ok_or_else(|| {
        Failure::new(Code::PlatformIncomplete, "`RUNNER_TEMP` is not set, so there is no place for the pass")
            .hint("run it in a step of a job, or give `--dir`")
    })?;
    Ok(Base::at(path))
}

/// The run, according to the runner's variables: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>.
#[expect(clippy::struct_field_names, reason = "each is named as the variable is that it comes from")]
#[derive(Default, Deserialize)]
struct Run {
    server_url: Option<String>,
    repository: Option<String>,
    run_id: Option<String>,
    run_attempt: Option<String>,
    job: Option<String>,
    sha: Option<String>,
    actor: Option<String>,
}

impl Run {
    fn of(env: &Env) -> Self {
        env.typed("GITHUB_")
    }
}

/// The run, its attempt and the job. That is enough to recognise our own leases, as a runner has one job at a time in its
/// directory.
pub(super) fn job_key(env: &Env) -> Option<String> {
    let Run { repository, run_id, run_attempt, job, .. } = Run::of(env);
    let part = Option::unwrap_or_default;
    Some(format!("{}/{}/{}/{}", part(repository), run_id?, part(run_attempt), part(job)))
}

pub(super) fn provenance(env: &Env) -> Provenance {
    let Run { server_url, repository, run_id, sha: commit, actor, .. } = Run::of(env);
    let run_url = match (server_url, &repository, &run_id) {
        (Some(server), Some(repository), Some(run)) => Some(format!("{server}/{repository}/actions/runs/{run}")),
        _ => None,
    };
    Provenance { run_id, repository, run_url, commit, actor }
}

/// The workflow command that masks a value in all lines after it.
#[must_use]
pub fn mask_command(value: &Secret) -> Secret {
    let mut parts = vec!["::add-mask::"];
    for part in value.expose().split_inclusive(['%', '\r', '\n']) {
        let escaped = match part.as_bytes().last() {
            Some(b'%') => "%25",
            Some(b'\r') => "%0D",
            Some(b'\n') => "%0A",
            _ => "",
        };
        parts.extend([part.trim_end_matches(['%', '\r', '\n']), escaped]);
    }
    Secret::of_parts(&parts)
}

/// A text as one annotation of the log, which is also shown on the page of the run; the level is `error`, `warning` or `debug`.
#[must_use]
pub fn annotation(level: &str, text: &str) -> String {
    // The runner's own prefix shows the level already.
    let text = ["error: ", "warning: "].iter().find_map(|head| text.strip_prefix(head)).unwrap_or(text);
    let title = if level == "debug" { "" } else { " title=jobpass" };
    let text = text.trim_end().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    format!("::{level}{title}::{text}")
}

/// One record of a file command, with a random delimiter that nobody can predict.
///
/// # Errors
/// When the value contains the delimiter, or the name has other characters than letters, digits, `_` and `-`.
pub fn record(name: &str, value: &str, random: &str) -> Result<String, Failure> {
    let (head, tail) = around(name, value, random)?;
    Ok(format!("{head}{value}{tail}"))
}

/// The same with a value that is secret.
///
/// # Errors
/// As of [`record`].
pub fn secret_record(name: &str, value: &Secret, random: &str) -> Result<Secret, Failure> {
    let value = value.expose();
    let (head, tail) = around(name, value, random)?;
    Ok(Secret::of_parts(&[&head, value, &tail]))
}

/// What stands before the value of a record, and after it.
fn around(name: &str, value: &str, random: &str) -> Result<(String, String), Failure> {
    let delimiter = format!("jobpass_{random}");
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !plain || value.contains(&delimiter) {
        return Err(Failure::new(Code::PlatformHandover, format!("cannot hand `{name}` to the runner"))
            .cause("it does not fit into a file command"));
    }
    Ok((format!("{name}<<{delimiter}\n"), format!("\n{delimiter}\n")))
}

/// The state that our post step gets back as `STATE_lease`: one line, no secret.
#[must_use]
pub fn state(lease: &impl Serialize) -> String {
    format!("lease={}\n", serde_json::to_string(lease).unwrap_or_default())
}

/// What the runner will give to our post step as the state: the value of the last record of that name, as `NAME=VALUE`, or as
/// `NAME<<DELIMITER`, lines and the delimiter. None if there is no such record or the runner could not parse the file.
///
/// See `EnvFileKeyValuePairs` in actions/runner's `FileCommandManager.cs`, and `IntraActionState` in its `ExecutionContext.cs`.
/// That is a map without regard to case: if the first record writes `LEASE`, the key stays so, and there is no `STATE_lease`.
#[must_use]
pub fn state_of(text: &str) -> Option<String> {
    let mut state = None;
    // The runner ignores a byte order mark.
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).strip_suffix('\n')?.split('\n');
    while let Some(line) = lines.next() {
        let heredoc = line.split_once("<<").filter(|(name, _)| !name.contains('='));
        let (name, value) = match (heredoc, line.split_once('=')) {
            (Some((name, delimiter)), _) if name.is_empty() || delimiter.is_empty() => return None,
            (Some((name, delimiter)), _) => {
                let mut value = Vec::new();
                loop {
                    match lines.next()? {
                        line if line == delimiter => break,
                        line => value.push(line),
                    }
                }
                (name, value.join("\n"))
            }
            (None, Some((name, value))) => (name, value.to_owned()),
            (None, None) if line.is_empty() => continue,
            (None, None) => return None,
        };
        if name == "lease" {
            state = Some(value);
        } else if name.to_uppercase() == "LEASE" {
            return None;
        }
    }
    state
}

/// The record that clears the state: an empty value counts as none.
pub const NO_STATE: &str = "lease=\n";

/// A table for the job summary, as Markdown.
#[must_use]
pub fn summary(title: &str, rows: &[(&str, String)]) -> String {
    let mut text = format!("### {title}\n\n| | |\n|---|---|\n");
    for (name, value) in rows {
        // Our values have none of these characters. In text from outside they could break the table or become markup.
        let value = value.replace(['|', '<', '>', '`', '\n', '\r', '['], " ");
        let _ = writeln!(text, "| {name} | `{value}` |");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::{super::tests::env, *};

    #[test]
    fn a_mask_is_one_line_with_the_percent_sign_escaped_first() {
        assert_eq!(mask_command(&Secret::new("a%0A\r\nb".into())).expose(), "::add-mask::a%250A%0D%0Ab");
    }

    #[test]
    fn an_annotation_is_one_line_that_says_its_level_once() {
        assert_eq!(annotation("error", "error: a 100%\n  caused by: b\n"), "::error title=jobpass::a 100%25%0A  caused by: b");
        assert_eq!(annotation("debug", "a"), "::debug::a");
    }

    #[test]
    fn a_record_ends_with_its_delimiter_and_a_newline() {
        assert_eq!(record("token-file", "/x", "r").expect("fits"), "token-file<<jobpass_r\n/x\njobpass_r\n");
    }

    #[test]
    fn a_value_cannot_close_its_own_record() {
        assert!(record("a", "x\njobpass_r\nevil<<", "r").is_err());
        assert!(record("a=b", "x", "r").is_err());
    }

    #[test]
    fn the_state_is_one_line() {
        assert_eq!(state(&serde_json::json!({"a": "b\nc"})), "lease={\"a\":\"b\\nc\"}\n");
    }

    #[test]
    fn a_job_needs_its_temporary_directory() {
        assert!(base(&env(&[])).expect_err("none").to_string().contains("`RUNNER_TEMP` is not set"));
        assert_eq!(base(&env(&[("RUNNER_TEMP", "/t")])).expect("there").path.to_str(), Some("/t"));
    }

    #[test]
    fn the_job_key_names_run_attempt_and_job() {
        let env = env(&[("GITHUB_REPOSITORY", "o/r"), ("GITHUB_RUN_ID", "7"), ("GITHUB_RUN_ATTEMPT", "2"), ("GITHUB_JOB", "deploy")]);
        assert_eq!(job_key(&env).as_deref(), Some("o/r/7/2/deploy"));
    }

    #[test]
    fn the_state_is_what_the_runner_will_read() {
        for (text, state) in [
            ("lease=\nlease={\"a\":1}\n", Some("{\"a\":1}")),
            ("lease=a\nother=b\n\n", Some("a")),
            ("lease=a\nlease<<E\nb\nc\nE\n", Some("b\nc")),
            ("x<<E\nlease=a\n", None),
            ("x<<E\nlease=a\nE\n", None),
            ("lease=a\nnonsense\n", None),
            ("x<<\n\nlease=a\n", None),
            ("<<E\nE\nlease=a\n", None),
            ("\u{feff}<<E\nE\nlease=a\n", None),
            ("\u{feff}lease=a\n", Some("a")),
            ("LEASE=a\nlease=a\n", None),
            ("=x\nlease=a\n", Some("a")),
            ("lease=a", None),
            ("", None),
        ] {
            assert_eq!(state_of(text).as_deref(), state, "{text:?}");
        }
    }

    #[test]
    fn a_summary_cell_cannot_be_left() {
        let text = summary("t", &[("server", "https://x|`<b>\n| evil".to_owned())]);
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(!text.contains("<b>"));
    }
}
