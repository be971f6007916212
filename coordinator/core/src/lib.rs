//! L1: one member of the coordinator, without I/O, clock, threads or randomness.
//!
//! ```text
//!   command  look  message  tick            a Host does what needs a machine
//!      |       |      |      |                 ^
//!      v       v      v      v                 |  persist, send, answer, publish, ...
//!   +------------------------------------------+--+
//!   | Member: decide a batch -> propose -> commit |
//!   |         one entry in flight                 |
//!   +---------------------------------------------+
//! ```
//!
//! A single member goes through the very same steps as several: propose, durable, commit, apply. The leader has at most
//! one entry in flight. It decides a batch of commands against its state, applies them there, and gives answers and
//! effects out only once the entry is committed. If it loses the leadership in between, its state is read again from
//! what is committed.
//!
//! Reads are linearizable: the leader asks a majority whether it still leads (ReadIndex, Raft thesis section 6.4), and
//! answers from a state that contains everything which was acknowledged before the read came, and nothing that is not
//! committed.
//!
//! The coordinator daemon and the simulator drive the same code; they differ in their [`Host`] alone.

mod batch;
mod contacts;
mod host;
mod member;
mod membership;
mod reads;
mod refused;

pub use batch::MAX_ENTRY_BYTES;
pub use contacts::{Beat, Contacts};
pub use host::{Host, Note};
pub use member::{Fatal, Member, Parts, RoleView};
pub use refused::{Outcome, Refused};
