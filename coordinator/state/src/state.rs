//! The state and its only mutation: applying committed changes.

use muster_model::{JobId, JobKey, MemberId, NodeId, ReplicaId, Resources, Timestamp, Uid};

use crate::change::{Change, Changes, Write};
use crate::codec::CodecError;
use crate::digest::{self, Digest};
use crate::index::Indexes;
use crate::record::{Gang, Job, JobStatus, Member, Meta, Node, Replica, TimerKey};
use crate::table::Index;

pub use crate::change::Tables;

/// Everything that Muster knows, at one Raft index.
///
/// Equal on every member at equal index: `apply` is the only mutation, and it is mechanical.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    tables: Tables,
    indexes: Indexes,
    applied: Index,
    digest: Digest,
}

impl State {
    /// The empty state, before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one committed entry. An entry without changes only moves the index.
    pub fn apply(&mut self, index: Index, changes: &Changes) {
        self.applied = index;
        for (change, write) in changes.pairs() {
            self.apply_one(index, change, write);
        }
    }

    fn apply_one(&mut self, index: Index, change: &Change, write: &Write) {
        let stamp = (index, digest::hash(index, write));
        macro_rules! replace {
            ($table:ident, $key:expr, $new:expr) => {{
                let old = match $new {
                    Some(new) => {
                        self.digest.add(stamp.1);
                        self.tables.$table.put(Clone::clone($key), stamp, (**new).clone())
                    }
                    None => self.tables.$table.remove($key),
                };
                old.map(|(hash, value)| {
                    self.digest.take(hash);
                    value
                })
            }};
        }
        match change {
            Change::Meta(key, new) => {
                replace!(meta, key, new);
            }
            Change::Node(key, new) => {
                let old = replace!(nodes, key, new);
                self.indexes.node(*key, old.as_ref(), new.as_deref());
            }
            Change::Job(key, new) => {
                let old = replace!(jobs, key, new);
                self.indexes.job(*key, old.as_ref(), new.as_deref());
            }
            Change::Status(key, new) => {
                replace!(statuses, key, new);
            }
            Change::Gang(key, new) => {
                replace!(gangs, key, new);
                self.indexes.gang(*key, new.as_deref());
            }
            Change::Replica(key, new) => {
                let old = replace!(replicas, key, new);
                let job = self.tables.jobs.get(&key.job);
                self.indexes.replica(*key, job, (old.as_ref(), new.as_deref()));
            }
            Change::Timer(key, new) => {
                let old = replace!(timers, key, new);
                self.indexes.timer(*key, old.as_ref(), new.as_deref());
            }
            Change::Request(key, new) => {
                let old = replace!(requests, key, new);
                self.indexes.request(*key, old.as_ref(), new.as_deref());
            }
            Change::Event(key, new) => {
                replace!(events, key, new);
            }
            Change::Object(key, new) => {
                replace!(objects, key, new);
            }
            Change::Token(key, new) => {
                replace!(tokens, key, new);
            }
            Change::Revocation(key, new) => {
                replace!(revocations, key, new);
            }
            Change::Member(key, new) => {
                replace!(members, key, new);
            }
        }
    }

    /// The tables, for reading.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// The index of the entry applied last.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The digest of all records.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The counters.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.tables.meta.get(&()).cloned().unwrap_or_default()
    }

    /// The id of a job by its key.
    #[must_use]
    pub fn job_id(&self, key: &JobKey) -> Option<JobId> {
        self.indexes.job_by_key.get(key).copied()
    }

    /// A job by its id.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.tables.jobs.get(&id)
    }

    /// A job by its uid.
    #[must_use]
    pub fn job_by_uid(&self, uid: &Uid) -> Option<JobId> {
        self.indexes.job_by_uid.get(uid).copied()
    }

    /// A job's progress.
    #[must_use]
    pub fn status(&self, id: JobId) -> Option<&JobStatus> {
        self.tables.statuses.get(&id)
    }

    /// A job's gang.
    #[must_use]
    pub fn gang(&self, id: JobId) -> Option<&Gang> {
        self.tables.gangs.get(&id)
    }

    /// A replica.
    #[must_use]
    pub fn replica(&self, id: ReplicaId) -> Option<&Replica> {
        self.tables.replicas.get(&id)
    }

    /// A job's replicas in the order of ranks.
    pub fn replicas_of(&self, job: JobId) -> impl Iterator<Item = (ReplicaId, &Replica)> {
        let id = |rank| ReplicaId { job, rank: muster_model::Rank(rank) };
        self.tables.replicas.range(id(0)..=id(u32::MAX)).map(|(id, replica)| (*id, replica))
    }

    /// A member of the coordinator.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.tables.members.get(&id)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.tables.nodes.get(&id)
    }

    /// The id of a node by its name.
    #[must_use]
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        self.indexes.node_by_name.get(name).copied()
    }

    /// The replicas that were placed on a node, whatever their phase.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = ReplicaId> {
        self.indexes.replicas_by_node.get(&node).into_iter().flatten().copied()
    }

    /// What is reserved on a node: the sum over the replicas that hold their request.
    #[must_use]
    pub fn reserved(&self, node: NodeId) -> Resources {
        self.indexes.reserved.get(&node).cloned().unwrap_or_default()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.indexes.due.first().map(|(at, _)| *at)
    }

    /// The timers that are due at `now`, the earliest first.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = TimerKey> {
        self.indexes.due.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }

    /// The latest index that changed anything of what a job's object shows: its resource version.
    #[must_use]
    pub fn job_version(&self, id: JobId) -> Index {
        let tables = &self.tables;
        [tables.jobs.version(&id), tables.statuses.version(&id), tables.gangs.version(&id)]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or_default()
    }

    /// Every record as the put that would write it, with the index that did. What a snapshot and
    /// a rebuilt record store hold.
    pub fn export(&self) -> impl Iterator<Item = (Index, Write)> + '_ {
        self.tables.export()
    }

    /// The state that `rows`, in the order of their tables and keys, make up at index `applied`.
    ///
    /// # Errors
    /// When a row does not decode.
    pub fn import(
        applied: Index,
        rows: impl IntoIterator<Item = (Index, Write)>,
    ) -> Result<Self, CodecError> {
        let mut state = Self::new();
        for (version, write) in rows {
            let change = Change::read(&write)?;
            state.apply_one(version, &change, &write);
        }
        state.applied = applied;
        Ok(state)
    }
}
