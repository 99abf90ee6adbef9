//! The secrets that no message of ours repeats.

use super::one_line;
use crate::secret::Secret;

/// The values, the longest first: a short one may be the beginning of another.
#[derive(Debug, Default)]
pub struct Hidden(Vec<Secret>);

impl Hidden {
    /// From now on this value is replaced.
    pub fn add(&mut self, secret: &Secret) {
        if secret.is_blank() {
            return;
        }
        for form in [Some(secret.clone()), in_one_line(secret)].into_iter().flatten() {
            let at = self.0.partition_point(|known| known.expose().len() >= form.expose().len());
            self.0.insert(at, form);
        }
    }

    /// This value is not looked for any more.
    pub fn forget(&mut self, secret: &Secret) {
        let in_one_line = in_one_line(secret);
        self.0.retain(|known| known != secret && Some(known) != in_one_line.as_ref());
    }

    /// A text without them.
    pub fn without(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // To prepare the search for a long secret costs more than all the rest of a short line.
        for secret in &self.0 {
            if secret.expose().len() <= text.len() {
                text = text.replace(secret.expose(), "[redacted]");
            }
        }
        text
    }
}

/// A value of several lines as a failure repeats it, which is one line.
fn in_one_line(secret: &Secret) -> Option<Secret> {
    (secret.expose().lines().count() > 1).then(|| Secret::new(one_line(secret.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_another_one_begins_with_is_hidden_whole_and_also_on_one_line() {
        let mut hidden = Hidden::default();
        let lines = Secret::new("line-one-AAAA1\nline-two-BBBB2".to_owned());
        for secret in ["secret12x", "secret12xlongtailpartZ9"] {
            hidden.add(&Secret::new(secret.to_owned()));
        }
        hidden.add(&lines);
        assert_eq!(hidden.without("secret12xlongtailpartZ9 secret12x"), "[redacted] [redacted]");
        assert_eq!(hidden.without(&one_line("a line-one-AAAA1\nline-two-BBBB2")), "a [redacted]");
        hidden.forget(&lines);
        assert_eq!(hidden.without("line-one-AAAA1 line-two-BBBB2"), "line-one-AAAA1 line-two-BBBB2");
    }
}
