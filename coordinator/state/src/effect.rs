//! Effects: hints that something outside should look at the state again. Lost effects do no harm, because
//! everything they ask for can be computed from the state.

use std::collections::BTreeSet;

use muster_model::{EventId, GangPhase, JobId, JobKey, NodeId, ObjectKey, ReplicaId, Uid};

use crate::change::{Change, Changes};
use crate::record::Gang;
use crate::state::State;

/// Something that follows from committed changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The order of this replica may have changed; send it to the node.
    Order(NodeId, ReplicaId),
    /// A replica record is gone from this node: whatever the node still has of it is to be cleared.
    Clear(NodeId, ReplicaId),
    /// What this job's object shows has changed.
    JobChanged(JobId),
    /// This job is gone; so are its logs.
    JobGone(JobId, JobKey, Uid),
    /// What this replica's object shows has changed, or it is gone.
    ReplicaChanged(ReplicaId),
    /// A job's event is new, counted on, or gone.
    EventChanged(JobId, EventId),
    /// An object that is kept as it was sent has changed, or is gone.
    ObjectChanged(ObjectKey),
    /// A node has changed.
    NodeChanged(NodeId),
    /// Members of the coordinator have changed.
    MembersChanged,
    /// A gang waits or capacity has become free: planning may find something.
    Plan,
}

/// The effects of changes. `before` is the state that they are about to be applied to.
#[must_use]
pub fn effects(before: &State, changes: &Changes) -> Vec<Effect> {
    let mut found = BTreeSet::new();
    let mut moved_gangs = BTreeSet::new();
    for change in changes.iter() {
        match change {
            Change::Node(id, _) => {
                found.insert(Effect::NodeChanged(*id));
                found.insert(Effect::Plan);
            }
            Change::Member(..) => {
                found.insert(Effect::MembersChanged);
            }
            Change::Job(id, None) => {
                if let Some(job) = before.job(*id) {
                    found.insert(Effect::JobGone(*id, job.key.clone(), job.uid.clone()));
                }
            }
            Change::Job(id, Some(_)) | Change::Status(id, Some(_)) => {
                found.insert(Effect::JobChanged(*id));
            }
            Change::Gang(id, Some(gang)) => {
                found.insert(Effect::JobChanged(*id));
                let moved =
                    |old: &Gang| (old.phase, old.stop_grace) != (gang.phase, gang.stop_grace);
                if before.gang(*id).is_none_or(moved) {
                    moved_gangs.insert(*id);
                    found.insert(Effect::Plan);
                }
            }
            // It may have held back younger ones.
            Change::Gang(id, None)
                if before.gang(*id).is_some_and(|old| old.phase == GangPhase::Waiting) =>
            {
                found.insert(Effect::Plan);
            }
            Change::Replica(id, new) => {
                found.insert(Effect::ReplicaChanged(*id));
                replica(before, (*id, new.as_deref()), &mut found);
            }
            Change::Object(key, _) => {
                found.insert(Effect::ObjectChanged(key.clone()));
            }
            Change::Event((job, event), _) => {
                found.insert(Effect::EventChanged(*job, *event));
            }
            _ => {}
        }
    }
    // A gang that moves gives new orders to all its replicas, also those whose records stay as they are.
    for job in moved_gangs {
        let replicas = before.replicas_of(job);
        found.extend(replicas.map(|(id, replica)| Effect::Order(replica.node, id)));
    }
    found.into_iter().collect()
}

fn replica(
    before: &State,
    (id, new): (ReplicaId, Option<&crate::record::Replica>),
    found: &mut BTreeSet<Effect>,
) {
    let old = before.replica(id);
    if let Some(old) = old.filter(|old| new.is_none_or(|new| new.node != old.node)) {
        found.insert(Effect::Clear(old.node, id));
    }
    if let Some(new) = new {
        found.insert(Effect::Order(new.node, id));
    }
    let freed = old.is_some_and(|old| old.holds) && new.is_none_or(|new| !new.holds);
    if freed {
        found.insert(Effect::Plan);
    }
}
