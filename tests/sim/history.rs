//! What was committed, as any member first told it: the one history that all members must agree on.

use std::collections::BTreeMap;

use muster_consensus::Position;
use muster_coordinator_core::RoleView;
use muster_model::JobId;
use muster_state::{Changes, Digest, Index, State};

use crate::time::SimTime;

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    /// The state after everything that was committed.
    pub(crate) state: State,
    /// The state before the last entry.
    pub(crate) before: State,
    /// Term and digest at each index.
    pub(crate) entries: BTreeMap<u64, (u64, Digest)>,
    /// Who led each term.
    pub(crate) leaders: BTreeMap<u64, u64>,
    /// How far each member is in its present life.
    pub(crate) reached: BTreeMap<u64, u64>,
    /// The manifest that each job has; it names the request that wrote it.
    pub(crate) manifests: BTreeMap<JobId, String>,
    /// How often each request has made or changed a job.
    pub(crate) effects_of: BTreeMap<String, u32>,
    /// The greatest index that anybody was told of.
    pub(crate) told: Index,
    pub(crate) installs: u64,
    pub(crate) last_commit: SimTime,
}

/// An entry that a member has applied.
#[derive(Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) member: u64,
    pub(crate) at: Position,
    pub(crate) changes: &'a Changes,
    pub(crate) digest: Digest,
}

impl History {
    pub(crate) fn new() -> Self {
        let mut state = State::new();
        // Where the log of a new cluster begins.
        state.apply(Index(1), &Changes::default());
        let entries = BTreeMap::from([(1, (1, state.digest()))]);
        Self {
            before: state.clone(),
            state,
            entries,
            leaders: BTreeMap::new(),
            reached: BTreeMap::new(),
            manifests: BTreeMap::new(),
            effects_of: BTreeMap::new(),
            told: Index::default(),
            installs: 0,
            last_commit: SimTime::default(),
        }
    }

    /// Takes an entry that nobody has told of before; answers whether it was one.
    pub(crate) fn take(&mut self, applied: &Applied<'_>, now: SimTime) -> bool {
        let index = applied.at.index.0;
        if index != self.state.applied().0 + 1 {
            return false;
        }
        self.before = self.state.clone();
        self.state.apply(Index(index), applied.changes);
        self.entries.insert(index, (applied.at.term.0, self.state.digest()));
        self.last_commit = now;
        true
    }

    /// Notes who leads which term, and answers who led it first.
    pub(crate) fn leads(&mut self, role: RoleView) -> u64 {
        *self.leaders.entry(role.term).or_insert(role.member)
    }
}
