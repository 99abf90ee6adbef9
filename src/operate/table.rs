//! What people read: columns, cut to the width of a terminal, and whole where the output is piped.

use comfy_table::{Cell as Drawn, ColumnConstraint, ContentArrangement, Row, Table as Drawing, presets::NOTHING};
use console::{Style, Term};

use crate::{env::Env, out::one_line};

/// What a cell says beside its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should look.
    Doubtful,
    /// It is wrong, or dead.
    Bad,
    /// It matters less.
    Faint,
}

/// One cell: a line of text, sanitised, as it may come from a job.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell of this tone.
    #[must_use]
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: one_line(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Where a table is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// In columns; none where the output is piped.
    pub width: Option<u16>,
    /// Whether it shows colours.
    pub has_colours: bool,
}

impl Screen {
    /// stdout, as it is.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let stdout = Term::stdout();
        let width = if stdout.is_term() { stdout.size_checked().map(|(_, width)| width).or(Some(80)) } else { None };
        Self { width, has_colours: width.is_some() && env.allows_colours() }
    }
}

/// A table: heads in capitals, a row a thing.
#[derive(Clone, Debug, Default)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    kept: Vec<&'static str>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(heads: impl Into<Vec<&'static str>>) -> Self {
        Self { heads: heads.into(), rows: Vec::new(), kept: Vec::new() }
    }

    /// These columns matter most, the first of them more than the next: on a terminal they are whole as long as together they take no
    /// more than two thirds of it.
    #[must_use]
    pub fn keeping(self, heads: impl Into<Vec<&'static str>>) -> Self {
        Self { kept: heads.into(), ..self }
    }

    /// Adds a row, a cell for each column.
    pub fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table. Each row is one line: what does not fit on a terminal is cut and ends in `…`.
    #[must_use]
    pub fn render(&self, screen: Screen) -> String {
        let Some(width) = screen.width else { return self.whole() };
        let mut drawing = Drawing::new();
        drawing.load_style(NOTHING).set_truncation_indicator("…");
        drawing.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        let mut head = Row::from(self.heads.iter().map(Drawn::new).collect::<Vec<_>>());
        drawing.set_header(std::mem::take(head.max_height(1)));
        for cells in &self.rows {
            let mut row = Row::from(cells.iter().map(|cell| Drawn::new(&cell.text)).collect::<Vec<_>>());
            drawing.add_row(std::mem::take(row.max_height(1)));
        }
        let (widths, mut taken, mut whole) = (drawing.column_max_content_widths(), 0, Vec::new());
        for at in self.kept.iter().filter_map(|kept| self.heads.iter().position(|head| head == kept)) {
            let more = widths.get(at).map_or(0, |width| usize::from(*width) + GAP);
            if taken + more <= usize::from(width) * 2 / 3 {
                taken += more;
                whole.push(at);
            }
        }
        for (at, column) in drawing.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if whole.contains(&at) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let lines: Vec<_> = drawing.lines().map(|line| line.trim_end().to_owned()).collect();
        let coloured = lines.iter().enumerate().map(|(at, line)| match at.checked_sub(1).and_then(|at| self.rows.get(at)) {
            Some(row) if screen.has_colours => coloured(line, row),
            Some(_) | None => line.clone(),
        });
        coloured.collect::<Vec<_>>().join("\n")
    }

    /// The same for a file or a program: nothing is cut, so nothing has to be laid out, which takes a kilobyte for each row.
    fn whole(&self) -> String {
        let mut widths: Vec<_> = self.heads.iter().map(|head| console::measure_text_width(head)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(console::measure_text_width(&cell.text));
            }
        }
        let mut text = String::new();
        line(&mut text, self.heads.iter().copied(), &widths);
        for row in &self.rows {
            text.push('\n');
            line(&mut text, row.iter().map(|cell| cell.text.as_str()), &widths);
        }
        text
    }
}

/// The blanks between two columns, also of a drawing.
const GAP: usize = 2;

/// Adds a row of cells, each as wide as its column.
fn line<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>, widths: &[usize]) {
    for (cell, width) in cells.zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width + GAP - console::measure_text_width(cell)));
    }
    text.truncate(text.trim_end_matches(' ').len());
}

/// The line of a row with the colours of its cells. It is coloured when it is laid out, as the codes of colours have no width.
fn coloured(line: &str, row: &[Cell]) -> String {
    let (mut rest, mut done) = (line, String::new());
    for cell in row.iter().filter(|cell| cell.tone != Tone::Plain) {
        let style = match cell.tone {
            Tone::Plain => Style::new(),
            Tone::Good => Style::new().green(),
            Tone::Doubtful => Style::new().yellow(),
            Tone::Bad => Style::new().red(),
            Tone::Faint => Style::new().dim(),
        };
        // What was cut ends in the mark of it.
        let shown = (1..=cell.text.len()).rev().filter(|end| cell.text.is_char_boundary(*end)).find_map(|end| {
            let part = &cell.text[..end];
            rest.find(part).map(|at| (at, part))
        });
        let Some((at, part)) = shown else { continue };
        done.push_str(&rest[..at]);
        done.push_str(&style.force_styling(true).apply_to(part).to_string());
        rest = &rest[at + part.len()..];
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["LEASE", "RUN", "ENDS"]);
        table.row(["7a24c1".into(), "acme/a-repository-with-a-very-long-name #471101".into(), Cell::toned("in 36 min", Tone::Good)]);
        table.row(["c22de8".into(), "acme/shop\u{1b}[31m job 902".into(), Cell::toned("ended 2 h ago", Tone::Bad)]);
        table
    }

    #[test]
    fn what_is_piped_is_whole_and_has_no_colours() {
        let text = table().render(Screen::default());
        assert_eq!(
            text,
            "LEASE   RUN                                              ENDS\n\
             7a24c1  acme/a-repository-with-a-very-long-name #471101  in 36 min\n\
             c22de8  acme/shop [31m job 902                           ended 2 h ago"
        );
    }

    #[test]
    fn a_terminal_that_is_wide_enough_gets_the_same() {
        let mut table = table();
        table.row(["\u{65e5}\u{672c}".into(), "e\u{301}".into(), "".into()]);
        let wide = table.render(Screen { width: Some(200), has_colours: false });
        assert_eq!(table.render(Screen::default()), wide);
    }

    #[test]
    fn a_terminal_gets_one_line_a_row_that_fits() {
        for width in [40, 60, 200] {
            let text = table().render(Screen { width: Some(width), has_colours: false });
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.lines().all(|line| console::measure_text_width(line) <= usize::from(width)), "{text}");
            assert_eq!(text.contains('…'), width == 40 || width == 60, "{text}");
        }
    }

    #[test]
    fn colours_are_put_where_the_words_are() {
        let text = table().render(Screen { width: Some(200), has_colours: true });
        assert!(text.contains("\u{1b}[32min 36 min\u{1b}[0m") && text.contains("\u{1b}[31mended 2 h ago\u{1b}[0m"), "{text:?}");
    }
}
