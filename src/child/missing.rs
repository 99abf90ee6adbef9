//! That there is no program of a name, and what may have been meant: a shell's own word, or a whole command line in quotes.

use std::path::Path;

use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// What a shell does itself, so that there is no program of that name, or one that changes nothing outside itself.
const BUILTINS: [&str; 39] = [
    "!", "(", ".", ":", "[[", "alias", "bg", "builtin", "case", "cd", "command", "declare", "eval", "exec", "exit", "export", "fg", "for",
    "if", "jobs", "let", "local", "mapfile", "popd", "pushd", "read", "return", "set", "shift", "shopt", "source", "trap", "type",
    "ulimit", "umask", "unset", "wait", "while", "{",
];

/// Names under which bash hands a function to its children: `BASH_FUNC_NAME%%`.
const FUNCTION: (&str, &str) = ("BASH_FUNC_", "%%");

/// The failure that there is no such program.
pub(super) fn failure(program: &Path, env: &Env) -> Failure {
    let shown = program.display().to_string();
    let failure = |what: &str| Failure::new(Code::CommandNotFound, what);
    if program.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_whitespace) {
        // Not repeated: whoever quotes a whole command line may have a password in it.
        return failure("there is no program of that name: it is one word with blanks in it")
            .hint("write the words of the command without quotes around all of them, or `sh -c '…'` for a line of a shell");
    }
    let missing = failure(&format!("there is no program `{shown}`"));
    let function = format!("{}{shown}{}", FUNCTION.0, FUNCTION.1);
    if BUILTINS.contains(&shown.as_str()) {
        return missing.cause("it is a word of the shell itself").hint("let a shell run the line: `sh -c '…'`");
    }
    if env.names(&function).contains(&function) {
        return missing.cause("it is a function of bash").hint(format!("let bash run it: `bash -c '{shown} \"$@\"' {shown} …`"));
    }
    missing.hint(if shown.contains('=') {
        "give a command variables by `env NAME=VALUE COMMAND`"
    } else {
        "check its name and `PATH`; a function or an alias of a shell is no program"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_knows_is_told_apart() {
        let env: Env = [("BASH_FUNC_deploy%%", "() { :; }")].into_iter().collect();
        let said = |program: &str| failure(Path::new(program), &env).to_string();
        assert!(said("cd").contains("a word of the shell itself"), "{}", said("cd"));
        assert!(said("deploy").contains("`bash -c 'deploy \"$@\"' deploy …`"), "{}", said("deploy"));
        assert!(said("A=1").contains("`env NAME=VALUE COMMAND`"), "{}", said("A=1"));
        assert!(said("depoy").contains("check its name and `PATH`"), "{}", said("depoy"));
        let quoted = said("kubectl --token hunter2");
        assert!(quoted.contains("one word with blanks") && !quoted.contains("hunter2"), "{quoted}");
    }
}
