//! What GitHub's runner makes of a file command and of a line of the log: `FileCommandManager.cs` and `ActionCommand.cs` of
//! actions/runner, on Linux.

/// The records of a file in their order; none where the runner fails at one of them.
pub(crate) fn records(file: &str) -> Option<Vec<(String, String)>> {
    // `File.ReadAllText` takes a byte order mark off.
    let mut rest = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut records = Vec::new();
    while let Some((line, _)) = next_line(&mut rest) {
        if line.is_empty() {
            continue;
        }
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        let record = match (equals, heredoc) {
            (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
                (line[..equals].to_owned(), line[equals + 1..].to_owned())
            }
            (_, Some(heredoc)) => {
                let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return None;
                }
                let value = rest;
                let mut length = None;
                loop {
                    let before = value.len() - rest.len();
                    match next_line(&mut rest)? {
                        (line, _) if line == delimiter => break,
                        (_, false) => return None,
                        // Without the line break that ends it.
                        (line, true) => length = Some(before + line.len()),
                    }
                }
                (name.to_owned(), value[..length.unwrap_or_default()].to_owned())
            }
            _ => return None,
        };
        records.push(record);
    }
    Some(records)
}

/// A line, and whether a line break ends it; none at the end.
fn next_line<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    if rest.is_empty() {
        return None;
    }
    let (line, after, is_ended) = match rest.find('\n') {
        Some(at) => (&rest[..at], &rest[at + 1..], true),
        None => (*rest, "", false),
    };
    *rest = after;
    Some((line, is_ended))
}

/// What the post step gets as `STATE_lease`. The runner's table of states takes `LEASE` and `lease` for one, and keeps the first name.
pub(crate) fn state(file: &str) -> Option<String> {
    let of_lease: Vec<_> =
        records(file)?.into_iter().filter(|(name, _)| name.to_lowercase() == "lease" || name.to_uppercase() == "LEASE").collect();
    let (_, last) = of_lease.last()?;
    of_lease.iter().all(|(name, _)| name == "lease").then(|| last.clone())
}

/// The name and the value of a command without properties, if the whole text is one and takes one line.
pub(crate) fn command(text: &str) -> Option<(String, String)> {
    let (name, data) = text.strip_prefix("::")?.split_once("::")?;
    let is_line = !text.contains(['\r', '\n']) && !name.contains(' ');
    is_line.then(|| (name.to_owned(), data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")))
}
