//! A placement from the scheduler. It was planned beside the decide loop on a snapshot, so
//! everything is checked again: the gang still waits, every node is usable, and the whole gang fits.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{
    Fence, GangPhase, GangSpec, JobPhase, NodeId, Placement, Reason, ReplicaPhase, Resources,
    RoleIndex,
};

use crate::command::{Accepted, BindGang};
use crate::draft::Draft;
use crate::lifecycle;
use crate::narrate;
use crate::record::{Replica, replica_id};

pub(super) fn decide(draft: &mut Draft<'_>, bind: &BindGang) -> Result<Accepted, Reason> {
    let placement = &bind.placement;
    let id = placement.job;
    let stale = |why: String| Reason::StalePlan { why };
    let Some(gang) = draft.gang(id) else {
        return Err(stale(format!("job {id} is gone")));
    };
    if gang.phase != GangPhase::Waiting || gang.attempt != placement.attempt {
        return Err(stale(format!("the gang of job {id} does not wait for this placement")));
    }
    let mut gang = gang.clone();
    let spec = draft.the_job(id).gang.clone();
    if placement.nodes.len() != spec.size() as usize {
        return Err(stale(format!("{} places for {} ranks", placement.nodes.len(), spec.size())));
    }
    check_room(draft, &spec, placement).map_err(stale)?;

    gang.attempt = gang.attempt.next();
    for ((rank, role, _), node) in spec.ranks().zip(&placement.nodes) {
        draft.set_replica(
            replica_id(id, rank),
            Some(Replica {
                role,
                node: *node,
                // Replaced at once by the first generation of this placement.
                fence: Fence { attempt: gang.attempt, generation: gang.generation },
                phase: ReplicaPhase::Assigned,
                holds: true,
            }),
        );
    }
    draft.set_gang(id, Some(gang));
    lifecycle::set_job_phase(draft, id, JobPhase::Starting);
    let mut status = draft.the_status(id).clone();
    if status.started.is_none() {
        status.started = Some(draft.now);
        draft.set_status(id, Some(status));
        lifecycle::set_deadline(draft, id);
    }
    narrate::placed(draft, id, placement);
    lifecycle::prepare_generation(draft, id);
    Ok(Accepted::Bound(id))
}

/// Whether every node is usable and has room for all the ranks that it would get.
fn check_room(draft: &Draft<'_>, spec: &GangSpec, placement: &Placement) -> Result<(), String> {
    let mut wanted: BTreeMap<NodeId, (BTreeSet<RoleIndex>, Resources)> = BTreeMap::new();
    for ((_, role, _), node) in spec.ranks().zip(&placement.nodes) {
        let (roles, sum) = wanted.entry(*node).or_default();
        roles.insert(role);
        sum.add(&spec.role(role).pod.request());
    }
    for (id, (roles, wanted)) in wanted {
        let node = draft.node(id).ok_or_else(|| format!("node {id} is gone"))?;
        if let Some(why) =
            roles.iter().find_map(|role| node.obstacle(&spec.role(*role).pod.node_rules()))
        {
            return Err(format!("node {} cannot be used any more: {why}", node.name));
        }
        let free = node.capacity.saturating_sub(&draft.base.reserved(id));
        if !free.covers(&wanted) {
            return Err(format!("node {} has {free} free, {wanted} is needed", node.name));
        }
    }
    Ok(())
}
