//! What a writer has said, and whether what is found afterwards agrees with it.

use std::collections::BTreeMap;

use muster_store::{HardState, Recovered};

use crate::scratch::{FIRST, entry, state};
use crate::writer::Said;

/// What must be on disk, and what may be.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// The term of each acknowledged entry, by index.
    entries: BTreeMap<u64, u64>,
    base: u64,
    /// The last acknowledged hard state, and those written after it without a sync.
    states: Vec<HardState>,
    /// Begun, and not acknowledged.
    begun: Option<Said>,
    /// How many entries were acknowledged in all.
    pub(crate) acknowledged: u64,
}

/// What is found does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// So many acknowledged entries are gone, or replaced by others.
    Lost(usize),
    /// Something else is not as it must be.
    Other(String),
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            base: FIRST.index.0,
            states: vec![state(1, 0, 1)],
            begun: None,
            acknowledged: 0,
        }
    }
}

impl History {
    pub(crate) fn hears(&mut self, said: Said) {
        match said {
            Said::Begins { .. } | Said::Compacts { .. } => self.begun = Some(said),
            Said::Acknowledged => self.settle(),
            Said::Lazily(state) => self.states.push(state),
            Said::Stopped => {}
        }
    }

    /// Compares with what was found after a crash, and goes on from that.
    pub(crate) fn check(&mut self, recovered: &Recovered) -> Result<(), Disagreement> {
        let other = |what: String| Err(Disagreement::Other(what));
        let found: BTreeMap<_, _> =
            recovered.entries.iter().map(|entry| (entry.index.0, entry.term.0)).collect();
        if let Some(wrong) =
            recovered.entries.iter().find(|found| **found != entry(found.index.0, found.term.0))
        {
            return other(format!("entry {} has another payload", wrong.index));
        }
        let mut possible = vec![self.clone()];
        if self.begun.is_some() {
            let mut done = self.clone();
            done.settle();
            possible.push(done);
        }
        let agrees = |history: &&History| {
            history.base == recovered.base.index.0
                && history.entries == found
                && history.states.contains(&recovered.hard_state)
        };
        if let Some(agreed) = possible.iter().find(agrees) {
            *self = Self {
                states: vec![recovered.hard_state],
                begun: None,
                acknowledged: self.acknowledged,
                ..agreed.clone()
            };
            return Ok(());
        }
        let lost = self.entries.iter().filter(|(index, term)| {
            found.get(index) != Some(term) && **index > recovered.base.index.0
        });
        match lost.count() {
            0 => other(format!(
                "found base {}, {:?} and {} entries; said {self:?}",
                recovered.base,
                recovered.hard_state,
                found.len()
            )),
            lost => Err(Disagreement::Lost(lost)),
        }
    }

    /// What was begun is done.
    fn settle(&mut self) {
        match self.begun.take() {
            Some(Said::Begins { first, last, term, state }) => {
                self.entries.split_off(&first);
                self.entries.extend((first..=last).map(|index| (index, term)));
                self.states = vec![state];
                self.acknowledged += last + 1 - first;
            }
            Some(Said::Compacts { to }) => {
                self.base = to;
                self.entries = self.entries.split_off(&(to + 1));
            }
            _ => {}
        }
    }
}
