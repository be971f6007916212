//! Log entries, hard state and snapshots as values of our own.

use bytes::Bytes;
use raft::eraftpb as pb;

use crate::ids::{Index, MemberId, Position, Term};
use crate::membership::Membership;

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A proposal of the application, or the empty entry of a new leader.
    Data,
    /// A change of the membership; the data is this crate's own business.
    Membership,
}

/// One log entry, as it is written to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where in the log.
    pub index: Index,
    /// The term of the leader that created it.
    pub term: Term,
    /// What it is for.
    pub kind: EntryKind,
    /// The replicated bytes.
    pub data: Bytes,
    /// Bytes that travel with the data; by convention they tell a proposer its own entry.
    pub context: Bytes,
}

/// What Raft must never forget (Raft paper, figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The newest term this member has seen.
    pub term: Term,
    /// For whom it voted in that term.
    pub vote: Option<MemberId>,
    /// Everything up to here is known to be committed. Only a hint: it may lag.
    pub commit: Index,
}

/// What a snapshot stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry whose effect the snapshot contains.
    pub at: Position,
    /// The membership as of that entry.
    pub membership: Membership,
}

/// A snapshot that travels inside a Raft message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The state, or a handle (a file name, a stream number) that the transport on both sides
    /// understands. Opaque to Raft.
    pub data: Bytes,
}

/// An entry that is committed: it is on a quorum of disks, and on this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where in the log. Indexes are handed out without gaps and never twice.
    pub index: Index,
    /// The term of the leader that created it.
    pub term: Term,
    /// What to apply.
    pub payload: Payload,
}

/// What a committed entry asks the application to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Nothing,
    /// Apply the data.
    Data {
        /// The replicated bytes.
        data: Bytes,
        /// What the proposer sent along.
        context: Bytes,
    },
    /// Note the membership; this node already lives by it.
    Membership {
        /// The membership from this entry on.
        now: Membership,
        /// What the proposer sent along.
        context: Bytes,
    },
}

// === impl Entry ===

impl Entry {
    pub(crate) fn from_raft(entry: &pb::Entry) -> Self {
        let kind = match entry.get_entry_type() {
            pb::EntryType::EntryNormal => EntryKind::Data,
            pb::EntryType::EntryConfChange | pb::EntryType::EntryConfChangeV2 => {
                EntryKind::Membership
            }
        };
        Self {
            index: Index(entry.index),
            term: Term(entry.term),
            kind,
            data: entry.data.clone(),
            context: entry.context.clone(),
        }
    }

    pub(crate) fn to_raft(&self) -> pb::Entry {
        let mut entry = pb::Entry::default();
        entry.set_entry_type(match self.kind {
            EntryKind::Data => pb::EntryType::EntryNormal,
            EntryKind::Membership => pb::EntryType::EntryConfChangeV2,
        });
        entry.index = self.index.0;
        entry.term = self.term.0;
        entry.data = self.data.clone();
        entry.context = self.context.clone();
        entry
    }

    /// Where this entry stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.index, self.term)
    }
}

// === impl HardState ===

impl HardState {
    pub(crate) fn from_raft(state: &pb::HardState) -> Self {
        Self {
            term: Term(state.term),
            vote: MemberId::some(state.vote),
            commit: Index(state.commit),
        }
    }

    pub(crate) fn to_raft(self) -> pb::HardState {
        pb::HardState {
            term: self.term.0,
            vote: self.vote.map_or(0, |member| member.0),
            commit: self.commit.0,
            ..pb::HardState::default()
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    pub(crate) fn from_raft(snapshot: &pb::Snapshot) -> Self {
        let meta = snapshot.get_metadata();
        Self {
            meta: SnapshotMeta {
                at: Position::new(Index(meta.index), Term(meta.term)),
                membership: Membership::from_raft(meta.get_conf_state()),
            },
            data: snapshot.data.clone(),
        }
    }

    pub(crate) fn to_raft(&self) -> pb::Snapshot {
        let mut snapshot = pb::Snapshot { data: self.data.clone(), ..pb::Snapshot::default() };
        let meta = snapshot.mut_metadata();
        meta.index = self.meta.at.index.0;
        meta.term = self.meta.at.term.0;
        meta.set_conf_state(self.meta.membership.to_raft());
        snapshot
    }
}
