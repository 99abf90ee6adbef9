//! Secrets that are one word (a signature, an API key): of these not only the whole is hidden, but every run of their characters,
//! in these forms. A run is found wherever it stands, so tools may break, indent, number or frame a secret as they like.

use zeroize::Zeroizing;

use super::encode::{LOWER, UPPER, base64, hex};

type Bytes = Zeroizing<Vec<u8>>;

/// In bytes: of shorter values no runs are hidden.
const SHORTEST: usize = 24;

/// In bytes: of a longer word, such as a kubeconfig in base64, runs are hidden in fewer forms, as each takes memory.
const LONG: usize = 1024;

/// In bytes: of a longer word no runs are hidden.
const LONGEST: usize = 16 * 1024;

/// In bytes: a shorter last segment of a token is no signature.
const SHORTEST_SIGNATURE: usize = 16;

/// In bytes: the size of the grams by which runs are found.
pub(super) const GRAM: usize = 8;

/// How a form is recognised. Lengths are in bytes of the form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    /// A run of this length is hidden wherever it stands; at least 16.
    pub(super) least: usize,
    /// A piece of this length is hidden soon after a run, where it is what comes next in the secret.
    pub(super) again: usize,
    /// A run of this length at the end of a text is held back, as the next write may make it long enough.
    pub(super) hold: usize,
    /// Of `least` bytes at least so many are different: text of few different characters is nobody's secret.
    variety: usize,
}

/// The secret as it is, and its base64.
const TEXT: Kind = Kind { least: 16, again: 4, hold: 4, variety: 6 };
/// Hex, UTF-16, and the text column of a dump of UTF-16: two bytes for each of the secret.
const DOUBLE: Kind = Kind { least: 16, again: 8, hold: 8, variety: 4 };
/// `4c 78 2d`, as hexdump, od and curl write it: six bytes at least.
const BYTES: Kind = Kind { least: 17, again: 11, hold: 8, variety: 4 };
/// `4c78 2d5f`, as xxd writes it.
const PAIRS: Kind = Kind { least: 16, again: 9, hold: 8, variety: 4 };
/// The same of UTF-16, of which each second byte is zero: eight characters of hex, six in a dump.
const WIDE: Kind = Kind { least: 32, again: 16, hold: 8, variety: 4 };
const WIDE_BYTES: Kind = Kind { least: 35, again: 23, hold: 8, variety: 4 };
const WIDE_PAIRS: Kind = Kind { least: 29, again: 19, hold: 8, variety: 4 };
/// `   L   x   -`, as `od -c` writes it: eight characters at least.
const COLUMNS: Kind = Kind { least: 29, again: 13, hold: 8, variety: 4 };

/// A secret that is one word.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The secret, and some of what precedes it in the token: a run that begins there is longer.
    bytes: Bytes,
    /// How many bytes precede the secret.
    before: usize,
}

/// Where the bytes of a dump are shown a second time, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// Which of the forms is that text.
    pub(super) form: usize,
    /// Where the form with the echo begins in the whole dump: it may be only a part.
    offset: usize,
    layout: Layout,
}

/// Where a dump has blanks: after each group of so many bytes, of which the first is shorter by `missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    group: usize,
    missing: usize,
}

/// One form of a word, or the part of it that has variety.
pub(super) struct Form {
    pub(super) bytes: Bytes,
    pub(super) kind: Kind,
    /// Whether runs of it are looked for; if not, it is there for an echo only.
    pub(super) runs: bool,
    pub(super) echo: Option<Echo>,
}

impl Word {
    /// What is secret in a token: what follows its last `.`, `~` or `:`. The claims of a JWT are no secret, and `sha256~` is none.
    pub(super) fn of_token(token: &[u8]) -> Option<Self> {
        let before = token.iter().rposition(|byte| b".~:".contains(byte)).map_or(0, |at| at + 1);
        (token.len() - before >= SHORTEST_SIGNATURE && token.len() - before <= LONGEST)
            .then(|| Self { bytes: token.to_vec().into(), before })
    }

    /// The words of a value that has mixed characters, and nothing that a URL, a PEM block or a sentence has.
    ///
    /// Dots separate words: what is between those of a host's or a file's name is short, and stays readable.
    pub(super) fn of_value(value: &[u8]) -> Vec<Self> {
        if value.len() > LONGEST || !Self::is_one(value) {
            return Vec::new();
        }
        let segments: Vec<&[u8]> = value.split(|byte| *byte == b'.').collect();
        // Of a JWT only the signature is a secret; all begin alike.
        let claims = if segments.len() == 3 && value.starts_with(b"eyJ") { 2 } else { 0 };
        let mut before = 0;
        let mut words = Vec::new();
        for (at, segment) in segments.into_iter().enumerate() {
            if at >= claims && segment.len() >= SHORTEST && is_mixed(segment) {
                words.push(Self { bytes: value[..before + segment.len()].to_vec().into(), before });
            }
            before += segment.len() + 1;
        }
        words
    }

    /// Whether a value is made of nothing but the characters of keys and tokens, mixed, and is not short.
    ///
    /// Its first piece may be short, as a line ends soon after the secret has begun: so it is also looked for across line breaks.
    pub(super) fn is_one(value: &[u8]) -> bool {
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_~+/=-.".contains(byte);
        value.len() >= SHORTEST_SIGNATURE && value.iter().all(is_of_word) && is_mixed(value)
    }

    /// All forms in which runs of the word are hidden.
    pub(super) fn forms(&self) -> Vec<Form> {
        let mut forms = Vec::new();
        let is_long = self.bytes.len() - self.before > LONG;
        // With so many bytes before the secret, a run that is long enough has a byte of the secret.
        add(&mut forms, &self.with(15), TEXT, None);
        for encoded in base64(&self.with(11)) {
            if !is_long {
                dumps(&mut forms, &encoded, &[LOWER]);
            }
            add(&mut forms, &encoded, TEXT, None);
        }
        for digits in [LOWER, UPPER] {
            add(&mut forms, &hex(&self.with(7), digits), DOUBLE, None);
        }
        if is_long {
            return forms;
        }
        // A Secret in YAML is base64; the token in it often is already.
        for encoded in base64(&self.with(8)).flat_map(|once| base64(&once).collect::<Vec<_>>()) {
            add(&mut forms, &encoded, TEXT, None);
        }
        dumps(&mut forms, &self.with(5), &[LOWER, UPPER]);
        // What hexdump without flags and `od -x` write: each two bytes in the order of this machine's numbers.
        for first in [0, 1] {
            add(&mut forms, &BY_PAIR.write(&swapped(self.with(5).get(first..).unwrap_or_default()), LOWER), PAIRS, None);
        }
        let wide = between(&self.with(7), 0);
        for digits in [LOWER, UPPER] {
            add(&mut forms, &hex(&wide, digits), WIDE, None);
        }
        for encoded in base64(&between(&self.with(5), 0)) {
            add(&mut forms, &encoded, TEXT, None);
        }
        add(&mut forms, &wide, DOUBLE, None);
        add(&mut forms, &between(&self.with(7), b'.'), DOUBLE, None);
        for layout in [BY_BYTE, BY_PAIR, BY_ODD_PAIR] {
            let kind = if layout.group == 1 { WIDE_BYTES } else { WIDE_PAIRS };
            add(&mut forms, &layout.write(&between(&self.with(5), 0), LOWER), kind, None);
        }
        forms
    }

    /// The secret with so many bytes of what precedes it.
    fn with(&self, before: usize) -> Bytes {
        self.bytes[self.before.saturating_sub(before)..].to_vec().into()
    }
}

const BY_BYTE: Layout = Layout { group: 1, missing: 0 };
const BY_PAIR: Layout = Layout { group: 2, missing: 0 };
const BY_ODD_PAIR: Layout = Layout { group: 2, missing: 1 };

/// Whether it has letters and digits; or, without digits, so many letters of both cases as a random text has and a name has not.
fn is_mixed(text: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| text.iter().filter(|byte| is(byte)).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    upper + lower > 0 && (count(u8::is_ascii_digit) > 0 || upper.min(lower) * 4 >= text.len())
}

/// Adds what dumps make of this text: hex in groups with a text column beside it, and characters in columns.
fn dumps(forms: &mut Vec<Form>, text: &Bytes, cases: &[&[u8; 16]]) {
    let form = forms.len();
    forms.push(Form { bytes: text.clone(), kind: TEXT, runs: false, echo: None });
    for digits in cases {
        for layout in [BY_BYTE, BY_PAIR, BY_ODD_PAIR] {
            let kind = if layout.group == 1 { BYTES } else { PAIRS };
            add(forms, &layout.write(text, digits), kind, Some(Echo { form, offset: 0, layout }));
        }
    }
    let mut columns = Zeroizing::new(Vec::with_capacity(text.len() * 4));
    for byte in text.iter() {
        columns.extend([b' ', b' ', b' ', *byte]);
    }
    add(forms, &columns, COLUMNS, None);
}

/// The bytes with this one before, after and between them: the ASCII text as UTF-16 in either order.
fn between(bytes: &[u8], byte: u8) -> Bytes {
    let mut wide = Zeroizing::new(Vec::with_capacity(bytes.len() * 2 + 1));
    wide.push(byte);
    for own in bytes {
        wide.extend([*own, byte]);
    }
    wide
}

/// The bytes with each two of them swapped.
fn swapped(bytes: &[u8]) -> Bytes {
    let mut text = Zeroizing::new(bytes.to_vec());
    text.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    text
}

/// Adds those parts of a form in which each run has variety.
fn add(forms: &mut Vec<Form>, bytes: &[u8], kind: Kind, echo: Option<Echo>) {
    let mut counts = [0_u16; 256];
    let mut different = 0;
    let mut begin = 0;
    for end in 0..=bytes.len() {
        if end >= kind.least && different < kind.variety || end == bytes.len() {
            // The run that ends here has none; the one before it had.
            let last = if different < kind.variety { end.saturating_sub(1) } else { end };
            if last >= begin + kind.least {
                let part = bytes[begin..last].to_vec().into();
                forms.push(Form { bytes: part, kind, runs: true, echo: echo.map(|echo| Echo { offset: begin, ..echo }) });
            }
            begin = (end + 1).saturating_sub(kind.least);
        }
        let Some(byte) = bytes.get(end) else { break };
        let count = &mut counts[usize::from(*byte)];
        *count += 1;
        different += usize::from(*count == 1);
        if let Some(gone) = end.checked_sub(kind.least) {
            let count = &mut counts[usize::from(bytes[gone])];
            *count -= 1;
            different -= usize::from(*count == 0);
        }
    }
}

impl Layout {
    fn write(self, bytes: &[u8], digits: &[u8; 16]) -> Bytes {
        let mut text = Zeroizing::new(Vec::with_capacity(bytes.len() * 3));
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && (at + self.missing).is_multiple_of(self.group) {
                text.push(b' ');
            }
            text.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        text
    }

    /// Where the byte with this number is written.
    fn place(self, byte: usize) -> usize {
        2 * byte + (byte + self.missing) / self.group - self.missing / self.group
    }
}

impl Echo {
    /// The same, where its forms come after so many others.
    pub(super) fn behind(self, forms: usize) -> Self {
        Self { form: self.form + forms, ..self }
    }

    /// Which byte of the text is the first that the dump shows whole from this place of it on.
    pub(super) fn from(self, at: usize) -> usize {
        let place = self.offset + at;
        (place / 3..=place).find(|byte| self.layout.place(*byte) >= place).unwrap_or_default()
    }
}
