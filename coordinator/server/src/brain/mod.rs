//! The pump around the brain: the one thread that owns state, consensus and disk.
//!
//! ```text
//!  gRPC, sessions, planner            the brain's thread
//!  -----------------------    +------------------------------------------+
//!   submit(body) ---------->  | queue -> decide a batch -> propose       |
//!                             |             |                            |
//!   reply, effects <--------  | committed <-+- write + fsync <- ready    |
//!   read(closure) <-------->  | between entries, on applied state        |
//!                             +------------------------------------------+
//!                               ^ messages of peers        | messages to peers
//! ```
//!
//! What happens in the box is the business of `muster-coordinator-core`; here are its thread, its disk and whoever
//! waits for it.

mod disk;
mod handle;
mod host;
mod rows;
mod thread;

pub(crate) use disk::{Origin, is_member, make_from};
pub(crate) use handle::{AddressBook, Brain, BrainError, PeerInbox};
pub(crate) use rows::{from_snapshot, snapshot_pieces};
pub(crate) use thread::{BrainConfig, Fatal, OpenBrain, open};
