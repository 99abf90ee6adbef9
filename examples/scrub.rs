//! What `benches/scrub` measures: the scrubber in process, and as a filter.
//!
//! ```text
//! scrub speed FILE TOKENS VALUES [ROUNDS]   GB/s: the median and the best of some rounds
//! scrub filter TOKENS VALUES                standard input to standard output
//! ```
//! The tokens are the first lines of the file that `BENCH_TOKENS` names, the values those of `BENCH_VALUES`.
#![expect(clippy::disallowed_methods, reason = "an example is a process of its own")]

use std::{
    env, fs,
    io::{self, Read, Write},
    time::Instant,
};

use jobpass_scrub::{Patterns, Scrubber};

/// As much as a pipe holds.
const CHUNK: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["speed", file, tokens, values] => speed(&fs::read(file)?, &patterns(tokens, values)?, 5),
        ["speed", file, tokens, values, rounds] => speed(&fs::read(file)?, &patterns(tokens, values)?, number(rounds)?),
        ["filter", tokens, values] => filter(&patterns(tokens, values)?),
        _ => Err(io::Error::other("usage: scrub speed FILE TOKENS VALUES [ROUNDS] | scrub filter TOKENS VALUES")),
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(io::Error::other)
}

fn patterns(tokens: &str, values: &str) -> io::Result<Patterns> {
    let mut patterns = Patterns::new();
    for token in lines("BENCH_TOKENS", number(tokens)?)? {
        patterns.token(&token);
    }
    for value in lines("BENCH_VALUES", number(values)?)? {
        patterns.value(&value).map_err(io::Error::other)?;
    }
    Ok(patterns)
}

/// The first lines of the file that this variable names.
fn lines(variable: &str, count: usize) -> io::Result<Vec<String>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let file = env::var(variable).map_err(|_| io::Error::other(format!("{variable} is not set")))?;
    Ok(fs::read_to_string(file)?.lines().take(count).map(str::to_owned).collect())
}

fn filter(patterns: &Patterns) -> io::Result<()> {
    let (mut input, mut chunk) = (io::stdin().lock(), vec![0; CHUNK]);
    let mut scrubber = Scrubber::new(fs::File::options().write(true).open("/proc/self/fd/1")?, patterns);
    loop {
        match input.read(&mut chunk)? {
            0 => break scrubber.finish().map(drop),
            length => scrubber.write_all(&chunk[..length])?,
        }
    }
}

/// Where output ends that is only counted.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn speed(text: &[u8], patterns: &Patterns, rounds: usize) -> io::Result<()> {
    let mut speeds = Vec::new();
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        let mut scrubber = Scrubber::new(Count(0), patterns);
        for chunk in text.chunks(CHUNK) {
            scrubber.write_all(chunk)?;
        }
        std::hint::black_box(scrubber.finish()?.0);
        #[expect(clippy::cast_precision_loss, reason = "it is printed with two digits")]
        speeds.push(text.len() as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    speeds.sort_by(f64::total_cmp);
    writeln!(io::stdout(), "{:.2} {:.2}", speeds[speeds.len() / 2], speeds[speeds.len() - 1])
}
