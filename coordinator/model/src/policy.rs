//! The policies a manifest sets on a job: when to retry, when to give up, what to keep.

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::time::Millis;

/// What a failed replica means for its job. Names and meaning follow the v1 training operator
/// (`kubeflow.org/v1` `RestartPolicy`), with one difference: a restart is always of the whole
/// gang, because the surviving ranks of a collective cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// A failed replica fails the job.
    Never,
    /// A failed replica restarts the gang.
    OnFailure,
    /// As `OnFailure`; a replica that ends well is done.
    Always,
    /// Exit codes 1 to 127 are permanent and fail the job, 128 and above restart the gang.
    ExitCode,
}

/// What a restart policy says of one failed replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The gang starts again, if its limit allows.
    Restart,
    /// The job has failed.
    Fail,
}

impl RestartPolicy {
    /// Judges an ending that was not a success.
    #[must_use]
    pub fn judge(self, status: &ExitStatus) -> Verdict {
        match self {
            Self::Never => Verdict::Fail,
            Self::OnFailure | Self::Always => Verdict::Restart,
            Self::ExitCode if status.code() >= 128 => Verdict::Restart,
            Self::ExitCode => Verdict::Fail,
        }
    }

    /// The name as a manifest writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "Never",
            Self::OnFailure => "OnFailure",
            Self::Always => "Always",
            Self::ExitCode => "ExitCode",
        }
    }
}

/// Which replicas are removed once the job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum CleanPodPolicy {
    /// Keep all replica records; ranks that still run get their grace period to end by themselves.
    #[default]
    None,
    /// Stop and remove the replicas that still run.
    Running,
    /// Stop and remove all replicas.
    All,
}

/// `spec.runPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunPolicy {
    /// How many restarts are allowed before the job fails. `None`: restarts caused by the
    /// surroundings are not limited, and restarts caused by the program are limited to
    /// a few in a row (see `muster_state`).
    pub backoff_limit: Option<u32>,
    /// How long the job may be active, counted from its start time.
    pub active_deadline: Option<Millis>,
    /// How long the finished job is kept.
    pub ttl_after_finished: Option<Millis>,
    /// What is removed when the job ends.
    pub clean_pod_policy: CleanPodPolicy,
    /// Whether the job is held back.
    pub suspend: bool,
}

/// `spec.runPolicy.schedulingPolicy`, as far as the scheduler uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SchedulingPolicy {
    /// The queue's name; recorded and shown.
    pub queue: Option<String>,
    /// The priority class's name; recorded and shown.
    pub priority_class: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_policy_splits_at_128() {
        let judge = |status| RestartPolicy::ExitCode.judge(&status);
        assert_eq!(judge(ExitStatus::Code(1)), Verdict::Fail);
        assert_eq!(judge(ExitStatus::Code(127)), Verdict::Fail);
        assert_eq!(judge(ExitStatus::Code(128)), Verdict::Restart);
        assert_eq!(judge(ExitStatus::Signal(9)), Verdict::Restart);
        assert_eq!(judge(ExitStatus::OutOfMemory), Verdict::Restart);
        assert_eq!(judge(ExitStatus::Lost), Verdict::Restart);
        assert_eq!(RestartPolicy::Never.judge(&ExitStatus::Signal(9)), Verdict::Fail);
        assert_eq!(RestartPolicy::OnFailure.judge(&ExitStatus::Code(3)), Verdict::Restart);
    }
}
