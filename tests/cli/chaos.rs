//! Chaos: `run` or `hold` ended by a random signal at a random moment. Whatever happens, no lease, no live token and no file is left.
//!
//! The seeds are fixed, so that a failure can be played again; the moments are the machine's. `JOBPASS_TEST_CHAOS` sets how many
//! runs there are altogether.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{End, Job, Running, World, doors};

/// How many tests share the runs, as each waits most of the time.
const SHARES: u64 = 8;

/// xorshift64*: the same seed, the same choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// What a job's command may do with its token until it is ended.
const SCRIPTS: [&str; 4] = [
    "echo \"$OPENSHIFT_TOKEN\"; sleep 0.3",
    "while [ -e \"$JOBPASS_TOKEN_FILE\" ]; do base64 \"$JOBPASS_TOKEN_FILE\"; sleep 0.02; done",
    "trap '' TERM INT HUP QUIT; cat \"$JOBPASS_TOKEN_FILE\" >&2; sleep 0.4",
    "(trap '' TERM; echo $OPENSHIFT_TOKEN; sleep 0.5) & echo \"${OPENSHIFT_TOKEN##*.}\"; exit 3",
];

fn chaos(share: u64) {
    let world = World::new();
    for seed in (0..doors::chaos()).filter(|seed| seed % SHARES == share) {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let job = match dice.roll(4) {
            0 => Job::github(&world),
            1 => Job::gitlab(&world),
            2 => Job::tekton(&world),
            _ => Job::local(&world),
        };
        let script = SCRIPTS[usize::try_from(dice.roll(4)).expect("small")];
        let signal = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::KILL][usize::try_from(dice.roll(5)).expect("small")];
        // Every fourth holds a pass, and renews it without a break.
        let is_held = dice.roll(4) == 0;
        let running = if is_held {
            crate::holding::hold(&job).start()
        } else {
            job.run_with(["--grace", "100ms", "--variable", "OPENSHIFT_TOKEN"], script).start()
        };
        let moment = Duration::from_millis(dice.roll(400));
        if is_held {
            renew_for(&running, &job, moment);
        } else {
            std::thread::sleep(moment);
        }
        running.signal_if_there(signal);
        if dice.roll(4) == 0 {
            std::thread::sleep(Duration::from_millis(dice.roll(50)));
            running.signal_if_there(Signal::INT);
        }
        // Its output and all files of the job are swept for the token here.
        let ran = running.wait();
        // Before `hold` has its handlers a signal simply ends it, and nothing has begun then. And where the server is too busy to answer
        // in the time after a signal, it is said that the pass may live, and the next `revoke` ends it.
        let is_told = ["may be left behind", "is not revoked"].iter().any(|words| ran.said().contains(words));
        if matches!(ran.end, End::Signal(_)) || is_told {
            // What it has sent last may land after a revocation that gives it a second and a half, as on a server under load; what comes
            // of that is a scenario of `crashes.rs`.
            world.relay().settle();
            job.revoke().args(["--service-account", &world.account()]).succeed();
        }
        assert_eq!(world.secrets(), [""; 0], "seed {seed}, {signal:?}: {}", ran.transcript());
        assert!(job.places().is_empty(), "seed {seed}, {signal:?}: {}", ran.transcript());
        for token in world.tokens_of_passes() {
            assert!(!world.is_live(&token), "seed {seed}, {signal:?}: a token lives on");
        }
    }
}

/// Sends USR1 again and again once a pass is shown, for this time: KILL then meets a request, a write or a rename.
fn renew_for(running: &Running<'_>, job: &Job<'_>, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if job.base().join("ready").exists() {
            running.signal_if_there(Signal::USR1);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

macro_rules! shares {
    ($($name:ident = $share:literal)+) => {$(
        #[test]
        fn $name() {
            chaos($share);
        }
    )+};
}

shares! { first = 0 second = 1 third = 2 fourth = 3 fifth = 4 sixth = 5 seventh = 6 eighth = 7 }
