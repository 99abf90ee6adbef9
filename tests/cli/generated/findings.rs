//! The page of findings: every one, from the table in `src/operate/finding.rs`.

use std::fmt::Write as _;

use jobpass::operate::finding::{Id, Severity};

const HEAD: &str = "# Findings

What `jobpass doctor` and `jobpass setup` find wrong has a name, which stays the same from version to version, whatever the words are.
`-o json` has it as `id`, with the severity, the text, what was seen (`evidence`) and what to do (`fix`):

<!-- not run: the answer to a question -->
```json
{\"id\":\"rights-mint\",\"area\":\"rights\",\"state\":\"fail\",\"severity\":\"high\",\"text\":\"…\",\"evidence\":{},\"fix\":\"…\"}
```

`state` is `ok`, `warn` (low or medium), `fail` (high) or `skipped`: a check has the same id where all is well, without a severity.

The exit status is that of the worst: 11 low, 12 medium, 13 high; with `--exit-zero` it is 0. It is 1 where the API server cannot be reached, or
does not know the CI identity, and 2 where the call is wrong.

<!-- Made from `src/operate/finding.rs` by `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` -->

";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for severity in [Severity::High, Severity::Medium, Severity::Low] {
        let mut name = severity.name().to_owned();
        name[..1].make_ascii_uppercase();
        write!(page, "## {name}\n\n| finding | what it means | what to do |\n|---|---|---|\n").expect("a text");
        for id in Id::ALL.iter().filter(|id| id.severity() == severity) {
            writeln!(page, "| `{}` | {} | {} |", id.name(), id.means(), id.remedy()).expect("a text");
        }
        page += "\n";
    }
    page.trim_end().to_owned() + "\n"
}
