//! Opening generations: all replicas prepare, and when every one of them is ready they start together.

use muster_model::{Fence, GangPhase, JobId, ReplicaPhase};

use super::{placement, set_gang_phase};
use crate::draft::Draft;
use crate::record::{OpenRendezvous, Replica, RoleTally, TimerKind, replica_id};

/// Orders every replica of a placed gang to prepare for the next generation.
pub(crate) fn prepare_generation(draft: &mut Draft<'_>, job: JobId) {
    let spec = draft.the_job(job).gang.clone();
    let mut gang = draft.the_gang(job).clone();
    gang.generation = gang.generation.next();
    gang.opened = None;
    gang.rendezvous = None;
    gang.failure = None;
    gang.stop_grace = None;
    gang.tally = spec
        .roles
        .iter()
        .map(|role| RoleTally { assigned: role.replicas, ..RoleTally::default() })
        .collect();
    let fence = Fence { attempt: gang.attempt, generation: gang.generation };
    draft.set_gang(job, Some(gang));
    for id in draft.replica_ids(job) {
        let old = draft.replica(id).expect("replica_ids lists replicas that exist").clone();
        let replica = Replica { fence, phase: ReplicaPhase::Assigned, ..old };
        draft.set_replica(id, Some(replica));
    }
    set_gang_phase(draft, job, GangPhase::Preparing);
}

/// Opens the generation: the addresses are final and every replica starts.
pub(super) fn open(draft: &mut Draft<'_>, job: JobId) {
    let leader = draft
        .replica(replica_id(job, muster_model::Rank(0)))
        .expect("a gang has at least one replica");
    let ports = match leader.phase {
        ReplicaPhase::Ready { store_port, free_port } => (store_port, free_port),
        _ => (None, None),
    };
    let leader_address =
        draft.node(leader.node).map(|node| node.address.clone()).unwrap_or_default();
    let mut gang = draft.the_gang(job).clone();
    gang.opened = Some(draft.now);
    gang.rendezvous =
        Some(OpenRendezvous { leader_address, store_port: ports.0, free_port: ports.1 });
    draft.set_gang(job, Some(gang));
    set_gang_phase(draft, job, GangPhase::Running);
}

/// The delay before a restart is over.
pub(crate) fn restart_now(draft: &mut Draft<'_>, job: JobId) {
    draft.cancel_timer(job, TimerKind::Backoff);
    if placement::is_usable(draft, job) {
        prepare_generation(draft, job);
    } else {
        placement::give_up(draft, job);
    }
}
