//! The verbs, one file each: its command line, and what it does, readable as a recipe.
//!
//! A new verb: a file here (begin with `require.rs`), a variant and a row in `cli.rs`, its arms in `done` of `lib.rs`, and a row in
//! `docs/commands.md`. The test `help_shows_every_setting_and_no_value` in `tests/cli/outputs.rs` asks for the row and for a snapshot of its
//! help.

pub mod credential;
pub mod hold;
pub mod request;
pub mod require;
pub mod revoke;
pub mod run;
pub mod scrub;
pub mod wait;
