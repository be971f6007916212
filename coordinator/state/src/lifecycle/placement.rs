//! A gang's placement: whether it can be used again, and giving it up.

use muster_model::{GangPhase, JobId, JobPhase, NodeRules, Obstacle};

use super::{set_gang_phase, set_job_phase};
use crate::draft::Draft;
use crate::record::Replica;

/// Whether a gang may start again where it is: every node of the placement is there and reachable, and no operator keeps
/// the gang off it. Labels may have changed since: like Kubernetes, only a new placement looks at them.
pub(super) fn is_usable(draft: &Draft<'_>, job: JobId) -> bool {
    let spec = &draft.the_job(job).gang;
    let rules: Vec<NodeRules> = spec.roles.iter().map(|role| role.pod.node_rules()).collect();
    let mut places = draft.replica_ids(job).into_iter().filter_map(|id| draft.replica(id));
    places.all(|replica| {
        let node = draft.node(replica.node);
        node.is_some_and(|node| match node.obstacle(&rules[replica.role.0]) {
            None | Some(Obstacle::Label { .. } | Obstacle::Affinity) => true,
            Some(Obstacle::Unreachable | Obstacle::Cordoned | Obstacle::Taint(_)) => false,
        })
    })
}

/// Frees what the replicas that have ended still hold. Called when the gang will not start
/// again on this placement.
pub(super) fn free_exited(draft: &mut Draft<'_>, job: JobId) {
    for id in draft.replica_ids(job) {
        if let Some(replica) = draft.replica(id).filter(|r| r.holds && r.phase.is_exited()) {
            let freed = Replica { holds: false, ..replica.clone() };
            draft.set_replica(id, Some(freed));
        }
    }
}

/// Forgets the replicas of a gang whose ranks have all stopped.
pub(super) fn forget_replicas(draft: &mut Draft<'_>, job: JobId) {
    for id in draft.replica_ids(job) {
        draft.set_replica(id, None);
    }
}

/// Gives a stopped gang's placement up for another one.
pub(super) fn give_up(draft: &mut Draft<'_>, job: JobId) {
    forget_replicas(draft, job);
    set_gang_phase(draft, job, GangPhase::Waiting);
    set_job_phase(draft, job, JobPhase::Queued);
}
