//! `jobpass scrub`: copies stdin to stdout without secrets, for output of commands that cannot run under `jobpass run`.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use jobpass_scrub::{Patterns, Scrubber};

use crate::{
    child,
    context::Context,
    failure::{Code, Failure},
    job::{REQUEST, hide_values, pipes},
    options::{self as o, Call, Source},
    out::{self, Out, Stream},
    secret::Secret,
    selection, store,
};

/// In bytes: as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// The verb's command line.
pub const CALL: Call = Call {
    name: "scrub",
    about: "Pass stdin on to stdout, without the secrets that are named",
    after: "Examples:
  ./deploy.sh 2>&1 | jobpass scrub --scrub-env OPENSHIFT_TOKEN
  ./deploy.sh 2>&1 | jobpass scrub --lease \"$JOBPASS_LEASE\" --scrub-env DB_PASSWORD",
    settings: &[&o::LEASE, &o::LEASE_FILE, &o::SCRUB_ENV, &o::PLATFORM, &o::DIR],
    otherwise: &[("lease", "Lease whose token is hidden, as NAMESPACE/NAME"), ("lease-file", "Lease file whose token is hidden")],
    connects: false,
    in_action: false,
    takes_command: false,
};

/// Copies stdin to stdout without the secrets of a pass or of variables.
///
/// # Errors
/// When nothing to hide is named, or a stream fails.
pub async fn scrub(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    hide_values(context, out);
    // No signal handlers: like any filter it is simply ended by a signal.
    pipes::read(context, &pipes::LEASE, REQUEST, None).await?;
    let (patterns, warnings) = patterns(context)?;
    for warning in warnings {
        out.warn(warning);
    }
    pass_on(&patterns)?;
    Ok(ExitCode::SUCCESS)
}

/// What to hide: the token of the named lease, and the values of variables; and warnings about what cannot be hidden.
///
/// # Errors
/// When neither is named, or there is no token of the named lease here.
fn patterns(context: &Context) -> Result<(Patterns, Vec<String>), Failure> {
    let Context { options, env, .. } = context;
    let mut patterns = Patterns::new();
    let names = options.list(&o::SCRUB_ENV);
    let warnings = names.iter().filter_map(|name| child::hide(&mut patterns, name, env)).collect();
    let lease = options.get(&o::LEASE).or(options.get(&o::LEASE_FILE));
    if let Some(given) = lease {
        let found = selection::to_hide(context)?;
        let stores = found.revocations.iter().filter_map(|revocation| revocation.store.as_ref());
        let mut tokens = stores.filter_map(|store| store.read(store::TOKEN).ok()?).map(Secret::new).peekable();
        let is_asked = !matches!(given.source, Source::Variable(_));
        if tokens.peek().is_none() && (is_asked || names.is_empty()) {
            return Err(Failure::new(Code::LeaseMissing, format!("there is no token of the lease that {} names", given.source))
                .cause("its pass is over, or was kept in another directory")
                .hint("name the token's variable by `--scrub-env`"));
        }
        // A CI job may have several passes, while the variable names only the last one: the tokens of all are hidden.
        tokens.for_each(|token| patterns.token(token.expose()));
    } else if names.is_empty() {
        return Err(Failure::new(Code::UsageMissing, "there is nothing to hide")
            .hint("name a variable by `--scrub-env OPENSHIFT_TOKEN`, or a pass by `--lease` or `--lease-file`"));
    }
    Ok((patterns, warnings))
}

/// Copies stdin to stdout through the scrubber.
///
/// # Errors
/// When a stream fails; a reader of stdout that has gone away is no failure.
fn pass_on(patterns: &Patterns) -> Result<(), Failure> {
    match copied(patterns) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::OutputBroken, "cannot pass the output on").cause(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn copied(patterns: &Patterns) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let output = out::raw(Stream::Stdout)?;
    let mut scrubber = Scrubber::new(&output, patterns);
    let mut buffer = vec![0; PIECE];
    loop {
        match input.read(&mut buffer)? {
            0 => return scrubber.finish().map(drop),
            length => scrubber.write_all(&buffer[..length])?,
        }
    }
}
