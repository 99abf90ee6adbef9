//! Where `hold` shows its pass, on which `hold`, `wait` and `credential` agree; and whether a token that is found there still holds.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    jwt::Claims,
    options as o,
    out::instant,
    secret::Secret,
    store::{self, Published},
};

/// The directory in which a pass is shown.
///
/// # Errors
/// When it is not said where, which only Tekton's own volume makes needless.
pub fn published(context: &Context) -> Result<Published, Failure> {
    let ready = context.options.get(&o::READY).map(|given| context.env.absolute(given.text.as_ref()));
    directory(context).map(|directory| Published::at(directory, ready))
}

fn directory(context: &Context) -> Result<PathBuf, Failure> {
    if context.platform.has_a_directory_for_passes() || context.options.get(&o::DIR).is_some() {
        return Ok(context.base.clone()?.path);
    }
    Err(Failure::new(Code::UsageMissing, format!("{} is missing", context.options.missing(&o::DIR)))
        .hint("name a directory that `hold` and those who use its pass both see; in a pod a volume with `medium: Memory`"))
}

/// What to do where somebody may not read the files of `hold`.
pub const FOR_OTHERS: &str =
    "read them as the user of `hold`, or let it write for the group: `--file-mode 0640`, and `fsGroup` for the pod";

/// How long the API server takes a token after its end: `jwt.DefaultLeeway`. A renewal that is late is not to fail anybody before.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A token, and until when it holds by this machine's clock.
pub struct Held {
    /// The token.
    pub token: Secret,
    /// Its end. The clock that has stamped the file and the one that a client compares with are the same, whatever the server's says.
    pub ends: Timestamp,
}

/// Whether a later try may find what this one did not: `hold` has not begun yet, begins anew, or renews.
#[must_use]
pub fn may_pass(path: &Path, failure: &Failure) -> bool {
    failure.code() == Code::PassExpired || !path.exists() && !files::is_denied(path)
}

/// Reads a token file.
///
/// # Errors
/// When there is none, it holds no token of a pass, or the token has expired.
pub fn token(path: &Path) -> Result<Held, Failure> {
    let what = || "cannot use the token of the pass";
    let (token, written) = files::read_dated(path).map_err(|cause| {
        let failure = Failure::new(Code::PassUnclear, what()).cause(format!("its file `{}`: {cause}", path.display()));
        // The containers of a pod may run as different users.
        match (files::is_denied(path), path.exists()) {
            (true, _) => failure.hint(FOR_OTHERS),
            (false, true) => failure,
            (false, false) => failure.hint("check that this is the directory of `hold`, and that its volume is mounted here"),
        }
    })?;
    let token = token.trimmed();
    let is_plain = token.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let claims = Claims::of(&token).filter(|claims| is_plain && claims.lease().is_some());
    let Some(length) = claims.as_ref().and_then(Claims::lifetime) else {
        return Err(Failure::new(Code::PassUnclear, what()).cause("its file holds no token of a pass"));
    };
    let ends = written.saturating_add(SignedDuration::from_secs(length)).unwrap_or(Timestamp::MAX);
    let now = Timestamp::now();
    if ends.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX) <= now {
        if files::is_kept(&path.with_file_name(store::READY)) {
            // Its `hold` lives, and would have ended it: the clock was set forward. A client asks again soon.
            return Ok(Held { token, ends: now.saturating_add(LEEWAY).unwrap_or(now) });
        }
        let failure = Failure::new(Code::PassExpired, "the token of the pass has expired");
        return Err(failure
            .cause(format!("it held until {} by this machine's clock", instant(ends)))
            .hint("look at the log of `hold`: whoever renews it has ended, or cannot"));
    }
    Ok(Held { token, ends })
}
