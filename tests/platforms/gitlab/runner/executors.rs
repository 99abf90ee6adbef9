//! The executors of gitlab-runner: what each does with a job that is ended from outside, and what sets its shells apart.

/// How the processes of a stage are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// TERM to one after the other, then KILL.
    Each,
    /// TERM to the shell's process group, and KILL only after ten minutes.
    Group,
    /// TERM to the leader of the session alone, and KILL to it two seconds later. Nobody else hears of anything.
    Leader,
    /// KILL, unasked.
    Kill,
}

/// Where `after_script` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the script ran.
    Same,
    /// In a new container: of the old one only the build volume is left.
    Fresh,
}

/// What becomes of a job that is ended from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) how: How,
    /// `CI_JOB_STATUS` and the place of `after_script`, if it runs at all.
    pub(crate) after: Option<(&'static str, Place)>,
}

/// An executor.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) name: &'static str,
    /// The user cancels the job.
    pub(crate) cancel: Event,
    /// `RUNNER_SCRIPT_TIMEOUT` is over.
    pub(crate) script_timeout: Event,
    /// The job's own timeout is over.
    pub(crate) job_timeout: Event,
    /// The user cancels by force, or the runner, the node or the pod is lost.
    pub(crate) lost: Event,
    /// Of the job's shells.
    pub(crate) umask: &'static str,
    /// Whether its jobs run in containers: what runs on in the background ends with the stage.
    pub(crate) has_containers: bool,
    /// Since 19.0.2 and 18.11.4: the shell that evaluates the job's lines has a trap for TERM, and not only the one around it.
    pub(crate) has_inner_trap: bool,
    /// Before 15.7: no `CI_JOB_TIMEOUT`; before 16.4: no `GITLAB_ENV`; and no `RUNNER_TEMP_PROJECT_DIR`.
    pub(crate) is_old: bool,
}

const LOST: Event = Event { how: How::Kill, after: None };

// executors/docker/docker.go `sendSIGTERMToContainerProcs`, common/build.go `executeAfterScript`; the new container after a
// cancellation is issue gitlab-org/gitlab#473376. The job's timeout also ends the context in which after_script would run.
const DOCKER: Executor = Executor {
    name: "docker",
    cancel: Event { how: How::Each, after: Some(("canceled", Place::Fresh)) },
    script_timeout: Event { how: How::Each, after: Some(("timedout", Place::Same)) },
    job_timeout: Event { how: How::Each, after: None },
    lost: LOST,
    umask: "0000",
    has_containers: true,
    has_inner_trap: true,
    is_old: false,
};

// helpers/process/killer.go and killer_unix.go: TERM to the group, ten minutes, KILL.
const SHELL: Executor = Executor {
    name: "shell",
    cancel: Event { how: How::Group, after: Some(("canceled", Place::Same)) },
    script_timeout: Event { how: How::Group, after: Some(("timedout", Place::Same)) },
    job_timeout: Event { how: How::Group, after: None },
    umask: "0022",
    has_containers: false,
    ..DOCKER
};

// executors/shell with `--user`, as its packages install it: `su -s /bin/bash USER -c 'bash -l'`. su makes a session for its shell,
// passes TERM on to that alone, and ends it by KILL after two seconds. Seen on 16.11 and 19.3.
const SHELL_BY_SU: Executor = Executor {
    name: "shell --user",
    cancel: Event { how: How::Leader, ..SHELL.cancel },
    script_timeout: Event { how: How::Leader, ..SHELL.script_timeout },
    job_timeout: Event { how: How::Leader, ..SHELL.job_timeout },
    ..SHELL
};

/// Every executor with what it does at each event.
pub(crate) const TABLE: [Executor; 7] = [
    DOCKER,
    // executors/kubernetes: the same script as the container's preStop hook; `RUNNER_SCRIPT_TIMEOUT` in the same pod.
    Executor { name: "kubernetes", ..DOCKER },
    SHELL,
    SHELL_BY_SU,
    // Runners from 16.10 to those: the same events, but the shell of the job's lines knows nothing of TERM.
    Executor { name: "docker 16.10", has_inner_trap: false, ..DOCKER },
    Executor { name: "shell 16.10", has_inner_trap: false, ..SHELL },
    // docker before GitLab 17.0 or runner 16.10, which abort a cancelled job: gitlab-org&10158, gitlab-org/gitlab#456252.
    Executor { name: "old docker", cancel: LOST, script_timeout: LOST, job_timeout: LOST, has_inner_trap: false, is_old: true, ..DOCKER },
];

/// The executor of this name.
pub(crate) fn executor(name: &str) -> &'static Executor {
    TABLE.iter().find(|executor| executor.name == name).unwrap_or_else(|| panic!("there is no executor {name}"))
}
