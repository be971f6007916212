//! Events: what happened to a job, in the words that Kubernetes users look for.

use serde::{Deserialize, Serialize};

use crate::ids::{EventId, JobId};
use crate::time::Timestamp;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// As expected.
    Normal,
    /// Something to look at.
    Warning,
}

impl Severity {
    /// The `type` of a Kubernetes event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The machine-readable cause of an event, such as `SuccessfulCreatePod`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventReason(pub String);

impl From<&str> for EventReason {
    fn from(reason: &str) -> Self {
        Self(reason.into())
    }
}

/// One event of a job. Equal events in a row are counted, not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// The job that it is about.
    pub job: JobId,
    /// How much it matters.
    pub severity: Severity,
    /// Its cause.
    pub reason: EventReason,
    /// Its cause as a sentence.
    pub message: String,
    /// When it first happened.
    pub first: Timestamp,
    /// When it last happened.
    pub last: Timestamp,
    /// How often it happened.
    pub count: u32,
}
