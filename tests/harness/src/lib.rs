//! What the scenarios are made of: a world with an API server, a job on a platform, a run and what it left.
//!
//! It starts the `jobpass` that cargo has built for the tests that use it, so only integration tests of that package can.
#![allow(clippy::missing_panics_doc, reason = "everything here panics where a scenario cannot go on, as a test does that fails")]
#![allow(clippy::must_use_candidate, reason = "most is called for what it does to the world, and returns what was seen of it")]

mod audit;
mod command;
mod control_plane;
mod desk;
pub mod doors;
mod front;
mod issuers;
mod job;
pub mod leak;
mod names;
pub mod pages;
mod planes;
mod ran;
mod relay;
mod server;
mod terminal;
mod world;

pub use command::{Command, Running};
pub use control_plane::ControlPlane;
pub use desk::Desk;
pub use front::{Front, Shown};
pub use job::{Job, On, records};
pub use jobpass_issuers as oidc;
pub use planes::Plane;
pub use ran::{End, Ran};
pub use relay::Relay;
pub use terminal::Terminal;
pub use world::World;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use regex::Regex;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate stands in tests/harness")
}

/// So long may anything take that a scenario waits for; a hang is a failure, not a time-out of the whole run.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Eight hex digits that no other scenario has.
pub fn random() -> String {
    format!("{:08x}", RandomState::new().hash_one(0) & 0xffff_ffff)
}

/// A pattern, made once for all scenarios: making one takes longer than anything that is done with it.
pub fn pattern(text: &'static str) -> &'static Regex {
    static MADE: LazyLock<Mutex<HashMap<&'static str, &'static Regex>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().expect("sound");
    made.entry(text).or_insert_with(|| Box::leak(Box::new(Regex::new(text).expect("a pattern"))))
}

/// Asks again until it is so, a bounded number of times.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, what, is_so);
}

/// Asks again until it is so, at most so long.
pub fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
