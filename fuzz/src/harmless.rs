//! What a user may be shown, whatever the input was.

/// What stands in an input and must stand in no message.
pub(crate) const SENTINEL: &str = "s3nt1nelOfTheFuzzerThatNobodyMaySee";

/// The longest line of a message: 2000 characters of somebody else's, cut, and our own words around them.
const LONGEST: usize = 3000;

/// Lines that are no command to a runner, not endless, and without characters that control a terminal or turn a text around; nothing
/// that is secret.
pub(crate) fn assert_harmless(text: &str) {
    assert!(!text.contains(SENTINEL), "a secret in a message: {text}");
    for line in text.lines() {
        assert!(line.chars().count() <= LONGEST, "an endless line");
        assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)), "a character in a message that nobody sees: {line:?}");
        assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "a command of a runner: {line:?}");
        assert!(!holds_a_token(line), "a token in a message: {line:?}");
    }
}

fn is_invisible(c: char) -> bool {
    matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
}

/// Whether there is a word of 40 characters or more that begins as the tokens of Kubernetes and OpenShift do.
fn holds_a_token(line: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_~".contains(c);
    let words = line.split(|c: char| !is_part(c));
    words.into_iter().any(|word| ["eyJ", "sha256~"].iter().any(|beginning| word.len() >= 40 && word.starts_with(beginning)))
}
