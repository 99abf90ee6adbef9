//! Validates the name of the variable that gets the token: it must not mean anything to a platform, a shell or another program.

use crate::{
    failure::{Code, Failure},
    options::Given,
};

/// Variables of the platforms, our own, and those by which a value could take over a program that the job starts.
///
/// Each platform documents its own; zizmor's `github-env` audit explains the others.
const OF_PROGRAMS: &str = "
    ALL_PROXY CI EDITOR HOME HTTPS_PROXY HTTP_PROXY JAVA_TOOL_OPTIONS KUBECONFIG KUBE_CONFIG_PATH KUBE_CONFIG_PATHS LANG LANGUAGE LOGNAME
    NODE_OPTIONS NO_PROXY PAGER PATH PERL5OPT PYTHONPATH PYTHONSTARTUP RUBYOPT SHELL SSH_AUTH_SOCK SSL_CERT_DIR SSL_CERT_FILE TERM TMPDIR TZ USER VISUAL";

/// Variables that bash, ksh, mksh, zsh, dash or busybox sh set, refuse to set, evaluate, print or execute. Such a variable would
/// not hold the token, or the shell would print it in an error message.
///
/// See "Shell Variables" in bash's manual, "Parameters" in mksh's, and zshparam(1); zsh has some of them in lower case.
const OF_SHELLS: &str = "
    _ ALIASES ARGC ARGV AUTO_RESUME CDPATH CHILD_MAX COLUMNS COMMANDS COPROC CPUTYPE DIRSTACK EGID EMACS ENV EPOCHREALTIME EPOCHSECONDS
    ERRNO EUID EXECIGNORE EXECSHELL FCEDIT FIGNORE FPATH FUNCNAME FUNCNEST FUNCTIONS GID GLOBIGNORE GLOBSORT GROUPS HISTORY HOSTFILE
    HOSTNAME HOSTTYPE IFS IGNOREEOF INPUTRC JOBMAX KEYTIMEOUT LINENO LINES LISTMAX MACHTYPE MANPATH MAPFILE MATCH MBEGIN MEND MODULE_PATH
    NULLCMD OLDPWD OPTARG OPTERR OPTIND OPTIONS OSTYPE PARAMETERS PATHSEP PGRP PIPESTATUS POSIXLY_CORRECT POSTEDIT PPID PROMPT PROMPT2
    PROMPT3 PROMPT4 PROMPT_COMMAND PROMPT_DIRTRIM PS0 PS1 PS2 PS3 PS4 PSVAR PWD RANDOM READNULLCMD REPLY RPROMPT RPROMPT2 RPS1 RPS2
    SAVEHIST SECONDS SHELLOPTS SHLVL SIGNALS SPROMPT SRANDOM STATUS STTY TIMEFMT TIMEFORMAT TMOUT TRY_BLOCK_ERROR
    TRY_BLOCK_INTERRUPT TTY TTYIDLE UID USERNAME USER_ID VENDOR WORDCHARS ZDOTDIR";

/// Forbidden prefixes: whole families of such names.
const PREFIXES: &str = "
    ACTIONS_ BASH CI_ COMP_ COMPREPLY DOCKER_ DYLD_ FF_ GIT_ GITHUB_ GITLAB_ HISTC HISTEDIT HISTFILE HISTIGNORE HISTNO HISTSIZE HISTTIME
    INPUT_ JOBPASS_ KSH KUBERNETES_ LC_ LD_ MAIL NPM_CONFIG_ READLINE_ RUNNER_ STATE_ TEKTON_ XDG_ ZLE_ ZSH_";

/// The name of the variable, checked.
///
/// # Errors
/// When it is no valid name, or belongs to a platform, a shell or another program.
pub(super) fn variable(given: &Given) -> Result<String, Failure> {
    let name = &given.text;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Failure::new(Code::UsageValue, format!("{} is no name of a variable", given.source))
            .hint("write letters, digits and underscores, such as `OPENSHIFT_TOKEN`"));
    }
    if is_forbidden(name) {
        let what = format!("{} is a variable that belongs to the platform, the shell or jobpass", given.source);
        return Err(Failure::new(Code::UsageValue, what).hint("choose another name, such as `OPENSHIFT_TOKEN`"));
    }
    Ok(name.clone())
}

fn is_forbidden(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut names = OF_PROGRAMS.split_ascii_whitespace().chain(OF_SHELLS.split_ascii_whitespace());
    names.any(|forbidden| forbidden == name) || PREFIXES.split_ascii_whitespace().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Source;

    fn refusal(name: &str) -> String {
        let given = Given { text: name.to_owned(), source: Source::Flag("variable") };
        let failure = variable(&given).expect_err(name);
        assert_eq!(failure.exit().code(), 2);
        failure.to_string()
    }

    #[test]
    fn variables_of_others_cannot_be_overwritten() {
        let of_platforms =
            "PATH path KUBECONFIG KUBE_CONFIG_PATH LD_PRELOAD GITHUB_TOKEN JOBPASS_LEASE KUBERNETES_SERVICE_HOST CI_JOB_TOKEN NODE_OPTIONS";
        // In at least one of the shells, each of these prints the token, holds something else, or makes the assignment fail.
        let of_shells = "_ RANDOM OPTIND SECONDS LINENO GROUPS BASHPID UID EUID PPID BASH_VERSINFO FUNCNAME LC_ALL LANG status KSHUID \
                         HISTCMD HISTSIZE SHELLOPTS MAILCHECK";
        for name in of_platforms.split(' ').chain(of_shells.split_ascii_whitespace()) {
            assert!(refusal(name).contains("belongs to the platform"), "{name}");
        }
        for name in ["1X", "A-B", "A B", "Ä"] {
            assert!(refusal(name).contains("no name of a variable"), "{name}");
        }
    }

    #[test]
    fn a_name_that_only_looks_like_one_of_theirs_is_free() {
        for name in ["OPENSHIFT_TOKEN", "TOKEN", "HISTORY_TOKEN", "PROMPT_TOKEN", "__TOKEN", "random_token", "UID_TOKEN"] {
            let given = Given { text: name.to_owned(), source: Source::Flag("variable") };
            assert_eq!(variable(&given).expect(name), name);
        }
    }
}
