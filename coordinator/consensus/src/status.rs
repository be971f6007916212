//! How a node stands.

use raft::{ProgressState, RawNode, StateRole};

use crate::ids::{Index, MemberId, Term};
use crate::log::MemoryLog;
use crate::membership::Membership;

/// What a member does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election could be won, without disturbing anybody.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// Role, term and leader: what changes with an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What this member does.
    pub role: Role,
    /// In which term.
    pub term: Term,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
}

/// A full account, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: MemberId,
    /// Role, term and leader.
    pub standing: Standing,
    /// The membership as of the last entry handed out.
    pub membership: Membership,
    /// The first entry in memory.
    pub first: Index,
    /// The last entry, durable or not.
    pub last: Index,
    /// The last entry that is durable here.
    pub durable: Index,
    /// The last entry known to be committed.
    pub commit: Index,
    /// The last entry handed out to be applied.
    pub applied: Index,
    /// To whom leadership is being handed.
    pub transferring: Option<MemberId>,
    /// On a leader: how far each other member is, by member.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows about another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub id: MemberId,
    /// The last entry known to be durable there.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How entries are sent.
    pub sending: Sending,
    /// Whether it was heard of since the last quorum check.
    pub active: bool,
}

/// How a leader sends entries to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// One message at a time, until it is known where the logs agree.
    Probe,
    /// A stream of messages.
    Replicate,
    /// Nothing, until a snapshot has arrived.
    Snapshot,
}

// === impl Standing ===

impl Standing {
    pub(crate) fn of(raw: &RawNode<MemoryLog>) -> Self {
        let role = match raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        Self { role, term: Term(raw.raft.term), leader: MemberId::some(raw.raft.leader_id) }
    }
}

// === impl Status ===

impl Status {
    pub(crate) fn of(raw: &RawNode<MemoryLog>) -> Self {
        let raft = &raw.raft;
        let log = &raft.raft_log;
        let standing = Standing::of(raw);
        let mut peers = Vec::new();
        if standing.role == Role::Leader {
            peers = raft
                .prs()
                .iter()
                .filter(|(id, _)| **id != raft.id)
                .map(|(id, progress)| PeerStatus {
                    id: MemberId(*id),
                    matched: Index(progress.matched),
                    next: Index(progress.next_idx),
                    sending: match progress.state {
                        ProgressState::Probe => Sending::Probe,
                        ProgressState::Replicate => Sending::Replicate,
                        ProgressState::Snapshot => Sending::Snapshot,
                    },
                    active: progress.recent_active,
                })
                .collect();
            // Raft keeps its peers in a hash map.
            peers.sort_unstable_by_key(|peer| peer.id);
        }
        Self {
            id: MemberId(raft.id),
            standing,
            membership: Membership::from_raft(&raft.prs().conf().to_conf_state()),
            first: Index(log.first_index()),
            last: Index(log.last_index()),
            durable: Index(log.persisted),
            commit: Index(log.committed),
            applied: Index(log.applied),
            transferring: raft.lead_transferee.map(MemberId),
            peers,
        }
    }
}
