//! What a node starts from: everything that its store brought back.

use thiserror::Error as ThisError;

use crate::entry::{Entry, HardState, SnapshotMeta};
use crate::ids::{Index, Position, Term};
use crate::membership::{self, Membership};

/// Where the log of a new cluster begins. It is not zero, so that a member which joins later with
/// an empty log always receives a snapshot first, and with it the membership that no entry of the
/// log contains.
const FIRST: Position = Position { index: Index(1), term: Term(1) };

/// What a store recovered.
///
/// ```text
///        base       snapshot.at        applied                    last
///   ------|=============|=================|=========================|
///    gone   entries ...   entries already   entries still to be applied,
///                         in the state      as far as they are committed
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Term, vote and commit index as last made durable.
    pub hard_state: HardState,
    /// The last position before `entries`.
    pub base: Position,
    /// The newest usable snapshot, at or after the base. Its membership is the start from which
    /// the node follows the membership entries of the log.
    pub snapshot: SnapshotMeta,
    /// All entries after the base.
    pub entries: Vec<Entry>,
    /// The last entry whose effect the application's state contains, at or after the snapshot.
    /// Committed entries after it are handed out again.
    pub applied: Index,
}

/// What a store recovered cannot be the state of a healthy member. Each of these means that
/// acknowledged state was lost or mixed up; the member must not take part in elections with it.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The entries are not one unbroken run after the base.
    #[error(
        "the log has a gap: after {after} comes {found}; restore this member from a backup, or remove it, empty its directory and add it again"
    )]
    Gap {
        /// The entry before the gap.
        after: Index,
        /// The next entry found.
        found: Index,
    },
    /// Terms may only grow along the log and may not exceed the hard state's.
    #[error(
        "the entry at {at} does not fit: terms only grow along a log and the newest known term is {newest}"
    )]
    Terms {
        /// The entry that breaks the rule.
        at: Position,
        /// The term of the hard state.
        newest: Term,
    },
    /// The snapshot is not a point of this log.
    #[error(
        "the snapshot at {snapshot} is not a point of the log, which reaches from {base} to {last}"
    )]
    SnapshotOutside {
        /// Where the snapshot stands.
        snapshot: Position,
        /// Where the log begins.
        base: Position,
        /// Where the log ends.
        last: Position,
    },
    /// The application is behind the snapshot or ahead of the log.
    #[error(
        "the applied state is at {applied}, outside of the snapshot at {snapshot} and the last entry at {last}: rebuild it from the snapshot"
    )]
    AppliedOutside {
        /// What the application says.
        applied: Index,
        /// The snapshot.
        snapshot: Index,
        /// The last entry.
        last: Index,
    },
    /// More was committed than the log holds.
    #[error(
        "the log ends at {last} but {commit} was committed: acknowledged entries are lost; remove this member, empty its directory and add it again"
    )]
    LogLost {
        /// What was known to be committed.
        commit: Index,
        /// The last entry.
        last: Index,
    },
    /// The snapshot's membership contradicts itself.
    #[error(transparent)]
    Membership(#[from] membership::Error),
}

// === impl Boot ===

impl Boot {
    /// The first start of one of the members of a new cluster. Every one of them must start with
    /// the same membership.
    #[must_use]
    pub fn first_start(membership: Membership) -> Self {
        Self {
            hard_state: HardState { term: FIRST.term, vote: None, commit: FIRST.index },
            base: FIRST,
            snapshot: SnapshotMeta { at: FIRST, membership },
            entries: Vec::new(),
            applied: FIRST.index,
        }
    }

    /// The first start of a member that joins a running cluster: it knows nobody, waits to be
    /// added by the leader and then receives a snapshot.
    #[must_use]
    pub fn joining() -> Self {
        Self {
            hard_state: HardState::default(),
            base: Position::default(),
            snapshot: SnapshotMeta { at: Position::default(), membership: Membership::default() },
            entries: Vec::new(),
            applied: Index::default(),
        }
    }

    /// The last position of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Checks that the pieces fit together.
    ///
    /// # Errors
    /// Says what was lost or mixed up.
    pub fn validate(&self) -> Result<(), Error> {
        let newest = self.hard_state.term;
        if self.base.term > newest {
            return Err(Error::Terms { at: self.base, newest });
        }
        let mut previous = self.base;
        for entry in &self.entries {
            if entry.index != previous.index.next() {
                return Err(Error::Gap { after: previous.index, found: entry.index });
            }
            if entry.term < previous.term || entry.term > newest || entry.term == Term(0) {
                return Err(Error::Terms { at: entry.position(), newest });
            }
            previous = entry.position();
        }
        let (snapshot, base, last) = (self.snapshot.at, self.base, self.last());
        if self.position_at(snapshot.index) != Some(snapshot) {
            return Err(Error::SnapshotOutside { snapshot, base, last });
        }
        if self.applied < snapshot.index || self.applied > last.index {
            return Err(Error::AppliedOutside {
                applied: self.applied,
                snapshot: snapshot.index,
                last: last.index,
            });
        }
        if self.hard_state.commit > last.index {
            return Err(Error::LogLost { commit: self.hard_state.commit, last: last.index });
        }
        self.snapshot.membership.validate()?;
        Ok(())
    }

    /// The commit index lags on disk; whatever was applied was committed.
    pub(crate) fn commit(&self) -> Index {
        self.hard_state.commit.max(self.applied)
    }

    fn position_at(&self, index: Index) -> Option<Position> {
        if index == self.base.index {
            return Some(self.base);
        }
        let slot = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(slot).ok()?).map(Entry::position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;
    use crate::ids::MemberId;

    fn entry(index: u64, term: u64) -> Entry {
        let (index, term) = (Index(index), Term(term));
        Entry { index, term, kind: EntryKind::Data, data: [1][..].into(), context: [][..].into() }
    }

    fn boot() -> Boot {
        let mut boot = Boot::first_start(Membership::of_voters([MemberId(1)]));
        boot.hard_state.term = Term(3);
        boot.entries = vec![entry(2, 1), entry(3, 2), entry(4, 2)];
        boot
    }

    #[test]
    fn a_sound_boot_is_accepted_and_what_was_applied_counts_as_committed() {
        let mut boot = boot();
        boot.applied = Index(3);
        assert_eq!(boot.validate(), Ok(()));
        assert_eq!(boot.commit(), Index(3));
        boot.snapshot.at = Position::new(Index(3), Term(2));
        assert_eq!(boot.validate(), Ok(()));
        assert_eq!(Boot::joining().validate(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let break_it = |change: fn(&mut Boot)| {
            let mut broken = boot();
            change(&mut broken);
            broken.validate().expect_err("it is broken")
        };
        assert!(matches!(break_it(|b| b.entries[1].index = Index(9)), Error::Gap { .. }));
        assert!(matches!(break_it(|b| b.entries[2].term = Term(1)), Error::Terms { .. }));
        assert!(matches!(break_it(|b| b.hard_state.term = Term(1)), Error::Terms { .. }));
        assert!(matches!(break_it(|b| b.base.term = Term(9)), Error::Terms { .. }));
        let outside: fn(&mut Boot) = |b| b.snapshot.at.index = Index(5);
        assert!(matches!(break_it(outside), Error::SnapshotOutside { .. }));
        let other: fn(&mut Boot) = |b| b.snapshot.at = Position::new(Index(3), Term(1));
        assert!(matches!(break_it(other), Error::SnapshotOutside { .. }));
        assert!(matches!(break_it(|b| b.applied = Index(5)), Error::AppliedOutside { .. }));
        assert!(matches!(break_it(|b| b.applied = Index(0)), Error::AppliedOutside { .. }));
        assert!(matches!(break_it(|b| b.hard_state.commit = Index(5)), Error::LogLost { .. }));
        let nobody: fn(&mut Boot) = |b| b.snapshot.membership.learners = [MemberId(0)].into();
        assert!(matches!(break_it(nobody), Error::Membership(_)));
    }
}
