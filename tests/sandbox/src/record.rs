//! What the server was asked and what it answered, without a single credential.

use std::fmt;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One request. There is no way to the value of its Authorization header.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which server was asked, where it was not the API server.
    pub server: Option<&'static str>,
    /// `POST`, `DELETE`, …
    pub method: String,
    /// As it was sent, with a path prefix if there was one.
    pub path: String,
    /// What stood behind the `?`; what a login is made of is replaced.
    pub query: Option<String>,
    /// Who asked; `None` when the request was refused, or met a fault, before authentication.
    pub user: Option<String>,
    /// The User-Agent header.
    pub user_agent: Option<String>,
    /// Whether there was an Authorization header.
    pub has_authorization: bool,
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The JSON body; the values of `data`, `stringData` and `token` are replaced.
    pub body: Option<Value>,
    /// The answer's status; `None` as long as there is no answer, and for ever if the connection was cut before it.
    pub status: Option<u16>,
    /// Which of the server's connections it came by, from 1.
    pub connection: usize,
}

impl fmt::Display for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.map(|name| format!("{name}:")).unwrap_or_default();
        write!(formatter, "{} {server}{}", self.method, self.path)?;
        if let Some(query) = &self.query {
            write!(formatter, "?{query}")?;
        }
        match self.status {
            Some(status) => write!(formatter, " -> {status}"),
            None => formatter.write_str(" -> no answer"),
        }
    }
}

/// All requests since the start or the last clearing.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Recorded>,
    /// How many requests were cleared away, so that a late answer finds its own request or none.
    cleared: usize,
    /// Grows with every change.
    version: u64,
}

impl Log {
    /// Writes a request down; the answer is filled in with the number that this returns.
    pub(crate) fn open(&self, request: Recorded) -> usize {
        let mut state = self.state.lock().expect("the log's lock is sound");
        state.requests.push(request);
        let number = state.cleared + state.requests.len() - 1;
        drop(state);
        self.nudge();
        number
    }

    pub(crate) fn user(&self, number: usize, user: &str) {
        self.change(number, |request| request.user = Some(user.to_owned()));
    }

    pub(crate) fn answered(&self, number: usize, status: u16) {
        self.change(number, |request| request.status = Some(status));
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.state.lock().expect("the log's lock is sound").requests.clone()
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state.lock().expect("the log's lock is sound");
        state.cleared += state.requests.len();
        state.requests.clear();
    }

    /// Something changed that a waiting test may ask for.
    pub(crate) fn nudge(&self) {
        self.state.lock().expect("the log's lock is sound").version += 1;
        self.changed.notify_all();
    }

    /// Waits until the requests are as wished; false when `limit` passed first. The wish is asked without the lock, as it
    /// may look at other parts of the sandbox.
    pub(crate) fn wait(&self, limit: Duration, wished: impl Fn(&[Recorded]) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            let (requests, seen) = {
                let state = self.state.lock().expect("the log's lock is sound");
                (state.requests.clone(), state.version)
            };
            if wished(&requests) {
                return true;
            }
            let state = self.state.lock().expect("the log's lock is sound");
            let left = end.saturating_duration_since(Instant::now());
            let waited = self.changed.wait_timeout_while(state, left, |state| state.version == seen);
            if waited.expect("the log's lock is sound").1.timed_out() {
                return false;
            }
        }
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Recorded)) {
        let mut state = self.state.lock().expect("the log's lock is sound");
        let index = number.checked_sub(state.cleared);
        if let Some(request) = index.and_then(|index| state.requests.get_mut(index)) {
            change(request);
        }
        drop(state);
        self.nudge();
    }
}

/// Replaces what may be secret in a body: a Secret's values, and any token.
pub(crate) fn redacted(mut body: Value) -> Value {
    redact(&mut body);
    body
}

/// Replaces what a login is made of: it is random, or stands for a token.
pub(crate) fn redacted_query(query: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name @ ("code" | "code_challenge" | "code_verifier" | "state"), _)) => format!("{name}=[redacted]"),
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("data" | "stringData", Value::Object(data)) => {
                        data.values_mut().for_each(|value| *value = "[redacted]".into());
                    }
                    ("token", value @ Value::String(_)) => *value = "[redacted]".into(),
                    (_, value) => redact(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_lose_secret_values_and_tokens_and_keep_the_rest() {
        let body = json!({"data": {"k": "djE="}, "spec": {"token": "t", "list": [{"stringData": {"a": "b"}}]}, "type": "x"});
        let expected = json!({
            "data": {"k": "[redacted]"},
            "spec": {"token": "[redacted]", "list": [{"stringData": {"a": "[redacted]"}}]},
            "type": "x",
        });
        assert_eq!(redacted(body), expected);
    }
}
