//! How far a long work is, on a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, hidden where stderr is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of something of which the number is known, or 0.
    #[must_use]
    pub fn new(what: &'static str, number: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(number), ProgressDrawTarget::stderr());
        let template = if number > 0 { "{msg} {wide_bar} {pos}/{len}" } else { "{msg} {spinner} {pos}" };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style).with_message(what))
    }

    /// So many more are done.
    pub fn more(&self, done: u64) {
        self.0.inc(done);
    }

    /// Takes the bar away, before anything else is said.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
