//! Why an operator ends or locks something: it is repeated in Events, receipts and the job's log, and so must be fit to be read by all.

use crate::{
    failure::{Code, Failure},
    out::one_line,
    shown::Kind,
};

/// In characters: the longest reason.
const LONGEST: usize = 200;

/// The reason as it is repeated.
///
/// # Errors
/// When there is none, it is too long, or it looks like a secret.
pub fn checked(reason: Option<&str>) -> Result<String, Failure> {
    let text = reason.unwrap_or_default();
    // A secret is often one word of a sentence.
    let is_secret = |text: &str| Kind::of(text).is_some_and(|kind| !matches!(kind, Kind::Long(_)));
    if is_secret(text) || text.split_whitespace().any(is_secret) {
        let what = "`--reason` holds what looks like a secret";
        return Err(Failure::new(Code::UsageSecret, what).hint("say it without: the reason is written into Events and into the job's log"));
    }
    let reason = one_line(text);
    if reason.is_empty() {
        let what = "`--reason` is missing";
        return Err(Failure::new(Code::UsageMissing, what)
            .hint("say why, for the job and for whoever looks later, such as `--reason \"INC-4711\"`"));
    }
    if reason.chars().count() > LONGEST {
        return Err(Failure::new(Code::UsageValue, format!("`--reason` is longer than {LONGEST} characters")).hint("name a ticket"));
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_no_secret() {
        assert_eq!(checked(Some("token in a public log, INC-4711")).expect("a reason"), "token in a public log, INC-4711");
        assert_eq!(checked(Some(" a\nb\u{1b}[31m\u{202e} ")).expect("a reason"), "a b [31m");
        for (text, words) in [
            (None, "missing"),
            (Some(" \n"), "missing"),
            (Some("leaked glpat-xxxxxxxxxxxxxxxxxxxx"), "secret"),
            (Some("eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJhdWQiOlsiaHR0cHM6.c2ln"), "secret"),
        ] {
            let brief = checked(text).expect_err("refused").brief();
            assert!(brief.contains(words) && !brief.contains("glpat"), "{brief}");
        }
        assert!(checked(Some(&"word ".repeat(41))).expect_err("refused").brief().contains("longer"));
    }
}
