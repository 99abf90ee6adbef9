//! What can happen to a run while it holds a pass.

/// Each is a row of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Success,
    Fail,
    Retries,
    Cancel,
    /// So many milliseconds after the container of the command began.
    EarlyCancel(u64),
    /// As soon as there is a lease.
    CancelAtBegin,
    Stubborn,
    Timeout,
    StepTimeout,
    PodDeleted,
    KillCommand,
    KillJobpass,
    KillFirst,
    PipelineCancel,
    PipelineCancelFinally,
    PipelineTimeout,
    TasksTimeout,
    Away,
    KeepPod,
    TwoPasses,
    TwoRuns,
    OtherUser,
}

impl Event {
    /// The rows, in the order of the table: what each is called in the names of runs, and what the table says.
    pub(crate) const ROWS: [(Self, &'static str, &'static str); 21] = [
        (Self::Success, "success", "success"),
        (Self::Fail, "fail", "the command fails"),
        (Self::Retries, "retries", "`retries: 1`, fails twice"),
        (Self::Cancel, "cancel", "TaskRun cancelled"),
        (Self::EarlyCancel(0), "early", "cancelled as the command starts"),
        (Self::Stubborn, "stubborn", "cancelled, the command ignores TERM"),
        (Self::Timeout, "timeout", "TaskRun `timeout`"),
        (Self::StepTimeout, "steptimeout", "step `timeout`"),
        (Self::PodDeleted, "poddeleted", "pod deleted"),
        (Self::KillCommand, "killcommand", "KILL of the command"),
        (Self::KillJobpass, "killjobpass", "KILL of jobpass"),
        (Self::KillFirst, "killfirst", "KILL of the container's process 1, as when out of memory"),
        (Self::PipelineCancel, "pipelinecancel", "PipelineRun `Cancelled`"),
        (Self::PipelineCancelFinally, "cancelfinally", "PipelineRun `CancelledRunFinally`"),
        (Self::PipelineTimeout, "pipelinetimeout", "PipelineRun `timeouts.pipeline`"),
        (Self::TasksTimeout, "taskstimeout", "PipelineRun `timeouts.tasks`"),
        (Self::Away, "away", "cancelled while kubelet is away for 8 s"),
        (Self::KeepPod, "keeppod", "cancelled with `keep-pod-on-cancel`"),
        (Self::TwoPasses, "twopasses", "two passes in one pod"),
        (Self::TwoRuns, "tworuns", "two runs at once with the same `job-key`"),
        (Self::OtherUser, "otheruser", "the command has another user, `fsGroup` the same"),
    ];

    /// The event without its variations: the row.
    pub(crate) fn row(self) -> Self {
        match self {
            Self::EarlyCancel(_) | Self::CancelAtBegin => Self::EarlyCancel(0),
            other => other,
        }
    }

    pub(crate) fn name(self) -> String {
        let name = Self::ROWS.iter().find(|(event, ..)| *event == self.row()).unwrap().1;
        match self {
            Self::EarlyCancel(after) => format!("{name}{after}"),
            Self::CancelAtBegin => format!("{name}begin"),
            _ => name.to_owned(),
        }
    }

    /// Whether it is of a Pipeline's run, and not of a Task's.
    pub(crate) fn is_of_pipelines(self) -> bool {
        matches!(self, Self::PipelineCancel | Self::PipelineCancelFinally | Self::PipelineTimeout | Self::TasksTimeout)
    }
}
