//! An agent has learned where the members are: whom it asks for a leader when it hears of none.

use super::register_node::sorted;
use crate::command::{Accepted, NodeKnows};
use crate::draft::Draft;
use crate::record::Node;

pub(super) fn decide(draft: &mut Draft<'_>, knows: &NodeKnows) -> Accepted {
    let members = sorted(&knows.members);
    if let Some(node) = draft.node(knows.node).filter(|node| node.members != members) {
        let node = Node { members, ..node.clone() };
        draft.set_node(knows.node, Some(node));
    }
    Accepted::Done
}
