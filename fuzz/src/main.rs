//! One fuzzer for all targets: `JOBPASS_FUZZ` says which one this process is for.
#![no_main]
#![expect(clippy::disallowed_methods, reason = "the doors are those of the program, and this is none of it")]

use std::sync::OnceLock;

mod durations;
mod environment;
mod harmless;
mod jwt;
mod kubeconfig;
mod lease;
mod records;
mod runner;
mod scrubber;
mod status;

/// A name and what is done with each input.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 8] = [
    ("durations", durations::run),
    ("environment", environment::run),
    ("jwt", jwt::run),
    ("kubeconfig", kubeconfig::run),
    ("lease", lease::run),
    ("records", records::run),
    ("scrubber", scrubber::run),
    ("status", status::run),
];

fn target() -> fn(&[u8]) {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let wanted = std::env::var("JOBPASS_FUZZ").unwrap_or_default();
        let found = TARGETS.into_iter().find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("JOBPASS_FUZZ is none of {:?}", TARGETS.map(|(name, _)| name))).1
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| target()(data));
