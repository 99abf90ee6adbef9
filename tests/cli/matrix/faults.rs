//! What can happen to a call, as a script for the sandbox.

use std::time::Duration;

use jobpass_sandbox::{Fault as Script, Gate};
use serde_json::{Value, json};

use super::kinds;

kinds! {
    /// What happens to a call.
    Fault {
        /// The server is gone for the rest of the call: connections end, the new ones too.
        Gone,
        Silent,
        /// The connection breaks with nothing done.
        ResetBefore,
        /// The connection breaks with everything done.
        ResetAfter,
        /// Everything done, and half of the answer.
        Truncated,
        Unauthorized,
        Forbidden,
        /// A proxy's page.
        NoPage,
        /// The API server's own words for a path that it does not know.
        NoPath,
        AlreadyExists,
        /// 409: the uid is another's.
        Replaced,
        /// 409: the server was changing the same thing for somebody else.
        Busy,
        Invalid,
        /// With a `Retry-After` out of [`RETRY_AFTER`].
        TooMany,
        /// 500 with nothing done.
        Internal,
        /// 500 with everything done.
        InternalAfter,
        Unavailable,
        Slow,
        /// Everything done, and an object that is none of the API's.
        WrongJson,
        /// Everything done, and a text.
        NoJson,
        /// Everything done, and more than any answer has.
        Huge,
        /// To another server, with a status out of [`REDIRECTS`].
        Redirect,
    }
}

const RETRY_AFTER: [&str; 9] = [
    "18446744073709551615",
    "-1",
    "1e9",
    "soon",
    "0",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "",
    "99999999999999999999999999",
];

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// No answer is as large as this.
const HUGE: usize = (1 << 20) + (1 << 16);

/// Stands in everything that is no API server's word, and so in no message.
pub(super) const CANARY: &str = "hunter2";

impl Fault {
    /// How many forms of it there are.
    pub(super) fn forms(self) -> usize {
        match self {
            Self::TooMany => RETRY_AFTER.len(),
            Self::Redirect => REDIRECTS.len(),
            Self::Gone
            | Self::Silent
            | Self::ResetBefore
            | Self::ResetAfter
            | Self::Truncated
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NoPage
            | Self::NoPath
            | Self::AlreadyExists
            | Self::Replaced
            | Self::Busy
            | Self::Invalid
            | Self::Internal
            | Self::InternalAfter
            | Self::Unavailable
            | Self::Slow
            | Self::WrongJson
            | Self::NoJson
            | Self::Huge => 1,
        }
    }

    /// Its script for the requests that `on` meets. A redirect leads elsewhere.
    pub(super) fn script(self, on: Script, form: usize, gate: &Gate, elsewhere: &str) -> Script {
        let no = |code, reason| status(code, reason, "no, for a reason", &json!({}));
        match self {
            Self::Gone => on.pause_before(gate),
            Self::Silent => on.hang(),
            Self::ResetBefore => on.cut_before_processing(),
            Self::ResetAfter => on.cut_after_processing(),
            Self::Truncated => on.cut_body(),
            Self::Unauthorized => on.answer(401, status(401, "Unauthorized", "Unauthorized", &json!({}))),
            Self::Forbidden => on.answer(403, no(403, "Forbidden")),
            Self::NoPage => on.answer_text(404, &format!("404 page not found {CANARY}\n")),
            Self::NoPath => on.answer(404, status(404, "NotFound", "the server could not find the requested resource", &json!({}))),
            Self::AlreadyExists => {
                let details = json!({"name": "x", "kind": "secrets"});
                on.answer(409, status(409, "AlreadyExists", "secrets \"x\" already exists", &details))
            }
            Self::Replaced => {
                let text = "Precondition failed: UID in precondition: a, UID in object meta: b";
                on.answer(409, status(409, "Conflict", text, &json!({})))
            }
            Self::Busy => on.conflict(),
            Self::Invalid => on.answer(422, no(422, "Invalid")),
            Self::TooMany => on.answer_text(429, &format!("Too many requests {CANARY}\n")).header("Retry-After", RETRY_AFTER[form]),
            Self::Internal => on.internal_error(),
            Self::InternalAfter => on.answer_after(500, status(500, "InternalError", "the answer of etcd is lost", &json!({}))),
            Self::Unavailable => on.unavailable(),
            Self::Slow => on.delay(Duration::from_millis(300)),
            Self::WrongJson => on.garbage_2xx(&json!({"kind": CANARY, "metadata": {}}).to_string()),
            Self::NoJson => on.garbage_2xx(&format!("<html>{CANARY}</html>")),
            Self::Huge => on.garbage_2xx(&" ".repeat(HUGE)),
            Self::Redirect => on.answer_text(REDIRECTS[form], &format!("Moved {CANARY}\n")).header("Location", elsewhere),
        }
    }
}

pub(super) fn status(code: u16, reason: &str, message: &str, details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
           "details": details, "code": code})
}
