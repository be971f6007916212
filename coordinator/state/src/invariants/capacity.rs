//! Nothing is sold twice: no node has more reserved than it has.

use super::{Violation, violated};
use crate::state::State;

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, node) in state.tables().nodes.iter() {
        let reserved = state.reserved(*id);
        if !node.capacity.covers(&reserved) {
            return violated(
                "nothing is sold twice",
                format!("node {} has {} and {reserved} is reserved", node.name, node.capacity),
            );
        }
    }
    Ok(())
}
