//! What the store keeps: entries, hard state, positions. The payload is opaque to it.

use std::fmt;

use bytes::Bytes;

/// A place in the log. The first entry has index 1; 0 is before the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// A Raft term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// An index together with the term of the entry there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Where in the log.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
}

/// One log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where in the log.
    pub index: Index,
    /// In which term it was created.
    pub term: Term,
    /// What it is for, in the caller's numbering.
    pub kind: u8,
    /// The payload.
    pub data: Bytes,
    /// What travels with the payload.
    pub context: Bytes,
}

/// What a Raft member must never forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// The member voted for in that term; 0 for none.
    pub vote: u64,
    /// Everything up to here is known to be committed.
    pub commit: Index,
}

/// One write: all of it is found again after a crash, or nothing of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batch<'a> {
    /// Drops the whole log and starts over after this position, at which a durable snapshot stands.
    /// Comes before the entries.
    pub reset: Option<Position>,
    /// A run of entries. When the first one's index is not after the last entry of the log, it
    /// overwrites the entries from there on.
    pub entries: &'a [Entry],
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// Whether the write must have reached the disk when the call returns. A reset always does.
    pub sync: bool,
}

/// Names the cluster that a directory belongs to, so that no member ever starts from the files of
/// another cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClusterId(pub [u8; 16]);

// === impl Index ===

impl Index {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Term ===

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Position ===

impl Position {
    /// The position of an entry.
    #[must_use]
    pub fn new(index: Index, term: Term) -> Self {
        Self { index, term }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of term {}", self.index, self.term)
    }
}

// === impl Entry ===

impl Entry {
    /// Where this entry stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.index, self.term)
    }
}

// === impl ClusterId ===

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}
