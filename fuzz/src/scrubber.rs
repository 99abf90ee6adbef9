//! The scrubber against its oracle: whatever the secrets are, wherever they stand and however the output is cut, the same bytes come
//! out and the same wait.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use jobpass_scrub::{Patterns, Scrubber, oracle::expected};

/// The oracle looks at each place for each form: longer inputs take it too long.
const LONGEST: usize = 400;

/// So many ways in which a secret can be written are enough.
const MOST_FORMS: usize = 400;

/// A value, a token, and a program: what is written, byte by byte. Capital letters stand for a secret or a part of it in some form, all else
/// for itself.
pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (Some(value), Some(token), Some(program)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (Ok(value), Ok(token)) = (std::str::from_utf8(value), std::str::from_utf8(token)) else { return };
    // A token of other characters is not looked for where a line ends beside one of them; the oracle does.
    let is_joinable = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_.~".contains(&byte));
    if value.len() > 24 || token.len() > 90 || program.len() > LONGEST || !is_joinable {
        return;
    }
    let mut patterns = Patterns::new();
    let is_hidden = patterns.value(value).is_ok();
    patterns.token(token);
    // A secret with the stars that stand for one could not be told from them.
    if patterns.is_empty() || value.contains('*') || token.contains('*') {
        return;
    }
    let chunks = played(program, value.trim(), token.trim());
    if chunks.iter().map(Vec::len).sum::<usize>() > LONGEST || chunks.concat().contains(&b'*') {
        return;
    }
    let Some((output, held)) = expected(&patterns, &chunks, MOST_FORMS) else { return };
    let mut scrubber = Scrubber::new(Vec::new(), &patterns);
    for (chunk, held) in chunks.iter().zip(held) {
        scrubber.write_all(chunk).expect("memory takes all");
        assert_eq!(scrubber.held(), held, "held after a chunk of {:?}", shown(&chunks));
    }
    let ours = scrubber.finish().expect("memory takes all");
    assert_eq!(ours.escape_ascii().to_string(), output.escape_ascii().to_string(), "of {:?}", shown(&chunks));
    // By itself, too, so that a fault of the oracle's does not hide one of ours.
    let value = value.trim().as_bytes();
    assert!(!is_hidden || !ours.windows(value.len()).any(|window| window == value), "the value came out");
}

fn shown(chunks: &[Vec<u8>]) -> Vec<String> {
    chunks.iter().map(|chunk| chunk.escape_ascii().to_string()).collect()
}

/// What a program writes.
fn played(program: &[u8], value: &str, token: &str) -> Vec<Vec<u8>> {
    let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let percent = |text: &str| {
        let ways =
            text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") });
        ways.collect::<String>()
    };
    let half = |text: &str| text.char_indices().nth(text.chars().count() / 2).map_or(String::new(), |(at, _)| text[..at].to_owned());
    let folded = |text: &str| text.as_bytes().chunks(20).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    let mut chunks = vec![Vec::new()];
    for byte in program {
        let text = match byte {
            b'A' => value.to_owned(),
            b'B' => token.to_owned(),
            b'C' => hex(value),
            b'D' => hex(token).to_uppercase(),
            b'E' => STANDARD.encode(value),
            b'F' => STANDARD.encode(format!("x{token}")),
            b'G' => percent(value),
            b'H' => half(value),
            b'I' => half(token),
            b'J' => folded(token),
            b'K' => folded(&hex(value)),
            b'L' => serde_json::to_string(value).unwrap_or_default(),
            b'M' => token.rsplit('.').next().unwrap_or_default().to_owned(),
            b'N' => token[half(token).len()..].to_owned(),
            b'O' => value[half(value).len()..].to_owned(),
            // What follows is another write.
            b'|' => {
                chunks.push(Vec::new());
                continue;
            }
            byte => {
                chunks.last_mut().expect("one at least").push(*byte);
                continue;
            }
        };
        chunks.last_mut().expect("one at least").extend_from_slice(text.as_bytes());
    }
    chunks
}
