//! What is committed about a replica has really happened under that fence: one that counts as ready was prepared, one
//! that runs was started, and of one that has ended nothing is left. A stale report has no effect.

use std::collections::BTreeSet;

use muster_model::ReplicaPhase;
use muster_state::{Change, Changes};

use crate::agent::Agent;
use crate::history::History;
use crate::violation::{Violation, demand};
use crate::wire::Key;

const PROMISE: &str = "what is committed about a replica is true";

/// What has really happened, over the whole run.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) prepared: BTreeSet<Key>,
    pub(crate) started: BTreeSet<Key>,
}

/// Call after the entry was taken into the history.
pub(crate) fn hold(
    (facts, history): (&Facts, &History),
    agents: &[Agent],
    changes: &Changes,
) -> Result<(), Violation> {
    for change in changes.iter() {
        let Change::Replica(id, new) = change else { continue };
        let left = history.before.replica(*id).map(|old| (*id, old.fence));
        let left = left.filter(|(_, fence)| new.as_ref().is_none_or(|new| new.fence != *fence));
        for agent in agents {
            let lives = |key| agent.processes.shims.get(&key).is_some_and(|shim| !shim.has_ended());
            demand(!left.is_some_and(lives), PROMISE, || {
                format!("{left:?} is given up, and still lives on {}", agent.name)
            })?;
        }
        let Some(replica) = new else { continue };
        let key = (*id, replica.fence);
        let shims = || agents.iter().filter_map(|agent| agent.processes.shims.get(&key));
        let holds = match &replica.phase {
            ReplicaPhase::Assigned => true,
            ReplicaPhase::Ready { .. } => facts.prepared.contains(&key),
            ReplicaPhase::Running { .. } => facts.started.contains(&key),
            ReplicaPhase::Exited { .. } => shims().all(crate::processes::Shim::has_ended),
        };
        demand(holds, PROMISE, || {
            let stages: Vec<_> = shims().map(|shim| shim.stage.clone()).collect();
            format!("{id} under {} is {:?}, and really {stages:?}", replica.fence, replica.phase)
        })?;
    }
    Ok(())
}
