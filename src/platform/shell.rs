//! Renders the env file, which a shell sources to get the pass. It contains no secret itself.

use std::{fmt::Write as _, path::Path};

/// Renders the env file for bash, dash and busybox sh.
///
/// The shell's own `read` gets the token from its file, so that neither the env file nor `set -v` shows it. Tracing (`set -x`) is
/// off meanwhile, and restored afterwards. The token first goes into a variable of ours: if the other variable is read-only or a
/// number, the shell would print the token in its error message. So the assignment is first tried in a subshell with its messages
/// discarded.
#[must_use]
pub fn env_file(variables: &[(&str, String)], token: Option<(&str, &Path)>) -> String {
    let mut text = String::from(
        "# Made by jobpass: source it, do not print it.\n\
         { case $- in *x*) jobpass_trace=1; set +x ;; *) jobpass_trace= ;; esac; } 2>/dev/null\n",
    );
    if let Some((name, file)) = token {
        let file = quoted(&file.to_string_lossy());
        let _ = write!(
            text,
            "jobpass_token=\n\
             IFS= read -r jobpass_token <{file} || [ -n \"$jobpass_token\" ]\n\
             if ({name}=$jobpass_token && [ \"${name}\" = \"$jobpass_token\" ]) 2>/dev/null; then\n  \
             export {name}=\"$jobpass_token\"\n  \
             unset jobpass_token\n\
             else\n  \
             unset jobpass_token\n  \
             echo 'error: in this shell the variable {name} cannot hold the token' >&2\n  \
             false\n\
             fi\n"
        );
    }
    for (name, value) in variables {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text + "case $jobpass_trace in 1) unset jobpass_trace; set -x ;; *) unset jobpass_trace ;; esac\n"
}

/// Quotes a word so that every POSIX shell takes it literally.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_leave_its_quotes() {
        assert_eq!(quoted("a'b; $(x)"), r"'a'\''b; $(x)'");
        assert_eq!(quoted("/a/b.c"), "/a/b.c");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_env_file_ends_with_the_trace_as_it_was() {
        let text = env_file(&[("KUBECONFIG", "/p q/k".to_owned())], None);
        assert!(text.contains("export KUBECONFIG='/p q/k'\n"), "{text}");
        assert!(text.ends_with("esac\n"));
    }
}
