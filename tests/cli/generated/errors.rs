//! The page of errors: every code, from the table in `src/failure/code.rs`.

use std::fmt::Write as _;

use jobpass::failure::Code;

const HEAD: &str = "# Errors

Every failure has a code, which stays the same from version to version, whatever the words of its message are. `--output json` (`request`
and `revoke`) prints it on stdout, if no other answer was there before:

<!-- not run: the test that writes this page prints it -->
```json
FAILURE
```

A receipt whose state is `failed` has the code of the reason in its `proof`: `{\"state\":\"failed\",\"code\":\"api.forbidden.rbac\",\"reason\":…}`. A call whose flags
cannot be read at all is answered on stderr only.

`message`, `causes` and `hint` are for people: branch on `code`, or on its beginning up to a dot.

The exit status is that of a verb; `run` ends with 125 where the table has 1 or 2 ([all of them](commands.md#exit-codes)).

<!-- Made from `src/failure/code.rs` by `JOBPASS_TEST_WRITE=1 cargo test --test cli generated` -->

";

/// What the first part of a code is about.
const FAMILIES: [(&str, &str); 13] = [
    ("usage", "The call itself"),
    ("platform", "The CI system"),
    ("identity", "The CI identity"),
    ("network", "The way to the API server"),
    ("api", "What the API server answered"),
    ("lease", "The lease"),
    ("pass", "The pass of this job"),
    ("store", "The directory of the pass"),
    ("file", "Files that were asked for"),
    ("output", "stdout and stderr"),
    ("command", "The command of `run`"),
    ("interrupted", "Signals"),
    ("system", "The machine"),
];

/// The whole page.
pub(super) fn page() -> String {
    let example = jobpass::failure::Failure::new(Code::ApiRbac, "cannot request a token for service account `ci/deploy-bot`")
        .cause("403 Forbidden: serviceaccounts \"deploy-bot\" is forbidden: User \"bob\" cannot create resource \"serviceaccounts/token\"")
        .hint("grant it with `jobpass setup`, or ask a cluster admin");
    let mut page = HEAD.replace("FAILURE", &example.json(str::to_owned));
    let mut listed = 0;
    for (family, about) in FAMILIES {
        write!(page, "## {about}\n\n| code | exit | what has happened | what to do |\n|---|---|---|---|\n").expect("a text");
        for code in Code::ALL.iter().filter(|code| code.name().split('.').next() == Some(family)) {
            writeln!(page, "| `{}` | {} | {} | {} |", code.name(), code.exit().code(), code.means(), code.remedy()).expect("a text");
            listed += 1;
        }
        page += "\n";
    }
    assert_eq!(listed, Code::ALL.len(), "a code is of no family");
    page.trim_end().to_owned() + "\n"
}
