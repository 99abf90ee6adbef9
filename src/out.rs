//! The only door to stdout and stderr: what goes out is sanitised and flushed line by line. It knows no CI system.
#![expect(clippy::disallowed_methods, reason = "this is the one door to stdout and stderr")]

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    rc::Rc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
    io::retry_on_intr,
};

use crate::{
    failure::{Code, Failure},
    secret::Secret,
    shown,
};

mod aside;
mod hidden;

use aside::Aside;
use hidden::Hidden;

/// In characters: the longest text from outside that one of our lines repeats.
const LINE: usize = 2000;

/// What every failure begins with.
const ERROR: &str = "error:";

/// The `apiVersion` of every JSON document that we print.
pub const API_VERSION: &str = "jobpass.dev/v1";

/// How long we wait for stderr to take a message while a pass lives.
const ASIDE: Duration = Duration::from_millis(50);

/// The same where it takes one at once: then the thread that writes it only needs its turn, which takes a while on a busy machine. What
/// the command prints is to come after what was said before it began.
const TURN: Duration = Duration::from_secs(2);

/// How long we wait at the end of the process for what was said aside.
const LAST: Duration = Duration::from_millis(500);

/// One of our two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
}

/// What the first words of a message are about; on a terminal its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A pass is dead, as it should be: green.
    Good,
    /// Something failed, or a pass may be alive that should not: red.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// The words as a terminal shows them in this tone.
    fn painted(self, words: &str) -> String {
        let colour = match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Plain => return words.to_owned(),
        };
        format!("\u{1b}[{colour}m{words}\u{1b}[0m")
    }
}

/// A stream without a buffer, for the output of a command: nothing waits for a newline.
///
/// # Errors
/// When the process was started without this stream.
pub fn raw(stream: Stream) -> io::Result<Raw> {
    let descriptor = match stream {
        Stream::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        Stream::Stderr => io::stderr().as_fd().try_clone_to_owned(),
    };
    descriptor.map(File::from).map(Raw)
}

/// See [`raw`].
#[derive(Debug)]
pub struct Raw(File);

impl Write for &Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.0).write(bytes) {
                // Another process has made the stream non-blocking for everybody who shares it, as Node does.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wanted = [PollFd::new(&self.0, PollFlags::OUT)];
                    retry_on_intr(|| poll(&mut wanted, None))?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stdout and stderr are the same file, as after `2>&1` or on a terminal.
#[must_use]
pub fn is_one_file() -> bool {
    let same = |a: rustix::fs::Stat, b: rustix::fs::Stat| (a.st_dev, a.st_ino, a.st_rdev) == (b.st_dev, b.st_ino, b.st_rdev);
    rustix::fs::fstat(io::stdout()).is_ok_and(|out| rustix::fs::fstat(io::stderr()).is_ok_and(|err| same(out, err)))
}

/// The way out for all that we print: messages go to stderr, data for the caller to stdout. Clones hide the same secrets.
///
/// That holds on every platform: `$(…)`, `|` and `>` take stdout away from the runner, so a mask on stdout would be captured
/// instead of obeyed. GitHub's runner reads commands from both streams, and handles what waits on stderr first
/// (`ProcessInvoker.cs`, `ScriptHandler.cs` of actions/runner).
#[derive(Clone, Debug, Default)]
pub struct Out {
    hidden: Rc<RefCell<Hidden>>,
    /// Whether data of ours was written to stdout.
    answered: Rc<Cell<bool>>,
    /// Whether the first words of some messages are coloured.
    has_colours: bool,
    /// Whether no message is waited for, see [`Out::never_wait`].
    aside: Rc<Cell<bool>>,
    /// What was said aside and is not written yet.
    said_aside: Rc<Aside>,
    /// What stands in the way of what we wait for.
    trouble: Rc<RefCell<Option<String>>>,
}

impl Out {
    /// Hides nothing yet, and has no colours.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides nothing yet; `allowed` says whether stderr may have colours if it is a terminal.
    #[must_use]
    pub fn coloured(allowed: bool) -> Self {
        use io::IsTerminal;
        Self { has_colours: allowed && io::stderr().is_terminal(), ..Self::default() }
    }

    /// From now on replaces this value in all our messages, from every clone.
    pub fn hide(&self, secret: &Secret) {
        self.hidden.borrow_mut().add(secret);
    }

    /// From now on says everything aside, see [`Out::say_aside`]: for a process whose messages may have no reader any more when it ends.
    pub fn never_wait(&self) {
        self.aside.set(true);
    }

    /// Keeps what stands in the way of what we wait for, or that nothing does any more: whoever is interrupted meanwhile says it.
    pub fn keep_trouble(&self, why: Option<String>) {
        self.trouble.replace(why);
    }

    /// What stands in the way of what we wait for now.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// No longer looks for this value, which has been replaced: the list must not grow as long as a pass is held.
    pub fn forget(&self, secret: &Secret) {
        self.hidden.borrow_mut().forget(secret);
    }

    /// Prints a message for the person who reads the log. A closed stderr is no reason to fail.
    pub fn say(&self, text: impl AsRef<str>) {
        self.say_toned(Tone::Plain, "", text);
    }

    /// The same; its first words are `head`, which no secret and nothing from outside is a part of.
    pub fn say_toned(&self, tone: Tone, head: &'static str, text: impl AsRef<str>) {
        let mut lines = self.speakable(&format!("{head}{}", text.as_ref()));
        if self.has_colours
            && let Some(rest) = lines.strip_prefix(head)
        {
            lines = tone.painted(head) + rest;
        }
        if self.aside.get() {
            return self.send_aside(lines);
        }
        let _ = self.tell(&lines);
    }

    /// Writes to stderr, after what was said aside.
    fn tell(&self, text: &str) -> io::Result<()> {
        self.said_aside.settle(None);
        io::stderr().write_all(text.as_bytes())
    }

    /// Waits a moment for what was said aside: this process is about to end, and would take it along.
    pub fn settle(&self) {
        self.said_aside.settle(Some(LAST));
    }

    /// Prints a question, without a line break: the answer stands behind it.
    #[cfg(feature = "operate")]
    pub fn ask(&self, text: &str) {
        let _ = self.tell(self.speakable(text).trim_end_matches('\n'));
    }

    /// Prints a message in a platform's own form, such as an annotation; `render` makes one line of it.
    pub fn say_as(&self, text: impl AsRef<str>, render: impl Fn(&str) -> String) {
        let _ = self.tell(&(render(&self.speakable(text.as_ref())) + "\n"));
    }

    /// A text without what is hidden: before it becomes a part of JSON, which would spell a quote in a password another way.
    #[must_use]
    pub fn without_hidden(&self, text: &str) -> String {
        self.hidden.borrow().without(text)
    }

    /// The message line by line, without secrets, and with no line that a runner takes for a command.
    fn speakable(&self, text: &str) -> String {
        let text = self.without_hidden(text);
        text.lines().map(|line| harmless(&shown::harmless(line)) + "\n").collect()
    }

    /// Prints a warning: something that does not stop the job.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.say(format!("warning: {}", text.as_ref()));
    }

    /// The same for what should be dead and may be alive.
    pub fn warn_of_life(&self, text: impl AsRef<str>) {
        self.say_toned(Tone::Bad, "warning:", format!(" {}", text.as_ref()));
    }

    /// Prints why a verb could not do what it was asked for.
    pub fn fail(&self, failure: &Failure) {
        let text = failure.to_string();
        match text.strip_prefix(ERROR) {
            Some(rest) => self.say_toned(Tone::Bad, ERROR, rest),
            None => self.say(text),
        }
    }

    /// Prints a warning while a pass lives, see [`Out::say_aside`].
    pub fn warn_aside(&self, text: impl AsRef<str>) {
        self.say_aside(format!("warning: {}", text.as_ref()));
    }

    /// Prints a message while a pass lives. If the log's reader has stopped reading, the message waits in a thread, and we do not:
    /// the end of the pass must not be delayed.
    pub fn say_aside(&self, text: impl AsRef<str>) {
        self.send_aside(self.speakable(text.as_ref()));
    }

    fn send_aside(&self, lines: String) {
        let write = |lines: &str| drop(io::stderr().write_all(lines.as_bytes()));
        // A terminal that somebody has stopped seems to take more.
        let longest = if takes_more() && !io::stderr().is_terminal() { TURN } else { ASIDE };
        match self.said_aside.say(lines, write) {
            Ok(()) => self.said_aside.settle(Some(longest)),
            // No thread can be started: the message is printed only if that does not block.
            Err(lines) if takes_more() => write(&lines),
            Err(_) => {}
        }
    }

    /// Writes a workflow command unchanged: a line that the platform's module rendered, such as a mask.
    ///
    /// # Errors
    /// When it cannot be written: a token that is not masked must not be exported.
    pub fn command(&self, line: &str) -> Result<(), Failure> {
        let written = self.tell(&format!("{line}\n"));
        written.map_err(|error| Failure::new(Code::OutputBroken, "cannot write to the log").cause(error))
    }

    /// Writes data for the caller to stdout.
    ///
    /// # Errors
    /// When it cannot be written: a caller that does not get our answer does not know its pass.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        self.answered.set(true);
        let mut stdout = io::stdout().lock();
        // Not as one text: the list of thousands of leases would be there twice. What is on one line still leaves at once.
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
        written.map_err(|error| Failure::new(Code::OutputBroken, "cannot write to stdout").cause(error))
    }

    /// Prints a failure as JSON for a caller who asked for JSON, unless data was already printed. Errors of stdout are ignored.
    pub fn answer(&self, failure: &Failure) {
        if !self.answered.get() {
            let _ = self.data(self.speakable(&failure.json(|text| self.without_hidden(text))).trim_end());
        }
    }

    /// Whether stderr is a pipe, as under a CI runner, and not a file, which would keep what we print.
    #[must_use]
    pub fn is_piped(&self) -> bool {
        rustix::fs::fstat(io::stderr()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
    }

    /// Whether a runner can read stderr: it is a pipe, a socket, or a terminal as `act` gives a step, but no file and not
    /// `/dev/null`.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        use io::IsTerminal;
        let is_stream = |stat: rustix::fs::Stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket);
        rustix::fs::fstat(io::stderr()).is_ok_and(is_stream) || io::stderr().is_terminal()
    }
}

/// Whether a write to stderr would not block.
fn takes_more() -> bool {
    let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
    poll(&mut [PollFd::new(&io::stderr(), PollFlags::OUT)], now).is_ok_and(|ready| ready > 0)
}

/// A moment as we print it: RFC 3339, whole seconds, UTC.
#[must_use]
pub fn instant(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// Turns a text from outside into one line: without line breaks, control characters, invisible formatting or tokens, and not too
/// long.
#[must_use]
pub fn one_line(text: &str) -> String {
    // Bidirectional overrides and zero-width characters can make a log line look different from what it is. They go first: between its
    // characters they would hide a token from those who look for one.
    let is_seen = |c: &char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let seen: String = text.chars().filter(is_seen).collect();
    let text = shown::harmless(&without_tokens(&seen));
    let mut line = String::new();
    for character in text.trim().chars().take(LINE) {
        match character {
            character if character.is_control() || character.is_whitespace() => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            character => line.push(character),
        }
    }
    if text.trim().chars().nth(LINE).is_some() {
        line.push('…');
    }
    harmless(line.trim_end())
}

/// Removes what looks like a Kubernetes or OpenShift token: a server or plugin may repeat a token that we do not know.
fn without_tokens(text: &str) -> String {
    const BEGINNINGS: [&str; 2] = ["eyJ", "sha256~"];
    // In characters: longer than any word, shorter than any token.
    const SHORTEST: usize = 40;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    let mut line = String::with_capacity(text.len());
    for word in text.split_inclusive(|c| !is_part(c)) {
        let token = word.trim_end_matches(|c| !is_part(c));
        match BEGINNINGS.iter().find_map(|beginning| token.find(beginning)).filter(|at| token.len() - at >= SHORTEST) {
            Some(at) => line.extend([&token[..at], "[redacted]", &word[token.len()..]]),
            None => line.push_str(word),
        }
    }
    line
}

/// Changes what a runner would take for a command: `##[` anywhere, `::` at the start of a line.
///
/// See <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>. The older form `##[` is recognised in
/// the middle of a line, too.
fn harmless(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    let line = line.replace("##[", "## [");
    match line.trim_start().strip_prefix("::") {
        Some(rest) => format!(": :{rest}"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_ours_is_a_workflow_command() {
        assert_eq!(one_line("::set-output name=token::spoof"), ": :set-output name=token::spoof");
        assert_eq!(one_line("x ##[save-state name=q]evil"), "x ## [save-state name=q]evil");
        assert_eq!(harmless("   ::stop-commands::x"), ": :stop-commands::x");
    }

    #[test]
    fn line_breaks_and_escapes_become_one_space() {
        assert_eq!(one_line(" a\r\n\tb\x1b[31mc\0d "), "a b [31mc d");
    }

    #[test]
    fn text_that_reads_backwards_is_straightened() {
        assert_eq!(one_line("a\u{202e}b\u{200b}c\u{2028}d"), "abcd");
    }

    #[test]
    fn a_token_in_a_foreign_text_is_not_repeated() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4IiwiZXhwIjoxfQ.c2lnbmF0dXJl";
        assert_eq!(one_line(&format!("token=\"{jwt}\", no")), "token=\"[redacted]\", no");
        assert_eq!(one_line("Bearer sha256~0123456789abcdefghijklmnopqrstuvwxyzABCDEF"), "Bearer [redacted]");
        assert_eq!(one_line("sha256~0123456789abcdefgh\u{2028}ijklmnop\u{200b}qrstuvwxyzABCDEF"), "[redacted]");
        assert_eq!(one_line("eyJ is how a JWT begins; sha256~ too"), "eyJ is how a JWT begins; sha256~ too");
    }

    #[test]
    fn a_stream_that_another_process_made_non_blocking_loses_nothing() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
        let slow = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let mut all = Vec::new();
            io::Read::read_to_end(&mut reader, &mut all).expect("read");
            all.len()
        });
        let raw = Raw(File::from(std::os::fd::OwnedFd::from(writer)));
        (&raw).write_all(&vec![b'x'; 1 << 20]).expect("written");
        drop(raw);
        assert_eq!(slow.join().expect("a count"), 1 << 20);
    }

    #[test]
    fn an_endless_text_is_cut() {
        assert_eq!(one_line(&"x".repeat(5000)).chars().count(), LINE + 1);
    }
}
