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

/// In bytes: what a pipe holds by default, so one read gets no more.
const PIECE: usize = 64 * 1024;

/// The ends of the pipes that the command writes to.
pub(super) struct Ends {
    pub(super) stdout: PipeWriter,
    pub(super) stderr: PipeWriter,
}

/// Our ends of the pipes, with a thread that reads each of them.
pub(super) struct Pipes {
    threads: Vec<JoinHandle<()>>,
    current: Arc<Current>,
    /// Closing it tells the threads to wait for no more output.
    stop: Option<PipeWriter>,
}

/// What the threads share: the patterns in force, how often they have changed, and the first error of passing output on.
struct Current {
    patterns: Mutex<Patterns>,
    version: AtomicUsize,
    error: Mutex<Option<io::Error>>,
}

impl Pipes {
    /// Opens two pipes, or one where our stdout and stderr are the same file: then the order of what the command writes is kept.
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

    /// Hides these patterns in everything that is read from now on.
    pub(super) fn hide(&self, patterns: &Patterns) {
        if let Ok(mut current) = self.current.patterns.lock() {
            current.clone_from(patterns);
        }
        self.current.version.fetch_add(1, Ordering::Release);
    }

    /// Waits until all output is passed on, but at most this long: the reader of our output may be slow, or have stopped.
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

    /// Why some output could not be passed on, if so. A reader that has gone away is not an error: it did not want the output.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.current.error.lock().ok()?.take()
    }

    /// Passes on what is in the pipes and waits for no more: a background process may keep a pipe open for ever.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }
}

/// One pipe and where its bytes go.
struct Pump {
    from: PipeReader,
    to: Raw,
    stopped: PipeReader,
    current: Arc<Current>,
}

impl Pump {
    /// Passes on until the end of the pipe. When our own reader is gone, this returns and closes the pipe, so that the command gets
    /// SIGPIPE as it would without us.
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
                // Only what is in the pipe at this moment is passed on, as some process may go on writing for ever.
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

    /// Waits until there are bytes, the end of the pipe, or the word to stop. Returns whether it was the last.
    fn is_stopped(&self) -> io::Result<bool> {
        let mut wanted = [PollFd::new(&self.from, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
        // A signal that only this thread can take interrupts the wait, and means nothing here.
        retry_on_intr(|| poll(&mut wanted, None))?;
        Ok(!wanted[1].revents().is_empty())
    }
}
