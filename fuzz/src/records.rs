//! What we write for GitHub's runner and for a shell, read by their grammars: the same name and the same value, and nothing else.

use jobpass::{
    platform::{
        github::{mask_command, record, state, state_of},
        shell::quoted,
    },
    secret::Secret,
};

use crate::runner;

const RANDOM: &str = "0123456789abcdef0123456789abcdef";

/// A name, a line break and a value.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, value) = text.split_once('\n').unwrap_or(("lease", text));
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    match record(name, value, RANDOM) {
        Ok(record) => {
            assert!(is_plain, "{name:?} is a name");
            let ours = (name.to_owned(), value.to_owned());
            let other = |name: &str| (name.to_owned(), "x".to_owned());
            let read = runner::records(&format!("before<<E\nx\nE\n{record}{record}after=x\n"));
            assert_eq!(read, Some(vec![other("before"), ours.clone(), ours, other("after")]));
        }
        Err(_) => assert!(!is_plain || value.contains(&format!("jobpass_{RANDOM}")), "{name:?} and {value:?} are refused"),
    }
    assert_eq!(runner::state(&state(&value)), serde_json::to_string(value).ok(), "the state is one record");
    // Whatever stands in the file: it is believed only where the runner reads it so.
    for file in [text, &format!("{text}{}", state(&"x"))] {
        if let Some(believed) = state_of(file) {
            assert_eq!(runner::state(file), Some(believed), "the runner reads {file:?} otherwise");
        } else {
            assert!(!file.ends_with('\n') || runner::state(file).is_none(), "{file:?} is not believed");
        }
    }
    let mask = mask_command(&Secret::new(value.to_owned()));
    assert_eq!(runner::command(mask.expose()), Some(("add-mask".to_owned(), value.to_owned())));
    assert_eq!(word(&quoted(value)), Some(value.to_owned()), "{}", quoted(value));
}

/// The one word that a POSIX shell makes of a text, if it does nothing else with it: `2.2 Quoting` of the Shell Command Language.
fn word(text: &str) -> Option<String> {
    let (mut word, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        match c {
            '\'' => loop {
                match rest.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '\\' => word.push(rest.next().filter(|c| *c != '\n')?),
            c if c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c) => word.push(c),
            _ => return None,
        }
    }
    (!text.is_empty()).then_some(word)
}
