//! What stands in the way of an answer: said once and at once, so that nobody wonders what we wait for, and kept for the message of
//! whoever is interrupted meanwhile.

use std::time::Duration;

use super::hedge::Silence;
use crate::{net::Target, options::human, out::Out};

/// What stands in the way.
pub(super) struct Trouble {
    out: Out,
    /// Whether it was said already.
    said: bool,
}

impl Trouble {
    pub(super) fn new(out: &Out) -> Self {
        Self { out: out.clone(), said: false }
    }

    /// Where it is said.
    pub(super) fn out(&self) -> &Out {
        &self.out
    }

    /// A request has failed and is sent again.
    pub(super) fn failed(&mut self, why: String, limit: Duration) {
        self.say(&format!("{why}; trying again for at most {}", human(limit)));
        self.out.keep_trouble(Some(why));
    }

    /// A request is not answered. Where no connection was made, `what` was not asked for yet.
    pub(super) fn silent(&mut self, what: &str, target: &Target, silence: Silence, limit: Duration) {
        let Silence { length, is_connected } = silence;
        let (server, length) = (&target.server, human(length));
        let why = if is_connected {
            format!("{what}: no answer from `{server}` for {length}")
        } else {
            format!("cannot reach {} at `{server}`: no connection for {length}", target.noun)
        };
        self.say(&format!("{why}; trying for at most {}", human(limit)));
        self.out.keep_trouble(Some(why));
    }

    /// There is an answer.
    pub(super) fn answered(&mut self, is_success: bool) {
        self.said &= !is_success;
        self.out.keep_trouble(None);
    }

    fn say(&mut self, text: &str) {
        if !std::mem::replace(&mut self.said, true) {
            self.out.warn_aside(text);
        }
    }
}

/// A time limit as messages name it: in whole seconds.
pub(super) fn whole(limit: Duration) -> Duration {
    Duration::from_secs(limit.as_secs() + u64::from(limit.subsec_nanos() > 0))
}
