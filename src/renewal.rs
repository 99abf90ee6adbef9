//! Renewal: the next token of a pass that outlives its first one, and how it gets into the kubeconfig.

use std::time::Duration;

use tokio::sync::Notify;

use crate::{
    clock::Alarm,
    cluster::Probed,
    failure::{Code, Failure},
    out::{Out, instant},
    pass::{Pass, Renewed},
    secret::Secret,
    spec::{KubeconfigMode, TokenSpec},
    store::{self, Exchange},
};

/// How long one renewal may take.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long after a failed renewal the next one begins.
const AGAIN: Duration = Duration::from_secs(30);

/// How often we look whether the token still is accepted.
const WATCH: Duration = Duration::from_mins(1);

/// The shortest time between two renewals that somebody has asked for.
const BREATH: Duration = Duration::from_millis(50);

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

/// Learns of each new secret before it is written anywhere.
pub trait Learns {
    /// The CI identity's token, which may have been read anew for the renewal.
    fn identity(&mut self, token: &Secret);

    /// The renewed token.
    fn token(&mut self, token: &Secret);
}

/// When the next token is due, and when the kubeconfig must be checked.
pub struct Renewal {
    at: Option<Alarm>,
    /// When the token that the pass has expires.
    end: Alarm,
    /// Whether somebody was warned that the token is not renewed.
    is_warned: bool,
    kubeconfig: Option<Kubeconfig>,
    /// When we look whether the token still is accepted, if anybody wants to know.
    look: Option<Alarm>,
    /// Whether the API server has refused the token: then it can only have another one, or be lost.
    is_dead: bool,
    /// Somebody wants a token now; and when the next one may be requested at the earliest.
    asked: Notify,
    soonest: Alarm,
    /// Whether the pass is ended where it is lost: then nothing is tried again.
    gives_up: bool,
}

/// What has come of what was due.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pass has a new token.
    Renewed,
    /// There is no new token yet, but the former one still holds.
    Goes,
    /// The lease has no time for another token.
    Last,
    /// There will be none: what the token depends on is gone.
    Lost(Failure),
    /// There is none, and the former one has expired.
    Expired(Failure),
}

/// What is due.
pub enum Due {
    /// The answer to the request of a token; none where the lease has no time left for another one.
    Token(Box<Result<Option<Renewed>, Failure>>),
    /// A check of the kubeconfig.
    Kubeconfig,
    /// Whether the API server still accepts the token.
    Look(Probed),
}

impl Renewal {
    /// The renewal of a pass that has just begun.
    #[must_use]
    pub fn of(pass: &Pass, spec: &TokenSpec) -> Self {
        // A kubeconfig that asks for the token has none in it.
        let kubeconfig = match spec.kubeconfig_mode {
            KubeconfigMode::Token => Some(Kubeconfig::default()),
            KubeconfigMode::Exec => None,
        };
        Self {
            at: Some(Alarm::after(due(pass.lifetime))),
            end: Alarm::after(pass.lifetime),
            is_warned: false,
            kubeconfig,
            look: None,
            gives_up: false,
            is_dead: false,
            asked: Notify::new(),
            soonest: Alarm::after(Duration::ZERO),
        }
    }

    /// The same for a pass whose loss is to be noticed soon, and not only when the next token is due.
    #[must_use]
    pub fn watching(pass: &Pass, spec: &TokenSpec) -> Self {
        // A token for others is no proof: the API server never takes it.
        let look = spec.audiences.is_empty().then(|| Alarm::after(WATCH));
        Self { look, gives_up: true, ..Self::of(pass, spec) }
    }

    /// Waits until something is due; if that is a token, requests it. Dropping the future leaves the pass unchanged.
    pub async fn next(&self, pass: &mut Pass, spec: &TokenSpec) -> Due {
        tokio::select! {
            () = reached(self.kubeconfig.as_ref().and_then(|kubeconfig| kubeconfig.at)) => return Due::Kubeconfig,
            () = reached(self.look) => return Self::look(pass).await,
            () = reached(self.at) => {}
            () = self.hurried() => if self.at.is_none() {
                return Self::look(pass).await;
            },
        }
        Due::Token(Box::new(pass.renew(spec, RENEWAL).await))
    }

    /// Makes the next token due soon; where the lease has no time for one, looks whether the last one still holds. A request that is
    /// under way is not begun anew.
    pub fn hurry(&self) {
        self.asked.notify_one();
    }

    /// Waits until somebody wants that.
    async fn hurried(&self) {
        self.asked.notified().await;
        self.soonest.rings().await;
    }

    /// Waits until the last token expires for which the lease has time. While there may be another one, only the answer to its request
    /// says whether the pass goes on: a machine that was suspended finds its token expired, and renews it.
    pub async fn is_over(&self) {
        match self.at {
            None => self.end.rings().await,
            Some(_) => std::future::pending().await,
        }
    }

    async fn look(pass: &mut Pass) -> Due {
        pass.cluster.extend(RENEWAL);
        Due::Look(pass.cluster.probe(&pass.token).await)
    }

    /// Handles what is due.
    pub fn take(&mut self, due: Due, pass: &mut Pass, spec: &TokenSpec, learns: &mut dyn Learns, out: &Out) -> Outcome {
        match due {
            Due::Token(renewed) => self.take_token(*renewed, pass, spec, learns, out),
            Due::Kubeconfig => {
                if let Some(kubeconfig) = &mut self.kubeconfig {
                    kubeconfig.renew(pass, out);
                }
                Outcome::Goes
            }
            Due::Look(probed) => {
                (self.look, self.soonest) = (Some(Alarm::after(WATCH)), Alarm::after(BREATH));
                self.is_dead = probed == Probed::Dead;
                if self.is_dead {
                    // The answer to the request of another token says why: the lease is gone, or the service account.
                    self.at = Some(Alarm::after(Duration::ZERO));
                }
                Outcome::Goes
            }
        }
    }

    /// Takes over a renewed token. It is first hidden in the output and only then written to the files.
    fn take_token(
        &mut self,
        renewed: Result<Option<Renewed>, Failure>,
        pass: &mut Pass,
        spec: &TokenSpec,
        learns: &mut dyn Learns,
        out: &Out,
    ) -> Outcome {
        // The CI identity's own token may have been read anew for this request: the new one is hidden, too.
        if let Some(token) = pass.cluster.identity_token() {
            learns.identity(token);
        }
        let taken = renewed.and_then(|renewed| {
            let Some(renewed) = renewed else { return Ok(None) };
            learns.token(&renewed.token);
            pass.take(renewed, spec).map(Some)
        });
        let ends = pass.expires_at;
        self.soonest = Alarm::after(BREATH);
        match taken {
            Ok(Some(saved)) => {
                (self.is_warned, self.is_dead) = (false, false);
                if let Err(failure) = saved {
                    out.warn_aside(format!(
                        "the token is renewed and ends at {ends}, but its lease file tells of the former one: {}",
                        failure.brief()
                    ));
                }
                let path = pass.store.file(store::CURL);
                if let Exchange::Busy(_) | Exchange::Left(_) = pass.renew_in(store::CURL)
                    && path.exists()
                {
                    out.warn_aside(format!("the renewed token is not in the curl configuration `{}`", path.display()));
                }
                if let Err(failure) = pass.renew_registry_auth() {
                    out.warn_aside(format!("the renewed token is not in the docker configuration: {}", failure.brief()));
                }
                if let Some(kubeconfig) = &mut self.kubeconfig {
                    kubeconfig.begin(pass, out);
                }
                (self.at, self.end) = (Some(Alarm::after(due(pass.lifetime))), Alarm::after(pass.lifetime));
                Outcome::Renewed
            }
            Ok(None) if self.is_dead => {
                self.at = None;
                Outcome::Lost(Failure::new(Code::PassOver, "the API server does not accept the token any more").cause(format!(
                    "the lease has no time for another one, though the token was to hold until {ends}: somebody has revoked it"
                )))
            }
            Ok(None) => {
                out.warn_aside(format!(
                    "the lease ends at {} and has no time for another token: the last one ends at {ends}",
                    instant(pass.lease.expires_at)
                ));
                self.at = None;
                Outcome::Last
            }
            Err(failure) => {
                let is_lost = is_lost(failure.code());
                if !(self.is_warned || is_lost && self.gives_up) {
                    out.warn_aside(format!("the token is not renewed and ends at {ends}; it is tried again: {}", failure.brief()));
                }
                let again = Alarm::after(AGAIN.min(pass.lifetime.max(SHORTEST)));
                let has_expired = self.end.has_rung();
                self.at = Some(if has_expired { again } else { again.or(self.end) });
                self.is_warned = true;
                match (is_lost, has_expired) {
                    (true, _) => Outcome::Lost(failure),
                    (false, true) => Outcome::Expired(failure),
                    (false, false) => Outcome::Goes,
                }
            }
        }
    }
}

/// Whether the answer says that the lease or the service account is gone: with it went every token of the pass.
fn is_lost(code: Code) -> bool {
    matches!(code, Code::ApiNoLease | Code::ApiOtherUid | Code::ApiNoAccount | Code::ApiNoNamespace)
}

/// The kubeconfig, which must come to hold the current token.
#[derive(Default)]
struct Kubeconfig {
    at: Option<Alarm>,
    /// How many attempts in a row have failed; and how many checks in a row found the token in place.
    tries: usize,
    looks: usize,
    warned: bool,
}

impl Kubeconfig {
    /// A new token was issued: begins to put it into the kubeconfig. What has failed for the former one counts on: a lock that stays
    /// is told, however soon one token follows the other.
    fn begin(&mut self, pass: &Pass, out: &Out) {
        self.looks = 0;
        self.renew(pass, out);
    }

    fn renew(&mut self, pass: &Pass, out: &Out) {
        let why = match pass.renew_in(store::KUBECONFIG) {
            Exchange::Done => {
                let next = LOOKS.get(self.looks).copied();
                (self.tries, self.looks, self.warned) = (0, self.looks + 1, false);
                self.at = next.map(Alarm::after);
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
        self.at = TRIES.get(self.tries).or(TRIES.last()).copied().map(Alarm::after);
        self.tries += 1;
    }
}

/// Waits until this moment; for ever if there is none.
async fn reached(at: Option<Alarm>) {
    match at {
        Some(at) => at.rings().await,
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
