//! An agent has opened a session: its node is known and can be used.
//!
//! A name belongs to the agent that registered it first, until an operator removes the node. Another machine that
//! took the name over would be told to clear what runs there, and the first one's replicas would count as its.

use muster_model::Reason;

use crate::command::{Accepted, RegisterNode};
use crate::draft::Draft;
use crate::record::{Node, NodePhase};

pub(super) fn decide(draft: &mut Draft<'_>, register: &RegisterNode) -> Result<Accepted, Reason> {
    let now = draft.now;
    let known = draft.base.node_id(register.name.as_str());
    let id = known.unwrap_or_else(|| draft.new_node_id());
    let old = draft.node(id);
    if let Some(old) = old
        && !old.agent.is_empty()
        && old.agent != register.agent
    {
        let (node, address) = (old.name.clone(), old.address.clone());
        return Err(Reason::NodeNameTaken { node, address });
    }
    let phase = match old.map(|node| node.phase) {
        Some(NodePhase::Ready { since }) => NodePhase::Ready { since },
        _ => NodePhase::Ready { since: now },
    };
    let kept = old.cloned();
    let node = Node {
        name: register.name.clone(),
        address: register.address.clone(),
        capacity: register.capacity.clone(),
        labels: register.labels.clone(),
        set_labels: kept.as_ref().map(|node| node.set_labels.clone()).unwrap_or_default(),
        cordoned: kept.as_ref().and_then(|node| node.cordoned),
        taints: kept.map(|node| node.taints).unwrap_or_default(),
        version: register.version.clone(),
        agent: register.agent.clone(),
        cut_off: register.cut_off,
        witness: register.witness.clone(),
        members: sorted(&register.members),
        created: old.map_or(now, |node| node.created),
        phase,
    };
    draft.set_node(id, Some(node));
    Ok(Accepted::Registered(id))
}

/// Lists of addresses are compared, so they have one order.
pub(super) fn sorted(members: &[String]) -> Vec<String> {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}
