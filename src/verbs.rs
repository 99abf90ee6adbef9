//! The verbs, one file each: what they do, as their recipe.

mod request;
mod require;
mod revoke;
mod run;
mod scrub;

pub use request::request;
pub use require::require;
pub use revoke::{NOTHING, revoke};
pub use run::run;
pub use scrub::scrub;
