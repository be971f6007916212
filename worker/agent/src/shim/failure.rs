//! Why a replica cannot be started: a sentence for its owner, and whether a second try makes sense.

use muster_agent_core::launch;
use muster_model::ExitStatus;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) permanent: bool,
}

impl Failure {
    /// The same would happen again: the manifest, or the node, must be changed first.
    pub(crate) fn permanent(why: impl Into<String>) -> Self {
        Self { why: why.into(), permanent: true }
    }

    /// It may work the next time, or on another node.
    pub(crate) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), permanent: false }
    }
}

impl From<Failure> for ExitStatus {
    fn from(failure: Failure) -> Self {
        Self::StartFailed { why: failure.why, permanent: failure.permanent }
    }
}

impl From<launch::Error> for Failure {
    fn from(error: launch::Error) -> Self {
        Self::permanent(error.to_string())
    }
}
