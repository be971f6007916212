//! An agent's lease ran out. Nothing new is placed on its node. What ran there may still run, so
//! its gangs keep their placement until the agent is back, must have stopped it (see [`super::cut_off`]), or an
//! operator removes the node: a second live attempt would be worse than waiting.

use std::collections::BTreeSet;

use muster_model::JobId;

use crate::command::{Accepted, NodeUnreachable};
use crate::draft::Draft;
use crate::narrate;
use crate::record::{Node, NodePhase};

pub(super) fn decide(draft: &mut Draft<'_>, gone: &NodeUnreachable) -> Accepted {
    let Some(node) = draft.node(gone.node).filter(|node| node.phase.is_ready()) else {
        return Accepted::Done;
    };
    let (name, cut_off) = (node.name.clone(), node.cut_off);
    let node = Node { phase: NodePhase::Unreachable { since: draft.now }, ..node.clone() };
    draft.set_node(gone.node, Some(node));
    let live = draft
        .base
        .replicas_on(gone.node)
        .filter(|id| draft.replica(*id).is_some_and(|replica| !replica.phase.is_exited()));
    let jobs: BTreeSet<JobId> = live.map(|id| id.job).collect();
    for job in jobs {
        narrate::node_unreachable(draft, job, (&name, cut_off));
    }
    #[cfg(sim_bug = "assume_lost_is_dead")]
    for id in draft.base.replicas_on(gone.node) {
        use muster_model::{Exit, ExitStatus, ReplicaPhase};
        let (status, at) = (ExitStatus::Lost, draft.now);
        let phase = ReplicaPhase::Exited { exit: Exit { status, after_stop: false }, at };
        crate::lifecycle::replica_moved(draft, id, phase);
    }
    Accepted::Done
}
