//! What programs read: one JSON document for each call, and the choice between it and a table.

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    failure::Failure,
    out::{API_VERSION, Out},
};

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// One document for programs
    Json,
    /// Names alone, a line each
    Name,
}

/// The flag that chooses it.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// How the answer is printed
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    pub output: Output,
}

/// What every document begins with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T: Serialize> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints a document.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(kind: &'static str, body: &impl Serialize, out: &Out) -> Result<(), Failure> {
    let document = serde_json::to_string_pretty(&Document { api_version: API_VERSION, kind, body });
    let document = out.without_hidden(&document.unwrap_or_default());
    out.data(&document)
}

/// A cluster that could not be asked, in every list.
#[derive(Clone, Debug, Serialize)]
pub struct Unreached {
    /// Its name: the context's.
    pub cluster: String,
    /// Why, in one line.
    pub reason: String,
}
