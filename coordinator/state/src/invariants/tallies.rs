//! While a gang is placed its tally counts its replicas.

use super::{Violation, violated};
use crate::record::RoleTally;
use crate::state::State;

pub(super) fn check(state: &State) -> Result<(), Violation> {
    for (id, gang) in state.tables().gangs.iter().filter(|(_, gang)| gang.phase.is_placed()) {
        let mut counted = vec![RoleTally::default(); gang.tally.len()];
        for (_, replica) in state.replicas_of(*id) {
            *counted[replica.role.0].slot(&replica.phase) += 1;
        }
        if counted != gang.tally {
            return violated(
                "tallies count",
                format!("job {id}: tally {:?}, counted {counted:?}", gang.tally),
            );
        }
    }
    Ok(())
}
