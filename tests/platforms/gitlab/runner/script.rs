//! The script of one stage: what gitlab-runner's `shells/bash.go` and `shells/abstract.go` write around a job's lines.

use super::{Executor, Variable};

/// One stage of a job.
pub(super) struct Stage<'a> {
    pub(super) executor: &'a Executor,
    pub(super) project: &'a str,
    /// The runner's own directory beside the project.
    pub(super) temporary: &'a str,
    pub(super) variables: &'a [(String, Variable)],
    /// The file that `GITLAB_ENV` names.
    pub(super) environment: &'a str,
    pub(super) lines: &'a [String],
    pub(super) is_traced: bool,
}

impl Stage<'_> {
    /// What the stage's shell reads.
    pub(super) fn text(&self) -> String {
        let quoted = quoted(&self.body());
        let trace = if self.is_traced { "set -o xtrace\n" } else { "" };
        // Before 19.0.2 and 18.11.4 the lines have a pipe that is empty, and the trap is `exit`, for the signals 1 and TERM.
        let (trap, evaluated) = if self.executor.has_inner_trap {
            ("trap 'exit 1' TERM", format!("(trap 'exit 1' TERM; eval {quoted}) < /dev/null"))
        } else {
            ("trap exit 1 TERM", format!(": | eval {quoted}"))
        };
        let pipefail = "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi";
        format!("{trap}\n\n{trace}{pipefail}; set -o errexit\nset +o noclobber\n{evaluated}\nexit 0\n")
    }

    fn body(&self) -> String {
        let (temporary, environment) = (quoted(self.temporary), quoted(self.environment));
        let mut lines = vec![format!("umask {}", self.executor.umask)];
        for (name, variable) in self.variables {
            let (value, file) = (quoted(&variable.value), quoted(&format!("{}/{name}", self.temporary)));
            if variable.is_file {
                lines.push(format!("mkdir -p {temporary}\nprintf '%s' {value} > {file}\nexport {name}={file}"));
            } else {
                lines.push(format!("export {name}={value}"));
            }
        }
        if !self.executor.is_old {
            lines.push(format!("mkdir -p {temporary}\ntouch {environment}\nwhile read -r line; do export \"$line\"; done < {environment}"));
        }
        lines.push(format!("cd {}", quoted(self.project)));
        for line in self.lines {
            // In green, which is left out here.
            let shown = line.split_once('\n').map_or_else(|| line.clone(), |(first, _)| format!("{first} # collapsed multi-line command"));
            lines.extend([format!("echo {}", quoted(&format!("$ {shown}"))), line.clone()]);
        }
        lines.join("\n") + "\n"
    }
}

/// A word that every POSIX shell takes as it is.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
