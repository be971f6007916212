//! L1: one member of a Raft group, without I/O, clock, threads or randomness.
//!
//! The driver (the coordinator's pump, or a simulator) owns time, network and disk. It puts ticks,
//! peer messages and proposals into a [`Node`] and then takes out what there is to do:
//!
//! ```text
//!   tick  step  propose  read_index ...            (several inputs may go before one ready)
//!     |     |      |         |
//!     v     v      v         v
//!   +-------------------------------+   None: nothing to do
//!   |         Node::ready()         |--------------------------> wait for the next input
//!   +-------------------------------+
//!     | Some(Ready)                           the node takes no input from here ...
//!     |
//!     |-- take_messages()   --> send          a leader's appends go out before its own fsync
//!     |-- take_committed()  --> apply
//!     |-- take_reads()      --> answer        once the told index is applied
//!     |-- standing()        --> role, term or leader has changed
//!     |
//!     |-- write()           --> 1. snapshot  2. entries  3. hard state;  one fsync if `sync`
//!     v
//!   Ready::persisted()                        ... to here; dropping the Ready stops the node
//!     |
//!     |-- messages          --> send          votes and acknowledgements: only after the fsync
//!     '-- committed         --> apply         what this very write made a majority
//! ```
//!
//! Rules and edges
//! - **An entry that is handed out as committed is never lost**: it is on the disks of a majority,
//!   and on this one. Indexes are handed out without gaps, in order, once (again only after a
//!   restart, from [`Boot::applied`] on).
//! - **Handing out counts as applying** as far as Raft is concerned. Membership changes take effect
//!   inside the node at that moment, and a restart finds the membership by following the log from
//!   the snapshot's.
//! - **A sole voter** becomes leader at once and takes the same road: propose, write, commit, apply.
//! - **Snapshots**: the driver makes them and, when durable, calls [`Node::compact`]. A follower that
//!   needs one shows up in [`Node::snapshot_wanted`], and [`Node::supply_snapshot`] answers. What
//!   travels is opaque: the state itself or a handle for a stream beside Raft.
//! - **Equal inputs give equal outputs.** Election timeouts are a pure function of seed, member and
//!   term; the random number that the `raft` crate draws is overwritten before it is used.
//! - **Peer messages are checked** before Raft sees them; the module `guard` says what is checked
//!   and what is trusted.
//!
//! Inside is the `raft` crate (TiKV's raft-rs 0.7, protobuf codec). None of its types leaves this
//! crate, so that it can be replaced; `docs/adr/0004-raft-rs-behind-muster-consensus.md` says why it
//! was taken. The bytes of messages and of membership entries are its encoding, opaque to the rest.

mod boot;
mod config;
mod entry;
mod guard;
mod ids;
mod log;
mod membership;
mod message;
mod node;
mod ready;
mod refusal;
mod status;
mod timeout;
mod wire;

pub use boot::{Boot, Error as BootError};
pub use config::{Config, Error as ConfigError};
pub use entry::{Committed, Entry, EntryKind, HardState, Payload, Snapshot, SnapshotMeta};
pub use guard::Error as StepError;
pub use ids::{Index, MemberId, Position, ReadId, Term};
pub use membership::{Change, Error as MembershipError, Membership, Step};
pub use message::Message;
pub use node::{Error as NodeError, Node, SnapshotOutcome, SnapshotRequest};
pub use ready::{Persisted, ReadReady, Ready, Write};
pub use refusal::{ChangeError, CompactError, ElectionError, ProposeError, ReadError, SupplyError};
pub use status::{PeerStatus, Role, Sending, Standing, Status};
