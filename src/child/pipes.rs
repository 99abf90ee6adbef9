//! The command's output on its way through the scrubber.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use tokio::time::{Instant, sleep};

use jobpass_scrub::{Patterns, Scrubber};

use crate::out::{self, Raw, Stream};

/// What a pipe holds by default; more at once does not come.
const PIECE: usize = 64 * 1024;

/// The child's ends.
pub(super) struct Ends {
    pub(super) stdout: PipeWriter,
    pub(super) stderr: PipeWriter,
}

/// Our ends, each with a thread that reads it.
pub(super) struct Pipes {
    threads: Vec<JoinHandle<()>>,
    current: Arc<Current>,
    /// Closed when nothing more is to be waited for.
    stop: Option<PipeWriter>,
}

/// The patterns that hold now, and how often they have changed; and why output could not be passed on.
struct Current {
    patterns: Mutex<Patterns>,
    version: AtomicUsize,
    error: Mutex<Option<io::Error>>,
}

impl Pipes {
    /// Two pipes, or one where stdout and stderr are one file for us: then the order of what is written stays as it is.
    pub(super) fn open(patterns: &Patterns) -> io::Result<(Self, Ends)> {
        let current = Arc::new(Current { patterns: Mutex::new(patterns.clone()), version: AtomicUsize::new(0), error: Mutex::default() });
        let (stopped, stop) = io::pipe()?;
        let mut threads = Vec::new();
        let mut start = |stream| -> io::Result<PipeWriter> {
            let (reader, writer) = io::pipe()?;
            let pump = Pump { from: reader, to: out::raw(stream)?, stopped: stopped.try_clone()?, current: current.clone() };
            threads.push(thread::Builder::new().name("scrub".to_owned()).spawn(move || pump.run())?);
            Ok(writer)
        };
        let stdout = start(Stream::Stdout)?;
        let stderr = if out::is_one_file() { stdout.try_clone()? } else { start(Stream::Stderr)? };
        Ok((Self { threads, current, stop: Some(stop) }, Ends { stdout, stderr }))
    }

    /// From now on these are hidden: in whatever is read next.
    pub(super) fn hide(&self, patterns: &Patterns) {
        if let Ok(mut current) = self.current.patterns.lock() {
            current.clone_from(patterns);
        }
        self.current.version.fetch_add(1, Ordering::Release);
    }

    /// Waits until all output is passed on, but not longer than this: whoever reads ours may be slow, or have stopped.
    pub(super) async fn drained(&self, limit: Duration) -> bool {
        let end = Instant::now().checked_add(limit);
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if end.is_some_and(|end| Instant::now() >= end) {
                return false;
            }
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Why some output could not be passed on, if so. A reader that is gone is no reason: it did not want it.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.current.error.lock().ok()?.take()
    }

    /// Passes on what is there and waits for nothing more: a process that has gone its own way may keep a pipe open.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }
}

/// One pipe.
struct Pump {
    from: PipeReader,
    to: Raw,
    stopped: PipeReader,
    current: Arc<Current>,
}

impl Pump {
    /// Passes on until the pipe's end. When nobody reads our output any more, the command is to notice by its own pipe.
    fn run(mut self) {
        if let Err(error) = self.pass_on()
            && error.kind() != io::ErrorKind::BrokenPipe
            && let Ok(mut first) = self.current.error.lock()
        {
            first.get_or_insert(error);
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let mut version = self.current.version.load(Ordering::Acquire);
        let mut scrubber = Scrubber::new(&self.to, &self.patterns());
        let mut buffer = vec![0; PIECE];
        let mut left = None;
        loop {
            if left.is_none() && self.is_stopped()? {
                // What is there now is passed on, and no more: somebody may write for ever.
                left = Some(usize::try_from(rustix::io::ioctl_fionread(&self.from)?).unwrap_or(usize::MAX));
            }
            let most = left.unwrap_or(PIECE).min(PIECE);
            if most == 0 {
                break;
            }
            let length = match self.from.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                break;
            }
            left = left.map(|left| left - length);
            let now = self.current.version.load(Ordering::Acquire);
            if now != version {
                version = now;
                scrubber.set_patterns(&self.patterns())?;
            }
            scrubber.write_all(&buffer[..length])?;
        }
        scrubber.finish().map(drop)
    }

    fn patterns(&self) -> Patterns {
        self.current.patterns.lock().map(|patterns| patterns.clone()).unwrap_or_default()
    }

    /// Waits for bytes, the end, or the word that nothing more is to be waited for.
    fn is_stopped(&self) -> io::Result<bool> {
        let mut wanted = [PollFd::new(&self.from, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
        // A signal that comes while nobody else can take it interrupts this wait and means nothing here.
        retry_on_intr(|| poll(&mut wanted, None))?;
        Ok(!wanted[1].revents().is_empty())
    }
}
