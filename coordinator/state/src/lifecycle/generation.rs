//! Opening generations: all replicas prepare, and when every one of them is ready they start together.

use muster_model::{Fence, GangPhase, JobId, Peer, ReplicaPhase};

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
    let (store_port, free_port) = ports;
    let peers = peers(draft, job);
    let mut gang = draft.the_gang(job).clone();
    gang.opened = Some(draft.now);
    gang.rendezvous = Some(OpenRendezvous { leader_address, store_port, free_port, peers });
    draft.set_gang(job, Some(gang));
    set_gang_phase(draft, job, GangPhase::Running);
}

/// Where every replica is, for a gang whose templates name them.
fn peers(draft: &Draft<'_>, job: JobId) -> Vec<Vec<Peer>> {
    let spec = &draft.the_job(job).gang;
    let mut roles = Vec::new();
    if !spec.mentions_peers() {
        return roles;
    }
    roles.resize_with(spec.roles.len(), Vec::new);
    for (rank, role, _) in spec.ranks() {
        let replica = draft.replica(replica_id(job, rank)).expect("a placed gang is whole");
        let address = draft.node(replica.node).map(|node| node.address.clone());
        let port = match replica.phase {
            ReplicaPhase::Ready { free_port, .. } => free_port,
            _ => None,
        };
        roles[role.0].push(Peer { address: address.unwrap_or_default(), port });
    }
    roles
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
