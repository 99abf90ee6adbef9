//! `jobpass scrub`: pass stdin on to stdout without secrets, for output that cannot be wrapped.

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

/// As much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// How it is called.
pub const CALL: Call = Call {
    name: "scrub",
    about: "Pass stdin on to stdout, without the secrets that are named",
    after: "Examples:
  ./deploy.sh 2>&1 | jobpass scrub --scrub-env OPENSHIFT_TOKEN
  ./deploy.sh 2>&1 | jobpass scrub --lease \"$JOBPASS_LEASE\" --scrub-env DB_PASSWORD",
    settings: &[&o::LEASE, &o::LEASE_FILE, &o::SCRUB_ENV, &o::PLATFORM, &o::DIR],
    otherwise: &[("lease", "Lease whose token is hidden, as NAMESPACE/NAME"), ("lease-file", "Lease file whose token is hidden")],
    in_action: false,
    takes_command: false,
};

/// Pass stdin on to stdout without the secrets of a pass or of variables.
///
/// # Errors
/// When nothing is named to hide, or the streams fail.
pub async fn scrub(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    hide_values(context, out);
    // A signal ends a filter as it ends any.
    pipes::read(context, &pipes::LEASE, REQUEST, None).await?;
    let (patterns, warnings) = patterns(context)?;
    for warning in warnings {
        out.warn(warning);
    }
    pass_on(&patterns)?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be hidden: the token of a lease that was named, and the values of variables. Also what could not be hidden, and why.
///
/// # Errors
/// When neither is named, or the lease that was named has no token here.
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
        // A job on CI may have several passes, of which the variable names the last one.
        tokens.for_each(|token| patterns.token(token.expose()));
    } else if names.is_empty() {
        return Err(Failure::new(Code::UsageMissing, "there is nothing to hide")
            .hint("name a variable by `--scrub-env OPENSHIFT_TOKEN`, or a pass by `--lease` or `--lease-file`"));
    }
    Ok((patterns, warnings))
}

/// Passes stdin on to stdout.
///
/// # Errors
/// When one of them fails; a reader that is gone is no failure.
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
