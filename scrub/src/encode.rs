//! The encodings in which a secret is recognised; every copy is overwritten on drop.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

type Bytes = Zeroizing<Vec<u8>>;

/// Hex in one case.
pub(super) fn hex(bytes: &[u8], digits: &[u8; 16]) -> Bytes {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    for byte in bytes {
        text.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
    text
}

/// What is always in the base64 of a text that holds these bytes: the characters that no neighbour has a part in.
///
/// One for each alignment and alphabet; at each end a character that tells up to four bits of the secret is not in it.
pub(super) fn base64(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    (0..3).flat_map(move |before| {
        let mut aligned = Zeroizing::new(Vec::with_capacity(before + bytes.len()));
        aligned.resize(before, 0);
        aligned.extend_from_slice(bytes);
        // A character is six bits.
        let core = (before * 8).div_ceil(6)..aligned.len() * 8 / 6;
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| {
            let text = Zeroizing::new(engine.encode(&*aligned));
            Zeroizing::new(text.as_bytes().get(core.clone()).unwrap_or_default().to_vec())
        })
    })
}

/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>: Python's `quote(safe="")`, jq's `@uri`, curl's `--data-urlencode`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Python's `quote`.
const PATH: &AsciiSet = &RESERVED.remove(b'/');
/// JavaScript's `encodeURIComponent`.
const COMPONENT: &AsciiSet = &RESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// <https://url.spec.whatwg.org/#application-x-www-form-urlencoded-percent-encode-set>, but for the space, which becomes a `+`.
const FORM: &AsciiSet = &RESERVED.add(b'~').remove(b'*').remove(b' ');
/// <https://url.spec.whatwg.org/#userinfo-percent-encode-set>: a password in a URL.
const USERINFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'|');

/// Percent-encoded as the usual encoders do it, with digits of both cases.
pub(super) fn percent(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    [RESERVED, PATH, COMPONENT, FORM, USERINFO].into_iter().flat_map(move |set| {
        let mut upper = Zeroizing::new(Vec::with_capacity(bytes.len() * 3));
        let mut lower = Zeroizing::new(Vec::with_capacity(bytes.len() * 3));
        for part in percent_encode(bytes, set) {
            match part.as_bytes() {
                // Only what is encoded begins with a percent sign, unless the set leaves it as it is.
                encoded @ [b'%', _, _] => {
                    upper.extend_from_slice(encoded);
                    lower.extend(encoded.iter().map(u8::to_ascii_lowercase));
                }
                plain => {
                    for text in [&mut upper, &mut lower] {
                        text.extend(plain.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }));
                    }
                }
            }
        }
        [upper, lower]
    })
}

/// What a writer of JSON escapes beyond what it must.
#[derive(Clone, Copy)]
struct Escapes {
    /// `/`, as PHP does.
    slash: bool,
    /// `<`, `>`, `&` and the two line separators of Unicode, as Go does.
    html: bool,
    /// All that is not ASCII, as Python and PHP do.
    unicode: bool,
}

/// The inside of a JSON string, as the usual writers make it.
pub(super) fn json(text: &str) -> impl Iterator<Item = Bytes> {
    let plain = Escapes { slash: false, html: false, unicode: false };
    let html = Escapes { html: true, ..plain };
    let unicode = Escapes { unicode: true, ..plain };
    let php = Escapes { slash: true, ..unicode };
    [plain, html, unicode, php].into_iter().map(move |escapes| json_string(text, escapes))
}

fn json_string(text: &str, escapes: Escapes) -> Bytes {
    let mut json = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for char in text.chars() {
        let short = match char {
            '"' | '\\' => Some(char),
            '/' if escapes.slash => Some(char),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            _ => None,
        };
        let html = escapes.html && matches!(char, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        if let Some(short) = short {
            json.push(b'\\');
            json.extend(short.encode_utf8(&mut [0; 4]).bytes());
        } else if char < ' ' || html || (escapes.unicode && !char.is_ascii()) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                json.extend(b"\\u");
                json.extend_from_slice(&hex(&unit.to_be_bytes(), b"0123456789abcdef"));
            }
        } else {
            json.extend(char.encode_utf8(&mut [0; 4]).bytes());
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).expect("ASCII")
    }

    #[test]
    fn hex_has_two_digits_for_a_byte() {
        assert_eq!(text(&hex(b"\x00j\xff", b"0123456789abcdef")), "006aff");
        assert_eq!(text(&hex(b"\x00j\xff", b"0123456789ABCDEF")), "006AFF");
    }

    #[test]
    fn the_base64_of_any_text_around_the_secret_holds_a_core_and_little_else_of_it() {
        let secret = b"p@~?\xff\xfe>word";
        let cores: Vec<_> = base64(secret).collect();
        for before in 0..7 {
            for after in 0..4 {
                let around = [&b"before:"[..before], secret, &b"tail"[..after]].concat();
                for (alphabet, engine) in [STANDARD, URL_SAFE].iter().enumerate() {
                    let encoded = engine.encode(&around);
                    let core = text(&cores[before % 3 * 2 + alphabet]);
                    let at = encoded.find(core).unwrap_or_else(|| panic!("{encoded} does not hold {core}"));
                    // Less than a character of the secret's bits is before it, and after it.
                    assert!(at * 6 - before * 8 < 6 && (before + secret.len()) * 8 - (at + core.len()) * 6 < 6, "{encoded} {core}");
                }
            }
        }
        assert!(base64(b"").all(|core| core.is_empty()));
    }

    #[test]
    fn percent_encoding_is_that_of_the_usual_encoders() {
        let forms: Vec<_> = percent("a b/~*'é".as_bytes()).collect();
        let forms: Vec<_> = forms.iter().map(text).collect();
        for expected in [
            "a%20b%2F~%2A%27%C3%A9",
            "a%20b%2f~%2a%27%c3%a9",
            "a%20b/~%2A%27%C3%A9",
            "a%20b%2F~*'%C3%A9",
            "a+b%2F%7E*%27%C3%A9",
            "a%20b%2F~*'%C3%A9",
        ] {
            assert!(forms.contains(&expected), "{expected} is not in {forms:?}");
        }
    }

    #[test]
    fn a_plus_sign_and_a_percent_sign_are_not_taken_for_what_they_encode() {
        let forms: Vec<_> = percent(b"1+1 %41").collect();
        assert!(forms.iter().map(text).all(|form| form.starts_with("1%2B1") || form.starts_with("1%2b1") || form.starts_with("1+1%20")));
        assert!(forms.iter().any(|form| text(form) == "1%2B1+%2541"));
    }

    #[test]
    fn json_is_escaped_as_by_the_usual_writers() {
        let secret = "q\"b\\n\n\u{1}/<é😀";
        let forms: Vec<_> = json(secret).collect();
        let forms: Vec<_> = forms.iter().map(|form| std::str::from_utf8(form).expect("UTF-8")).collect();
        let ours = serde_json::to_string(secret).expect("a string");
        assert_eq!(forms[0], ours.trim_matches('"'));
        assert_eq!(forms[1], "q\\\"b\\\\n\\n\\u0001/\\u003cé😀");
        assert_eq!(forms[2], "q\\\"b\\\\n\\n\\u0001/<\\u00e9\\ud83d\\ude00");
        assert_eq!(forms[3], "q\\\"b\\\\n\\n\\u0001\\/<\\u00e9\\ud83d\\ude00");
        for form in forms {
            assert_eq!(serde_json::from_str::<String>(&format!("\"{form}\"")).expect("JSON"), secret);
        }
    }
}
