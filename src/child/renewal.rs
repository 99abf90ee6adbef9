//! The next token of a command that outlives its first one, and its way into the kubeconfig.

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

/// How long after a failed renewal it is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// The shortest time between two tokens, whatever a server grants.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long after a token that could not be put into the kubeconfig it is tried again, the last one as often as it takes: another
/// program may be about to write it. When these are over, it is said.
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

/// How long after it was put there it is looked whether it still is: kubectl writes a user whom it has read before back as he was.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_mins(1)];

/// When the next token is due, and when the kubeconfig is to be looked at.
pub(super) struct Renewal {
    at: Option<Instant>,
    warned: bool,
    kubeconfig: Kubeconfig,
}

/// What is due.
pub(super) enum Due {
    /// One more token, or why there is none.
    Token(Box<Result<Option<Renewed>, Failure>>),
    /// A look at the kubeconfig.
    Kubeconfig,
}

impl Renewal {
    pub(super) fn of(pass: &Pass) -> Self {
        Self { at: Some(Instant::now() + due(pass.lifetime)), warned: false, kubeconfig: Kubeconfig::default() }
    }

    /// Waits until something is due; a token is requested. Dropped on the way it leaves the pass as it was.
    pub(super) async fn next(&self, pass: &mut Pass, spec: &TokenSpec) -> Due {
        tokio::select! {
            () = reached(self.kubeconfig.at) => return Due::Kubeconfig,
            () = reached(self.at) => {}
        }
        Due::Token(Box::new(pass.renew(spec, RENEWAL).await))
    }

    /// Does what is due.
    pub(super) fn take(&mut self, due: Due, pass: &mut Pass, spec: &TokenSpec, patterns: &mut Patterns, pipes: &Pipes, out: &Out) {
        match due {
            Due::Token(renewed) => self.take_token(*renewed, pass, spec, patterns, pipes, out),
            Due::Kubeconfig => self.kubeconfig.renew(pass, out),
        }
    }

    /// Takes a renewed token over: first it is hidden, then it is there.
    fn take_token(
        &mut self,
        renewed: Result<Option<Renewed>, Failure>,
        pass: &mut Pass,
        spec: &TokenSpec,
        patterns: &mut Patterns,
        pipes: &Pipes,
        out: &Out,
    ) {
        // The CI identity's own credential may have been read anew for it.
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

/// The kubeconfig on its way to the token that holds.
#[derive(Default)]
struct Kubeconfig {
    at: Option<Instant>,
    /// How often the token was not put there, and how often it was there, one after the other.
    tries: usize,
    looks: usize,
    warned: bool,
}

impl Kubeconfig {
    /// There is a new token.
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

/// Waits for a moment, which may be none.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// When four fifths of a token's life are over, counted from now: this machine's clock need not be the server's.
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
