//! What the runner reads and hides: inputs, the records of its files, commands in the output, and the masks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Variables;

/// What the runner takes for a command; anything else is a line of the log.
const COMMANDS: [&str; 14] = [
    "add-mask",
    "set-output",
    "save-state",
    "set-env",
    "add-path",
    "stop-commands",
    "error",
    "warning",
    "notice",
    "debug",
    "group",
    "endgroup",
    "echo",
    "add-matcher",
];
/// What `Uri.EscapeDataString` leaves as it is.
const URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The inputs of an `action.yml`, each with its default.
pub(super) fn declared(yml: &str) -> Variables {
    let mut inputs: Vec<(String, String)> = Vec::new();
    for line in yml.lines().skip_while(|line| *line != "inputs:").skip(1).take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match (line.strip_prefix("    default: "), inputs.last_mut()) {
            (Some(value), Some((_, default))) => value.trim_matches('\'').clone_into(default),
            _ if line.starts_with("    ") || line.is_empty() => {}
            _ => inputs.push((line.trim().trim_end_matches(':').to_owned(), String::new())),
        }
    }
    inputs.into_iter().collect()
}

/// The records of a file command: `NAME=VALUE`, or `NAME<<DELIMITER`, the value's lines, the delimiter.
pub(super) fn records(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut records, mut lines) = (Vec::new(), text.split_inclusive('\n'));
    while let Some(whole) = lines.next() {
        let line = whole.trim_end_matches('\n');
        let heredoc = line.split_once("<<").filter(|(name, _)| !name.contains('='));
        let (name, value) = match (heredoc, line.split_once('=')) {
            _ if line.is_empty() => continue,
            (Some((_, "")), _) => return Err(format!("no delimiter: {line}")),
            (Some((name, delimiter)), _) => {
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        None => return Err(format!("no {delimiter}")),
                        Some(line) if line.trim_end_matches('\n') == delimiter => break (name, value.join("\n")),
                        Some(line) => value.push(line.strip_suffix('\n').ok_or("the end of the file without a newline")?),
                    }
                }
            }
            (None, Some((name, value))) => (name, value.to_owned()),
            (None, None) => return Err(format!("no record: {line}")),
        };
        if name.is_empty() {
            return Err("no name".to_owned());
        }
        records.push((name.to_owned(), value));
    }
    Ok(records)
}

/// A command in a line of the output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) properties: Variables,
    pub(super) data: String,
}

/// `::NAME KEY=VALUE,…::DATA` at the beginning of a line, or `##[NAME KEY=VALUE;…]DATA` anywhere.
pub(super) fn command(line: &str) -> Option<Command> {
    let second = line.trim_start().strip_prefix("::").and_then(|rest| rest.split_once("::")).map(|parts| (parts, ','));
    let first = || line.split_once("##[").and_then(|(_, rest)| rest.split_once(']')).map(|parts| (parts, ';'));
    let is_known = |((head, _), _): &((&str, &str), char)| COMMANDS.contains(&head.trim().split(' ').next().unwrap_or_default());
    let ((head, data), separator) = second.filter(is_known).or_else(|| first().filter(is_known))?;
    let (name, properties) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
    let pairs = properties.split(separator).filter_map(|pair| pair.split_once('='));
    let properties = pairs.map(|(key, value)| (key.trim().to_owned(), unescaped(value))).collect();
    Some(Command { name: name.to_owned(), properties, data: unescaped(data) })
}

/// Undoes `%0D`, `%0A`, `%3A`, `%2C`, `%3B`, `%5D` and, last, `%25`. (Data knows only three of them; nothing here depends on it.)
fn unescaped(text: &str) -> String {
    let codes = ["%0D", "%0A", "%3A", "%2C", "%3B", "%5D", "%25"];
    codes.iter().fold(text.to_owned(), |text, code| text.replace(code, &percent_decode_str(code).decode_utf8_lossy()))
}

/// The forms in which the runner takes a value out. Neither hex, nor base64url, nor base64 in lines.
pub(super) fn encodings(value: &str) -> Vec<String> {
    let json = serde_json::to_string(value).expect("a text");
    let xml = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&apos;")];
    let base64 = (0..3).filter_map(|skipped| Some(STANDARD.encode(value.as_bytes().get(skipped..)?)));
    let others = [
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        value.replace('"', "\\\""),
        utf8_percent_encode(value, URI).to_string(),
        xml.iter().fold(value.to_owned(), |text, (plain, escaped)| text.replace(plain, escaped)),
        value.trim_matches('"').to_owned(),
    ];
    base64.chain(others).filter(|form| !form.is_empty()).collect()
}

/// A line with `***` in the place of each mask; of what overlaps or touches, in the place of all.
pub(super) fn mask(line: &str, masks: &[String]) -> String {
    let mut found: Vec<_> =
        masks.iter().flat_map(|mask| line.match_indices(mask.as_str()).map(|(at, part)| (at, at + part.len()))).collect();
    found.sort_unstable();
    let (mut text, mut end) = (String::new(), 0);
    for (from, to) in found {
        if from > end || end == 0 {
            text += &line[end..from];
            text += "***";
        }
        end = end.max(to);
    }
    text + &line[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_command_is_read_by_the_runners_grammar() {
        let record = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read = records("a=1<<2\n\nb<<X\nx=\r\nX \nX\nc<<X\nX\n").expect("sound");
        assert_eq!(read, [record("a", "1<<2"), record("b", "x=\r\nX "), record("c", "")]);
        for bad in ["a<<X\nvalue\n", "a<<X\nvalue", "=1\n", "<<X\n1\nX\n", "a<<\n1\n", "a\n"] {
            assert!(records(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_is_found_at_the_beginning_and_in_its_old_form_anywhere() {
        let of = |line: &str| command(line).map(|command| (command.name, command.properties.into_iter().collect::<Vec<_>>(), command.data));
        let expected = Some(("set-output".to_owned(), vec![("name".to_owned(), "t".to_owned())], "a%0A\nb".to_owned()));
        assert_eq!(of("  ::set-output name=t::a%250A%0Ab"), expected);
        assert_eq!(of("x ##[set-output name=t]a%250A%0Ab"), expected);
        for line in ["x ::set-output name=t::a", "::no-command::a", "# #[add-mask]x", "a: :add-mask::x"] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_mask_covers_the_runners_encodings_and_no_others() {
        let value = "se<cret\"value";
        let masks = encodings(value);
        for skipped in 0..3 {
            assert_eq!(mask(&format!("a {} b", STANDARD.encode(&value[skipped..])), &masks), "a *** b");
        }
        for form in [value, r#"se<cret\"value"#, "se%3Ccret%22value", "se&lt;cret&quot;value"] {
            assert_eq!(mask(&format!("{form}{value} {form}"), &masks), "*** ***", "{form}");
        }
        let line = format!("{}\n", STANDARD.encode(format!("{value}\n")));
        assert_eq!(mask(&line, &masks), line, "a newline before the encoding is enough");
        assert_eq!(mask(&jobpass::name::hex(value.as_bytes()), &masks), jobpass::name::hex(value.as_bytes()));
    }
}
