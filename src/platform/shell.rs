//! Renders the env file, which a shell sources to get the pass. It contains no secret itself.

use std::{fmt::Write as _, path::Path};

/// The shell's function that takes the variables of a pass away, and puts back what was there before it.
pub const RESTORE: &str = "jobpass_restore";

/// Keeps what the variables in `@` were, and defines the function that puts it back.
///
/// No value stands in a text that is evaluated, only names. What is kept already stays, unless somebody has changed the variable since:
/// it was there before the first of several passes. So it is with the function: what is no longer as a pass has set it is left alone.
const KEEP: &str = r#"jobpass_exported=$(export -p)
for jobpass_name in @; do
  if eval "[ \"\${jobpass_how_$jobpass_name+x}\" ] && [ \"\${$jobpass_name-}\" = \"\${jobpass_set_$jobpass_name-\${$jobpass_name-}}\" ]"; then continue; fi
  eval "jobpass_how_$jobpass_name=\${$jobpass_name+set} jobpass_was_$jobpass_name=\${$jobpass_name-}"
  case $jobpass_exported in *" $jobpass_name="*) eval "jobpass_how_$jobpass_name=\${jobpass_how_$jobpass_name:+exported}" ;; esac
done
jobpass_names="${jobpass_names-} @"
unset jobpass_exported jobpass_name
jobpass_restore() {
  { case $- in *x*) jobpass_trace=1; set +x ;; *) jobpass_trace= ;; esac; } 2>/dev/null
  eval "set -- ${jobpass_names-}"
  for jobpass_name do
    if eval "[ \"\${jobpass_how_$jobpass_name+x}\" ] && [ \"\${$jobpass_name-}\" = \"\${jobpass_set_$jobpass_name-\${$jobpass_name-}}\" ]" &&
      (unset -v "$jobpass_name") 2>/dev/null; then
      unset -v "$jobpass_name"
      eval "jobpass_how=\$jobpass_how_$jobpass_name"
      case $jobpass_how in ?*) eval "$jobpass_name=\$jobpass_was_$jobpass_name" ;; esac
      case $jobpass_how in exported) export "$jobpass_name" ;; esac
    fi
    unset -v "jobpass_how_$jobpass_name" "jobpass_was_$jobpass_name" "jobpass_set_$jobpass_name"
  done
  unset -v jobpass_names jobpass_name jobpass_how
  case $jobpass_trace in 1) unset jobpass_trace; set -x ;; *) unset jobpass_trace ;; esac
}
"#;

/// Renders the env file for bash, dash and busybox sh.
///
/// The shell's own `read` gets the token from its file, so that neither the env file nor `set -v` shows it. Tracing (`set -x`) is
/// off meanwhile, and restored afterwards; and what is kept for later is not exported (`set -a`). The token first goes into a variable of
/// ours: if the other variable is read-only or a number, the shell would print the token in its error message. So the assignment is first
/// tried in a subshell with its messages discarded.
#[must_use]
pub fn env_file(variables: &[(&str, String)], token: Option<(&str, &Path)>) -> String {
    let mut text = String::from(
        "# Made by jobpass: source it, do not print it. `jobpass_restore` puts back what the variables were.\n\
         { case $- in *x*) jobpass_trace=1; set +x ;; *) jobpass_trace= ;; esac; } 2>/dev/null\n\
         case $- in *a*) jobpass_all=1; set +a ;; *) jobpass_all= ;; esac\n",
    );
    let names = token.iter().map(|(name, _)| *name).chain(variables.iter().map(|(name, _)| *name));
    text += &KEEP.replace('@', &names.collect::<Vec<_>>().join(" "));
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
        let value = quoted(value);
        let _ = writeln!(text, "export {name}={value}\njobpass_set_{name}={value}");
    }
    text + "case $jobpass_all in 1) unset jobpass_all; set -a ;; *) unset jobpass_all ;; esac\n\
            case $jobpass_trace in 1) unset jobpass_trace; set -x ;; *) unset jobpass_trace ;; esac\n"
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
        assert!(text.contains("export KUBECONFIG='/p q/k'\n") && text.contains("for jobpass_name in KUBECONFIG; do\n"), "{text}");
        assert!(text.ends_with("esac\n"));
    }
}
