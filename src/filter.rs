//! `jobpass scrub`: a filter for output that cannot be wrapped.

use std::io::{self, Read, Write};

use jobpass_scrub::{Patterns, Scrubber};

use crate::{
    env::Env,
    failure::Failure,
    options::{self as o, Options, Source},
    out::{self, Stream},
    place,
    platform::Platform,
    run,
    secret::Secret,
    targets,
};

/// As much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// What is to be hidden: the token of a lease that was named, and the values of variables. Also what could not be hidden, and why.
///
/// # Errors
/// When neither is named, or the lease that was named has no token here.
pub fn patterns(options: &Options, env: &Env, platform: Platform, user: u32) -> Result<(Patterns, Vec<String>), Failure> {
    let mut patterns = Patterns::new();
    let names = options.list(&o::SCRUB_ENV);
    let warnings = names.iter().filter_map(|name| run::hide(&mut patterns, name, env)).collect();
    let lease = options.get(&o::LEASE).or(options.get(&o::LEASE_FILE));
    if let Some(given) = lease {
        let found = targets::to_hide(options, env, platform, user)?;
        let places = found.endings.iter().filter_map(|ending| ending.place.as_ref());
        let mut tokens = places.filter_map(|place| place.read(place::TOKEN).ok()?).map(Secret::new).peekable();
        let is_asked = !matches!(given.source, Source::Variable(_));
        if tokens.peek().is_none() && (is_asked || names.is_empty()) {
            return Err(Failure::new(format!("there is no token of the lease that {} names", given.source))
                .cause("its pass is over, or was kept in another directory")
                .hint("name the token's variable by `--scrub-env`"));
        }
        // A job on CI may have several passes, of which the variable names the last one.
        tokens.for_each(|token| patterns.token(token.expose()));
    } else if names.is_empty() {
        return Err(Failure::usage("there is nothing to hide")
            .hint("name a variable by `--scrub-env OPENSHIFT_TOKEN`, or a pass by `--lease` or `--lease-file`"));
    }
    Ok((patterns, warnings))
}

/// Passes stdin on to stdout.
///
/// # Errors
/// When one of them fails; a reader that is gone is no failure.
pub fn pass_on(patterns: &Patterns) -> Result<(), Failure> {
    match copied(patterns) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new("cannot pass the output on").cause(error)),
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
