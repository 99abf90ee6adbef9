//! A command of `jobpass run` that prints its token: what the log shows, and what the token is worth afterwards.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    careless::{COPY, LEAKY, Pass},
    ci::{Job, Platform},
    cluster::{ACCEPTED, Cluster, REFUSED, TARGET},
    job::must,
    screen::{Mood, Screen},
};

/// So many bytes in a row give a token away: of its signature, as all else of it can be guessed.
const PIECE: usize = 16;

/// What jobpass puts in the place of what it hides.
const MASK: &str = "***";

/// Plays it.
pub(crate) fn play(jobpass: &Path, screen: &Screen) -> Result<()> {
    let cluster = Cluster::start();
    let mut job = Job::start(Platform::Local, jobpass, &cluster)?;
    let before = job.files()?;
    screen.heading("2. `jobpass run`: one command has the token, and prints it in four ways");
    let command = format!("jobpass run -s {TARGET} -- {LEAKY}");
    screen.command(&command);
    let log = job.run(&command)?.succeeded(&command)?;
    let token = fs::read_to_string(job.path(COPY)).context("the command has kept no copy of its token")?;

    // The command does print it, and we do see it where it is printed.
    let printed = Pass { token: token.clone(), server: cluster.url(), ca_pem: cluster.ca_pem() }.leaked();
    let labelled = printed.lines().filter(|line| !is_dump(line));
    ensure!(labelled.clone().all(|line| gives_away(line, &token)) && dumped(&printed, &token), "the command does not print its token");
    ensure!(!gives_away(&log, &token), "the token stands in the log of `{command}`");
    ensure!(!dumped(&log, &token), "the token stands in a dump in the log of `{command}`");
    let answer = must(ACCEPTED, log.lines().next().unwrap_or_default().to_owned())?;
    screen.fact("the command uses the token", Mood::Plain, &answer);
    let hidden = |line: &&str| line.contains(MASK);
    for label in labelled.filter_map(|line| Some(line.split_once(": ")?.0)) {
        let line =
            log.lines().filter(hidden).find(|line| line.starts_with(label)).with_context(|| format!("`{label}` is not in the log"))?;
        screen.log(line);
    }
    let dump: Vec<_> = log.lines().filter(|line| is_dump(line)).collect();
    ensure!(dump.len() == printed.lines().filter(|line| is_dump(line)).count(), "the log has other lines than the command has printed");
    let mut cut = dump.iter().filter(|line| line.contains(MASK));
    let (first, second) = (cut.next().context("nothing of the dump is hidden")?, cut.next().context("one line of the dump is hidden")?);
    screen.text(&format!("  {} lines as `curl --trace` has them; its signature begins in these:", dump.len()));
    screen.log(&format!("{first}\n{second}"));

    ensure!(cluster.leases().is_empty(), "the lease is still in the cluster: {}", cluster.leases().join(", "));
    cluster.outlast_cache();
    screen.fact("a copy of the token, after the command", Mood::Good, &must(REFUSED, cluster.answer(&token)?)?);
    fs::remove_file(job.path(COPY))?;
    job.nothing_is_left(&before)?;
    cluster.knew_all()
}

/// Whether a piece of the token's signature stands there, as it is or in base64.
fn gives_away(text: &str, token: &str) -> bool {
    let signature = token.rsplit('.').next().unwrap_or(token);
    let has = |secret: &str, size| {
        let mut pieces = secret.as_bytes().windows(size).filter_map(|piece| str::from_utf8(piece).ok());
        pieces.any(|piece| text.contains(piece))
    };
    // In base64 it may begin with each byte of a group of three; the groups at both ends hold something else, too.
    let mut encoded = (0..3).map(|before| STANDARD.encode("-".repeat(before) + signature));
    has(signature, PIECE) || encoded.any(|text| has(&text[4..text.len() - 4], PIECE * 4 / 3))
}

/// Whether one stands in the columns of a dump.
fn dumped(text: &str, token: &str) -> bool {
    let (mut bytes, mut shown) = (String::new(), String::new());
    for line in text.lines().filter(|line| is_dump(line)) {
        let (hex, column) = line[5..].trim_start().split_at_checked(48).unwrap_or((line, ""));
        bytes.extend(hex.split(' ').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).map(char::from));
        shown.push_str(column);
    }
    gives_away(&bytes, token) || gives_away(&shown, token)
}

/// A line such as `0010: 61 62 63 … abc`.
fn is_dump(line: &str) -> bool {
    line.get(..5).and_then(|number| number.strip_suffix(':')).is_some_and(|number| u16::from_str_radix(number, 16).is_ok())
}
