//! L1: the replicated brain of Muster.
//!
//! ```text
//!  command --> decide(&State, &Policy, &Command) --> Decision { reply, changes }
//!                                                        |
//!                       one Raft entry = Changes <-------+      (nothing is half done before this)
//!                                                        |
//!              apply(&mut State, index, &Changes) <------ committed, on every node
//! ```
//!
//! The leader alone judges; what is replicated are puts and deletes of typed records, which apply
//! mechanically. A refused command is a value and leaves no change; a committed entry cannot fail.
//! Time, randomness and ids drawn at random arrive inside the command. See
//! `docs/architecture.md` for the whole picture.

mod change;
mod codec;
mod command;
mod decide;
mod desired;
mod digest;
mod draft;
mod effect;
mod index;
pub mod invariants;
mod lifecycle;
mod narrate;
mod policy;
mod record;
mod state;
mod table;
mod view;

pub use change::{Change, Changes, Write};
pub use codec::CodecError;
pub use command::{
    Accepted, AddMember, AnnounceMember, Apply, BindGang, Body, Command, CordonNode, CreateJob,
    CreateToken, CutOff, Decision, DeleteJob, DeleteObject, EvictGang, LabelNode, MemberLeft,
    NodeKnows, NodeUnreachable, PutObject, RegisterNode, RemoveMember, RemoveNode, RemoveToken,
    ReplicaReport, Reply, ReportReplicas, Reported, Revoke, TaintNode, UpdateJob, UseToken,
};
pub use decide::decide;
pub use desired::{HeldUp, Order, Ordered};
pub use digest::Digest;
pub use effect::{Effect, effects};
pub use policy::Policy;
pub use record::{
    Failure, Gang, Job, JobStatus, Member, MemberPhase, Meta, Node, NodePhase, NodeTaint, Object,
    OpenRendezvous, Replica, RequestRecord, Revocation, RoleTally, Timer, TimerKey, TimerKind,
    Token, TokenPurpose,
};
pub use state::{State, Tables};
pub use table::{Index, Table, TableId};
