//! What GitLab stores of a job's output: the values of masked variables are taken out, and nothing else.
//!
//! The other filters are left out: URL parameters (`private_token=` and the like) and the prefixes of GitLab's own tokens (`glpat-`
//! and the like) meet none of ours, as no such filter knows `eyJ`.

/// The masks of one job.
#[derive(Default)]
pub(super) struct Masker {
    phrases: Vec<String>,
    /// Whether `proxy_exec` is on, which reads masks in the output of every stage.
    listens: bool,
}

impl Masker {
    /// The values of the masked variables, as they are when the job begins.
    pub(super) fn new(values: impl Iterator<Item = String>, listens: bool) -> Self {
        let mut masker = Self { phrases: Vec::new(), listens };
        for value in values {
            masker.add(&value);
        }
        masker
    }

    fn add(&mut self, value: &str) {
        let value = value.trim();
        if !value.is_empty() && !self.phrases.iter().any(|known| known == value) {
            self.phrases.push(value.to_owned());
            self.phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
        }
    }

    /// The log of one more stage. A masked variable is one line, by the server's rules: so lines can be taken one by one.
    pub(super) fn mask(&mut self, output: &str) -> String {
        let mut log = String::new();
        for line in output.split_inclusive('\n') {
            if let Some(value) = line.strip_prefix("::add-mask::").filter(|_| self.listens) {
                self.add(value);
            }
            let masked = self.phrases.iter().fold(line.to_owned(), |line, phrase| line.replace(phrase.as_str(), "[MASKED]"));
            log += &masked;
        }
        log
    }
}

#[test]
fn the_longest_phrase_is_masked_first_and_only_byte_by_byte() {
    let values = ["hunter", " hunter2\n", ""].map(str::to_owned);
    let mut masker = Masker::new(values.into_iter(), false);
    assert_eq!(masker.mask("a hunter2 b hunter c HUNTER2\n"), "a [MASKED] b [MASKED] c HUNTER2\n");
}

#[test]
fn a_mask_in_the_output_holds_only_where_somebody_listens() {
    let output = "hunter2\n::add-mask::hunter2\nhunter2\n";
    assert_eq!(Masker::new(std::iter::empty(), false).mask(output), output);
    let mut masker = Masker::new(std::iter::empty(), true);
    assert_eq!(masker.mask(output), "hunter2\n::add-mask::[MASKED]\n[MASKED]\n");
    assert_eq!(masker.mask("hunter2"), "[MASKED]", "in the next stage too");
}
