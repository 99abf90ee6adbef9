//! Puts words in the place of what is different in every run, so that a transcript can be compared with the one of another world.

use regex::Captures;

use super::{leak, pattern};

/// What stands for what in one world; the same thing always gets the same word.
#[derive(Default)]
pub(crate) struct Names {
    exact: Vec<(String, String)>,
    tokens: Vec<(String, String)>,
    numbered: Vec<(&'static str, Vec<String>)>,
}

impl Names {
    /// From now on this text is shown by that word.
    pub(crate) fn exact(&mut self, text: &str, word: &str) {
        if !self.exact.iter().any(|(known, _)| known == text) {
            self.exact.push((text.to_owned(), word.to_owned()));
            self.exact.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
    }

    /// From now on every form of this secret is shown by a word. Passes' tokens are counted.
    pub(crate) fn token(&mut self, token: &str, word: Option<&str>) {
        if self.tokens.iter().any(|(known, _)| known == token) {
            return;
        }
        let passes = self.tokens.iter().filter(|(_, word)| word.starts_with("TOKEN-")).count();
        let word = word.map_or_else(|| format!("TOKEN-{}", passes + 1), str::to_owned);
        for (form, text) in leak::forms(token) {
            self.tokens.push((text, if form.is_empty() { word.clone() } else { format!("{word}.{form}") }));
        }
    }

    /// The text with words for everything that is different in every run.
    pub(crate) fn plain(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (token, word) in &self.tokens {
            text = text.replace(token, word);
        }
        text = replaced(&text, leak::JWT, |_| "UNKNOWN-TOKEN".to_owned());
        for (exact, word) in &self.exact {
            text = text.replace(exact, word);
        }
        // People are shown the first digits of a lease's name: the same lease has the same number in both forms.
        text = replaced(&text, r"\bjobpass-[0-9a-f]{32}\b", |found| self.number("LEASE", &found[0][8..14]));
        text = replaced(&text, r"(lease|pass|by) `([0-9a-f]{6})`", |found| {
            format!("{} `{}`", &found[1], self.number("LEASE", &found[2]).replace("LEASE", "SHORT"))
        });
        text = replaced(&text, r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", |found| self.number("UUID", &found[0]));
        // An OAuth token itself has been replaced by now.
        text = replaced(&text, r"sha256~[A-Za-z0-9_-]{43}", |_| "OAUTH-TOKEN-NAME".to_owned());
        text = replaced(&text, r"\bjobpass_[0-9a-f]{32}\b", |_| "RANDOM".to_owned());
        text = replaced(&text, r"\b[0-9a-f]{64}\b|\b(?:[0-9A-F]{2}:){31}[0-9A-F]{2}\b", |_| "SHA256".to_owned());
        text = replaced(&text, r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", |_| "TIME".to_owned());
        text = replaced(&text, r"\b\d\d:\d\d:\d\dZ", |_| "TIME".to_owned());
        text = replaced(&text, r"\((in )?\d+ (s|min|h|days)( ago)?\)", |found| {
            let part = |n| found.get(n).map_or("", |part| part.as_str());
            format!("({}N {}{})", part(1), part(2), part(3))
        });
        text = replaced(&text, r"clock is \d+ (s|min|h|days) (ahead|behind)", |found| format!("clock is N {} {}", &found[1], &found[2]));
        text = replaced(&text, r"127\.0\.0\.1:\d+", |_| "PORT".to_owned());
        text = replaced(&text, r"/jobpass-\d+/", |_| "/jobpass-UID/".to_owned());
        text
    }

    fn number(&mut self, word: &'static str, text: &str) -> String {
        let at = self.numbered.iter().position(|(known, _)| *known == word).unwrap_or_else(|| {
            self.numbered.push((word, Vec::new()));
            self.numbered.len() - 1
        });
        let known = &mut self.numbered[at].1;
        let number = known.iter().position(|known| known == text).unwrap_or_else(|| {
            known.push(text.to_owned());
            known.len() - 1
        });
        format!("{word}-{}", number + 1)
    }
}

fn replaced(text: &str, what: &'static str, by: impl FnMut(&Captures<'_>) -> String) -> String {
    pattern(what).replace_all(text, by).into_owned()
}
