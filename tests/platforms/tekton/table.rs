//! The table of docs/tekton.md: one row an event, one column a form.

use std::fs;

use crate::{
    events::Event,
    forms::Form,
    harness::{doors, pattern},
    node::repository,
    play::{Outcome, Play},
};

const PAGE: &str = "docs/tekton.md";
const BEGIN: &str = "<!-- table: events -->\n";
const END: &str = "<!-- end: events -->";

/// The page has what was seen, in all but the seconds; `JOBPASS_TEST_WRITE=1` writes it.
pub(crate) fn compare(outcomes: &[(Play, Outcome)]) {
    let seen = table(outcomes);
    let page = fs::read_to_string(repository(PAGE)).unwrap();
    let marks = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (told, after)) = marks.unwrap_or_else(|| panic!("{PAGE} has no marks `{}` and `{END}`", BEGIN.trim()));
    if doors::is_to_write() {
        doors::write(&repository(PAGE), &format!("{before}{BEGIN}{seen}{END}{after}"));
        return;
    }
    let told = without_seconds(told);
    let differing: Vec<_> =
        without_seconds(&seen).lines().filter(|line| !told.lines().any(|row| row == *line)).map(str::to_owned).collect();
    assert!(differing.is_empty(), "{PAGE} does not say what was seen:\n{}\nJOBPASS_TEST_WRITE=1 writes it", differing.join("\n"));
}

/// Without who was first, too: where jobpass and `finally` both end the pass, it is now the one and now the other.
fn without_seconds(table: &str) -> String {
    pattern(r"(`finally` )?[+-][0-9]+\.[0-9]").replace_all(table, "N").into_owned()
}

fn table(outcomes: &[(Play, Outcome)]) -> String {
    let titles: Vec<_> = Form::COLUMNS.iter().map(|(.., title)| *title).collect();
    let mut table = format!("| event | {} |\n|---|{}\n", titles.join(" | "), "---|".repeat(titles.len()));
    for (event, _, title) in Event::ROWS {
        let cells = Form::COLUMNS.iter().map(|(form, ..)| {
            let mut of_cell =
                outcomes.iter().filter(|(play, _)| play.form == *form && play.event.row() == event).map(|(_, outcome)| outcome);
            let Some(first) = of_cell.next() else { return "–".to_owned() };
            let mut worst = Outcome::of_row(first);
            of_cell.for_each(|other| worst.join(other));
            worst.cell()
        });
        table += &[title.to_owned()].into_iter().chain(cells).fold("|".to_owned(), |row, cell| row + " " + &cell + " |");
        table.push('\n');
    }
    table
}
