//! The next token of a command that outlives its first one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::pipes::Pipes;
use jobpass_scrub::Patterns;

use crate::{
    failure::Failure,
    out::{Out, instant},
    pass::{Pass, Renewed},
    spec::TokenSpec,
};

/// How long one renewal may take.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long after a failed renewal it is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// The shortest time between two tokens, whatever a server grants.
const SHORTEST: Duration = Duration::from_secs(1);

/// When the next token is due.
pub(super) struct Renewal {
    at: Option<Instant>,
    warned: bool,
}

impl Renewal {
    pub(super) fn of(pass: &Pass) -> Self {
        Self { at: Some(Instant::now() + due(pass.lifetime)), warned: false }
    }

    /// Waits until one is due and requests it. Dropped on the way it leaves the pass as it was.
    pub(super) async fn next(&self, pass: &mut Pass, spec: &TokenSpec) -> Result<Option<Renewed>, Failure> {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        pass.renew(spec, RENEWAL).await
    }

    /// Takes a renewed token over: first it is hidden, then it is there.
    pub(super) fn take(
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
            let Some(renewed) = renewed else { return Ok(false) };
            patterns.token(renewed.token.expose());
            pipes.hide(patterns);
            pass.take(renewed, spec).map(|()| true)
        });
        let ends = instant(pass.expires_at);
        self.at = match taken {
            Ok(true) => {
                self.warned = false;
                Some(Instant::now() + due(pass.lifetime))
            }
            Ok(false) => {
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
