//! The part of the log that is kept in memory, as Raft reads it.
//!
//! It holds everything after the *base*: the last entry that was compacted away, of which only the
//! position is left. Entries get here when they are durable, so whatever this log answers is on
//! disk. It also keeps the snapshot that the driver supplied for followers which need entries from
//! before the base, and remembers which followers asked in vain.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use protobuf::Message as _;
use raft::eraftpb as pb;
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::entry::Snapshot;
use crate::ids::{Index, MemberId, Position, Term};

/// The durable log in memory.
pub(crate) struct MemoryLog {
    start: RaftState,
    base: Position,
    entries: VecDeque<pb::Entry>,
    offer: Option<Snapshot>,
    // Raft asks through a shared reference.
    wanted_by: RefCell<BTreeSet<MemberId>>,
}

impl MemoryLog {
    /// `start` is what Raft reads once, when it is created; `entries` follow `base` without a gap.
    pub(crate) fn new(start: RaftState, base: Position, entries: VecDeque<pb::Entry>) -> Self {
        Self { start, base, entries, offer: None, wanted_by: RefCell::default() }
    }

    /// The last position that is not available as an entry.
    pub(crate) fn base(&self) -> Position {
        self.base
    }

    /// The last position there is.
    pub(crate) fn last(&self) -> Position {
        self.entries
            .back()
            .map_or(self.base, |entry| Position::new(Index(entry.index), Term(entry.term)))
    }

    /// The term at an index between base and last, both included.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.slot(index.0).and_then(|slot| self.entries.get(slot)).map(|entry| Term(entry.term))
    }

    /// Appends entries that are durable now. The first one may overwrite a suffix.
    pub(crate) fn append(&mut self, entries: &[pb::Entry]) {
        let Some(first) = entries.first() else { return };
        let slot = self.slot(first.index).filter(|slot| *slot <= self.entries.len());
        let slot = slot.expect("Raft appends after the base and without a gap");
        self.entries.truncate(slot);
        self.entries.extend(entries.iter().cloned());
    }

    /// Starts over after a snapshot that came from the leader.
    pub(crate) fn reset(&mut self, at: Position) {
        self.base = at;
        self.entries.clear();
        self.offer = None;
    }

    /// Forgets the entries up to and including `index`, which lies between base and last.
    pub(crate) fn compact(&mut self, index: Index) {
        let term = self.term_at(index).expect("the caller compacts what is there");
        let dropped = (index.0 - self.base.index.0) as usize;
        self.entries.drain(..dropped);
        self.base = Position::new(index, term);
        // A follower that installs a snapshot from before the base could not go on after it.
        if self.offer.as_ref().is_some_and(|offer| offer.meta.at.index < index) {
            self.offer = None;
        }
    }

    /// Keeps a snapshot for followers that need one. Returns those who had asked.
    pub(crate) fn offer(&mut self, snapshot: Snapshot) -> BTreeSet<MemberId> {
        let asked = std::mem::take(self.wanted_by.get_mut());
        let served = asked.iter().filter(|to| snapshot.meta.membership.contains(**to));
        let served: BTreeSet<MemberId> = served.copied().collect();
        *self.wanted_by.get_mut() = &asked - &served;
        self.offer = Some(snapshot);
        served
    }

    /// Followers that asked for a snapshot and got none.
    pub(crate) fn wanted_by(&self) -> BTreeSet<MemberId> {
        self.wanted_by.borrow().clone()
    }

    /// Forgets who asked.
    pub(crate) fn forget_wants(&mut self) {
        self.wanted_by.get_mut().clear();
    }

    fn slot(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.index.0 + 1)?).ok()
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.start.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<pb::Entry>> {
        let low_slot = self.slot(low).ok_or(Error::Store(StorageError::Compacted))?;
        let high_slot = self.slot(high).filter(|slot| *slot <= self.entries.len());
        let high_slot = high_slot.ok_or(Error::Store(StorageError::Unavailable))?;
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0u64;
        // At least one entry is returned, however large: progress comes before the limit.
        let fits = |entry: &&pb::Entry| {
            let first = size == 0;
            size = size.saturating_add(u64::from(entry.compute_size()).max(1));
            first || size <= limit
        };
        let low_slot = low_slot.min(high_slot);
        Ok(self.entries.range(low_slot..high_slot).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.base.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let term = self.term_at(Index(index)).ok_or(Error::Store(StorageError::Unavailable))?;
        Ok(term.0)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<pb::Snapshot> {
        let to = MemberId(to);
        // A member that is not in the snapshot's membership would ignore it for good.
        let usable = |offer: &&Snapshot| {
            offer.meta.at.index.0 >= request_index.max(self.base.index.0)
                && offer.meta.membership.contains(to)
        };
        match self.offer.as_ref().filter(usable) {
            Some(offer) => Ok(offer.to_raft()),
            None => {
                self.wanted_by.borrow_mut().insert(to);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests;
