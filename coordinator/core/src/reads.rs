//! Reads on their way: new, asked of a majority, and ready once an entry is applied.

use std::collections::BTreeMap;

use muster_consensus::{Index, ReadId, ReadReady};

/// Reads that wait.
pub(crate) struct Reads<L> {
    new: Vec<L>,
    asked: BTreeMap<ReadId, Vec<L>>,
    ready: Vec<(Index, Vec<L>)>,
    next: u64,
}

impl<L> Reads<L> {
    pub(crate) fn new() -> Self {
        Self { new: Vec::new(), asked: BTreeMap::new(), ready: Vec::new(), next: 1 }
    }

    pub(crate) fn add(&mut self, look: L) {
        self.new.push(look);
    }

    /// The number under which the new ones are to be asked for, if there are any.
    pub(crate) fn to_ask(&self) -> Option<ReadId> {
        (!self.new.is_empty()).then_some(ReadId(self.next))
    }

    /// The new ones were asked for under the number of [`Reads::to_ask`].
    pub(crate) fn were_asked(&mut self) {
        self.asked.insert(ReadId(self.next), std::mem::take(&mut self.new));
        self.next += 1;
    }

    /// A majority has answered.
    pub(crate) fn confirmed(&mut self, reads: &[ReadReady]) {
        for read in reads {
            // Consensus confirms in the order of asking, and what it confirms covers everything that was asked before.
            let later = self.asked.split_off(&ReadId(read.id.0 + 1));
            let confirmed = std::mem::replace(&mut self.asked, later);
            self.ready.extend(confirmed.into_values().map(|looks| (read.index, looks)));
        }
    }

    /// Takes what may be answered from a state that has applied `applied`.
    pub(crate) fn take_ready(&mut self, applied: Index) -> Vec<L> {
        let mut due = Vec::new();
        self.ready.retain_mut(|(index, looks)| {
            let is_due = *index <= applied;
            if is_due {
                due.append(looks);
            }
            !is_due
        });
        due
    }

    /// Takes everything: this member does not lead any more.
    pub(crate) fn take_all(&mut self) -> Vec<L> {
        let mut all = std::mem::take(&mut self.new);
        all.extend(std::mem::take(&mut self.asked).into_values().flatten());
        all.extend(std::mem::take(&mut self.ready).into_iter().flat_map(|(_, looks)| looks));
        all
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.asked.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_answered_once_a_majority_confirmed_it_and_the_entry_is_applied() {
        let mut reads = Reads::new();
        assert_eq!(reads.to_ask(), None);
        reads.add("a");
        let first = reads.to_ask().unwrap();
        reads.were_asked();
        reads.add("b");
        let second = reads.to_ask().unwrap();
        reads.were_asked();
        assert_ne!(first, second);
        assert!(reads.take_ready(Index(9)).is_empty(), "nobody has confirmed them");
        reads.confirmed(&[ReadReady { id: first, index: Index(5) }]);
        assert!(reads.take_ready(Index(4)).is_empty());
        assert_eq!(reads.take_ready(Index(5)), ["a"]);
        reads.confirmed(&[ReadReady { id: second, index: Index(5) }]);
        assert_eq!(reads.take_ready(Index(5)), ["b"]);
        assert!(reads.is_empty());
    }

    #[test]
    fn reads_of_a_leader_that_was_deposed_are_all_given_back() {
        let mut reads = Reads::new();
        for look in ["a", "b", "c"] {
            reads.add(look);
            if look != "c" {
                reads.were_asked();
            }
        }
        reads.confirmed(&[ReadReady { id: ReadId(1), index: Index(3) }]);
        assert_eq!(reads.take_all(), ["c", "b", "a"]);
        assert!(reads.is_empty());
    }
}
