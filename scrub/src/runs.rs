//! The third search: for runs of a secret's characters, wherever they stand, and for the pieces that follow a run.
//!
//! A run that is long enough covers a gram at one of so many consecutive places. So only each so-many-th gram of the text is tested;
//! where a secret may have it, the text is compared to the left and to the right with each place at which the secret does.

use std::{mem, ops::Range, sync::Arc};

use memchr::memmem;
use zeroize::Zeroizing;

use super::{
    grams::Grams,
    matcher::Tail,
    words::{Echo, Form, GRAM, Kind, Word},
};

/// In bytes: so far a run is followed from a tested gram. A longer one is seen from several.
const REACH: usize = 96;

/// In bytes: of the places of a text, each so-many-th is tested. The shortest run is 16 bytes long.
const STRIDE: usize = 16 - GRAM + 1;

/// In bytes: the next piece of a secret is expected at most so far behind a run. A line of a dump is not longer.
pub(super) const NEAR: usize = 80;

/// So many pieces are expected at the same time; a secret that repeats itself has more.
const MOST: usize = 64;

/// In bytes: the size of the grams by which the end of a text is judged.
const SHORT: usize = 4;

/// No place.
const NONE: u32 = u32::MAX;

/// All forms of all words, prepared for a search.
pub(super) struct Index {
    /// The forms, one after the other.
    text: Zeroizing<Vec<u8>>,
    forms: Vec<Part>,
    grams: Grams<GRAM>,
    /// For what is held back where it is as short as that.
    short: Grams<SHORT>,
    /// The first place in `text` for each hash of a gram, and for each place the next one.
    first: Vec<u32>,
    next: Vec<u32>,
    alphabet: [bool; 256],
}

/// Where a form is in the text of the index.
struct Part {
    range: Range<usize>,
    kind: Kind,
    runs: bool,
    echo: Option<Echo>,
}

/// A piece of a secret that may come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Expected {
    form: usize,
    /// Where in the text of the index it begins.
    place: usize,
    /// Where in the text it is looked for.
    from: usize,
    until: usize,
}

/// The search through one text after the other.
pub(super) struct Runs {
    index: Arc<Index>,
    expected: Vec<Expected>,
    seen: Vec<Run>,
    /// Whether a run at the beginning of the text may have begun before.
    is_inside: bool,
}

/// A run in a text.
struct Run {
    form: usize,
    text: Range<usize>,
    /// Where in the text of the index it begins.
    place: usize,
    /// Whether its beginning is known, and whether its end is.
    closed: (bool, bool),
}

impl Index {
    pub(super) fn new(words: &[Arc<Word>]) -> Self {
        let all: Vec<Vec<Form>> = words.iter().map(|word| word.forms()).collect();
        // At once, as a text that grows would leave copies of it behind.
        let mut text = Zeroizing::new(Vec::with_capacity(all.iter().flatten().map(|form| form.bytes.len()).sum()));
        let mut forms = Vec::new();
        for own in all {
            let before = forms.len();
            for Form { bytes, kind, runs, echo } in own {
                let range = text.len()..text.len() + bytes.len();
                text.extend_from_slice(&bytes);
                forms.push(Part { range, kind, runs, echo: echo.map(|echo| echo.behind(before)) });
            }
        }
        Self::of(text, forms)
    }

    fn of(text: Zeroizing<Vec<u8>>, forms: Vec<Part>) -> Self {
        let with_runs = || forms.iter().filter(|form| form.runs);
        let short = with_runs().filter(|form| form.kind.hold < GRAM);
        let mut index = Self {
            grams: Grams::with(16, with_runs().map(|form| &text[form.range.clone()])),
            short: Grams::new(short.map(|form| &text[form.range.clone()])),
            first: vec![NONE; text.len().next_power_of_two()],
            next: vec![NONE; text.len()],
            alphabet: [false; 256],
            text: Zeroizing::default(),
            forms: Vec::new(),
        };
        for form in with_runs() {
            for (place, gram) in form.range.clone().zip(text[form.range.clone()].windows(GRAM)) {
                let bucket = index.bucket(gram);
                index.next[place] = mem::replace(&mut index.first[bucket], u32::try_from(place).unwrap_or(NONE));
            }
            text[form.range.clone()].iter().for_each(|byte| index.alphabet[usize::from(*byte)] = true);
        }
        Self { text, forms, ..index }
    }

    fn bucket(&self, gram: &[u8]) -> usize {
        let number = gram.first_chunk().map_or(0, |gram| u64::from_le_bytes(*gram));
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
        usize::try_from(hash & 0xFFFF_FFFF).unwrap_or_default() & (self.first.len() - 1)
    }

    /// The places at which the forms have this gram.
    fn places(&self, gram: &[u8]) -> impl Iterator<Item = usize> {
        let known = |place: u32| (place != NONE).then(|| usize::try_from(place).unwrap_or_default());
        let mut place = known(self.first[self.bucket(gram)]);
        std::iter::from_fn(move || {
            let here = place?;
            place = known(self.next[here]);
            Some(here)
        })
        .filter(move |place| self.text[*place..].starts_with(gram))
    }

    /// The forms as they were.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn forms(&self) -> Vec<Form> {
        let bytes = |part: &Part| self.text[part.range.clone()].to_vec().into();
        self.forms.iter().map(|part| Form { bytes: bytes(part), kind: part.kind, runs: part.runs, echo: part.echo }).collect()
    }

    /// Which form has this place.
    fn form(&self, place: usize) -> usize {
        self.forms.partition_point(|form| form.range.start <= place) - 1
    }

    /// How many bytes are the same from these places on, and at most `REACH`.
    fn right(&self, text: &[u8], at: usize, place: usize, form: usize) -> usize {
        let own = &self.text[place..self.forms[form].range.end];
        text[at..].iter().zip(own).take(REACH).take_while(|(one, other)| one == other).count()
    }

    /// How many bytes are the same before these places, and at most `REACH`.
    fn left(&self, text: &[u8], at: usize, place: usize, form: usize) -> usize {
        let own = &self.text[self.forms[form].range.start..place];
        text[..at].iter().rev().zip(own.iter().rev()).take(REACH).take_while(|(one, other)| one == other).count()
    }

    /// From where the end of the text must be held back, as it may become a run.
    fn held(&self, text: &[u8]) -> usize {
        let mut most = 0;
        let mut look = |place: usize, size: usize| {
            let form = self.form(place);
            let Part { range, kind, .. } = &self.forms[form];
            let length = size + self.left(text, text.len() - size, place, form);
            let most_of_it = length + (range.end - place - size);
            if (kind.hold..kind.least).contains(&length) && place + size < range.end && most_of_it >= kind.least {
                most = most.max(length);
            }
        };
        if let Some(gram) = text.last_chunk::<GRAM>()
            && self.grams.has(gram)
        {
            self.places(gram).for_each(|place| look(place, GRAM));
        }
        if let Some(end) = text.last_chunk::<SHORT>()
            && self.short.has(end)
        {
            let finder = memmem::Finder::new(end);
            for form in self.forms.iter().filter(|form| form.runs && form.kind.hold < GRAM) {
                finder.find_iter(&self.text[form.range.clone()]).for_each(|at| look(form.range.start + at, SHORT));
            }
        }
        text.len() - most
    }
}

impl Runs {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index, expected: Vec::new(), seen: Vec::new(), is_inside: false }
    }

    /// From now on searches for these. What is expected stays so where the words of before are still the first ones.
    pub(super) fn set(&mut self, index: Arc<Index>) {
        if !index.text.starts_with(&self.index.text) {
            self.expected.clear();
        }
        self.index = index;
    }

    /// Adds every run and every expected piece to `found`, and returns what the end of the text may become.
    pub(super) fn scan(&mut self, text: &[u8], found: &mut Vec<Range<usize>>) -> Tail {
        let index = Arc::clone(&self.index);
        if index.text.is_empty() {
            return Tail::none(text.len());
        }
        let mut at = 0;
        while let Some(gram) = text.get(at..).and_then(<[u8]>::first_chunk) {
            if index.grams.has(gram) {
                self.look(text, at, gram, found);
            }
            at += STRIDE;
        }
        if !self.seen.is_empty() || !self.expected.is_empty() {
            self.expect(text, found);
            self.follow(text, found);
        }
        let kept = text.iter().rev().take(REACH).take_while(|byte| index.alphabet[usize::from(**byte)]).count();
        let hold = if kept == 0 { text.len() } else { index.held(text) };
        Tail { context: text.len() - kept, hold }
    }

    /// These first bytes of the text are not in the next one any more.
    pub(super) fn shift(&mut self, gone: &[u8]) {
        for expected in &mut self.expected {
            // A piece that is longer than what is kept goes on with its next bytes.
            expected.place += gone.len().saturating_sub(expected.from);
            expected.from = expected.from.saturating_sub(gone.len());
            expected.until = expected.until.saturating_sub(gone.len());
        }
        if let Some(last) = gone.last() {
            self.is_inside = self.index.alphabet[usize::from(*last)];
        }
    }

    /// Forgets what was expected, as at the beginning of an output.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.expected.clear();
        self.is_inside = false;
    }

    /// Finds the runs that cover this gram.
    fn look(&mut self, text: &[u8], at: usize, gram: &[u8], found: &mut Vec<Range<usize>>) {
        for place in self.index.places(gram) {
            let form = self.index.form(place);
            let (left, right) = (self.index.left(text, at, place, form), self.index.right(text, at, place, form));
            if left + right >= self.index.forms[form].kind.least {
                let run = at - left..at + right;
                found.push(run.clone());
                let closed = (left < REACH && (run.start > 0 || !self.is_inside), right < REACH && run.end < text.len());
                self.seen.push(Run { form, text: run, place: place - left, closed });
            }
        }
    }

    /// Expects what comes after each run: the next piece of the same form, and the text column of a dump.
    fn expect(&mut self, text: &[u8], found: &mut Vec<Range<usize>>) {
        for run in mem::take(&mut self.seen) {
            if self.expected.len() + 2 > MOST {
                // Most of it can be settled already: a long text has many runs.
                self.follow(text, found);
            }
            if run.closed.1 {
                self.add(run.form, run.place + run.text.len(), run.text.end);
                let part = &self.index.forms[run.form];
                if let Some(echo) = part.echo.filter(|_| run.closed.0) {
                    let place = self.index.forms[echo.form].range.start + echo.from(run.place - part.range.start);
                    self.add(echo.form, place, run.text.end);
                }
            }
        }
    }

    fn add(&mut self, form: usize, place: usize, from: usize) {
        let part = &self.index.forms[form];
        let until = from + NEAR;
        let is_known = self.expected.iter().any(|known| (known.place, known.until) == (place, until));
        if place + part.kind.again <= part.range.end && self.expected.len() < MOST && !is_known {
            self.expected.push(Expected { form, place, from, until });
        }
    }

    /// Looks for what is expected, and for what is then expected in turn.
    fn follow(&mut self, text: &[u8], found: &mut Vec<Range<usize>>) {
        let mut number = 0;
        while let Some(mut expected) = self.expected.get(number).copied() {
            let again = self.index.forms[expected.form].kind.again;
            let own = &self.index.text[expected.place..expected.place + again];
            let last = (expected.until + 1).min(text.len());
            let fits = |from: usize| text[from..].iter().zip(own).all(|(one, other)| one == other);
            let piece = (expected.from..last).find(|from| fits(*from));
            expected.from = piece.unwrap_or(expected.from.max(last));
            self.expected[number] = expected;
            let Some(from) = piece else {
                if expected.until < text.len() {
                    self.expected.remove(number);
                } else {
                    number += 1;
                }
                continue;
            };
            let length = self.index.right(text, from, expected.place, expected.form);
            if length >= again {
                found.push(from..from + length);
            }
            let is_over = expected.place + length == self.index.forms[expected.form].range.end;
            if from + length == text.len() && !is_over {
                number += 1;
                continue;
            }
            self.expected.remove(number);
            // What is longer than `REACH` is a run, and found as such.
            if length < REACH && !is_over {
                self.add(expected.form, expected.place + length, from + length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::{Engine, engine::general_purpose::STANDARD};

    use crate::{
        Patterns, Scrubber,
        encode::{LOWER, hex as digits},
    };

    const TOKEN: &str =
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6YiJ9.Lx-_9QmV3c2lnbmF0dXJlLW9mLXRoZS10b2tlbi14eXo_eAqRs7";
    const OPAQUE: &str = "sha256~aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2r";
    const VALUE: &str = "DdJwCpuAVENmcStnCKpKZs3cOmYjElVPhGabiTnCfGJK";

    fn patterns(secret: &str) -> Patterns {
        let mut patterns = Patterns::new();
        if secret == VALUE {
            patterns.value(secret).expect("long enough");
        } else {
            patterns.token(secret);
        }
        patterns
    }

    fn scrubbed<'a>(patterns: &Patterns, chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut scrubber = Scrubber::new(Vec::new(), patterns);
        for chunk in chunks {
            scrubber.write_all(chunk).expect("a vector takes all");
        }
        String::from_utf8_lossy(&scrubber.finish().expect("a vector takes all")).into_owned()
    }

    /// The longest part of the secret that can be read in a text.
    fn longest(secret: &str, text: &str) -> usize {
        let is_seen = |size: &usize| secret.as_bytes().windows(*size).any(|part| text.contains(&*String::from_utf8_lossy(part)));
        (1..=secret.len()).take_while(is_seen).last().unwrap_or(0)
    }

    fn signature(secret: &str) -> &str {
        secret.rsplit(['.', '~']).next().expect("one at least")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn hex(bytes: &[u8], group: usize) -> String {
        bytes.chunks(group).map(|group| text(&digits(group, LOWER))).collect::<Vec<_>>().join(" ")
    }

    fn shown(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }).collect()
    }

    /// The text as these tools write it; as recorded from curl 7.88, vim's xxd, util-linux and coreutils.
    fn dumps(text: &str) -> [(&'static str, String); 5] {
        let lines = |line: fn(usize, &[u8]) -> String| {
            text.as_bytes().chunks(16).enumerate().fold(String::new(), |all, (at, bytes)| all + &line(at * 16, bytes) + "\n")
        };
        let ascii = text
            .as_bytes()
            .chunks(64)
            .enumerate()
            .fold(String::new(), |all, (at, bytes)| all + &format!("{:04x}: {}\n", at * 64, shown(bytes)));
        [
            ("curl --trace", lines(|at, bytes| format!("{at:04x}: {:<48}{}", hex(bytes, 1), shown(bytes)))),
            ("curl --trace-ascii", ascii),
            ("xxd", lines(|at, bytes| format!("{at:08x}: {:<40} {}", hex(bytes, 2), shown(bytes)))),
            (
                "hexdump -C",
                lines(|at, bytes| {
                    let (one, other) = bytes.split_at(bytes.len().min(8));
                    format!("{at:08x}  {:<48}  |{}|", format!("{:<23}  {}", hex(one, 1), hex(other, 1)), shown(bytes))
                }),
            ),
            (
                "od -c",
                lines(|at, bytes| {
                    let column = |byte: &u8| if *byte == b'\n' { "  \\n".to_owned() } else { format!("   {}", char::from(*byte)) };
                    format!("{at:07o}{}", bytes.iter().map(column).collect::<String>())
                }),
            ),
        ]
    }

    #[test]
    fn of_a_dump_little_is_seen_wherever_in_a_line_the_secret_begins() {
        for secret in [TOKEN, OPAQUE, VALUE] {
            let patterns = patterns(secret);
            let own = signature(secret);
            for before in 0..16 {
                let text = format!("{} {secret}\nok\n", "Authorization: Bearer"[..before].trim_end());
                for (tool, dump) in dumps(&text) {
                    let output = scrubbed(&patterns, dump.split_inclusive('\n').map(str::as_bytes));
                    let columns = output.replace("   ", "").replace("  ", " ");
                    let seen = longest(own, &output).max(longest(own, &columns));
                    let hex_seen = longest(&hex(own.as_bytes(), usize::MAX), &output.replace(' ', "")) / 2;
                    // What precedes a token's secret is known, so nothing of its beginning is seen. What may be seen of a
                    // value, and by `od -c`, is what is too short for a run, on its first line; and on the last one three.
                    let most = match tool {
                        "od -c" => 7,
                        "curl --trace-ascii" if secret == VALUE => 15,
                        _ if secret == VALUE => 6,
                        _ => 3,
                    };
                    assert!(seen <= most && hex_seen <= most, "{seen} and {hex_seen} by {tool} after {before}:\n{dump}{output}");
                    assert!(output.contains("***"), "{output}");
                }
            }
        }
    }

    #[test]
    fn one_write_may_have_many_runs() {
        for secret in [TOKEN, OPAQUE, VALUE] {
            let dump: String = dumps(&format!("Bearer {secret}\n")).map(|(_, dump)| dump).concat();
            let patterns = patterns(secret);
            let one = scrubbed(&patterns, [dump.as_bytes()]);
            let output = scrubbed(&patterns, [dump.repeat(40).as_bytes()]);
            // What is expected at the end of one dump may hide something of the next one.
            assert!(output.len() <= one.len() * 40 && output.len() >= one.len() * 39, "{output}");
        }
    }

    #[test]
    fn base64_in_a_dump_is_hidden_too() {
        for secret in [TOKEN, OPAQUE, VALUE] {
            for (tool, dump) in dumps(&format!("Authorization: Basic {}\n", STANDARD.encode(format!("user:{secret}")))) {
                let output = scrubbed(&patterns(secret), [dump.as_bytes()]);
                for skip in 0..3 {
                    let encoded = STANDARD.encode([&"ser:"[..skip], signature(secret)].concat());
                    let core = &encoded[4..encoded.len() - 4];
                    assert!(longest(core, &output.replace("   ", "")) <= 15, "{tool}: {output}");
                    let digits = hex(core.as_bytes(), usize::MAX);
                    assert!(longest(&digits, &output.replace(' ', "")) <= 15, "{tool}: {output}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_hidden_whatever_stands_between_them() {
        for between in [
            "\n",
            "\r\n",
            " ",
            "\\n",
            "\n        ",
            " |\n| ",
            "\nweb-1  | ",
            "\n     2\t",
            "\" \\\n  \"",
            "\u{1b}[0m\u{1b}[32m",
            "\u{2502}\n\u{2502}",
        ] {
            for secret in [TOKEN, OPAQUE, VALUE] {
                let twice = STANDARD.encode(STANDARD.encode(format!("token: {secret}\n")));
                let core = &twice[twice.len() - signature(secret).len() * 16 / 9..twice.len() - 24];
                for (form, core) in [(secret.to_owned(), signature(secret)), (twice.clone(), core)] {
                    for width in [16, 17, 25, 30, 37, 60, 76] {
                        let pieces: Vec<_> = form.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                        let output = scrubbed(&patterns(secret), [pieces.join(between).as_bytes()]);
                        // Of a value nobody knows what precedes it: where that shares a piece with it, a piece may be short.
                        let most = if secret == VALUE && form != VALUE { 15 } else { 4 };
                        assert!(longest(core, &output) <= most, "{width}: {output}");
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_below_sixteen_characters_are_seen_and_so_are_others_soon_after() {
        let patterns = patterns(VALUE);
        let pieces = |width: usize| VALUE.as_bytes().chunks(width).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        assert_eq!(scrubbed(&patterns, [pieces(15).as_bytes()]), pieces(15));
        // After a run, what comes next in the secret is hidden from four characters on, and nothing else.
        for (text, expected) in [
            (format!("{} | {} {}", &VALUE[..16], &VALUE[16..20], &VALUE[20..24]), "*** | *** ***".to_owned()),
            (format!("{} | {} {}", &VALUE[..16], &VALUE[16..19], &VALUE[20..24]), format!("*** | {} {}", &VALUE[16..19], &VALUE[20..24])),
            (format!("{}{}{}", &VALUE[..16], "-".repeat(80), &VALUE[16..24]), format!("***{}***", "-".repeat(80))),
            (format!("{}{}{}", &VALUE[..16], "-".repeat(81), &VALUE[16..24]), format!("***{}{}", "-".repeat(81), &VALUE[16..24])),
        ] {
            for chunks in [vec![text.as_bytes()], vec![text.as_bytes().split_at(18).0, text.as_bytes().split_at(18).1]] {
                assert_eq!(scrubbed(&patterns, chunks), expected);
            }
        }
    }

    #[test]
    fn a_piece_that_comes_after_a_renewal_is_hidden_too() {
        let mut both = patterns(OPAQUE);
        let mut scrubber = Scrubber::new(Vec::new(), &both);
        both.token(TOKEN);
        scrubber.write_all(format!("{}\n", &OPAQUE[..40]).as_bytes()).expect("a vector takes all");
        scrubber.set_patterns(&both).expect("a vector takes all");
        scrubber.write_all(format!("| {}", &OPAQUE[40..]).as_bytes()).expect("a vector takes all");
        scrubber.set_patterns(&patterns(VALUE)).expect("a vector takes all");
        scrubber.write_all(format!("\n{}\n{VALUE}", &OPAQUE[40..]).as_bytes()).expect("a vector takes all");
        let output = String::from_utf8(scrubber.finish().expect("a vector takes all")).expect("text");
        assert_eq!(output, format!("***\n| ***\n{}\n***", &OPAQUE[40..]));
    }

    #[test]
    fn utf16_is_hidden_and_its_hex_and_base64() {
        for secret in [TOKEN, OPAQUE, VALUE] {
            let patterns = patterns(secret);
            for order in [u16::to_le_bytes, u16::to_be_bytes] {
                let wide = |text: &str| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
                let text = wide(&format!("token: {secret}\n"));
                let raw = scrubbed(&patterns, [&text[..]]).replace('\0', "");
                assert!(raw.contains("***") && longest(signature(secret), &raw) <= 2, "{raw:?}");
                let own = hex(&wide(signature(secret)), usize::MAX);
                for written in [hex(&text, usize::MAX), hex(&text, 2), hex(&text, 1)] {
                    assert!(longest(&own, &scrubbed(&patterns, [written.as_bytes()]).replace(' ', "")) < 16);
                }
                let encoded = STANDARD.encode(&text);
                let output = scrubbed(&patterns, [encoded.as_bytes()]);
                assert!(output.contains("***") && output.len() < encoded.len() - signature(secret).len() * 8 / 3 + 12, "{output}");
            }
        }
    }

    #[test]
    fn a_few_characters_of_utf16_are_no_run() {
        let patterns = patterns(VALUE);
        let wide: Vec<u8> = VALUE[8..13].bytes().flat_map(|byte| [byte, 0]).collect();
        for text in [hex(&wide, 1), hex(&wide, 2), hex(&wide[..8], usize::MAX)] {
            assert_eq!(scrubbed(&patterns, [text.as_bytes()]), text);
        }
    }

    #[test]
    fn what_has_few_different_characters_does_not_make_everything_disappear() {
        let mut patterns = Patterns::new();
        patterns.value("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1").expect("long enough");
        let text = format!("{} {} {}", "a".repeat(32), "61".repeat(40), STANDARD.encode("a".repeat(31)));
        assert_eq!(scrubbed(&patterns, [text.as_bytes()]), text);
        assert_eq!(scrubbed(&patterns, [format!("{}1", "a".repeat(40)).as_bytes()]), format!("{}***", "a".repeat(8)));
    }

    #[test]
    fn runs_are_of_words_only() {
        for (value, part, hidden) in [
            (VALUE, &VALUE[9..25], true),
            ("DdJwCpuAVENmcStnCKpKZswcOmYjElVPhGabiTnCfGJKCZ", "cStnCKpKZswcOmYj", true),
            ("CorrectHorseBatteryStapleAndMore", "orrectHorseBatteryStaple", false),
            // The URL, host, sentence and block are hidden whole, but their parts are ordinary text.
            ("https://user@registry1.example.com/team/app", "registry1.example.com/team", false),
            ("registry1.eu-central-1.example.internal", "eu-central-1.example", false),
            ("correct horse battery staple 123456", "correct horse battery", false),
            ("antidisestablishmentarianism-and-so-on", "antidisestablishment", false),
            // Of tokens with dots, the part that is random.
            ("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", "TwL2iGABf9DHoTf-", true),
            (TOKEN, "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFj", false),
            (TOKEN, "Lx-_9QmV3c2lnbmF0", true),
        ] {
            let mut patterns = Patterns::new();
            patterns.value(value).expect("long enough");
            assert_eq!(scrubbed(&patterns, [part.as_bytes()]) == "***", hidden, "{part} of {value}");
            assert_eq!(scrubbed(&patterns, [value.as_bytes()]), "***");
        }
    }

    #[test]
    fn another_token_of_the_same_service_account_stays() {
        let other = TOKEN.replace(signature(TOKEN), "Zz8qW1-xC5vB9nM3kL7jH2gF6dS0aPoIuYtReWqAsDfGhJkLmN");
        let twice = STANDARD.encode(STANDARD.encode(&other));
        let dump: String = dumps(&other).map(|(_, dump)| dump).concat();
        for text in [other.clone(), STANDARD.encode(&other), twice, dump] {
            assert!(longest("***", &scrubbed(&patterns(TOKEN), [text.as_bytes()])) == 0, "{text}");
        }
    }
}
