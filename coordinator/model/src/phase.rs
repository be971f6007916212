//! The drawn state graphs of jobs, gangs and replicas. `can_become` is the drawing; an invariant
//! of the replicated state checks every change against it.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::time::Timestamp;

/// Where a job is, as its owner sees it.
///
/// ```text
///  Suspended --> Queued --> Starting --> Running --> Succeeded
///                  ^          |           |  ^
///                  |          v           v  |
///                  +-------- Restarting -----+
///
///  every state that is not final --> Suspended, Failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobPhase {
    /// Held back by `runPolicy.suspend`.
    Suspended,
    /// Waits for a place for its whole gang.
    Queued,
    /// Placed; the nodes get ready.
    Starting,
    /// Its ranks run.
    Running,
    /// A rank failed and the whole gang starts again; lasts until its ranks run.
    Restarting,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

impl JobPhase {
    /// Whether the job has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// Whether the graph has an edge to `next`. Staying is allowed.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        use JobPhase::{Failed, Queued, Restarting, Running, Starting, Succeeded, Suspended};
        if self == next {
            return true;
        }
        match self {
            Suspended => matches!(next, Queued | Failed),
            Queued => matches!(next, Starting | Suspended | Failed),
            Starting => matches!(next, Running | Restarting | Queued | Suspended | Failed),
            Running => matches!(next, Succeeded | Failed | Restarting | Suspended),
            Restarting => matches!(next, Running | Queued | Suspended | Failed),
            Succeeded | Failed => false,
        }
    }

    /// The word that tables show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Restarting => "Restarting",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// Where a gang is. The gang's phase drives its agents; the job's phase follows from it.
///
/// ```text
///  Waiting --> Preparing --> Running --> Draining
///   ^  ^         ^  |           |  |        |  |
///   |  |         |  v           v  |        v  |
///   |  +---- Stopping <---------+--|--------+  |
///   |  |      ^  |  |              |           |
///   |  |      |  v  |              |           |
///   |  +-- Backoff  |              |           |
///   |         |     v              v           v
///   +---------+-> Released <-------+-----------+
///      (a resumed job waits again; Backoff and Stopping lead to Preparing, too)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GangPhase {
    /// Wants a placement.
    Waiting,
    /// Placed; agents prepare environments, volumes and ports. The generation opens when all are ready.
    Preparing,
    /// The generation is open: every rank has been told to start.
    Running,
    /// The job has succeeded; ranks that still run may end by themselves until then.
    Draining {
        /// When those that are left are stopped.
        until: Timestamp,
    },
    /// Every rank is told to stop; waits until each agent confirms.
    Stopping {
        /// What comes then.
        next: AfterStop,
    },
    /// Stopped and still placed; the next generation is prepared at the given time.
    Backoff {
        /// When.
        until: Timestamp,
    },
    /// Holds nothing.
    Released,
}

/// What happens to a gang once all its ranks have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AfterStop {
    /// The failure is judged: the job fails, or the next generation is prepared after a delay.
    Judge,
    /// The placement is given up and the gang waits for another.
    Requeue,
    /// The placement is given up for good: the job has ended, is suspended or deleted.
    Release,
}

impl GangPhase {
    /// Whether the gang holds its placement (and what is reserved for it).
    #[must_use]
    pub fn is_placed(self) -> bool {
        !matches!(self, Self::Waiting | Self::Released)
    }

    /// Whether the graph has an edge to `next`. Staying is allowed.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        use GangPhase::{Backoff, Draining, Preparing, Released, Running, Stopping, Waiting};
        if self == next {
            return true;
        }
        match self {
            Waiting => matches!(next, Preparing | Released),
            Preparing => matches!(next, Running | Stopping { .. }),
            Running => matches!(next, Draining { .. } | Stopping { .. } | Released),
            Draining { .. } => matches!(next, Stopping { .. } | Released),
            Stopping { .. } => {
                matches!(next, Stopping { .. } | Backoff { .. } | Waiting | Released)
            }
            Backoff { .. } => matches!(next, Preparing | Waiting | Released),
            Released => matches!(next, Waiting),
        }
    }
}

/// Where a replica is, within its generation.
///
/// ```text
///  Assigned --> Ready --> Running --> Exited
///     |           |                     ^
///     +-----------+---------------------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaPhase {
    /// Its agent prepares it.
    Assigned,
    /// Prepared; waits for the generation to open.
    Ready {
        /// The rendezvous store's port, when this replica's node holds it.
        store_port: Option<u16>,
        /// A port reserved for the program, likewise.
        free_port: Option<u16>,
    },
    /// Its process runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Exited {
        /// How.
        exit: Exit,
        /// When the coordinator learnt of it.
        at: Timestamp,
    },
}

impl ReplicaPhase {
    /// Whether the replica has ended.
    #[must_use]
    pub fn is_exited(&self) -> bool {
        matches!(self, Self::Exited { .. })
    }

    /// Whether it has ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { exit, .. } if exit.status.is_success())
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited { exit, .. } => Some(exit),
            _ => None,
        }
    }

    /// Whether the graph has an edge to `next` within one generation. Staying is allowed.
    #[must_use]
    pub fn can_become(&self, next: &Self) -> bool {
        let step = |phase: &Self| match phase {
            Self::Assigned => 0,
            Self::Ready { .. } => 1,
            Self::Running { .. } => 2,
            Self::Exited { .. } => 3,
        };
        match (self, next) {
            (Self::Exited { .. }, next) => self == next,
            (Self::Assigned, Self::Running { .. }) => false,
            _ => step(next) >= step(self),
        }
    }

    /// The word that tables show.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Assigned => "Preparing",
            Self::Ready { .. } => "Ready",
            Self::Running { .. } => "Running",
            Self::Exited { exit, .. } if exit.status.is_success() => "Succeeded",
            Self::Exited { .. } => "Failed",
        }
    }
}
