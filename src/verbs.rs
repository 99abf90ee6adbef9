//! The verbs, one file each: how each is called, and what it does, as its recipe.

pub mod request;
pub mod require;
pub mod revoke;
pub mod run;
pub mod scrub;
