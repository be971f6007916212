//! The way to the other members.
//!
//! ```text
//!   brain --Outbox--> a queue for each peer --> a task for each peer --one stream--> the peer's brain
//!               \--> a snapshot: a stream of its own, from the file
//! ```
//!
//! Consensus survives lost messages, so nobody waits: a queue that is full drops what comes, and consensus is told that
//! the peer cannot be reached.

mod dial;
mod join;
mod outbox;
mod sender;
mod service;
mod snapshot;

pub(crate) use dial::Dial;
pub(crate) use join::{Joined, announce, enrol, join};
pub(crate) use outbox::Outbox;
pub(crate) use sender::{Context as SenderContext, run};
pub(crate) use service::PeerService;
