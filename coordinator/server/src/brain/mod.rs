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
//! ```
//!
//! A single member goes through the very same steps as several: propose, durable, commit, apply. The leader
//! has at most one entry in flight. It decides a batch of commands against its state, applies them there, and
//! sends replies and effects only once the entry is committed; reads wait until then, too. If it loses the
//! leadership in between, its state is read again from disk.

mod batch;
mod disk;
mod driver;
mod handle;
mod rows;
mod thread;

pub(crate) use driver::Fatal;
pub(crate) use handle::{Brain, BrainError};
pub(crate) use thread::{BrainConfig, OpenBrain, open};
