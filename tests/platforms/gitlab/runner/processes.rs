//! The processes of a stage: found by their parents, their session and a mark, and ended as the executors end them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// So long the signal script of docker and kubernetes waits for one process, in six steps of a second.
const FOR_ONE: Duration = Duration::from_secs(6);

/// What a stage has started, and the shell that it began with.
#[derive(Debug)]
pub(super) struct Processes {
    /// None when it has ended, and its number may be another's.
    pub(super) shell: Option<u32>,
    /// `NAME=VALUE` in the environment of all of them: so those are found whose parent is gone.
    pub(super) mark: String,
}

/// What the kernel says of one process.
struct Known {
    parent: u32,
    session: u32,
    is_zombie: bool,
}

impl Processes {
    /// Those that run, the shell included.
    pub(super) fn running(&self) -> BTreeSet<u32> {
        let ids = fs::read_dir("/proc").expect("every Linux has it").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let known: BTreeMap<u32, Known> = ids.filter_map(|id: u32| Some((id, known(id)?))).filter(|(_, known)| !known.is_zombie).collect();
        // jobpass lets nobody but root read its environment, but it stays in the session and has a parent.
        let is_marked =
            |id: &u32| fs::read(format!("/proc/{id}/environ")).is_ok_and(|text| text.split(|b| *b == 0).any(|v| v == self.mark.as_bytes()));
        let mut ours: BTreeSet<u32> =
            known.iter().filter(|(id, known)| Some(known.session) == self.shell || is_marked(id)).map(|(id, _)| *id).collect();
        loop {
            let children: Vec<_> =
                known.iter().filter(|(id, known)| ours.contains(&known.parent) && !ours.contains(id)).map(|(id, _)| *id).collect();
            if children.is_empty() {
                return ours;
            }
            ours.extend(children);
        }
    }

    /// Sends TERM to one after the other, the youngest first, and waits for each: `ContainerSigTermScriptForLinux` in the runner's
    /// `shells/bash.go`. The container's first process, the stage's shell, is spared.
    ///
    /// The real one looks every second whether a process is gone, and counts a zombie as there; to be sooner is worse for jobpass,
    /// which then hears TERM while it is busy with the end of its command.
    pub(super) fn terminate_each(&self) {
        for id in self.running().into_iter().rev().filter(|id| Some(*id) != self.shell) {
            signal(id, Signal::TERM);
            let end = Instant::now() + FOR_ONE;
            while known(id).is_some_and(|known| !known.is_zombie) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until none runs, at most so long: what a container has before it is stopped.
    pub(super) fn wait(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.running().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends TERM to the group of the shell, as `helpers/process` does on the shell executor.
    pub(super) fn terminate_group(&self) {
        // It may have ended by itself just now.
        let _ = kill_process_group(pid(self.shell.expect("not ended")), Signal::TERM);
    }

    /// Sends TERM to the shell alone, which leads its session, and KILL after two seconds: what util-linux's `su` does when it hears TERM.
    pub(super) fn terminate_leader(&self) {
        let leader = self.shell.expect("not ended");
        signal(leader, Signal::TERM);
        let end = Instant::now() + Duration::from_secs(2);
        while known(leader).is_some_and(|known| !known.is_zombie) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        if known(leader).is_some_and(|known| !known.is_zombie) {
            signal(leader, Signal::KILL);
        }
    }

    /// Ends all at once, as the end of a container does: none sees the other die.
    pub(super) fn kill(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let running = self.running();
            if running.is_empty() || Instant::now() > end {
                return;
            }
            for id in &running {
                signal(*id, Signal::STOP);
            }
            for id in &running {
                signal(*id, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn known(id: u32) -> Option<Known> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold spaces and parentheses.
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(Known { parent: fields[1].parse().ok()?, session: fields[3].parse().ok()?, is_zombie: matches!(fields[0], "Z" | "X") })
}

fn signal(id: u32, signal: Signal) {
    // It may have ended by itself just now.
    let _ = kill_process(pid(id), signal);
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().expect("a process id")).expect("no process has the number 0")
}
