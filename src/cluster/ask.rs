//! One request to the API server: sent with the current credential, once more with a fresh one after a 401, and reported where it
//! takes long.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Cluster, Patience, Standing,
    answer::Answer,
    exchange::Message,
    hedge::{Again, Event, Tries},
    hide,
    request::Request,
    retry,
};
use crate::{
    failure::{Code, Failure},
    identity::Identity,
    net::{Connector, TransportError, fetch::Limit, leaf},
    options::human,
    out::Out,
};

/// A credential that was issued is not used in the last moments of its life.
const NEAR: Duration = Duration::from_secs(30);

/// For the look at a refused certificate there is at least this much time, even after the deadline.
const LOOK: Duration = Duration::from_secs(1);

impl Cluster {
    /// Sends a request until there is an answer, see [`Tries`]; after a 401 once more, when the identity was read anew.
    pub(super) async fn ask(&mut self, request: &Request, body: &impl Serialize) -> Result<Answer, Failure> {
        let message = match Message::new(request.method.clone(), request.path.clone(), body) {
            Ok(message) => message,
            Err(broken) => return self.settled(request, Err(broken)).await,
        };
        self.freshen().await;
        if self.connector.is_busy
            && let Some(line) = self.connector.another()
        {
            // An interrupted request may still wait for its answer on this line, and the next request would wait behind it: it gets
            // a new line.
            self.connector.line = line;
        }
        loop {
            // From the moment of sending, as we may be interrupted while we wait; an answer that was lost, late or an error of the
            // server's may stand for a request that was carried out.
            let (creates, before) = (request.is_creation(), self.left_something);
            self.left_something |= creates;
            let again = match self.patience {
                Patience::Brief if !before => Again::UnlessUnreached(retry::UNREACHED),
                Patience::Brief | Patience::Whole => Again::WhileThereIsTime,
            };
            self.connector.is_busy = true;
            let mut copies = Tries::begin(&self.connector, message.clone(), again, self.deadline);
            let tried = loop {
                match copies.next(&mut self.connector).await {
                    Event::Done(tried) => break tried,
                    Event::Again => self.say(request, copies.failed()),
                    Event::Silent(length) => {
                        let server = self.identity.server();
                        self.say_once(&format!("{}: no answer from `{server}` for {}; still trying", request.what(), human(length)));
                    }
                }
            };
            self.connector.is_busy = false;
            self.left_something = before || (creates && tried.may_have_arrived);
            match &tried.sent {
                Ok(answer) if answer.status == 401 => {
                    let is_first = self.standing == Standing::Good && self.identity.is_renewable();
                    self.standing = Standing::Refused;
                    if !is_first {
                        return self.settled(request, tried.sent).await;
                    }
                    self.renew().await?;
                    self.standing = Standing::Renewed;
                }
                Ok(answer) => {
                    self.said &= !answer.is_success();
                    return self.settled(request, tried.sent).await;
                }
                Err(_) => return self.settled(request, tried.sent).await,
            }
        }
    }

    /// Reports a failure after which the request is sent again.
    fn say(&mut self, request: &Request, sent: Option<&Result<Answer, TransportError>>) {
        let failure = match sent {
            Some(Ok(answer)) => answer.failure(request, &self.shown()),
            Some(Err(broken)) => broken.failure(request.what(), &self.connector.target, None, self.timeout),
            None => return,
        };
        self.say_once(&format!("{}; trying again", failure.brief()));
    }

    /// Warns about the first of several failures only, and at once, so that the user knows what we are waiting for.
    fn say_once(&mut self, text: &str) {
        if !std::mem::replace(&mut self.said, true) {
            self.out.warn_aside(text);
        }
    }

    /// Returns the answer, or turns the transport error into a failure.
    async fn settled(&self, request: &Request, sent: Result<Answer, TransportError>) -> Result<Answer, Failure> {
        match sent {
            Ok(answer) => Ok(answer),
            Err(broken) => {
                // The certificate is only needed for the message: the look at it may take the rest of the deadline, or a moment.
                let limit = self.deadline.max(Instant::now() + LOOK);
                let look = async { if broken.is_about_certificate() { self.connector.presented().await } else { None } };
                let presented = timeout_at(limit, look).await.ok().flatten();
                let leaf = presented.as_ref().map(leaf::describe);
                Err(broken.failure(request.what(), &self.connector.target, leaf, self.timeout))
            }
        }
    }

    /// Reads or asks for the credential anew, where there may be a newer one (a file, a plugin, an issuer).
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        self.identity.refresh();
        (self.connector, self.stale) = bounded(&self.identity, self.deadline, self.timeout, self.patience_now(), &self.out).await?;
        hide(&self.out, &self.identity, &self.connector);
        Ok(())
    }

    /// Asks for the credential anew where its end is near. If that fails, the one that we have may still do.
    async fn freshen(&mut self) {
        if self.stale.is_some_and(|stale| stale <= Instant::now()) && self.has_time() {
            let _ = self.renew().await;
        }
    }

    /// Once something may exist on the server, all the time there is counts.
    fn patience_now(&self) -> Patience {
        if self.left_something { Patience::Whole } else { self.patience }
    }
}

/// Prepares a connection within the deadline. Also says when the credential is asked for anew.
pub(super) async fn bounded(
    identity: &Identity,
    deadline: Instant,
    timeout: Duration,
    patience: Patience,
    out: &Out,
) -> Result<(Connector, Option<Instant>), Failure> {
    let target = identity.target();
    // A bad target is reported before a plugin of the identity is started.
    target.check()?;
    let now = Instant::now();
    let limit = Limit {
        // Where an issuer is silent, there is still time to end the pass in another way.
        deadline: now + deadline.saturating_duration_since(now) / 2,
        timeout: Duration::from_secs((timeout / 2).as_secs().max(1)),
        unreached: match patience {
            Patience::Brief => Some(retry::UNREACHED),
            Patience::Whole => None,
        },
        out: Some(out),
    };
    let credential = timeout_at(deadline, identity.credential(limit)).await.unwrap_or_else(|_| {
        Err(Failure::new(Code::IdentityPlugin, format!("cannot use the CI identity: {}", identity.why))
            .cause(format!("its credential plugin did not answer within {}", human(timeout)))
            .hint("run the plugin by hand in the job; it must not ask questions"))
    });
    let credential = credential?;
    let stale = credential.lifetime.and_then(|lifetime| stale(now, lifetime));
    Ok((Connector::new(target, credential)?, stale))
}

/// Until when a credential is used: until a quarter of its life is left, or half a minute. None for one that outlives every clock.
fn stale(now: Instant, lifetime: Duration) -> Option<Instant> {
    now.checked_add(lifetime.saturating_sub(NEAR.min(lifetime / 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_that_an_issuer_has_made_up_does_no_harm() {
        let now = Instant::now();
        let after = |seconds| stale(now, Duration::from_secs(seconds)).map(|stale| (stale - now).as_secs());
        assert_eq!([300, 60, 4, 0].map(after), [Some(270), Some(45), Some(3), Some(0)]);
        assert_eq!(after(u64::MAX), None);
    }
}
