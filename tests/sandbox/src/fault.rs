//! Scripted faults: what a network, a proxy or a busy server does to a request, on the n-th one that matches.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gate::Gate;
use crate::status::{self, Answer, Body, Resource};

/// One scripted fault: which requests it meets, and what it does to them. A later action replaces an earlier one.
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until the sandbox has it"]
pub struct Fault {
    method: String,
    path_part: String,
    nth: usize,
    times: Option<usize>,
    seen: usize,
    used: usize,
    pub(crate) action: Action,
    pub(crate) headers: Vec<(String, String)>,
}

/// `after` means: the server has done what was asked, and only the answer is at fault.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    AsUsual,
    Answer { after: bool, status: u16, body: Value },
    Text { after: bool, status: u16, body: String },
    Garbage { body: String },
    QuotaExceeded,
    Cut { after: bool },
    CutBody,
    Hang { after: bool },
    Delay { after: bool, wait: Duration },
    Pause { after: bool, gate: Gate },
}

impl Fault {
    /// Meets requests with this method (`*`: any) whose path contains `path_part`, once, from the first on.
    pub fn on(method: &str, path_part: &str) -> Self {
        Self {
            method: method.to_owned(),
            path_part: path_part.to_owned(),
            nth: 1,
            times: Some(1),
            seen: 0,
            used: 0,
            action: Action::AsUsual,
            headers: Vec::new(),
        }
    }

    /// Begins with the n-th request that matches, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.nth = n;
        self
    }

    /// Meets so many requests.
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Meets every request from the first one on.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Adds a header to the answer, scripted or real.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers this; the server never sees the request.
    pub fn answer(self, status: u16, body: Value) -> Self {
        self.with(Action::Answer { after: false, status, body })
    }

    /// Answers this after the server has done what was asked: the true answer is lost.
    pub fn answer_after(self, status: u16, body: Value) -> Self {
        self.with(Action::Answer { after: true, status, body })
    }

    /// Answers this plain text (a proxy's error page, say); the server never sees the request.
    pub fn answer_text(self, status: u16, body: &str) -> Self {
        self.with(Action::Text { after: false, status, body: body.to_owned() })
    }

    /// Closes the connection with no answer, nothing done.
    pub fn cut_before_processing(self) -> Self {
        self.with(Action::Cut { after: false })
    }

    /// Closes the connection with no answer, everything done.
    pub fn cut_after_processing(self) -> Self {
        self.with(Action::Cut { after: true })
    }

    /// Everything done; announces the whole answer and closes half-way through its body.
    pub fn cut_body(self) -> Self {
        self.with(Action::CutBody)
    }

    /// Everything done; answers success with a body that is no object of the API.
    pub fn garbage_2xx(self, body: &str) -> Self {
        self.with(Action::Garbage { body: body.to_owned() })
    }

    /// Nothing done; never answers until the sandbox stops.
    pub fn hang(self) -> Self {
        self.with(Action::Hang { after: false })
    }

    /// Everything done; never answers until the sandbox stops.
    pub fn hang_after(self) -> Self {
        self.with(Action::Hang { after: true })
    }

    /// Waits in real time, then goes on as usual.
    pub fn delay(self, wait: Duration) -> Self {
        self.with(Action::Delay { after: false, wait })
    }

    /// Everything done at once; answers only after this time.
    pub fn delay_after(self, wait: Duration) -> Self {
        self.with(Action::Delay { after: true, wait })
    }

    /// Stands at the gate with nothing done; once released it goes on, even if the client has died meanwhile.
    pub fn pause_before(self, gate: &Gate) -> Self {
        self.with(Action::Pause { after: false, gate: gate.clone() })
    }

    /// Stands at the gate with everything done and nothing answered.
    pub fn pause_after(self, gate: &Gate) -> Self {
        self.with(Action::Pause { after: true, gate: gate.clone() })
    }

    /// What priority and fairness answers under load: 429, as plain text.
    pub fn status_429(self, retry_after_seconds: u64) -> Self {
        let body = "Too many requests, please try again later.\n".to_owned();
        self.header("Retry-After", &retry_after_seconds.to_string()).with(Action::Text { after: false, status: 429, body })
    }

    /// 503 with a Status.
    pub fn unavailable(self) -> Self {
        let message = "the server is currently unable to handle the request";
        self.answer(503, failure(503, "ServiceUnavailable", message))
    }

    /// 500 as when etcd is too slow; whether the request was carried out is open, here it was not.
    pub fn internal_error(self) -> Self {
        self.answer(500, failure(500, "", "etcdserver: request timed out"))
    }

    /// 403 by the `ResourceQuota` admission: `… is forbidden: exceeded quota: …`.
    pub fn quota_exceeded(self) -> Self {
        self.with(Action::QuotaExceeded)
    }

    /// 409 as when several objects are made at once in a namespace with a quota, and the server counts them.
    pub fn conflict(self) -> Self {
        let message = "Operation cannot be fulfilled on resourcequotas \"objects\": the object has been modified; \
                       please apply your changes to the latest version and try again";
        let details = json!({"name": "objects", "kind": "resourcequotas"});
        let mut body = failure(409, "Conflict", message);
        body["details"] = details;
        self.answer(409, body)
    }

    /// 400 by an admission webhook that gives a message and no code.
    pub fn webhook_denied(self, message: &str) -> Self {
        let message = format!("admission webhook \"validate.webhook.example\" denied the request: {message}");
        self.answer(400, failure(400, "", &message))
    }

    fn with(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        (self.method == "*" || self.method == method) && path.contains(&self.path_part)
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    match status::failure(code, reason, message, None).body {
        Body::Json(body) => body,
        Body::Text(text) => json!(text),
        Body::Empty | Body::Lines(_) => Value::Null,
    }
}

/// The quota's refusal names the object, and so needs the request.
pub(crate) fn quota_exceeded(path: &str, body: &[u8]) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let resource = path.rsplit('/').next().unwrap_or_default();
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let why = format!("exceeded quota: objects, requested: count/{resource}=1, used: count/{resource}=10, limited: count/{resource}=10");
    status::forbidden(&Resource::core(resource), name, &why)
}

/// The faults that are still to come.
#[derive(Default)]
pub(crate) struct Script {
    faults: Mutex<Vec<Fault>>,
}

impl Script {
    pub(crate) fn add(&self, fault: Fault) {
        self.faults.lock().expect("the script's lock is sound").push(fault);
    }

    pub(crate) fn clear(&self) {
        self.faults.lock().expect("the script's lock is sound").clear();
    }

    /// How often the script still waits for a request; what is there `always` does not count.
    pub(crate) fn left(&self) -> usize {
        let faults = self.faults.lock().expect("the script's lock is sound");
        faults.iter().map(|fault| fault.times.map_or(0, |times| times - fault.used)).sum()
    }

    /// The first fault that is due for this request; all that match it count it.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("the script's lock is sound");
        let mut taken = None;
        for fault in faults.iter_mut().filter(|fault| fault.matches(method, path)) {
            fault.seen += 1;
            let due = fault.seen >= fault.nth && fault.times.is_none_or(|times| fault.used < times);
            if due && taken.is_none() {
                fault.used += 1;
                taken = Some(fault.clone());
            }
        }
        taken
    }
}
