//! What this binary is: its version, and the target, the commit and the way of its build.

use std::ffi::OsString;

use serde_json::json;

use crate::{
    failure::{Code, Failure},
    out::API_VERSION,
};

/// Who built it: `release`, `ci`, or `source` for everybody else, who may have changed what they built.
const BUILT: &str = env!("BUILT_BY");
const TARGET: &str = env!("BUILT_FOR");
/// The whole name of the commit; empty where nobody knew it.
const COMMIT: &str = env!("BUILT_OF");

/// All of it in one line, which clap shows after the name of the program.
pub const TEXT: &str = env!("BUILT_VERSION");

/// Whether the command line asks for the version in a format, as `--version -o json` does: what is printed then.
///
/// # Errors
/// When there is no such format.
pub fn asked(arguments: &[OsString]) -> Result<Option<String>, Failure> {
    let Some(words) = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let (Some(at), true) = (words.iter().position(|word| ["--version", "-V", "version"].contains(word)), words.len() <= 3) else {
        return Ok(None);
    };
    let others: Vec<_> = words.iter().enumerate().filter(|(place, _)| *place != at).map(|(_, word)| *word).collect();
    let format = match others[..] {
        ["-o" | "--output", format] => format,
        [one] => match one.strip_prefix("--output=").or_else(|| one.strip_prefix("-o")) {
            Some(format) => format.trim_start_matches('='),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    match format {
        "text" => Ok(Some(format!("jobpass {TEXT}"))),
        "json" => Ok(Some(document().to_string())),
        _ => Err(Failure::new(Code::UsageValue, "`--output` is neither `text` nor `json`")),
    }
}

fn document() -> serde_json::Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Version",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": (!COMMIT.is_empty()).then_some(COMMIT),
        "target": TARGET,
        "built": BUILT,
        "operate": cfg!(feature = "operate"),
    })
}
