//! What must hold across all members, checked at every step.

use std::collections::{BTreeMap, BTreeSet};

use muster_consensus::{Committed, Index, MemberId, Payload, ReadId, Role, Standing, Term};

use super::dice::fold;
use super::machine::{Machine, fingerprint};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Never acceptable, whatever the faults.
    Safety(String),
    /// Not acceptable once the faults have ended.
    Liveness(String),
}

/// The history that all members must agree on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every entry that any member ever handed out as committed.
    committed: BTreeMap<Index, u64>,
    /// The state after each index.
    chains: BTreeMap<Index, u64>,
    leaders: BTreeMap<Term, MemberId>,
    /// What was committed when each read began.
    reads: BTreeMap<ReadId, Index>,
    pub(crate) reads_answered: u64,
    pub(crate) snapshots_installed: u64,
    pub(crate) memberships: BTreeSet<Index>,
    /// A hash over everything that happened.
    pub(crate) trace: u64,
}

impl Ledger {
    pub(crate) fn note(&mut self, value: u64) {
        self.trace = fold(self.trace, value);
    }

    /// The last index that anybody has seen committed.
    pub(crate) fn last(&self) -> Index {
        self.committed.last_key_value().map_or(Index(0), |(index, _)| *index)
    }

    /// How many elections were won.
    pub(crate) fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// State machine safety and leader completeness: no index ever holds two entries.
    pub(crate) fn committed(
        &mut self,
        member: MemberId,
        entry: &Committed,
    ) -> Result<(), Violation> {
        let print = fingerprint(entry);
        self.note(print ^ member.0);
        if matches!(entry.payload, Payload::Membership { .. }) {
            self.memberships.insert(entry.index);
        }
        let first = *self.committed.entry(entry.index).or_insert(print);
        if first == print {
            return Ok(());
        }
        Err(Violation::Safety(format!(
            "member {member} has another entry committed at {}",
            entry.index
        )))
    }

    /// Equal indexes, equal states; and nothing is skipped or applied twice.
    pub(crate) fn applied(&mut self, member: MemberId, machine: &Machine) -> Result<(), Violation> {
        let first = *self.chains.entry(machine.applied).or_insert(machine.chain);
        if first == machine.chain {
            return Ok(());
        }
        Err(Violation::Safety(format!("member {member} has another state at {}", machine.applied)))
    }

    /// Election safety: one leader a term.
    pub(crate) fn standing(
        &mut self,
        member: MemberId,
        standing: Standing,
    ) -> Result<(), Violation> {
        if standing.role != Role::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry(standing.term).or_insert(member);
        if first == member {
            return Ok(());
        }
        Err(Violation::Safety(format!(
            "members {first} and {member} both lead term {}",
            standing.term
        )))
    }

    pub(crate) fn read_begins(&mut self, read: ReadId) {
        let seen = self.last();
        self.reads.insert(read, seen);
    }

    /// Linearizable reads: whatever was committed when the read began is seen by it.
    pub(crate) fn read_ends(&mut self, read: ReadId, index: Index) -> Result<(), Violation> {
        self.reads_answered += 1;
        match self.reads.remove(&read) {
            Some(seen) if seen <= index => Ok(()),
            Some(seen) => Err(Violation::Safety(format!("a read at {index} misses entry {seen}"))),
            None => Err(Violation::Safety("a read was answered that nobody started".into())),
        }
    }
}
