//! What a member has on disk: exactly what a crash leaves behind.

use bytes::Bytes;
use muster_consensus::{Boot, Entry, HardState, Index, Position, SnapshotMeta, Write};

/// The durable state of one member.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    hard_state: HardState,
    /// A hard state that was written without a sync: a crash may take it.
    lazy: Option<HardState>,
    base: Position,
    entries: Vec<Entry>,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) snapshot_data: Bytes,
}

impl Disk {
    pub(crate) fn new(boot: Boot, data: Bytes) -> Self {
        Self {
            hard_state: boot.hard_state,
            lazy: None,
            base: boot.base,
            entries: boot.entries,
            snapshot: boot.snapshot,
            snapshot_data: data,
        }
    }

    /// Writes as the driver of a node must: in order, all or nothing.
    pub(crate) fn write(&mut self, write: &Write) {
        if let Some(snapshot) = &write.snapshot {
            self.base = snapshot.meta.at;
            self.entries.clear();
            self.snapshot = snapshot.meta.clone();
            self.snapshot_data = snapshot.data.clone();
        }
        if let Some(first) = write.entries.first() {
            let keep = first.index.0 - self.base.index.0 - 1;
            assert!(keep as usize <= self.entries.len(), "a gap in what is written");
            self.entries.truncate(keep as usize);
            self.entries.extend(write.entries.iter().cloned());
        }
        match write.hard_state {
            Some(state) if write.sync => (self.hard_state, self.lazy) = (state, None),
            Some(state) => self.lazy = Some(state),
            None => {}
        }
    }

    /// Keeps a snapshot that the member made itself.
    pub(crate) fn save_snapshot(&mut self, meta: SnapshotMeta, data: Bytes) {
        (self.snapshot, self.snapshot_data) = (meta, data);
    }

    pub(crate) fn compact(&mut self, to: Index) {
        if to > self.base.index {
            let gone = (to.0 - self.base.index.0) as usize;
            self.base = self.entries[gone - 1].position();
            self.entries.drain(..gone);
        }
    }

    /// The power goes; a write without a sync survives or not.
    pub(crate) fn crash(&mut self, lazy_survives: bool) {
        if let Some(state) = self.lazy.take().filter(|_| lazy_survives) {
            self.hard_state = state;
        }
    }

    /// What the next start finds, for a state that has applied entries up to `applied`.
    pub(crate) fn boot(&self, applied: Index) -> Boot {
        Boot {
            hard_state: self.hard_state,
            base: self.base,
            snapshot: self.snapshot.clone(),
            entries: self.entries.clone(),
            applied,
        }
    }
}
