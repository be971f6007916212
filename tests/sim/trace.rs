//! What has happened: a hash over all of it, and the last of it for people.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use muster_model::{Fence, ReplicaId};
use muster_state::Digest;

use crate::dice::Fold;
use crate::network::Address;
use crate::time::SimTime;

/// So many events are shown when a run fails.
const SHOWN: usize = 200;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    /// A packet arrived.
    Packet { from: Address, to: Address, what: &'static str, print: u64 },
    /// A member applied an entry or installed a snapshot.
    Applied { member: u64, index: u64, digest: (u64, u64), installed: bool },
    /// A member's role changed.
    Role { member: u64, term: u64, leader: Option<u64>, leads: bool },
    /// Something befell a member, an agent, a machine or the network.
    Fault(String),
    /// A replica's process moved.
    Process { agent: usize, id: ReplicaId, fence: Fence, what: &'static str },
    /// A client or the operator did something, or got an answer.
    Client { client: usize, op: u64, what: String },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Fold,
    events: u64,
    last: VecDeque<(SimTime, Note)>,
    /// Print everything as it happens.
    aloud: bool,
}

impl Trace {
    pub(crate) fn new(aloud: bool) -> Self {
        Self { aloud, ..Self::default() }
    }

    pub(crate) fn note(&mut self, now: SimTime, note: Note) {
        now.hash(&mut self.hash);
        note.hash(&mut self.hash);
        self.events += 1;
        if self.aloud {
            println!("{now} {note:?}");
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back((now, note));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// The last events, one a line.
    pub(crate) fn tail(&self) -> String {
        self.last.iter().map(|(at, note)| format!("  {at} {note:?}\n")).collect()
    }
}

pub(crate) fn digest(digest: Digest) -> (u64, u64) {
    (digest.0, digest.1)
}
