//! The Event by which an operator's `leases revoke` tells the job who has ended its pass and why: its form, written there and read here.

use jiff::Timestamp;

use crate::out::{instant, one_line};

/// The reason of such an Event.
pub const REASON: &str = "Revoked";

/// Who writes it.
pub const COMPONENT: &str = "jobpass";

/// What it says.
#[must_use]
pub fn message(by: &str, reason: &str, at: Timestamp) -> String {
    format!("revoked at {} by {}: \"{}\"", instant(at), one_line(by), one_line(reason))
}
