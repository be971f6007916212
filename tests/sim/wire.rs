//! What travels between members, agents and clients.

use std::rc::Rc;

use muster_consensus::{Message, SnapshotMeta};
use muster_coordinator_core::Outcome;
use muster_model::{Fence, GangSpec, JobId, JobKey, ReplicaId, RequestId};
use muster_state::{Body, Digest, Index, Ordered, RegisterNode, ReplicaReport, State};

use crate::network::Address;

/// One session of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// One try of one request of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    pub(crate) client: usize,
    pub(crate) op: u64,
    pub(crate) attempt: u32,
}

/// The state that travels beside a message which names a snapshot.
pub(crate) type Load = (SnapshotMeta, Rc<State>);

/// Something on its way.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) body: Parcel,
}

/// What is on its way.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// Consensus, with the life of the sender that wants to hear how a snapshot fared.
    Raft {
        message: Message,
        load: Option<Load>,
        life: u64,
    },
    ToMember(SessionId, ToMember),
    ToAgent(SessionId, ToAgent),
    /// An agent asks a member or another agent whether there is a leader. The answer names round and address.
    Question {
        round: u64,
        address: String,
    },
    Told {
        round: u64,
        address: String,
        answer: muster_agent_core::Answer,
    },
    Ask(Ticket, Ask),
    Answer(Ticket, Answer),
}

/// What an agent says in a session.
#[derive(Debug, Clone)]
pub(crate) enum ToMember {
    Hello(Box<RegisterNode>),
    Reports(Vec<ReplicaReport>),
    Beat(muster_agent_core::Beat),
    /// Whom it would ask for a leader.
    Knows(Vec<String>),
}

/// What a member says in a session.
#[derive(Debug, Clone)]
pub(crate) enum ToAgent {
    Welcome,
    Orders {
        full: bool,
        orders: Vec<AgentOrder>,
    },
    Members(Vec<String>),
    /// The connection lives.
    Beat,
    /// A heartbeat has reached a leader that a majority has confirmed since.
    Heard(u64),
    End {
        leader: Option<u64>,
    },
}

/// An order, or that whatever the agent has of a replica is to be cleared.
#[derive(Debug, Clone)]
pub(crate) enum AgentOrder {
    Order(Ordered),
    Clear(ReplicaId),
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Command { request: Option<RequestId>, body: Body },
    Read(Option<JobKey>),
}

/// What a client is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The outcome, and what the member had applied when it answered.
    Outcome(Outcome, Index),
    /// What was read.
    Read(Read),
    /// It does not lead.
    Elsewhere(Option<u64>),
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) index: Index,
    pub(crate) digest: Digest,
    pub(crate) job: Option<(JobId, Index, Box<GangSpec>)>,
}

/// A replica under one fence.
pub(crate) type Key = (ReplicaId, Fence);

impl Parcel {
    /// A word for the trace.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Raft { load: None, .. } => "raft",
            Self::Raft { load: Some(_), .. } => "raft with a snapshot",
            Self::ToMember(_, ToMember::Hello(_)) => "hello",
            Self::ToMember(_, ToMember::Reports(_)) => "reports",
            Self::ToMember(_, ToMember::Beat(_)) | Self::ToAgent(_, ToAgent::Beat) => "beat",
            Self::ToMember(_, ToMember::Knows(_)) => "knows",
            Self::ToAgent(_, ToAgent::Members(_)) => "members",
            Self::ToAgent(_, ToAgent::Heard(_)) => "heard",
            Self::Question { .. } => "question",
            Self::Told { .. } => "told",
            Self::ToAgent(_, ToAgent::Welcome) => "welcome",
            Self::ToAgent(_, ToAgent::Orders { full: true, .. }) => "all orders",
            Self::ToAgent(_, ToAgent::Orders { full: false, .. }) => "orders",
            Self::ToAgent(_, ToAgent::End { .. }) => "end of session",
            Self::Ask(..) => "request",
            Self::Answer(..) => "answer",
        }
    }

    /// A number that tells it from others of its kind.
    pub(crate) fn print(&self) -> u64 {
        match self {
            Self::Raft { message, .. } => {
                use std::hash::Hasher;
                let mut hash = crate::dice::Fold::default();
                hash.write(&message.bytes);
                hash.finish()
            }
            Self::ToMember(session, ToMember::Reports(reports)) => {
                session.0 ^ (reports.len() as u64) << 32
            }
            Self::ToAgent(session, ToAgent::Orders { orders, .. }) => {
                session.0 ^ (orders.len() as u64) << 32
            }
            Self::ToMember(session, _) | Self::ToAgent(session, _) => session.0,
            Self::Question { round, .. } | Self::Told { round, .. } => *round,
            Self::Ask(ticket, _) | Self::Answer(ticket, _) => {
                ticket.op << 8 | u64::from(ticket.attempt)
            }
        }
    }
}
