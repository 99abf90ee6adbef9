//! One request until it is answered: over another connection while the earlier ones are silent, and again after a passing failure.
//!
//! A network (a firewall, a NAT) can drop a connection without telling either end: then no answer ever arrives on it, while a new
//! connection works at once.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    answer::{Answer, Refusal},
    exchange::{Message, send},
    retry::{Waits, is_passing},
};
use crate::net::{Connector, Line, TransportError};

/// After so long without an answer another connection is opened; the earlier ones stay open.
const SILENT: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// After so long it is told; sooner it may just be a slow server.
const TOLD: Duration = SILENT[1];

/// How long a failed request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Until the deadline.
    WhileThereIsTime,
    /// Until the deadline; but where no connection was ever established, only for this long.
    UnlessUnreached(Duration),
    /// Never: the first result counts.
    Never,
}

/// The outcome of all copies of a request.
pub(super) struct Tried {
    pub(super) sent: Result<Answer, TransportError>,
    /// Whether any copy of the request may have been carried out by the server.
    pub(super) may_have_arrived: bool,
}

/// That a request is not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// For how long.
    pub(super) length: Duration,
    /// Whether there is a connection at all.
    pub(super) is_connected: bool,
}

/// What has happened while the copies are under way.
pub(super) enum Event {
    /// A copy failed and will be sent again; [`Tries::failed`] says why.
    Again,
    /// There was no answer for some time.
    Silent(Silence),
    /// The request is over.
    Done(Tried),
}

/// The copies of one request that were sent, on one connection or on several.
pub(super) struct Tries {
    message: Message,
    again: Again,
    deadline: Instant,
    begun: Instant,
    /// The line (connection) of each copy, by the copy's number.
    lines: Vec<Line>,
    under_way: JoinSet<(usize, Result<Answer, TransportError>)>,
    /// Since when there is no answer, and how many connections were opened because of that.
    silent: (Instant, usize),
    waits: Waits,
    /// When a copy is sent again, and the number of the copy whose line it uses.
    next: Option<(Instant, usize)>,
    last: Option<Result<Answer, TransportError>>,
    unreachable: Option<TransportError>,
    /// Whether a copy that has failed may have been carried out.
    arrived: bool,
    /// An answer that the name is taken, and until when we wait for a better one: an earlier copy may have created the object
    /// itself.
    taken: Option<(Answer, Instant)>,
}

impl Tries {
    /// Sends the first copy on the connector's own line.
    pub(super) fn begin(connector: &Connector, message: Message, again: Again, deadline: Instant) -> Self {
        let now = Instant::now();
        let mut tries = Self {
            message,
            again,
            deadline,
            begun: now,
            lines: Vec::new(),
            under_way: JoinSet::new(),
            silent: (now, 0),
            waits: Waits::new(),
            next: None,
            last: None,
            unreachable: None,
            arrived: false,
            taken: None,
        };
        tries.send(connector.line.clone());
        tries
    }

    /// Why the last copy that has ended failed.
    pub(super) fn failed(&self) -> Option<&Result<Answer, TransportError>> {
        self.last.as_ref()
    }

    /// Goes on until there is something to report. The line that has answered becomes the connector's own.
    pub(super) async fn next(&mut self, connector: &mut Connector) -> Event {
        loop {
            let due = |at: Option<Instant>| async move {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let (taken, next, silent) = (self.taken.as_ref().map(|(_, until)| *until), self.next, self.silent_until());
            tokio::select! {
                biased;
                Some(ended) = self.under_way.join_next() => {
                    // A task that has died counts as a lost connection.
                    let (copy, sent) = ended.unwrap_or_else(|_| (0, Err(TransportError::Cut)));
                    if let Some(event) = self.ended(copy, sent, connector) {
                        return event;
                    }
                }
                () = due(taken) => return Event::Done(self.over(None)),
                () = sleep_until(self.deadline) => return Event::Done(self.over(None)),
                () = due(next.map(|(at, _)| at)) => {
                    self.next = None;
                    self.send(next.map_or(&connector.line, |(_, copy)| &self.lines[copy]).clone());
                }
                () = due(silent) => {
                    let (since, opened) = self.silent;
                    self.silent = (since, opened + 1);
                    if let Some(line) = connector.another() {
                        self.send(line);
                    }
                    if SILENT[opened] == TOLD {
                        return Event::Silent(Silence { length: TOLD, is_connected: self.was_connected() });
                    }
                }
            }
        }
    }

    fn send(&mut self, line: Line) {
        if self.under_way.is_empty() {
            self.silent = (Instant::now(), 0);
        }
        let copy = self.lines.len();
        let (client, message) = (line.client.clone(), self.message.clone());
        self.under_way.spawn(async move { (copy, send(&client, message).await) });
        self.lines.push(line);
    }

    /// When the next connection is opened. None where there are enough, or a copy is to be sent again anyway.
    fn silent_until(&self) -> Option<Instant> {
        let (since, opened) = self.silent;
        let waits = self.next.is_none() && self.taken.is_none() && self.under_way.len() <= SILENT.len();
        SILENT.get(opened).filter(|_| waits).map(|silence| since + *silence)
    }

    /// Decides what the end of one copy means for the request.
    fn ended(&mut self, copy: usize, sent: Result<Answer, TransportError>, connector: &mut Connector) -> Option<Event> {
        if sent.is_ok() {
            connector.line = self.lines[copy].clone();
        }
        if let Err(unreachable @ (TransportError::Unreachable(_) | TransportError::Proxy(_))) = &sent {
            self.unreachable = Some(unreachable.clone());
        }
        let passing = is_passing(&sent);
        let useful = sent.is_ok() && !passing;
        match sent {
            // An earlier copy may have created the object, and its success may still be on the way: that answer is waited for.
            Ok(answer) if answer.refusal() == Refusal::AlreadyExists && !self.under_way.is_empty() => {
                let now = Instant::now();
                let until = now + self.deadline.saturating_duration_since(now) / 2;
                self.next = None;
                self.taken = self.taken.take().or(Some((answer, until)));
                return None;
            }
            sent if useful => return Some(Event::Done(self.over(Some(sent)))),
            sent => {
                self.arrived |= match &sent {
                    Ok(answer) => answer.status >= 500,
                    Err(broken) => broken.may_have_arrived(),
                };
                // An answer of a server says more than a broken connection, so it is kept as the reason.
                if sent.is_ok() || !matches!(self.last, Some(Ok(_))) {
                    self.last = Some(sent);
                }
            }
        }
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let left = match self.again {
            Again::UnlessUnreached(limit) if !self.was_connected() => left.min((self.begun + limit).saturating_duration_since(now)),
            Again::WhileThereIsTime | Again::UnlessUnreached(_) => left,
            Again::Never => Duration::ZERO,
        };
        let pause = self.last.as_ref().filter(|_| passing && self.taken.is_none() && self.next.is_none());
        match pause.and_then(|last| self.waits.after(last, left)) {
            Some(pause) => {
                self.next = Some((now + pause, copy));
                Some(Event::Again)
            }
            None if self.under_way.is_empty() && self.next.is_none() => Some(Event::Done(self.over(None))),
            None => None,
        }
    }

    fn was_connected(&self) -> bool {
        self.lines.iter().any(Line::was_connected)
    }

    /// Ends the request: with the answer, or else with the error that says most.
    fn over(&mut self, answered: Option<Result<Answer, TransportError>>) -> Tried {
        let is_under_way = !self.under_way.is_empty() && self.was_connected();
        let others = self.arrived || is_under_way;
        let late =
            if self.was_connected() { TransportError::Late } else { self.unreachable.clone().unwrap_or(TransportError::Unconnected) };
        // A copy that was sent a moment ago is not silent yet: the earlier failure says more than "no answer".
        let is_silent = !self.under_way.is_empty() && self.silent.0.elapsed() >= SILENT[0];
        let last = self.last.take();
        let sent = match (answered, self.taken.take(), last) {
            (Some(answered), _, _) => answered,
            (None, Some((answer, _)), _) => Ok(answer),
            (None, None, Some(last)) if last.is_ok() || !is_silent => last,
            (None, None, _) => Err(late),
        };
        let may_have_arrived = others
            || sent.as_ref().map_or_else(TransportError::may_have_arrived, |answer| {
                (answer.is_success() && (answer.status == 201 || !answer.is_page())) || answer.status >= 500
            });
        let sent = sent.map(|answer| Answer { after_another: others, ..answer });
        self.under_way.abort_all();
        Tried { sent, may_have_arrived }
    }
}
