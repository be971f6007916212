//! Phases move only along the drawn graphs, fences only grow, time does not go back, and what has ended
//! well stays so.

use muster_model::{GangPhase, JobPhase};

use super::{Violation, violated};
use crate::state::State;

const NAME: &str = "phases move along the graph";

pub(super) fn check(before: &State, after: &State) -> Result<(), Violation> {
    if after.meta().now < before.meta().now {
        return violated(NAME, "time went back");
    }
    for (id, old) in before.tables().statuses.iter() {
        let Some(new) = after.status(*id) else {
            continue;
        };
        // One decision may pass several phases; the steps between are edges of the graph, too.
        let through = [JobPhase::Running, JobPhase::Restarting, JobPhase::Starting];
        let reachable = old.phase.can_become(new.phase)
            || through
                .iter()
                .any(|between| old.phase.can_become(*between) && between.can_become(new.phase));
        if !reachable {
            return violated(NAME, format!("job {id}: {:?} to {:?}", old.phase, new.phase));
        }
    }
    for (id, old) in before.tables().gangs.iter() {
        let Some(new) = after.gang(*id) else { continue };
        if new.fence() < old.fence() {
            return violated(NAME, format!("job {id}: fence {} to {}", old.fence(), new.fence()));
        }
        let restarted = new.generation != old.generation;
        let reopened = restarted && matches!(new.phase, GangPhase::Preparing | GangPhase::Running);
        let let_go = matches!(new.phase, GangPhase::Released | GangPhase::Waiting)
            && !matches!(old.phase, GangPhase::Draining { .. });
        let ended = matches!(new.phase, GangPhase::Backoff { .. } | GangPhase::Stopping { .. })
            || matches!(new.phase, GangPhase::Draining { .. });
        if !(old.phase.can_become(new.phase) || reopened || let_go || ended) {
            return violated(NAME, format!("gang {id}: {:?} to {:?}", old.phase, new.phase));
        }
    }
    for (id, old) in before.tables().replicas.iter() {
        let Some(new) = after.replica(*id) else {
            continue;
        };
        if new.fence == old.fence && !old.phase.can_become(&new.phase) {
            return violated(NAME, format!("replica {id}: {:?} to {:?}", old.phase, new.phase));
        }
    }
    Ok(())
}
