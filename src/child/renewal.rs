//! Renewal: the next token of a command that outlives its first one, and how it gets into the kubeconfig.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::pipes::Pipes;
use jobpass_scrub::Patterns;

use crate::{
    failure::Failure,
    out::{Out, instant},
    pass::{Pass, Renewed},
    spec::TokenSpec,
    store::{self, Exchange},
};

/// How long one renewal may take.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long after a failed renewal the next one begins.
const AGAIN: Duration = Duration::from_secs(30);

/// The shortest time between two renewals, however short the tokens that the server grants.
const SHORTEST: Duration = Duration::from_secs(1);

/// The waits between attempts to put a renewed token into the kubeconfig, where another program holds its lock or changes it; the
/// last wait is repeated without end. After the last of them the user is warned.
const TRIES: [Duration; 9] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
    Duration::from_millis(640),
    Duration::from_secs(10),
];

/// After a token was put into the kubeconfig, we check at these intervals that it is still there: kubectl may write back an older
/// user entry that it had read before.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_mins(1)];

/// When the next token is due, and when the kubeconfig must be checked.
pub(super) struct Renewal {
    at: Option<Instant>,
    warned: bool,
    kubeconfig: Kubeconfig,
}

/// What is due.
pub(super) enum Due {
    /// The answer to the request of a token; none where the lease has no time left for another one.
    Token(Box<Result<Option<Renewed>, Failure>>),
    /// A check of the kubeconfig.
    Kubeconfig,
}

impl Renewal {
    pub(super) fn of(pass: &Pass) -> Self {
        Self { at: Some(Instant::now() + due(pass.lifetime)), warned: false, kubeconfig: Kubeconfig::default() }
    }

    /// Waits until something is due; if that is a token, requests it. Dropping the future leaves the pass unchanged.
    pub(super) async fn next(&self, pass: &mut Pass, spec: &TokenSpec) -> Due {
        tokio::select! {
            () = reached(self.kubeconfig.at) => return Due::Kubeconfig,
            () = reached(self.at) => {}
        }
        Due::Token(Box::new(pass.renew(spec, RENEWAL).await))
    }

    /// Handles what is due.
    pub(super) fn take(&mut self, due: Due, pass: &mut Pass, spec: &TokenSpec, patterns: &mut Patterns, pipes: &Pipes, out: &Out) {
        match due {
            Due::Token(renewed) => self.take_token(*renewed, pass, spec, patterns, pipes, out),
            Due::Kubeconfig => self.kubeconfig.renew(pass, out),
        }
    }

    /// Takes over a renewed token. It is first hidden in the output and only then written to the files.
    fn take_token(
        &mut self,
        renewed: Result<Option<Renewed>, Failure>,
        pass: &mut Pass,
        spec: &TokenSpec,
        patterns: &mut Patterns,
        pipes: &Pipes,
        out: &Out,
    ) {
        // The CI identity's own token may have been read anew for this request: the new one is hidden, too.
        if let Some(token) = pass.cluster.identity_token() {
            patterns.token(token.expose());
        }
        let taken = renewed.and_then(|renewed| {
            let Some(renewed) = renewed else { return Ok(None) };
            patterns.token(renewed.token.expose());
            pipes.hide(patterns);
            pass.take(renewed, spec).map(Some)
        });
        let ends = pass.expires_at;
        self.at = match taken {
            Ok(Some(saved)) => {
                self.warned = false;
                if let Err(failure) = saved {
                    out.warn_aside(format!(
                        "the token is renewed and ends at {ends}, but its lease file tells of the former one: {}",
                        failure.brief()
                    ));
                }
                self.kubeconfig.begin(pass, out);
                Some(Instant::now() + due(pass.lifetime))
            }
            Ok(None) => {
                out.warn_aside(format!(
                    "the lease ends at {} and has no time for another token: the last one ends at {ends}",
                    instant(pass.lease.expires_at)
                ));
                None
            }
            Err(failure) => {
                if !self.warned {
                    out.warn_aside(format!("the token is not renewed and ends at {ends}; it is tried again: {}", failure.brief()));
                }
                self.warned = true;
                Some(Instant::now() + AGAIN.min(pass.lifetime.max(SHORTEST)))
            }
        };
    }
}

/// The kubeconfig, which must come to hold the current token.
#[derive(Default)]
struct Kubeconfig {
    at: Option<Instant>,
    /// How many attempts in a row have failed; and how many checks in a row found the token in place.
    tries: usize,
    looks: usize,
    warned: bool,
}

impl Kubeconfig {
    /// A new token was issued: begins to put it into the kubeconfig.
    fn begin(&mut self, pass: &Pass, out: &Out) {
        (self.tries, self.looks) = (0, 0);
        self.renew(pass, out);
    }

    fn renew(&mut self, pass: &Pass, out: &Out) {
        let why = match pass.renew_kubeconfig() {
            Exchange::Done => {
                let next = LOOKS.get(self.looks).copied();
                (self.tries, self.looks, self.warned) = (0, self.looks + 1, false);
                self.at = next.map(|after| Instant::now() + after);
                return;
            }
            Exchange::Busy(lock) => format!("another program holds `{}`, or was killed while it did", lock.display()),
            Exchange::Left(why) => why,
        };
        if self.tries == TRIES.len() - 1 && !self.warned {
            self.warned = true;
            let path = pass.store.file(store::KUBECONFIG);
            out.warn_aside(format!("the renewed token is not in the kubeconfig `{}`, only in the token file: {why}", path.display()));
        }
        self.at = TRIES.get(self.tries).or(TRIES.last()).map(|after| Instant::now() + *after);
        self.tries += 1;
    }
}

/// Waits until this moment; for ever if there is none.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next renewal is due after four fifths of a token's life, counted from now and not from its expiry, as this machine's clock
/// may differ from the server's.
fn due(lifetime: Duration) -> Duration {
    lifetime.mul_f64(0.8).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        assert_eq!(due(Duration::from_mins(10)), Duration::from_mins(8));
        assert_eq!(due(Duration::ZERO), SHORTEST);
    }
}
