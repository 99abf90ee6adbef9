//! A runner of our own: what the shells and executors of gitlab-runner do with a job, stage by stage.
