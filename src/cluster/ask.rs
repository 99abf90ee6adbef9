//! One request to the API server: sent with the current credential, once more with a fresh one after a 401, and reported where it
//! takes long.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Cluster, Patience, Standing,
    answer::{Answer, Refusal},
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
            Err(broken) => return self.settled(request, Err(broken), false).await,
        };
        self.freshen().await;
        if self.connector.is_busy
            && let Some(line) = self.connector.another()
        {
            // An interrupted request may still wait for its answer on this line, and the next request would wait behind it: it gets
            // a new line.
            self.connector.line = line;
        }
        // An earlier one may have been interrupted.
        self.left_something = self.may_have_left_something();
        // Where nothing is there yet, whoever reads it wants to know that nobody is reached, and not what would have been asked.
        let is_first = !self.left_something && (self.patience == Patience::Brief || request.is_creation());
        loop {
            // From the moment of sending, as we may be interrupted while we wait; an answer that was lost, late or an error of the
            // server's may stand for a request that was carried out.
            let (creates, before) = (request.is_creation(), self.left_something);
            self.is_creating = creates;
            let again = match self.patience {
                Patience::Brief if !before => Again::UnlessUnreached(retry::UNREACHED),
                Patience::Brief | Patience::Whole => Again::WhileThereIsTime,
            };
            self.connector.is_busy = true;
            let mut copies = Tries::begin(&self.connector, message.clone(), again, self.deadline);
            let tried = loop {
                match copies.next(&mut self.connector).await {
                    Event::Done(tried) => break tried,
                    Event::Again => self.say(request, copies.failed(), is_first, again),
                    Event::Silent(silence) => self.trouble.silent(request.what(), &self.connector.target, silence, self.timeout),
                }
            };
            (self.connector.is_busy, self.is_creating) = (false, false);
            self.left_something = before || (creates && tried.may_have_arrived);
            match &tried.sent {
                // A page is of something on the way: it knows nothing of our credential, and is shown no other one.
                Ok(answer) if answer.refusal() == Refusal::Unauthorized => {
                    let may_renew = self.standing == Standing::Good && self.identity.is_renewable();
                    self.standing = Standing::Refused;
                    if !may_renew {
                        return self.settled(request, tried.sent, is_first).await;
                    }
                    self.renew().await?;
                    self.standing = Standing::Renewed;
                }
                Ok(answer) => {
                    self.trouble.answered(answer.is_success());
                    return self.settled(request, tried.sent, is_first).await;
                }
                Err(_) => return self.settled(request, tried.sent, is_first).await,
            }
        }
    }

    /// Reports a failure after which the request is sent again.
    fn say(&mut self, request: &Request, sent: Option<&Result<Answer, TransportError>>, is_first: bool, again: Again) {
        let failure = match sent {
            Some(Ok(answer)) => answer.failure(request, &self.shown()),
            Some(Err(broken)) => self.broken(request, broken, None, is_first),
            None => return,
        };
        let limit = match (again, sent) {
            (Again::UnlessUnreached(limit), Some(Err(TransportError::Unreachable(_)))) => limit.min(self.timeout),
            (Again::UnlessUnreached(_) | Again::WhileThereIsTime | Again::Never, _) => self.timeout,
        };
        self.trouble.failed(failure.brief(), limit);
    }

    /// The failure of a request for which there is no answer.
    fn broken(&self, request: &Request, broken: &TransportError, leaf: Option<String>, is_first: bool) -> Failure {
        let target = &self.connector.target;
        let nobody = if is_first { broken.nobody(target, self.timeout) } else { None };
        nobody.unwrap_or_else(|| broken.failure(request.what(), target, leaf, self.timeout))
    }

    /// Returns the answer, or turns the transport error into a failure.
    async fn settled(&self, request: &Request, sent: Result<Answer, TransportError>, is_first: bool) -> Result<Answer, Failure> {
        match sent {
            Ok(answer) => Ok(answer),
            Err(broken) => {
                // The certificate is only needed for the message: the look at it may take the rest of the deadline, or a moment.
                let limit = self.deadline.max(Instant::now() + LOOK);
                let look = async { if broken.is_about_certificate() { self.connector.presented().await } else { None } };
                let presented = timeout_at(limit, look).await.ok().flatten();
                let leaf = presented.as_ref().map(leaf::describe);
                Err(self.broken(request, &broken, leaf, is_first))
            }
        }
    }

    /// Reads or asks for the credential anew, where there may be a newer one (a file, a plugin, an issuer).
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        self.identity.refresh();
        (self.connector, self.stale) =
            bounded(&self.identity, self.deadline, self.timeout, self.patience_now(), self.trouble.out()).await?;
        hide(self.trouble.out(), &self.identity, &self.connector);
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
