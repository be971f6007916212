//! Why the node does not do what its driver asks, as values that the driver can act on.

use thiserror::Error as ThisError;

use crate::ids::{Index, MemberId, Position};

/// Why a proposal was not put into the log. It has left no trace, so trying again is safe.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ProposeError {
    /// Only the leader proposes.
    #[error("this member is not the leader{}", known(*leader))]
    NotLeader {
        /// Whom to ask instead, when known.
        leader: Option<MemberId>,
    },
    /// Larger than [`crate::Config::max_entry_bytes`].
    #[error("a proposal of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Data and context together.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An entry without data and context is what a new leader writes; it could not be told apart.
    #[error("a proposal needs data or a context")]
    Empty,
    /// The leader hands over and takes nothing new meanwhile.
    #[error("leadership is being handed to member {to}; try again shortly")]
    Transferring {
        /// The next leader.
        to: MemberId,
    },
    /// Too much waits to be committed.
    #[error("{waiting} bytes of proposals wait to be committed already; try again later")]
    Busy {
        /// Bytes of data that wait.
        waiting: usize,
    },
    /// The node stopped because a write was not completed.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a membership change was not put into the log.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ChangeError {
    /// As for any proposal.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// One change at a time (Raft thesis, section 4.1): an earlier one, or an entry from before
    /// this leader's election, is not applied yet.
    #[error(
        "an earlier membership change may still be under way; try again when entry {until} is applied"
    )]
    Pending {
        /// What has to be applied first.
        until: Index,
    },
    /// The change does not fit the membership.
    #[error("the membership cannot change like this: {0}")]
    Impossible(String),
}

/// Why a linearizable read cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ReadError {
    /// Only the leader knows what is committed.
    #[error("this member is not the leader{}", known(*leader))]
    NotLeader {
        /// Whom to ask instead, when known.
        leader: Option<MemberId>,
    },
    /// A new leader does not know what is committed until its first entry is (Raft thesis,
    /// section 6.4).
    #[error("the leader has just been elected and cannot serve reads yet; try again shortly")]
    NotYet,
    /// The node stopped because a write was not completed.
    #[error("this node has stopped")]
    Stopped,
}

/// Why leadership is not handed over, or not sought.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ElectionError {
    /// Only the leader hands over.
    #[error("this member is not the leader{}", known(*leader))]
    NotLeader {
        /// Whom to ask instead, when known.
        leader: Option<MemberId>,
    },
    /// Only a voter can lead.
    #[error("member {0} has no vote, so it cannot lead")]
    NotVoter(MemberId),
    /// A write is owed first.
    #[error("what is written to the log must be durable before this member can campaign")]
    Unsettled,
    /// The node stopped because a write was not completed.
    #[error("this node has stopped")]
    Stopped,
}

/// Why the log cannot be compacted to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[error("cannot compact to {to}: only {applied} entries were handed out to be applied")]
pub struct CompactError {
    /// What was asked.
    pub to: Index,
    /// The last entry handed out.
    pub applied: Index,
}

/// Why a snapshot cannot be sent to followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[error(
    "the snapshot at {at} is not a point of the applied log that followers could go on from, {base} to {applied}"
)]
pub struct SupplyError {
    /// Where the snapshot stands.
    pub at: Position,
    /// The first position from which the log can be followed.
    pub base: Position,
    /// The last entry handed out.
    pub applied: Index,
}

fn known(leader: Option<MemberId>) -> String {
    leader.map_or_else(
        || "; no leader is known at the moment".to_owned(),
        |leader| format!("; member {leader} is"),
    )
}
