//! Random histories against a model in memory: after every reopening both hold the same.

use muster_store::{Batch, Entry, HardState, Index, LogStore, Position};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::scratch::{FIRST, Scratch, at, entries, meta, snapshot, state};

/// What the store must hold.
#[derive(Debug, Clone)]
struct Model {
    base: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
    /// The snapshot that the log is followed from.
    snapshot: Position,
    term: u64,
}

#[derive(Debug, Clone)]
enum Act {
    /// So many entries after the last one; with a hard state or not; synced or not.
    Append(u64, bool, bool),
    /// So many entries in place of the last so many, in a new term.
    Overwrite(u64, u64),
    Vote(u64),
    /// A snapshot at a part of the log, and compaction to a part of that.
    Compact(u8, u8),
    /// A received snapshot so far ahead, followed by so many entries.
    Reset(u64, u64),
    Reopen,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1u64..20, any::<bool>(), any::<bool>()).prop_map(|(n, s, y)| Act::Append(n, s, y)),
        2 => (1u64..10, 1u64..40).prop_map(|(n, back)| Act::Overwrite(n, back)),
        1 => (0u64..5).prop_map(Act::Vote),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(s, c)| Act::Compact(s, c)),
        1 => (1u64..50, 0u64..5).prop_map(|(ahead, n)| Act::Reset(ahead, n)),
        2 => Just(Act::Reopen),
    ]
}

impl Model {
    fn new() -> Self {
        let (entries, hard_state) = (Vec::new(), state(1, 0, 1));
        Self { base: FIRST, entries, hard_state, snapshot: FIRST, term: 1 }
    }

    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    fn position(&self, index: u64) -> Position {
        match index.checked_sub(self.base.index.0 + 1) {
            Some(slot) => self.entries[slot as usize].position(),
            None => self.base,
        }
    }

    fn write(&mut self, store: &mut LogStore, new: Vec<Entry>, more: (bool, bool)) {
        let (with_state, sync) = more;
        if with_state {
            self.hard_state = state(self.term, self.term % 3, self.base.index.0);
        }
        let hard_state = with_state.then_some(self.hard_state);
        store.append(&Batch { reset: None, entries: &new, hard_state, sync }).expect("room");
        if let Some(first) = new.first() {
            self.entries.truncate((first.index.0 - self.base.index.0 - 1) as usize);
        }
        self.entries.extend(new);
    }

    fn act(&mut self, store: &mut LogStore, act: Act) {
        let last = self.last().index.0;
        match act {
            Act::Append(count, with_state, sync) => {
                let new = entries(last + 1..last + 1 + count, self.term);
                self.write(store, new, (with_state, sync));
            }
            Act::Overwrite(count, back) => {
                // Never below what a snapshot contains: that is committed.
                let first = last.saturating_sub(back).max(self.snapshot.index.0) + 1;
                self.term += 1;
                self.write(store, entries(first..first + count, self.term), (true, true));
            }
            Act::Vote(vote) => {
                self.term += 1;
                self.hard_state = state(self.term, vote, self.base.index.0);
                let hard_state = Some(self.hard_state);
                store.append(&Batch { hard_state, sync: true, ..Batch::default() }).expect("room");
            }
            Act::Compact(snap, to) => {
                let low = self.snapshot.index.0;
                let at_index = low + (last - low) * u64::from(snap) / 255;
                self.snapshot = self.position(at_index);
                snapshot(store, self.snapshot);
                let low = self.base.index.0;
                let to = low + (at_index - low) * u64::from(to) / 255;
                store.compact(Index(to)).expect("room");
                let base = self.position(to);
                self.entries.drain(..(to - low) as usize);
                self.base = base;
            }
            Act::Reset(ahead, count) => {
                self.term += 1;
                let to = at(last + ahead, self.term);
                snapshot(store, to);
                let new = entries(to.index.next().0..to.index.next().0 + count, self.term);
                self.hard_state = state(self.term, 0, to.index.0);
                let hard_state = Some(self.hard_state);
                let batch = Batch { reset: Some(to), entries: &new, hard_state, sync: true };
                store.append(&batch).expect("room");
                (self.base, self.snapshot, self.entries) = (to, to, new);
            }
            Act::Reopen => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_holds_what_the_model_holds(acts in vec(any_act(), 1..40)) {
        let scratch = Scratch::new();
        let mut store = scratch.begin();
        let mut model = Model::new();
        for act in acts.into_iter().chain([Act::Reopen]) {
            let reopens = matches!(act, Act::Reopen);
            model.act(&mut store, act);
            prop_assert_eq!((store.base(), store.last()), (model.base, model.last()));
            if reopens {
                drop(store);
                let (opened, recovered) = scratch.open();
                store = opened;
                prop_assert_eq!(recovered.base, model.base);
                prop_assert_eq!(&recovered.entries, &model.entries);
                prop_assert_eq!(recovered.hard_state, model.hard_state);
                prop_assert_eq!(recovered.snapshot, meta(model.snapshot));
                prop_assert_eq!(recovered.cut, None);
            }
        }
    }
}
