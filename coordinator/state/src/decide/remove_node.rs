//! An operator says that an unreachable node will not come back and that nothing runs on it any
//! more. Its replicas count as lost, and their gangs may start elsewhere.

use muster_model::{Exit, ExitStatus, Reason, ReplicaPhase};

use crate::command::{Accepted, RemoveNode};
use crate::draft::Draft;
use crate::lifecycle;

pub(super) fn decide(draft: &mut Draft<'_>, remove: &RemoveNode) -> Result<Accepted, Reason> {
    let not_found = || Reason::NodeNotFound { node: remove.name.clone() };
    let id = draft.base.node_id(&remove.name).ok_or_else(not_found)?;
    let node = draft.node(id).ok_or_else(not_found)?;
    if node.phase.is_ready() {
        return Err(Reason::NodeInUse { node: node.name.clone() });
    }
    draft.set_node(id, None);
    let replicas: Vec<_> = draft.base.replicas_on(id).collect();
    for replica in replicas {
        let live = draft.replica(replica).is_some_and(|replica| !replica.phase.is_exited());
        if live {
            let exit = Exit { status: ExitStatus::Lost, after_stop: false };
            let at = draft.now;
            lifecycle::replica_moved(draft, replica, ReplicaPhase::Exited { exit, at });
        }
    }
    lifecycle::taints_changed(draft, id);
    Ok(Accepted::Done)
}
