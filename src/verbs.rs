//! The verbs, one file each: its command line, and what it does, readable as a recipe.

pub mod request;
pub mod require;
pub mod revoke;
pub mod run;
pub mod scrub;
