//! How an endpoint answers a job: as it should, or as one does that is broken or hostile.

use jobpass_sandbox::Gate;

use crate::server::Reply;

/// How an endpoint answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As the platform does.
    Token,
    /// As the platform does, but not before the gate opens.
    Held(Gate),
    /// As the platform does, but only the first half ever comes.
    Half,
    /// With this status and body, as JSON.
    Status(u16, String),
    /// With this status, content type and body.
    Other(u16, &'static str, String),
    /// With a page, as a proxy does that wants a login.
    Page(u16),
    /// With a token, and so much more that nobody should read it: 10 MB.
    Huge,
    /// With a redirect to this URL.
    Redirect(String),
    /// With exactly this text in the place of the token.
    Value(String),
    /// Not at all: the connection breaks off.
    Broken,
}

impl Answer {
    /// The reply: `good` is how it should be, `with` the same with another token.
    pub(crate) fn reply(&self, good: impl FnOnce() -> Reply, with: impl FnOnce(String) -> Reply) -> Reply {
        match self.clone() {
            Self::Token => good(),
            Self::Held(gate) => Reply { gate: Some(gate), ..good() },
            Self::Half => Reply { is_half: true, ..good() },
            Self::Status(status, body) => Reply::new(status, "application/json; charset=utf-8", body),
            Self::Other(status, kind, body) => Reply::new(status, kind, body),
            Self::Page(status) => Reply::new(status, "text/html", "<!DOCTYPE html>\n<html><body>Sign in to go on</body></html>\n"),
            Self::Huge => {
                let mut reply = good();
                reply.body.pop();
                reply.body.push_str(",\"more\":\"");
                reply.body.extend(std::iter::repeat_n('a', 10 << 20));
                reply.body.push_str("\"}");
                reply
            }
            Self::Redirect(to) => {
                let mut reply = Reply::new(302, "text/plain", "");
                reply.headers.push(("location", to));
                reply
            }
            Self::Value(text) => with(text),
            Self::Broken => Reply::broken(),
        }
    }
}
