//! What the demo shows: titles, commands, their output and what came of them, fit for a narrow terminal.

use std::cell::RefCell;

use crate::doors;

/// Columns; more than that wraps on the terminals that are still the default.
const WIDTH: usize = 80;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

/// What an answer means to whoever reads it.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    /// A token works, and it should.
    Plain,
    /// A token works that should not any more.
    Bad,
    /// A token is refused, or nothing is left.
    Good,
}

/// The terminal, or the file that stands for it.
pub(crate) struct Screen {
    coloured: bool,
    /// The lines that are not to be shown yet.
    kept: Option<RefCell<Vec<String>>>,
}

impl Screen {
    /// One that shows each line at once.
    pub(crate) fn new() -> Self {
        Self { coloured: doors::is_coloured(), kept: None }
    }

    /// One that keeps its lines, for what is played beside something else.
    pub(crate) fn kept() -> Self {
        Self { kept: Some(RefCell::default()), ..Self::new() }
    }

    /// Shows what another one has kept.
    pub(crate) fn show(&self, other: Self) {
        for line in other.kept.map(RefCell::into_inner).unwrap_or_default() {
            self.line(line);
        }
    }

    /// A part of the story.
    pub(crate) fn heading(&self, text: &str) {
        self.line(String::new());
        self.line(self.styled(BOLD, text));
    }

    /// What was seen, and at the right what it means.
    pub(crate) fn fact(&self, text: &str, mood: Mood, answer: &str) {
        let style = match mood {
            Mood::Plain => "",
            Mood::Bad => RED,
            Mood::Good => GREEN,
        };
        let room = WIDTH.saturating_sub(2 + answer.chars().count());
        self.line(format!("  {text:room$}{}", self.styled(style, answer)));
    }

    /// Plain text.
    pub(crate) fn text(&self, text: &str) {
        self.lines("", "", text, 0);
    }

    /// The beginning of a job.
    pub(crate) fn title(&self, title: &str, about: &str) {
        self.line(String::new());
        self.lines("", BOLD, title, 0);
        self.lines("", "", about, 0);
    }

    /// A command, as the job's author has written it.
    pub(crate) fn command(&self, command: &str) {
        // Not wrapped: a command with a line break in it is another command.
        self.line(format!("  {}", self.styled(BOLD, &format!("$ {command}"))));
    }

    /// What the log of the job shows of it.
    pub(crate) fn log(&self, log: &str) {
        let lines: Vec<_> = log.lines().collect();
        for same in lines.chunk_by(|one, next| one == next) {
            let times = if same.len() > 1 { format!("  ({} times)", same.len()) } else { String::new() };
            self.lines("  | ", DIM, &format!("{}{times}", same[0]), 4);
        }
    }

    /// What came of it.
    pub(crate) fn result(&self, text: &str) {
        self.lines("  > ", GREEN, text, 4);
    }

    /// The end.
    pub(crate) fn end(&self, text: &str) {
        self.line(String::new());
        self.lines("", BOLD, text, 0);
    }

    fn lines(&self, before: &str, style: &str, text: &str, more: usize) {
        for line in wrapped(text, WIDTH - before.len(), more) {
            self.line(format!("{before}{}", self.styled(style, &line)));
        }
    }

    fn line(&self, line: String) {
        match &self.kept {
            Some(kept) => kept.borrow_mut().push(line),
            None => doors::print(&line),
        }
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.coloured && !style.is_empty() { painted(style, text) } else { text.to_owned() }
    }
}

/// Why the demo is over.
pub(crate) fn fail(text: &str) {
    for line in wrapped(text, WIDTH, 0) {
        doors::print_error(&if doors::is_error_coloured() { painted(RED, &line) } else { line });
    }
}

fn painted(style: &str, text: &str) -> String {
    format!("\x1b[{style}m{text}\x1b[0m")
}

/// The lines of a text, broken at spaces where they are too long; what follows a break is indented by so much more.
fn wrapped(text: &str, width: usize, more: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for whole in text.lines() {
        let indent = " ".repeat(whole.len() - whole.trim_start().len() + more);
        let mut rest = whole.to_owned();
        while let Some((end, _)) = rest.char_indices().nth(width) {
            // The last space that fits, else the first one at all: a word is never cut.
            let words = rest.len() - rest.trim_start().len();
            let space = rest[words..=end].rfind(' ').or_else(|| rest[words..].find(' '));
            let Some(space) = space.map(|space| words + space) else { break };
            let after = format!("{indent}{}", rest[space..].trim_start());
            rest.truncate(space);
            lines.push(std::mem::replace(&mut rest, after));
        }
        lines.push(rest);
    }
    lines
}
