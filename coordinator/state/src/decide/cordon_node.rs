//! An operator keeps new gangs off a node, or lets them on it again. What runs there goes on.

use muster_model::Reason;

use super::named_node;
use crate::command::{Accepted, CordonNode};
use crate::draft::Draft;
use crate::record::Node;

pub(super) fn decide(draft: &mut Draft<'_>, cordon: &CordonNode) -> Result<Accepted, Reason> {
    let (id, node) = named_node(draft, &cordon.name)?;
    // Who asks twice does not make it start anew.
    let cordoned = cordon.cordon.then(|| node.cordoned.unwrap_or(draft.now));
    draft.set_node(id, Some(Node { cordoned, ..node }));
    Ok(Accepted::NodeChanged)
}
