//! Which log, and which part of it.

use muster_model::{Generation, Timestamp, Uid};
use thiserror::Error;

/// Which log, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// The job.
    pub job: Uid,
    /// The replica's short name, such as `worker-0`.
    pub short_name: String,
    /// The generation; `None` for the newest.
    pub generation: Option<Generation>,
    /// The generation before that one (`kubectl logs --previous`).
    pub previous: bool,
    /// Whether to go on with what is written later, until the replica ends.
    pub follow: bool,
    /// Begin that many lines before the end.
    pub tail: Option<u64>,
    /// Leave out what is older.
    pub since: Option<Timestamp>,
}

impl LogQuery {
    /// The whole log of the newest generation, as it is now.
    #[must_use]
    pub fn whole(job: Uid, short_name: impl Into<String>) -> Self {
        Self {
            job,
            short_name: short_name.into(),
            generation: None,
            previous: false,
            follow: false,
            tail: None,
            since: None,
        }
    }
}

/// Why a log cannot be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// There is none.
    #[error("this node has no log of {name}; it has not started here, or its log was deleted")]
    NotFound {
        /// The replica's short name.
        name: String,
    },
    /// There is none of that generation.
    #[error("this node has no log of {name} in generation {generation}; it has those of: {have}")]
    NoGeneration {
        /// The replica's short name.
        name: String,
        /// The generation that was asked for.
        generation: Generation,
        /// The generations that there are.
        have: String,
    },
    /// There is only one generation.
    #[error("{name} has no earlier generation on this node")]
    NoPrevious {
        /// The replica's short name.
        name: String,
    },
    /// A file cannot be read.
    #[error("the log {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
