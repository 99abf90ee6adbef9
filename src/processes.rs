//! What the kernel says about the processes around us: their parents, their sessions, their command lines.

use rustix::process::{Pid, getpid};

use crate::files;

/// How many ancestors are looked at. In a job there are about a dozen.
const DEPTH: usize = 64;

/// A process, according to `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its parent; none if that is outside our PID namespace.
    pub parent: Option<Pid>,
    /// The leader of its session; none if that is outside our PID namespace.
    pub session: Option<Pid>,
    /// Whether it has ended and is only waiting to be reaped.
    pub is_over: bool,
}

impl Process {
    /// The process with this number, if it exists and we may read its status.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Self::parse(&read(pid, "stat")?)
    }

    /// Our own process; none if `/proc` belongs to another PID namespace, where the numbers mean other processes.
    #[must_use]
    pub fn ourselves() -> Option<Self> {
        let text = files::read_text("/proc/self/stat".as_ref()).ok()?;
        let number = text.split(' ').next()?.parse().ok()?;
        Self::parse(&text).filter(|_| Pid::from_raw(number) == Some(getpid()))
    }

    /// Parses the text, see `proc_pid_stat(5)`. The name in parentheses is chosen by the process and may itself contain spaces and
    /// parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_over = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        Some(Self { parent: Pid::from_raw(parent), session: Pid::from_raw(session), is_over })
    }
}

/// Whether `is_meant` accepts the command line of one of our ancestors.
pub fn is_below(is_meant: impl Fn(&[&str]) -> bool) -> bool {
    let mut above = Process::ourselves().and_then(|process| process.parent);
    for _ in 0..DEPTH {
        let Some(pid) = above else { return false };
        let words = read(pid, "cmdline").unwrap_or_default();
        if is_meant(&words.split('\0').collect::<Vec<_>>()) {
            return true;
        }
        above = Process::of(pid).and_then(|process| process.parent);
    }
    false
}

/// The signals that a process ignores, as a bit mask whose lowest bit is signal 1. `None` as `pid` means ourselves.
#[must_use]
pub fn ignored(pid: Option<Pid>) -> Option<u64> {
    let status = match pid {
        Some(pid) => read(pid, "status")?,
        None => files::read_text("/proc/self/status".as_ref()).ok()?,
    };
    u64::from_str_radix(status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?.trim(), 16).ok()
}

fn read(pid: Pid, file: &str) -> Option<String> {
    files::read_text(format!("/proc/{}/{file}", pid.as_raw_nonzero()).as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_the_fields_after_it_is_a_name() {
        let pid = |number| Pid::from_raw(number);
        let known = |parent, session, is_over| Some(Process { parent: pid(parent), session: pid(session), is_over });
        assert_eq!(Process::parse("7 (sh) S 5 6 4 0 -1 4194304"), known(5, 4, false));
        assert_eq!(Process::parse("7 (a) R 9 9 9) Z 5 6 0 0 -1"), known(5, 0, true));
        assert_eq!(Process::parse("7 (sh) S 5"), None);
        assert_eq!(Process::parse(""), None);
    }

    #[test]
    fn whoever_started_us_is_found_above_us() {
        let parent = rustix::process::getppid().expect("somebody");
        let words = read(parent, "cmdline").expect("readable");
        assert!(is_below(|above| above.join("\0") == words));
        assert!(!is_below(|_| false));
        assert_eq!(Process::ourselves().and_then(|process| process.parent), Some(parent));
    }
}
