//! The processes of a container, as the machine's root sees them.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// One process of a container.
pub(crate) struct Process {
    pid: i32,
    parent: i32,
    /// Its number in the container: 1 is the first.
    inside: i32,
}

/// The processes of the container with this id: its cgroup has it in its name.
pub(crate) fn of(container: &str) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(|pid| process(pid, container)).collect()
}

fn process(pid: i32, container: &str) -> Option<Process> {
    let folder = Path::new("/proc").join(pid.to_string());
    if !fs::read_to_string(folder.join("cgroup")).ok()?.contains(container) {
        return None;
    }
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let last = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().last()?.parse().ok());
    Some(Process { pid, parent: last("PPid:")?, inside: last("NSpid:")? })
}

/// The first process of the container, its child, that one's child, and so on: with depth 0, 1, 2.
pub(crate) fn at_depth(container: &str, depth: usize) -> Option<i32> {
    let all = of(container);
    let first = all.iter().find(|process| process.inside == 1)?.pid;
    (0..depth).try_fold(first, |above, _| Some(all.iter().find(|process| process.parent == above)?.pid))
}

/// Ends a process as the kernel does that is out of memory.
pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// The processes whose arguments begin so.
pub(crate) fn called(is_it: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let arguments = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    numbers.filter(|pid| is_it(&arguments(pid).split('\0').collect::<Vec<_>>())).collect()
}
