//! Why a member did not do what it was asked to.

use muster_consensus::MemberId;
use muster_model::Reason;
use muster_state::Accepted;
use thiserror::Error;

/// What became of a command.
pub type Outcome = Result<Accepted, Refused>;

/// Why a member did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// It was judged, and refused.
    #[error(transparent)]
    Rejected(Reason),
    /// Another member leads, or none. A command may have been committed all the same: ask again with the same
    /// request id.
    #[error("this member does not lead{}; try again", hint(.leader))]
    NotLeader {
        /// The member that leads, if one is known.
        leader: Option<MemberId>,
    },
    /// There is too much to do.
    #[error("the coordinator is overloaded; try again in a moment")]
    Overloaded,
    /// The disk is full.
    #[error(
        "the coordinator's disk is full, so it accepts no changes; what it knows is safe and what runs goes on. {0}"
    )]
    DiskFull(String),
    /// The member stops.
    #[error("the coordinator is stopping; try again")]
    Stopping,
}

fn hint(leader: &Option<MemberId>) -> String {
    leader.map(|member| format!(" (member {member} does)")).unwrap_or_default()
}
