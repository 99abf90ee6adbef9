//! A value as the usual encoders and escapers write it: each character as it is, or escaped in one style.
//!
//! Encoders differ in which characters they escape, and there are too many to follow each. So any character may be escaped or not,
//! and whatever keeps to one style is found. No encoder escapes letters, digits, `-`, `_` and `.`.

use zeroize::Zeroizing;

use super::encode::{LOWER, UPPER, hex};

type Bytes = Zeroizing<Vec<u8>>;

/// How a character is escaped. Hex digits may be of either case: PHP writes both in one text.
#[derive(Clone, Copy)]
enum Style {
    /// `%2F`, and `+` for a space. Python's `quote` and `urlencode`, JavaScript's `encodeURI`, `encodeURIComponent`, `URL` and
    /// `URLSearchParams`, Go's `net/url`, Java's `URI` and `URLEncoder`, PHP, jq's `@uri`, curl.
    Percent,
    /// `\u002f`, `\n`, `\"`. JSON of Go, Python, jq, PHP, Gson and .NET; `declare -p` of bash.
    Json,
    /// `\x2f`, `\n`, `\'`. The `repr` of Python, `%q` of Go, `util.inspect` of Node.
    Hex,
    /// `\057`, `\n`, `\E`. What bash writes as `$'…'`, as with `set -x`.
    Octal,
    /// `'\''` by bash, `'"'"'` by dash and busybox, with `set -x`, `set` and `export -p`; `''` in YAML and SQL, `""` in CSV.
    Quote,
    /// `&amp;`, `&#39;`, `&#x27;`. HTML and XML.
    Entity,
}

const STYLES: [Style; 6] = [Style::Percent, Style::Json, Style::Hex, Style::Octal, Style::Quote, Style::Entity];

const CASES: [&[u8; 16]; 2] = [LOWER, UPPER];

/// In bytes: so many first bytes are enough to rule out a form at most places of a text.
const HEAD: usize = 4;

/// A text as a sequence of parts. Each part may be written in several ways; the first of them is the plain text, and none is
/// shorter than that.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) parts: Vec<Vec<Bytes>>,
    /// The first bytes of all forms; empty if a form is shorter than a head.
    heads: Zeroizing<Vec<[u8; HEAD]>>,
}

/// How the beginning of a text fits a [`Spelled`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Where the longest form ends that the text begins with, if it begins with one.
    pub(super) end: Option<usize>,
    /// Whether the whole text is the beginning of a longer form, so that more input is needed.
    pub(super) open: bool,
}

/// The text in every style that writes at least one of its characters differently.
pub(super) fn spelled(text: &str) -> impl Iterator<Item = Spelled> {
    STYLES.into_iter().filter_map(move |style| Spelled::in_style(text, style))
}

impl Spelled {
    fn in_style(text: &str, style: Style) -> Option<Self> {
        let mut parts: Vec<Vec<Bytes>> = Vec::new();
        // Where the current run of characters begins that have only one spelling.
        let mut plain = 0;
        for (at, char) in text.char_indices() {
            let others = style.others(char);
            if !others.is_empty() {
                let itself = at..at + char.len_utf8();
                if plain < at {
                    parts.push(vec![text.as_bytes()[plain..at].to_vec().into()]);
                }
                plain = itself.end;
                parts.push([text.as_bytes()[itself].to_vec().into()].into_iter().chain(others).collect());
            }
        }
        if parts.is_empty() {
            return None;
        }
        if plain < text.len() {
            parts.push(vec![text.as_bytes()[plain..].to_vec().into()]);
        }
        Some(Self::new(parts))
    }

    /// Makes it of these parts. No part, and no way to write one, may be empty.
    pub(super) fn new(parts: Vec<Vec<Bytes>>) -> Self {
        let shortest: usize = parts.iter().map(|part| part[0].len()).sum();
        let mut spelled = Self { parts, heads: Vec::new().into() };
        if shortest >= HEAD {
            spelled.heads = spelled.windows(1);
        }
        spelled
    }

    /// The bytes with which a form may begin.
    pub(super) fn firsts(&self) -> Vec<u8> {
        let mut firsts: Vec<_> = self.parts.first().into_iter().flatten().filter_map(|way| way.first().copied()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    }

    /// Every `N` consecutive bytes of any form that begin among its first `starts` bytes; a few more may be included.
    pub(super) fn windows<const N: usize>(&self, starts: usize) -> Zeroizing<Vec<[u8; N]>> {
        let mut windows = Zeroizing::new(Vec::new());
        // The smallest number of bytes that can be before the part.
        let mut before = 0;
        for (at, part) in self.parts.iter().enumerate() {
            for way in part {
                for from in 0..way.len().min(starts.saturating_sub(before)) {
                    self.fill([0; N], 0, &way[from..], at + 1, &mut windows);
                }
            }
            before += part[0].len();
        }
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// Fills a window further: with this piece, and then with the parts from `next` on.
    fn fill<const N: usize>(&self, mut window: [u8; N], filled: usize, piece: &[u8], next: usize, windows: &mut Vec<[u8; N]>) {
        let length = piece.len().min(N - filled);
        let filled_now = filled + length;
        window[filled..filled_now].copy_from_slice(&piece[..length]);
        if filled_now == N {
            windows.push(window);
        } else if let Some(part) = self.parts.get(next) {
            for way in part {
                self.fill(window, filled_now, way, next + 1, windows);
            }
        }
    }

    /// Compares the beginning of the text with all forms at once.
    pub(super) fn fit(&self, text: &[u8]) -> Fit {
        let mut open = false;
        if let Some(head) = text.first_chunk()
            && !self.heads.is_empty()
            && !self.heads.contains(head)
        {
            return Fit { end: None, open };
        }
        // Where the next part may begin. There are several places where one spelling is the beginning of another.
        let mut places = vec![0];
        for part in &self.parts {
            let mut next = Vec::new();
            for place in places {
                let rest = &text[place..];
                for way in part {
                    let end = place + way.len();
                    if !rest.starts_with(way) {
                        open |= way.starts_with(rest);
                    } else if !next.contains(&end) {
                        next.push(end);
                    }
                }
            }
            places = next;
        }
        Fit { end: places.into_iter().max(), open }
    }
}

impl Style {
    /// The ways to write the character in this style, besides as it is.
    fn others(self, char: char) -> Vec<Bytes> {
        let mut others: Vec<Bytes> = Vec::new();
        if char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.') {
            return others;
        }
        let mut add = |text: &[&[u8]]| others.push(text.concat().into());
        let mut utf8 = [0; 4];
        let utf8 = char.encode_utf8(&mut utf8).as_bytes();
        match self {
            Self::Percent => {
                for digits in CASES {
                    add(&[&each(utf8, b"%", |byte| hex(&[byte], digits))]);
                }
                match char {
                    ' ' => add(&[b"+"]),
                    // In form data a line break is sent as CRLF.
                    '\n' => ["%0D%0A", "%0d%0a"].iter().for_each(|pair| add(&[pair.as_bytes()])),
                    // https://url.spec.whatwg.org/#path-start-state
                    '\\' => add(&[b"/"]),
                    _ => {}
                }
            }
            Self::Json => {
                let mut utf16 = [0; 2];
                let units: Vec<_> = char.encode_utf16(&mut utf16).iter().flat_map(|unit| unit.to_be_bytes()).collect();
                let scalar = u32::from(char).to_be_bytes();
                for digits in CASES {
                    let units: Vec<_> = units.chunks(2).map(|unit| [&b"\\u"[..], &hex(unit, digits)].concat()).collect();
                    add(&[&Zeroizing::new(units.concat())]);
                    // Python's `ascii` and Go's `%+q` write these shorter.
                    match char {
                        '\0'..='\u{1f}' | '\u{7f}'..='\u{ff}' => add(&[b"\\x", &hex(&scalar[3..], digits)]),
                        '\u{10000}'.. => add(&[b"\\U", &hex(&scalar, digits)]),
                        _ => {}
                    }
                }
            }
            Self::Hex => CASES.iter().for_each(|digits| add(&[&each(utf8, b"\\x", |byte| hex(&[byte], digits))])),
            Self::Octal => add(&[&each(utf8, b"\\", |byte| [byte >> 6, byte >> 3, byte].map(|digit| b'0' + (digit & 7)).to_vec().into())]),
            Self::Quote => match char {
                '\'' => {
                    add(&[br"'\''"]);
                    add(&[br#"'"'"'"#]);
                    // dash puts several quotes in a row into one pair of double quotes: this is the first or the last of them.
                    add(&[br#"'"'"#]);
                    add(&[b"''"]);
                }
                '"' => add(&[br#""""#]),
                _ => {}
            },
            Self::Entity => {
                let name: Option<&[u8]> = match char {
                    '&' => Some(b"&amp;"),
                    '<' => Some(b"&lt;"),
                    '>' => Some(b"&gt;"),
                    '"' => Some(b"&quot;"),
                    '\'' => Some(b"&apos;"),
                    _ => None,
                };
                if let Some(name) = name {
                    add(&[name]);
                }
                let number = u32::from(char);
                for number in [format!("&#{number};"), format!("&#x{number:x};"), format!("&#x{number:X};")] {
                    add(&[&Zeroizing::new(number.into_bytes())]);
                }
            }
        }
        if let Self::Json | Self::Hex | Self::Octal = self {
            for letter in letters(char) {
                add(&[b"\\", &[letter]]);
            }
            if char == '\n' {
                add(&[br"\r\n"]);
            }
        }
        if char == '\n' {
            // Git and many servers turn LF into CRLF.
            add(&[b"\r\n"]);
        }
        others.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        others.dedup();
        others
    }
}

/// The bytes, each escaped: the prefix and its digits.
fn each(bytes: &[u8], prefix: &[u8], digits: impl Fn(u8) -> Bytes) -> Bytes {
    let escaped: Vec<Vec<u8>> = bytes.iter().map(|byte| [prefix, &digits(*byte)].concat()).collect();
    escaped.concat().into()
}

/// The letters that stand for this character after a backslash.
fn letters(char: char) -> Vec<u8> {
    match char {
        '\n' => vec![b'n'],
        '\r' => vec![b'r'],
        '\t' => vec![b't'],
        '\u{7}' => vec![b'a'],
        '\u{8}' => vec![b'b'],
        '\u{b}' => vec![b'v'],
        '\u{c}' => vec![b'f'],
        '\u{1b}' => vec![b'e', b'E'],
        '\0' => vec![b'0'],
        ' '..='~' => u8::try_from(char).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Patterns, Scrubber};

    /// Checks that each form is hidden in a text that is written in one piece, in two at every place, and byte by byte.
    fn hides(value: &str, forms: &[&str]) {
        let mut patterns = Patterns::new();
        patterns.value(value).expect("long enough");
        let mut scrubber = Scrubber::new(Vec::new(), &patterns);
        for form in forms {
            let text = format!("a log: {form} and more\n");
            let cuts = (0..=text.len()).map(|at| vec![&text.as_bytes()[..at], &text.as_bytes()[at..]]);
            for chunks in cuts.chain([text.as_bytes().chunks(1).collect()]) {
                for chunk in chunks {
                    scrubber.write_all(chunk).expect("a vector takes all");
                }
                assert_eq!(scrubber.held(), 0);
                assert_eq!(String::from_utf8_lossy(&std::mem::take(&mut scrubber.out)), "a log: *** and more\n", "{form}");
            }
        }
    }

    /// The value whose forms were recorded from the tools below.
    const VALUE: &str = "p@ss w=rd+1~x!*'\"$`\\<&>/:;,?#[]{}|^%é😀(x)\u{7f}Z";

    #[test]
    fn what_is_percent_encoded() {
        let forms = [
            // Python's quote, its quote_plus and Go's QueryEscape.
            "p%40ss%20w%3Drd%2B1~x%21%2A%27%22%24%60%5C%3C%26%3E/%3A%3B%2C%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            "p%40ss+w%3Drd%2B1~x%21%2A%27%22%24%60%5C%3C%26%3E%2F%3A%3B%2C%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            // curl 7.88, --data-urlencode.
            "p%40ss+w%3drd%2b1~x%21%2a%27%22%24%60%5c%3c%26%3e%2f%3a%3b%2c%3f%23%5b%5d%7b%7d%7c%5e%25%c3%a9%f0%9f%98%80%28x%29%7fZ",
            // JavaScript's encodeURIComponent, also jq's @uri; encodeURI; URLSearchParams.
            "p%40ss%20w%3Drd%2B1~x!*'%22%24%60%5C%3C%26%3E%2F%3A%3B%2C%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80(x)%7FZ",
            "p@ss%20w=rd+1~x!*'%22$%60%5C%3C&%3E/:;,?#%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80(x)%7FZ",
            "p%40ss+w%3Drd%2B1%7Ex%21*%27%22%24%60%5C%3C%26%3E%2F%3A%3B%2C%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            // JavaScript's URL: the password, the query, the path, the fragment.
            "p%40ss%20w%3Drd+1~x!*'%22$%60%5C%3C&%3E%2F%3A%3B,%3F%23%5B%5D%7B%7D%7C%5E%%C3%A9%F0%9F%98%80(x)%7FZ",
            "p@ss%20w=rd+1~x!*%27%22$`\\%3C&%3E/:;,?%23[]{}|^%%C3%A9%F0%9F%98%80(x)%7FZ",
            "p@ss%20w=rd+1~x!*'%22$%60/%3C&%3E/:;,%3F%23[]%7B%7D|^%%C3%A9%F0%9F%98%80(x)%7FZ",
            "p@ss%20w=rd+1~x!*'%22$%60\\%3C&%3E/:;,?#[]{}|^%%C3%A9%F0%9F%98%80(x)%7FZ",
            // Go's PathEscape, its UserPassword, the path of its URL.
            "p@ss%20w=rd+1~x%21%2A%27%22$%60%5C%3C&%3E%2F:%3B%2C%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            "p%40ss%20w=rd+1~x%21%2A%27%22$%60%5C%3C&%3E%2F%3A;,%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            "p@ss%20w=rd+1~x%21%2A%27%22$%60%5C%3C&%3E/:;,%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80%28x%29%7FZ",
            // Java's URI, which leaves what is not ASCII as it is: the path and the query.
            "p@ss%20w=rd+1~x!*'%22$%60%5C%3C&%3E/:;,%3F%23%5B%5D%7B%7D%7C%5E%25é😀(x)%7FZ",
            "p@ss%20w=rd+1~x!*'%22$%60%5C%3C&%3E/:;,?%23[]%7B%7D%7C%5E%25é😀(x)%7FZ",
            // The path characters of RFC 3986.
            "p@ss%20w=rd+1~x!*'%22$%60%5C%3C&%3E%2F:;,%3F%23%5B%5D%7B%7D%7C%5E%25%C3%A9%F0%9F%98%80(x)%7FZ",
        ];
        hides(VALUE, &forms);
        // The same with the hex digits in lower case.
        let lower = |form: &&str| {
            let mut parts = form.split('%');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| match part.split_at_checked(2) {
                Some((digits, rest)) if u8::from_str_radix(digits, 16).is_ok() => text + "%" + &digits.to_lowercase() + rest,
                _ => text + "%" + part,
            })
        };
        let lower: Vec<_> = forms.iter().map(lower).collect();
        hides(VALUE, &lower.iter().map(String::as_str).collect::<Vec<_>>());
        hides("100%25 + sure%", &["100%2525+%2B+sure%25", "100%2525%20%2b%20sure%25", "100%25%20+%20sure%"]);
        hides("two lines\nof it", &["two%20lines%0Aof+it", "two+lines%0D%0Aof+it", "two+lines%0d%0aof+it", "two lines\r\nof it"]);
    }

    #[test]
    fn what_is_escaped_in_json() {
        hides(
            VALUE,
            &[
                // Python, and jq -a.
                r#"p@ss w=rd+1~x!*'\"$`\\<&>/:;,?#[]{}|^%\u00e9\ud83d\ude00(x)\u007fZ"#,
                // jq, and Node but for the last escape.
                r#"p@ss w=rd+1~x!*'\"$`\\<&>/:;,?#[]{}|^%é😀(x)\u007fZ"#,
                // Go.
                "p@ss w=rd+1~x!*'\\\"$`\\\\\\u003c\\u0026\\u003e/:;,?#[]{}|^%é😀(x)\u{7f}Z",
                // Gson.
                "p@ss w\\u003drd+1~x!*\\u0027\\\"$`\\\\\\u003c\\u0026\\u003e/:;,?#[]{}|^%é😀(x)\u{7f}Z",
                // System.Text.Json of .NET.
                r"p@ss w=rd\u002B1~x!*\u0027\u0022$\u0060\\\u003C\u0026\u003E/:;,?#[]{}|^%\u00E9\uD83D\uDE00(x)\u007FZ",
                // PHP.
                "p@ss w=rd+1~x!*'\\\"$`\\\\<&>\\/:;,?#[]{}|^%\\u00e9\\ud83d\\ude00(x)\u{7f}Z",
                // PHP with all JSON_HEX flags.
                r"p@ss w=rd+1~x!*\u0027\u0022$`\\\u003C\u0026\u003E\/:;,?#[]{}|^%\u00e9\ud83d\ude00(x)\u007fZ",
            ],
        );
        hides("a\u{8}\u{c}\n\r\tb\u{1}\u{2028}Z", &[r"a\b\f\n\r\tb\u0001\u2028Z", "a\\u0008\\u000c\\u000a\\u000d\\u0009b\\u0001\u{2028}Z"]);
        let ours = serde_json::to_string(VALUE).expect("a string");
        hides(VALUE, &[ours.trim_matches('"')]);
    }

    #[test]
    fn what_a_shell_dumps() {
        // bash; dash and busybox, also of several quotes in a row and at both ends.
        hides("it's a secret", &[r"it'\''s a secret", r#"it'"'"'s a secret"#, r"it\'s\ a\ secret", "it''s a secret"]);
        hides("a''b'''c-end", &[r"a'\'''\''b'\'''\'''\''c-end", r#"a'"''"'b'"'''"'c-end"#, r#"a'"'"''"'"'b'"'"''"'"''"'"'c-end"#]);
        hides(
            "z'ürich\n\t\u{1b}\\\u{7f}.",
            &[r"z\'\303\274rich\n\t\E\\\177.", r"z\'ürich\n\t\e\\\177.", r"z\'\303\274rich\012\011\033\\\177."],
        );
        hides("a$b`c\"d\\e'f", &[r#"a\$b\`c\"d\\e'f"#, r#"a$b`c""d\e'f"#]);
        for (value, dumped) in [("'quoted value'", r#"''"'"'quoted value'"'"'"#), ("''twice quoted''", r#"''"''"'twice quoted'"''"'"#)] {
            let mut patterns = Patterns::new();
            patterns.value(value).expect("long enough");
            let mut scrubber = Scrubber::new(Vec::new(), &patterns);
            scrubber.write_all(dumped.as_bytes()).expect("a vector takes all");
            let output = String::from_utf8(scrubber.finish().expect("a vector takes all")).expect("text");
            assert!(output.contains("***") && !output.contains("quoted"), "{output}");
        }
    }

    #[test]
    fn what_programs_and_markup_write() {
        hides(
            VALUE,
            &[
                // Python: of the text, of its bytes, ascii; Go's %+q; Node.
                r#"p@ss w=rd+1~x!*\'"$`\\<&>/:;,?#[]{}|^%é😀(x)\x7fZ"#,
                r#"p@ss w=rd+1~x!*\'"$`\\<&>/:;,?#[]{}|^%\xc3\xa9\xf0\x9f\x98\x80(x)\x7fZ"#,
                r#"p@ss w=rd+1~x!*\'"$`\\<&>/:;,?#[]{}|^%\xe9\U0001f600(x)\x7fZ"#,
                r#"p@ss w=rd+1~x!*'\"$`\\<&>/:;,?#[]{}|^%\u00e9\U0001f600(x)\x7fZ"#,
                r#"p@ss w=rd+1~x!*\'"$`\\<&>/:;,?#[]{}|^%é😀(x)\x7FZ"#,
                // Python's html.escape, Go's, jq's @html.
                "p@ss w=rd+1~x!*&#x27;&quot;$`\\&lt;&amp;&gt;/:;,?#[]{}|^%é😀(x)\u{7f}Z",
                "p@ss w=rd+1~x!*&#39;&#34;$`\\&lt;&amp;&gt;/:;,?#[]{}|^%é😀(x)\u{7f}Z",
                "p@ss w=rd+1~x!*&apos;&quot;$`\\&lt;&amp;&gt;/:;,?#[]{}|^%&#233;&#x1f600;(x)&#x7F;Z",
            ],
        );
    }

    #[test]
    fn what_nobody_escapes_has_no_other_form() {
        assert_eq!(spelled("Just-Letters_0123.and").count(), 0);
        // There is nothing in it that a shell would quote, so one style is missing.
        let mut patterns = Patterns::new();
        patterns.value("colon:1234").expect("long enough");
        assert_eq!(patterns.iter().filter(|pattern| pattern.spelled.is_some()).count(), 5);
        patterns.value("dollar$1234").expect("long enough");
        assert_eq!(patterns.iter().filter(|pattern| pattern.spelled.is_some()).count(), 5 + 5);
    }

    #[test]
    fn no_way_is_shorter_than_the_text_itself() {
        for part in spelled(VALUE).flat_map(|spelled| spelled.parts) {
            assert!(part.iter().all(|way| way.len() >= part[0].len()));
        }
    }

    #[test]
    fn a_style_is_not_mixed_with_another_one() {
        let mut patterns = Patterns::new();
        patterns.value("a/b/c/d/e/f").expect("long enough");
        let mut scrubber = Scrubber::new(Vec::new(), &patterns);
        let text = b"a%2Fb\\u002fc/d/e/f a/b/c/d%2Fe";
        scrubber.write_all(text).expect("a vector takes all");
        assert_eq!(scrubber.finish().expect("a vector takes all"), text);
    }

    #[test]
    fn one_text_may_be_read_in_several_ways() {
        let spelled = Spelled::in_style("it's''", Style::Quote).expect("quotes");
        let fit = |text: &str| spelled.fit(text.as_bytes());
        assert_eq!(fit("it's''"), Fit { end: Some(6), open: true });
        assert_eq!(fit("it's''''x"), Fit { end: Some(8), open: false });
        assert_eq!(fit("it's'"), Fit { end: None, open: true });
        assert_eq!(fit("it''"), Fit { end: None, open: true });
        assert_eq!(fit("it''''"), Fit { end: None, open: false });
        assert_eq!(spelled.windows::<3>(1).to_vec(), [*b"it'"]);
        assert_eq!(spelled.firsts(), b"i");
    }
}
