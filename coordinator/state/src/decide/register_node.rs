//! An agent has opened a session: its node is known and can be used.

use crate::command::{Accepted, RegisterNode};
use crate::draft::Draft;
use crate::record::{Node, NodePhase};

pub(super) fn decide(draft: &mut Draft<'_>, register: &RegisterNode) -> Accepted {
    let now = draft.now;
    let known = draft.base.node_id(register.name.as_str());
    let id = known.unwrap_or_else(|| draft.new_node_id());
    let old = draft.node(id);
    let phase = match old.map(|node| node.phase) {
        Some(NodePhase::Ready { since }) => NodePhase::Ready { since },
        _ => NodePhase::Ready { since: now },
    };
    let node = Node {
        name: register.name.clone(),
        address: register.address.clone(),
        capacity: register.capacity.clone(),
        labels: register.labels.clone(),
        version: register.version.clone(),
        created: old.map_or(now, |node| node.created),
        phase,
    };
    draft.set_node(id, Some(node));
    Accepted::Registered(id)
}
