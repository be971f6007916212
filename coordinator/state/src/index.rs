//! What can be computed from the tables and is kept ready: look-ups and the ledger.
//!
//! Never stored; `apply` keeps it in step, and an invariant recomputes and compares it.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    GangPhase, JobId, JobKey, NodeId, ReplicaId, RequestId, Resources, Timestamp, Uid,
};

use crate::record::{Gang, Job, Node, Replica, RequestRecord, RequestTime, Timer, TimerKey};

/// Look-ups and the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Indexes {
    pub(crate) job_by_key: BTreeMap<JobKey, JobId>,
    pub(crate) job_by_uid: BTreeMap<Uid, JobId>,
    pub(crate) node_by_name: BTreeMap<String, NodeId>,
    pub(crate) replicas_by_node: BTreeMap<NodeId, BTreeSet<ReplicaId>>,
    /// The ledger: what is reserved on each node.
    pub(crate) reserved: BTreeMap<NodeId, Resources>,
    pub(crate) waiting: BTreeSet<JobId>,
    pub(crate) due: BTreeSet<(Timestamp, TimerKey)>,
    pub(crate) request_times: BTreeSet<RequestTime>,
}

impl Indexes {
    pub(crate) fn node(&mut self, id: NodeId, old: Option<&Node>, new: Option<&Node>) {
        if let Some(old) = old {
            self.node_by_name.remove(old.name.as_str());
        }
        if let Some(new) = new {
            self.node_by_name.insert(new.name.as_str().to_owned(), id);
        }
    }

    pub(crate) fn job(&mut self, id: JobId, old: Option<&Job>, new: Option<&Job>) {
        if let Some(old) = old {
            self.job_by_key.remove(&old.key);
            self.job_by_uid.remove(&old.uid);
        }
        if let Some(new) = new {
            self.job_by_key.insert(new.key.clone(), id);
            self.job_by_uid.insert(new.uid.clone(), id);
        }
    }

    pub(crate) fn gang(&mut self, id: JobId, new: Option<&Gang>) {
        if new.is_some_and(|gang| gang.phase == GangPhase::Waiting) {
            self.waiting.insert(id);
        } else {
            self.waiting.remove(&id);
        }
    }

    /// `job` is the job that the replica belongs to; it is written before its replicas and deleted
    /// after them.
    pub(crate) fn replica(
        &mut self,
        id: ReplicaId,
        job: Option<&Job>,
        (old, new): (Option<&Replica>, Option<&Replica>),
    ) {
        let request = |replica: &Replica| {
            job.map(|job| job.gang.role(replica.role).pod.request()).unwrap_or_default()
        };
        if let Some(old) = old {
            if let Some(on_node) = self.replicas_by_node.get_mut(&old.node) {
                on_node.remove(&id);
                if on_node.is_empty() {
                    self.replicas_by_node.remove(&old.node);
                }
            }
            if old.holds {
                let rest = self.reserved.remove(&old.node).unwrap_or_default();
                self.reserve(old.node, rest.saturating_sub(&request(old)));
            }
        }
        if let Some(new) = new {
            self.replicas_by_node.entry(new.node).or_default().insert(id);
            if new.holds {
                let mut sum = self.reserved.remove(&new.node).unwrap_or_default();
                sum.add(&request(new));
                self.reserve(new.node, sum);
            }
        }
    }

    fn reserve(&mut self, node: NodeId, sum: Resources) {
        if !sum.is_empty() {
            self.reserved.insert(node, sum);
        }
    }

    pub(crate) fn timer(&mut self, key: TimerKey, old: Option<&Timer>, new: Option<&Timer>) {
        if let Some(old) = old {
            self.due.remove(&(old.at, key));
        }
        if let Some(new) = new {
            self.due.insert((new.at, key));
        }
    }

    pub(crate) fn request(
        &mut self,
        id: RequestId,
        old: Option<&RequestRecord>,
        new: Option<&RequestRecord>,
    ) {
        if let Some(old) = old {
            self.request_times.remove(&(old.at, id));
        }
        if let Some(new) = new {
            self.request_times.insert((new.at, id));
        }
    }
}
