//! Flags that name a pipe, such as `--kubeconfig <(…)`: it is read once, before anything is requested, while signals are heard.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    context::Context,
    failure::{Code, Failure},
    files::Pipe,
    kubeconfig_text::text_of,
    options::{self as o, Setting},
    secret::Secret,
    signals::Signals,
};

/// The flags by which the CI identity may come through a pipe.
pub const IDENTITY: [&Setting; 3] = [&o::KUBECONFIG, &o::IDENTITY_TOKEN_FILE, &o::CERTIFICATE_AUTHORITY];

/// The flag by which a lease may come through a pipe.
pub const LEASE: [&Setting; 1] = [&o::LEASE_FILE];

/// Reads those of these settings that are flags and name a pipe. Without `signals`, a signal kills the process as usual.
///
/// # Errors
/// When a pipe cannot be read, does not end in time, or a signal comes first.
pub async fn read(context: &Context, settings: &[&'static Setting], limit: Duration, signals: Option<&mut Signals>) -> Result<(), Failure> {
    let work = async {
        for setting in settings {
            read_one(context, setting, limit).await?;
        }
        Ok(())
    };
    match signals {
        None => work.await,
        Some(signals) => tokio::select! {
            done = work => done,
            notice = signals.ending_one() => Err(Failure::new(Code::Interrupted, "cannot read what a flag names").cause(format!("interrupted by {notice}"))),
        },
    }
}

async fn read_one(context: &Context, setting: &'static Setting, limit: Duration) -> Result<(), Failure> {
    let Some(given) = context.options.flag(setting) else { return Ok(()) };
    let failed = |cause: &anyhow::Error| Failure::new(Code::UsagePipe, format!("cannot read what {} names", given.source)).chain(cause);
    let Some(pipe) = Pipe::at(&context.env.absolute(given.text.as_ref())).map_err(|cause| failed(&cause))? else { return Ok(()) };
    let bytes = timeout(limit, pipe.read()).await.map_err(|_| {
        let what = format!("{} names a pipe whose end did not come within {} s", given.source, limit.as_secs());
        Failure::new(Code::UsagePipe, what).hint("check the command that writes to it")
    })?;
    let bytes = bytes.map_err(|cause| failed(&cause))?;
    let text = if setting.name == o::CERTIFICATE_AUTHORITY.name {
        // The certificates are ASCII; comments beside them may be in any encoding.
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        text_of(bytes.to_vec()).map_err(|cause| failed(&cause))?
    };
    context.options.keep_piped(setting, Secret::new(text));
    Ok(())
}

/// Whether the CI identity came through a pipe, so that a later `revoke` cannot find it again.
#[must_use]
pub fn is_identity_piped(context: &Context) -> bool {
    [&o::KUBECONFIG, &o::IDENTITY_TOKEN_FILE].into_iter().any(|setting| context.options.piped(setting).is_some())
}
