//! What the scenarios are made of: a world with an API server, a job on a platform, a run and what it left.

mod audit;
mod command;
mod control_plane;
pub(crate) mod doors;
mod job;
pub(crate) mod leak;
mod names;
pub(crate) mod pages;
mod ran;
mod relay;
mod world;

pub(crate) use command::Command;
pub(crate) use control_plane::ControlPlane;
pub(crate) use job::{Job, records};
pub(crate) use ran::{End, Ran};
pub(crate) use world::World;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use regex::Regex;

/// So long may anything take that a scenario waits for; a hang is a failure, not a time-out of the whole run.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Eight hex digits that no other scenario has.
pub(crate) fn random() -> String {
    format!("{:08x}", RandomState::new().hash_one(0) & 0xffff_ffff)
}

/// A pattern, made once for all scenarios: making one takes longer than anything that is done with it.
pub(crate) fn pattern(text: &'static str) -> &'static Regex {
    static MADE: LazyLock<Mutex<HashMap<&'static str, &'static Regex>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().expect("sound");
    made.entry(text).or_insert_with(|| Box::leak(Box::new(Regex::new(text).expect("a pattern"))))
}

/// Asks again until it is so, a bounded number of times.
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, what, is_so);
}

/// Asks again until it is so, at most so long.
pub(crate) fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
