//! Newtype numbers: members, terms, indexes, positions and reads.

use std::fmt;

/// The number of one member of the cluster. Zero means "nobody" to Raft and names no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub u64);

/// A Raft term: the number of an election period. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// A place in the log. The first entry that can be replicated has index 1; 0 is "before the log".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// An index together with the term of the entry there: it names one entry for good (Log Matching
/// Property, Raft paper section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Where in the log.
    pub index: Index,
    /// The term in which a leader put the entry there.
    pub term: Term,
}

/// The caller's number for one linearizable read. It must not be in use twice at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReadId(pub u64);

// === impl MemberId ===

impl MemberId {
    /// Raft's zero means that no member is meant.
    pub(crate) fn some(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }
}

impl fmt::Display for MemberId {
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

// === impl Position ===

impl Position {
    /// The position of the entry at `index` that a leader of `term` put there.
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

// === impl ReadId ===

impl ReadId {
    pub(crate) fn to_context(self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    pub(crate) fn from_context(context: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(context.try_into().ok()?)))
    }
}
