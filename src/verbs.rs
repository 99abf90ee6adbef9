//! The verbs, one file each: its command line, and what it does, readable as a recipe.
//!
//! A new verb: a file here (begin with `require.rs`), a variant and a row in `cli.rs`, an arm in `done` of `lib.rs`, its help among those of
//! `help_shows_every_setting_and_no_value` in `tests/cli/outputs.rs`, and a section in `docs/commands.md`.

pub mod request;
pub mod require;
pub mod revoke;
pub mod run;
pub mod scrub;
