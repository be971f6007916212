//! What a member needs of the machine that it runs on.

use muster_consensus::{Index, Message, Position, Snapshot, SnapshotMeta, Write};
use muster_state::{Changes, Effect, State};

use crate::member::RoleView;
use crate::refused::{Outcome, Refused};

/// Disk, network and callers of a member. Everything is done when a method returns, except for [`Host::send`]: messages
/// may be lost, late, doubled and out of order.
pub trait Host {
    /// What a caller of a command is answered through.
    type Reply;
    /// A read that somebody waits for.
    type Look;
    /// Why a disk cannot be used any more.
    type Error: std::error::Error;

    /// Sends messages to peers.
    fn send(&mut self, messages: Vec<Message>);

    /// Makes a write without a snapshot durable.
    ///
    /// # Errors
    /// The member must stop.
    fn persist(&mut self, write: &Write) -> Result<(), Self::Error>;

    /// Makes a write with a snapshot durable: the snapshot (which arrived before the message that names it) replaces
    /// log and state. Answers the state that it holds.
    ///
    /// # Errors
    /// The member must stop.
    fn install(&mut self, snapshot: &Snapshot, write: &Write) -> Result<State, Self::Error>;

    /// An entry was applied; `state` is what came of it. Need not be durable: the log is.
    fn applied(&mut self, at: Position, changes: &Changes, state: &State);

    /// The state as of the last entry that was [`Host::applied`].
    ///
    /// # Errors
    /// The member must stop.
    fn reload(&mut self) -> Result<State, Self::Error>;

    /// Whether there is room for changes; if not, a sentence about it.
    ///
    /// # Errors
    /// The sentence.
    fn room(&mut self) -> Result<(), String>;

    /// Whether so much has happened that a snapshot should be written.
    fn snapshot_is_due(&self) -> bool;

    /// Writes a snapshot of the applied state, durably, and lets the log on disk forget what is long before it. Answers
    /// up to where the log may be forgotten in memory, too; `None` when there was no room for it.
    ///
    /// # Errors
    /// The member must stop.
    fn snapshot(
        &mut self,
        meta: &SnapshotMeta,
        state: &State,
    ) -> Result<Option<Index>, Self::Error>;

    /// The newest durable snapshot that is a point of the log, if any.
    fn newest_snapshot(&self) -> Option<SnapshotMeta>;

    /// Answers a caller.
    fn answer(&mut self, reply: Self::Reply, outcome: Outcome);

    /// Lets somebody look at the committed state, or tells why not.
    fn look(&mut self, look: Self::Look, state: Result<&State, Refused>);

    /// What a commit means for others: hints, which can be recomputed from the state at any time.
    fn publish(&mut self, effects: &[Effect]);

    /// Role, term or leader have changed.
    fn role_changed(&mut self, view: RoleView);

    /// Something worth counting has happened.
    fn note(&mut self, note: Note) {
        let _ = note;
    }
}

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// An entry with so many commands was decided and proposed.
    Proposed {
        /// How many commands it holds.
        commands: usize,
    },
    /// An entry was committed and applied.
    Committed {
        /// Which.
        index: Index,
        /// Whether this member proposed it.
        ours: bool,
    },
    /// So many commands were refused.
    Refused(usize),
    /// So many commands wait.
    Waiting(usize),
    /// A snapshot was written.
    SnapshotWritten,
    /// The leadership was lost with an entry in flight.
    FlightLost,
}
