//! The brain's own invariants, in every state that was ever committed and over every step: gangs are whole, the ledger
//! is the sum of what replicas hold, no node is oversold, phases move along their graphs, fences only grow, what has ended
//! holds nothing, timers and indexes fit.

use muster_state::invariants::{check, check_capacity, check_step};

use crate::history::History;
use crate::violation::Violation;

pub(crate) fn hold(history: &History) -> Result<(), Violation> {
    let (before, after) = (&history.before, &history.state);
    check(after)
        .and_then(|()| check_step(before, after))
        .and_then(|()| check_capacity(after))
        .map_err(|broken| {
            Violation::safety(
                broken.invariant,
                format!("at {}: {}", after.applied(), broken.detail),
            )
        })
}
