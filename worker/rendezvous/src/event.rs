//! What a user must hear.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use crate::options::EventSink;
use crate::protocol::{Limit, Stranger, Violation};

/// Something that a user must hear. Its `Display` is the sentence to print.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client older than torch 2.2 was refused.
    OldTorch {
        /// Where it connected from.
        peer: IpAddr,
    },
    /// Something that is not torch was refused.
    NotTorch {
        /// Where it connected from.
        peer: IpAddr,
        /// What it said first: 32 bytes or fewer.
        said: Vec<u8>,
    },
    /// A client asked for an operation that this server does not have.
    UnknownOperation {
        /// Where it connected from.
        peer: IpAddr,
        /// The operation's number.
        opcode: u8,
    },
    /// A client broke the protocol.
    Malformed {
        /// Where it connected from.
        peer: IpAddr,
    },
    /// A client asked for too much.
    OverLimit {
        /// Where it connected from.
        peer: IpAddr,
        /// What it exceeded.
        limit: Limit,
        /// How much it asked for; for [`Limit::Memory`], how much there is.
        size: u64,
    },
    /// A client added to a value that is not a number.
    NotANumber {
        /// Where it connected from.
        peer: IpAddr,
        /// The key.
        key: String,
    },
    /// Connections are refused because this process may open no more files.
    NoDescriptors {
        /// The connections it has.
        connections: usize,
    },
    /// The server's thread ended by itself, and every connection with it.
    Failed {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldTorch { peer } => write!(
                f,
                "the rendezvous store refused a process at {peer}: its torch is older than 2.2, whose store protocol is not served; install torch 2.2 or newer in its environment"
            ),
            Self::NotTorch { peer, said } => write!(
                f,
                "the rendezvous store refused a connection from {peer} that is not torch.distributed's: it began with \"{}\"; check what else uses MASTER_PORT",
                said.escape_ascii()
            ),
            Self::UnknownOperation { peer, opcode } => write!(
                f,
                "the rendezvous store closed a connection from {peer}: it asked for operation {opcode}, which this version does not know; update Muster, or use an older torch"
            ),
            Self::Malformed { peer } => write!(
                f,
                "the rendezvous store closed a connection from {peer}: it opened the protocol twice; check what besides torch.distributed uses MASTER_PORT"
            ),
            Self::OverLimit { peer, limit: Limit::Memory, size } => write!(
                f,
                "the rendezvous store closed a connection from {peer}: all {size} bytes that the store may hold are in use; keep large data out of the store, or delete keys that are no longer needed"
            ),
            Self::OverLimit { peer, limit, size } => write!(
                f,
                "the rendezvous store closed a connection from {peer}: {limit}, and it sent {size}; split the data, or send it with a collective"
            ),
            Self::NotANumber { peer, key } => write!(
                f,
                "the rendezvous store closed a connection from {peer}: it added to the key {key}, whose value is not a number; use another key for the counter"
            ),
            Self::NoDescriptors { connections } => write!(
                f,
                "the rendezvous store refuses new connections: it has {connections}, and the limit of open files is reached; raise it (ulimit -n, or LimitNOFILE of the agent's service)"
            ),
            Self::Failed { reason } => write!(
                f,
                "the rendezvous store has ended: {reason}; the job's processes see their connections closed, restart the job"
            ),
        }
    }
}

/// Tells each peer's trouble of one kind once.
pub(crate) struct Reporter {
    sink: Option<EventSink>,
    told: HashSet<(Option<IpAddr>, Kind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    OldTorch,
    NotTorch,
    UnknownOperation,
    Malformed,
    OverLimit(Limit),
    NotANumber,
    NoDescriptors,
    Failed,
}

/// How many different things are told before the rest is passed over.
const TOLD: usize = 1_024;

/// How many of a stranger's first bytes are told.
const SAID: usize = 32;

impl Reporter {
    pub(crate) fn new(sink: Option<EventSink>) -> Self {
        Self { sink, told: HashSet::new() }
    }

    pub(crate) fn stranger(&mut self, peer: IpAddr, stranger: Stranger, said: &[u8]) {
        self.tell(match stranger {
            Stranger::OldTorch => Event::OldTorch { peer },
            Stranger::NotTorch => {
                Event::NotTorch { peer, said: said[..said.len().min(SAID)].to_vec() }
            }
        });
    }

    pub(crate) fn violation(&mut self, peer: IpAddr, violation: Violation) {
        self.tell(match violation {
            Violation::UnknownOpcode(opcode) => Event::UnknownOperation { peer, opcode },
            Violation::SecondValidate => Event::Malformed { peer },
            Violation::OverLimit { limit, size } => Event::OverLimit { peer, limit, size },
            Violation::NotANumber { key } => Event::NotANumber { peer, key },
        });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        let Some(sink) = &mut self.sink else { return };
        if self.told.len() < TOLD && self.told.insert(key(&event)) {
            sink(event);
        }
    }
}

fn key(event: &Event) -> (Option<IpAddr>, Kind) {
    match event {
        Event::OldTorch { peer } => (Some(*peer), Kind::OldTorch),
        Event::NotTorch { peer, .. } => (Some(*peer), Kind::NotTorch),
        Event::UnknownOperation { peer, .. } => (Some(*peer), Kind::UnknownOperation),
        Event::Malformed { peer } => (Some(*peer), Kind::Malformed),
        Event::OverLimit { peer, limit, .. } => (Some(*peer), Kind::OverLimit(*limit)),
        Event::NotANumber { peer, .. } => (Some(*peer), Kind::NotANumber),
        Event::NoDescriptors { .. } => (None, Kind::NoDescriptors),
        Event::Failed { .. } => (None, Kind::Failed),
    }
}
