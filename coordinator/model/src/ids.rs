//! Newtype ids: an id of the wrong kind does not compile.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A job, numbered by the replicated state in the order of creation; never reused.
    JobId(u64)
);
number_id!(
    /// A node, numbered by the replicated state at its first registration; never reused.
    NodeId(u32)
);
number_id!(
    /// A member of the replicated coordinator; never reused.
    MemberId(u64)
);
number_id!(
    /// One placement of a gang on nodes. A new placement is a new attempt; a job has at most one
    /// live attempt.
    Attempt(u32)
);
number_id!(
    /// One opening of a gang's rendezvous: all its ranks start together in a generation and end
    /// together with it. Counts up over the whole life of a job, across attempts.
    Generation(u32)
);
number_id!(
    /// A replica's place in its gang, 0 .. replicas. It is the node rank of torchrun and, with one
    /// process per replica, the rank of `torch.distributed`.
    Rank(u32)
);
number_id!(
    /// An event, numbered by the replicated state.
    EventId(u64)
);

/// One replica of one job's gang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// The job that the replica belongs to.
    pub job: JobId,
    /// Its place in the gang.
    pub rank: Rank,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.rank)
    }
}

/// What every order to an agent and every report from it carries: a message with an older fence
/// than the gang's is dropped.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Fence {
    /// The placement.
    pub attempt: Attempt,
    /// The opening of the rendezvous.
    pub generation: Generation,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}g{}", self.attempt, self.generation)
    }
}

/// A client's name for one mutating request. A retry with the same id is answered with the first
/// outcome and applied once. Drawn at random by the client (128 bits, UUIDv4 shaped).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64, pub u64);

impl RequestId {
    /// From the 128 bits that a client drew.
    #[must_use]
    pub fn from_u128(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// An object's uid, as Kubernetes uses it: unique over all time. Drawn by the leader and carried
/// in the command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names an object that is kept as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Of which resource, with its group: `configmaps`, `trainingruntimes.trainer.kubeflow.org`.
    pub resource: String,
    /// In which namespace; empty for what is in none.
    pub namespace: String,
    /// By which name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {:?}", self.resource, self.name),
            namespace => write!(f, "{} {:?} in namespace {namespace}", self.resource, self.name),
        }
    }
}
