//! A member's disk: what a crash leaves behind.
//!
//! A write is durable from a certain time on, which lies in the future when it is made; the member hangs until then. A
//! crash before that takes the write or leaves it. A write without a sync is durable when a later one is. Each write is
//! one checksummed batch, so that a torn one is cut off whole. The applied records are a cache: they survive, or are
//! made anew from snapshot and log.

use std::collections::VecDeque;
use std::rc::Rc;

use muster_consensus::{Boot, Entry, HardState, Index, Position, SnapshotMeta, Write};
use muster_state::{Changes, State};

use crate::dice::Dice;
use crate::time::{SimTime, Span};
use crate::wire::Load;

/// A snapshot and the state that it holds.
#[derive(Debug, Clone)]
struct Snapshot {
    meta: SnapshotMeta,
    state: Rc<State>,
}

#[derive(Debug, Clone)]
struct Image {
    hard_state: HardState,
    base: Position,
    entries: VecDeque<Entry>,
    snapshot: Snapshot,
}

/// One write.
#[derive(Debug, Clone)]
enum Deed {
    Write(Write),
    Install(Write, Snapshot),
    Snapshot(Snapshot, Index),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What the member reads.
    seen: Image,
    /// What a crash leaves.
    durable: Image,
    /// What is not durable yet, with the time from which it is: none without a sync.
    pending: VecDeque<(Option<SimTime>, Deed)>,
    records: State,
    dice: Dice,
    /// Until when it is slow, and full.
    pub(crate) slow_until: SimTime,
    pub(crate) full_until: SimTime,
}

// === impl Image ===

impl Image {
    fn of(boot: Boot, state: Rc<State>) -> Self {
        Self {
            hard_state: boot.hard_state,
            base: boot.base,
            entries: boot.entries.into(),
            snapshot: Snapshot { meta: boot.snapshot, state },
        }
    }

    fn take(&mut self, deed: &Deed) {
        match deed {
            Deed::Write(write) => self.append(write),
            Deed::Install(write, snapshot) => {
                self.base = snapshot.meta.at;
                self.entries.clear();
                self.snapshot = snapshot.clone();
                self.append(write);
            }
            Deed::Snapshot(snapshot, forget) => {
                self.snapshot = snapshot.clone();
                while self.entries.front().is_some_and(|entry| entry.index <= *forget) {
                    self.base = self.entries[0].position();
                    self.entries.pop_front();
                }
            }
        }
    }

    fn append(&mut self, write: &Write) {
        if let Some(first) = write.entries.first() {
            let keep = (first.index.0 - self.base.index.0 - 1) as usize;
            assert!(keep <= self.entries.len(), "a gap in what is written");
            self.entries.truncate(keep);
            self.entries.extend(write.entries.iter().cloned());
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    fn position_of(&self, index: u64) -> Option<Position> {
        let entries = self.entries.iter().map(Entry::position);
        [self.base, self.snapshot.meta.at].into_iter().chain(entries).find(|at| at.index.0 == index)
    }
}

// === impl Disk ===

impl Disk {
    pub(crate) fn new(boot: Boot, state: State, dice: Dice) -> Self {
        let image = Image::of(boot, Rc::new(state.clone()));
        Self {
            seen: image.clone(),
            durable: image,
            pending: VecDeque::new(),
            records: state,
            dice,
            slow_until: SimTime::default(),
            full_until: SimTime::default(),
        }
    }

    /// How long a sync takes that begins now.
    pub(crate) fn sync_takes(&mut self, now: SimTime) -> Span {
        let quick = self.dice.span(Span::micros(80), Span::millis(2));
        let slow = self.dice.span(Span::millis(50), Span::millis(900));
        if self.slow_until > now { slow } else { quick }
    }

    /// `durable_at`: none for a write without a sync.
    pub(crate) fn write(&mut self, write: &Write, durable_at: Option<SimTime>) {
        self.take(Deed::Write(write.clone()), durable_at);
    }

    /// A snapshot that came from the leader replaces log and records.
    pub(crate) fn install(&mut self, (meta, state): Load, write: &Write, durable_at: SimTime) {
        self.records = (*state).clone();
        self.take(Deed::Install(write.clone(), Snapshot { meta, state }), Some(durable_at));
    }

    /// Keeps a snapshot of its own; answers up to where the log is forgotten.
    pub(crate) fn save(&mut self, (meta, state): Load, tail: u64, durable_at: SimTime) -> Index {
        let forget = Index(meta.at.index.0.saturating_sub(tail).max(self.seen.base.index.0));
        self.take(Deed::Snapshot(Snapshot { meta, state }, forget), Some(durable_at));
        forget
    }

    fn take(&mut self, deed: Deed, durable_at: Option<SimTime>) {
        self.seen.take(&deed);
        if durable_at.is_some() {
            // It is one file: a sync brings what was written before to the disk, too.
            for (at, _) in self.pending.iter_mut().rev().take_while(|(at, _)| at.is_none()) {
                *at = durable_at;
            }
        }
        self.pending.push_back((durable_at, deed));
    }

    /// What was written for good by now needs no place in the queue.
    pub(crate) fn settle(&mut self, now: SimTime) {
        while self.pending.front().is_some_and(|(at, _)| at.is_some_and(|at| at <= now)) {
            let (_, deed) = self.pending.pop_front().expect("it was just seen");
            self.durable.take(&deed);
        }
    }

    pub(crate) fn record(&mut self, index: Index, changes: &Changes) {
        self.records.apply(muster_state::Index(index.0), changes);
    }

    pub(crate) fn records(&self) -> &State {
        &self.records
    }

    pub(crate) fn newest(&self) -> Load {
        (self.seen.snapshot.meta.clone(), Rc::clone(&self.seen.snapshot.state))
    }

    /// The process or the power goes. `heard`: the last entry that anybody has told of having applied; records and
    /// snapshots that are further would hide from the history what was in between.
    pub(crate) fn crash(&mut self, now: SimTime, heard: u64) {
        self.settle(now);
        // The disk may have done more than it had time to say.
        let reached = self.dice.between(0, self.pending.len() as u64);
        let is_heard = |deed: &Deed| match deed {
            Deed::Snapshot(snapshot, _) => snapshot.meta.at.index.0 <= heard,
            _ => true,
        };
        let left = self.pending.drain(..).map(|(_, deed)| deed);
        for deed in left.take(reached as usize).take_while(is_heard) {
            self.durable.take(&deed);
        }
        self.seen = self.durable.clone();
        // The records may have been kept, if the log was kept as far.
        let applied = self.records.applied().0;
        let are_known = applied <= heard && self.durable.position_of(applied).is_some();
        if !are_known || self.dice.hits(4000) {
            self.records = (*self.durable.snapshot.state).clone();
        }
    }

    /// What the next start finds: the log, the applied state, and where that stands.
    pub(crate) fn boot(&self) -> Option<(Boot, State, Position)> {
        let (image, state) = (&self.durable, self.records.clone());
        let applied = image.position_of(state.applied().0)?;
        let boot = Boot {
            hard_state: image.hard_state,
            base: image.base,
            snapshot: image.snapshot.meta.clone(),
            entries: image.entries.iter().cloned().collect(),
            applied: applied.index,
        };
        Some((boot, state, applied))
    }
}
